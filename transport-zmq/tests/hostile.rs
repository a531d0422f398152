//! Peers that speak ZMTP well and our frames badly, before and after admission, plaintext and with CURVE: the peer is
//! ended, nobody else notices, nothing panics.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_auth::{AdmitEveryone, Identity};
use sinew_transport_api::{
    Block, ConnectOptions, Connection, Error, Lane, Limits, ListenOptions, Listener, Security, Transport,
};
use sinew_transport_zmq::ZmqTransport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let waited = tokio::time::timeout(Duration::from_secs(30), future).await;
    waited.unwrap_or_else(|_| panic!("waited 30 s for {what}"))
}

/// A listener, and how to reach it well and badly.
struct Scene {
    listener: Box<dyn Listener>,
    server: Arc<Identity>,
    client: Arc<Identity>,
    secure: bool,
}

impl Scene {
    async fn new(secure: bool) -> Self {
        let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
        let security = if secure { Security::Identity(server.clone()) } else { Security::Plaintext };
        let options = ListenOptions { limits: limits(), ..ListenOptions::new(security, Arc::new(AdmitEveryone)) };
        let listener = ZmqTransport.bind(&"zmq://127.0.0.1:0".parse().unwrap(), &options).await.unwrap();
        Self { listener, server, client, secure }
    }

    /// A DEALER of the plain library, which says what it likes.
    fn stranger(&self, context: &zmq::Context) -> zmq::Socket {
        let socket = context.socket(zmq::DEALER).unwrap();
        socket.set_linger(5_000).unwrap();
        if self.secure {
            let keys = self.client.curve_keys();
            socket.set_curve_serverkey(&self.server.curve_keys().public).unwrap();
            socket.set_curve_publickey(&keys.public).unwrap();
            socket.set_curve_secretkey(&*keys.secret).unwrap();
        }
        socket.connect(&format!("tcp://{}", self.listener.endpoint().authority())).unwrap();
        socket
    }

    async fn honest_round_trip(&mut self) {
        let security = if self.secure { Security::Identity(self.client.clone()) } else { Security::Plaintext };
        let key = self.secure.then(|| self.server.public_key());
        let options = ConnectOptions { limits: limits(), ..ConnectOptions::new(security, key) };
        let endpoint = self.listener.endpoint().clone();
        let (client, mut server) =
            within("a pair", async { tokio::join!(ZmqTransport.connect(&endpoint, &options), self.accept()) }).await;
        let mut client = client.unwrap();
        let hello = Bytes::from_static(b"hello");
        assert!(client.sender.try_send(Lane::CONTROL, &mut Block::from(hello.clone())).unwrap());
        assert_eq!(within("a block", server.receiver.recv()).await.unwrap(), Some((Lane::CONTROL, hello)));
    }

    async fn accept(&mut self) -> Connection {
        loop {
            match within("accept", self.listener.accept()).await {
                Ok(connection) => return connection,
                Err(error) => assert!(error.is_about_one_peer(), "{error}"),
            }
        }
    }
}

fn limits() -> Limits {
    Limits { block_bytes_max: 8 * 1024, queue_bytes_max: 64 * 1024, ..Limits::default() }
}

const HELLO: &[u8] = b"\x01SNEW\x01\x00\x00\x20\x00\x00\x00\xe0\x00\x00";

fn hello(secure: bool) -> Vec<u8> {
    let mut hello = HELLO.to_vec();
    hello[6] = u8::from(secure);
    hello
}

/// What comes of a peer that was admitted and then sends these messages, each in its parts.
async fn after_admission(secure: bool, messages: &[&[&[u8]]]) -> Error {
    let context = zmq::Context::new();
    let mut scene = Scene::new(secure).await;
    let stranger = scene.stranger(&context);
    stranger.send(hello(secure), 0).unwrap();
    let mut connection = scene.accept().await;
    for message in messages {
        stranger.send_multipart(message.iter(), 0).unwrap();
    }
    let error = loop {
        match within("the end of a bad peer", connection.receiver.recv()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a bad peer ended in order"),
            Err(error) => break error,
        }
    };
    let ended = connection.sender.try_send(Lane::CONTROL, &mut Block::from(Bytes::from_static(b"x")));
    assert!(ended.is_err(), "a block was taken for a peer that was ended");
    scene.honest_round_trip().await;
    error
}

