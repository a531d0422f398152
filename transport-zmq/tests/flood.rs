//! Peers that take places, time and memory: each is ended underneath, by its TCP connection, and honest ones get in.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_auth::{AdmitEveryone, Identity};
use sinew_transport_api::{
    Block, ConnectOptions, Connection, Lane, Limits, ListenOptions, Listener, Security, Transport,
};
use sinew_transport_zmq::ZmqTransport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let waited = tokio::time::timeout(Duration::from_secs(60), future).await;
    waited.unwrap_or_else(|_| panic!("waited 60 s for {what}"))
}

/// What every peer of ZMTP 3 says first, and then with the mechanism NULL (ZeroMQ RFC 23).
const GREETING: &[u8; 64] = &{
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[8] = 1;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    let null = b"NULL";
    let mut at = 0;
    while at < null.len() {
        greeting[12 + at] = null[at];
        at += 1;
    }
    greeting
};
const READY: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
const HELLO: &[u8] = b"\0\x0f\x01SNEW\x01\x00\x00\x20\x00\x00\x00\xe0\x00\x00";

fn limits() -> Limits {
    let handshake_timeout = Duration::from_secs(20);
    Limits { block_bytes_max: 8 * 1024, queue_bytes_max: 64 * 1024, handshake_timeout, ..Limits::default() }
}

async fn listen(secure: Option<&Arc<Identity>>, limits: Limits) -> Box<dyn Listener> {
    let security = secure.map_or(Security::Plaintext, |identity| Security::Identity(identity.clone()));
    let options = ListenOptions { limits, ..ListenOptions::new(security, Arc::new(AdmitEveryone)) };
    ZmqTransport.bind(&"zmq://127.0.0.1:0".parse().unwrap(), &options).await.unwrap()
}

async fn stream(listener: &dyn Listener) -> TcpStream {
    within("a TCP connection", TcpStream::connect(listener.endpoint().authority())).await.unwrap()
}

/// A peer that has done its handshake and says `bytes`.
async fn peer(listener: &dyn Listener, bytes: &[u8]) -> TcpStream {
    let mut stream = stream(listener).await;
    stream.write_all(&[GREETING, READY].concat()).await.unwrap();
    // The other side's greeting, and its READY: what comes before that is no message yet.
    let mut head = [0; 64 + 2];
    within("the handshake", stream.read_exact(&mut head)).await.unwrap();
    let mut rest = vec![0; usize::from(head[65])];
    within("READY", stream.read_exact(&mut rest)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Reads until the listener's side has ended.
async fn ended(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    // A reset is an end as well.
    while let Ok(1..) = within("the end of the TCP connection", stream.read(&mut buffer)).await {}
}

/// Until one of them has ended. A peer hears of the end by what it reads; a write that waits for room may hear of it much later.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

async fn accept(listener: &mut Box<dyn Listener>) -> Connection {
    loop {
        match within("accept", listener.accept()).await {
            Ok(connection) => return connection,
            Err(error) => assert!(error.is_about_one_peer(), "{error}"),
        }
    }
}

async fn honest(listener: &mut Box<dyn Listener>, secure: Option<&Arc<Identity>>) -> Connection {
    let client = Arc::new(Identity::generate());
    let security = secure.map_or(Security::Plaintext, |_| Security::Identity(client));
    let options =
        ConnectOptions { limits: limits(), ..ConnectOptions::new(security, secure.map(|key| key.public_key())) };
    let endpoint = listener.endpoint().clone();
    let (client, mut server) = tokio::join!(ZmqTransport.connect(&endpoint, &options), accept(listener));
    let mut client = client.unwrap();
    let hello = Bytes::from_static(b"hello");
    assert!(client.sender.try_send(Lane::CONTROL, &mut Block::from(hello.clone())).unwrap());
    assert_eq!(within("a block", server.receiver.recv()).await.unwrap(), Some((Lane::CONTROL, hello)));
    server
}

#[tokio::test]
async fn silent_peers_make_room_for_honest_ones() {
    let identity = Arc::new(Identity::generate());
    for secure in [None, Some(&identity)] {
        for (pending_max, pending_per_address_max) in [(5, 1_000), (1_000, 5)] {
            let mut listener = listen(secure, Limits { pending_max, pending_per_address_max, ..limits() }).await;
            // Some say nothing, some half of a greeting, some all of it.
            let mut silent = Vec::new();
            for number in 0..30 {
                let mut stream = stream(&*listener).await;
                stream.write_all([&b""[..], &GREETING[..20], GREETING][number % 3]).await.unwrap();
                silent.push(stream);
            }
            // Those who went before the handshake's time is over went for others.
            for stream in silent.drain(..25) {
                ended(stream).await;
            }
            honest(&mut listener, secure).await;
            drop(silent);
        }
    }
}

#[tokio::test]
async fn a_refused_peer_does_not_keep_its_connection() {
    let mut listener = listen(None, limits()).await;
    for said in [&b"\0\x05GET /"[..], b"\0\x01\x07", b"\x01\x01a\0\x01b"] {
        ended(peer(&*listener, said).await).await;
    }
    honest(&mut listener, None).await;
}

#[tokio::test]
async fn who_never_says_hello_does_not_keep_its_connection() {
    let mut listener = listen(None, Limits { handshake_timeout: Duration::from_millis(100), ..limits() }).await;
    // One says nothing after the handshake; the other sends parts of a message that never ends, of which nobody is told.
    let silent = peer(&*listener, b"").await;
    let endless = peer(&*listener, b"\x01\x01a").await;
    let (mut reading, mut writing) = endless.into_split();
    let parts = async move { while writing.write_all(&[b"\x01\xff".as_slice(), &[7; 255]].concat()).await.is_ok() {} };
    let reads = async move { while let Ok(1..) = reading.read(&mut [0; 64]).await {} };
    let both = async { tokio::join!(ended(silent), either(parts, reads)) };
    within("both ends", both).await;
    honest(&mut listener, None).await;
}

#[tokio::test]
async fn who_floods_against_the_window_does_not_keep_its_connection() {
    let mut listener = listen(None, limits()).await;
    let flooding = peer(&*listener, HELLO).await;
    let _connection = accept(&mut listener).await;
    let (mut reading, mut writing) = flooding.into_split();
    let block = [&b"\x02\0\0\0\0\0\0\x20\0\x20"[..], &[7; 0x1fff]].concat();
    let flood = async move { while writing.write_all(&block).await.is_ok() {} };
    let reads = async move { while let Ok(1..) = reading.read(&mut [0; 64]).await {} };
    within("the end of a flood", either(flood, reads)).await;
    honest(&mut listener, None).await;
}

#[tokio::test]
async fn a_dropped_connection_ends_underneath_though_the_peer_talks_on() {
    let mut listener = listen(None, limits()).await;
    let deaf = peer(&*listener, HELLO).await;
    drop(accept(&mut listener).await);
    ended(deaf).await;
    honest(&mut listener, None).await;
}

#[tokio::test]
async fn a_peer_is_known_by_its_port() {
    let mut listener = listen(None, limits()).await;
    let stream = peer(&*listener, HELLO).await;
    let ours: SocketAddr = stream.local_addr().unwrap();
    assert_eq!(accept(&mut listener).await.peer.address, ours.to_string());
}