#[tokio::test]
async fn broken_rules_end_the_peer() {
    for secure in [false, true] {
        for (messages, why) in [
            (&[&[&b"\x20a"[..], b"\x20b"][..]][..], "several parts"),
            (&[&[b""]], "empty message"),
            (&[&[b"\x20"]], "empty block"),
            (&[&[b"\x7f?"]], "unknown form"),
            (&[&[b"\x04\x01\0\0\0"]], "gave back more"),
            (&[&[b"\x06"]], "out of place"),
        ] {
            let error = after_admission(secure, messages).await;
            assert!(matches!(error, Error::Protocol { .. }) && error.to_string().contains(why), "{error} for {why}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_overruns_its_window_is_ended() {
    for secure in [false, true] {
        let block = [&[0x20][..], &[7; 4096]].concat();
        let context = zmq::Context::new();
        let mut scene = Scene::new(secure).await;
        let stranger = scene.stranger(&context);
        stranger.send(hello(secure), 0).unwrap();
        let mut connection = scene.accept().await;
        for _ in 0..100 {
            stranger.send(&block, 0).unwrap();
        }
        // The window is less than the queue: by then some of the hundred are too many. Others go on meanwhile.
        scene.honest_round_trip().await;
        let mut bytes = 0;
        let error = loop {
            match within("the end of a peer that sends too much", connection.receiver.recv()).await {
                Ok(received) => bytes += received.expect("no orderly end").1.len(),
                Err(error) => break error,
            }
            assert!(bytes <= limits().queue_bytes_max, "{bytes} bytes came through");
        };
        assert!(error.to_string().contains("window"), "{error}");
    }
}

#[tokio::test]
async fn bad_hellos_are_reported_and_answered() {
    for secure in [false, true] {
        let context = zmq::Context::new();
        let mut scene = Scene::new(secure).await;
        let mut other_version = hello(secure);
        other_version[5] = 9;
        for bad in [b"GET / HTTP/1.1".to_vec(), hello(!secure), other_version, vec![0x20, 1], vec![7]] {
            let stranger = scene.stranger(&context);
            stranger.send(&bad, 0).unwrap();
            stranger.set_rcvtimeo(20_000).unwrap();
            let answer = tokio::task::spawn_blocking(move || stranger.recv_bytes(0)).await.unwrap().unwrap();
            assert_eq!(answer[0], 3, "a bad hello was answered with {answer:?}");
        }
        scene.honest_round_trip().await;
    }
}

/// Bytes that are no ZMTP, or a ZMTP so old that it knows no handshake, leave nothing behind that counts as pending.
#[tokio::test]
async fn strangers_who_went_do_not_wait_for_admission() {
    const STRANGERS: usize = 600;
    let zmtp_2 = b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\x03abc\0\0";
    let zmtp_1 = b"\x04\0abc\x01\0";
    for secure in [false, true] {
        let mut scene = Scene::new(secure).await;
        assert!(STRANGERS > limits().pending_max, "else nothing is shown");
        for number in 0..STRANGERS {
            let mut name = format!("{number:03}").into_bytes();
            let bytes: &mut [u8] = &mut [&zmtp_1[..], b"GET / HTTP/1.1\r\n", &zmtp_2[..]][number % 3].to_vec();
            if let Some(at) = bytes.windows(3).position(|window| window == b"abc") {
                bytes[at..at + 3].swap_with_slice(&mut name);
            }
            let mut stream = tokio::net::TcpStream::connect(scene.listener.endpoint().authority()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            // Read to its end: libzmq has then seen all of it.
            let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
        }
        scene.honest_round_trip().await;
    }
}

#[tokio::test]
async fn a_hello_that_does_not_come_is_not_waited_for() {
    let context = zmq::Context::new();
    let limits = Limits { handshake_timeout: Duration::from_millis(300), ..limits() };
    let options = ListenOptions { limits, ..ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone)) };
    let mut listener = ZmqTransport.bind(&"zmq://127.0.0.1:0".parse().unwrap(), &options).await.unwrap();
    let silent = context.socket(zmq::DEALER).unwrap();
    silent.connect(&format!("tcp://{}", listener.endpoint().authority())).unwrap();
    let told = within("the report", listener.accept()).await;
    assert!(matches!(told, Err(Error::Timeout { after_ms: 300, .. })), "{told:?}");
}
