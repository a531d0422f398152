//! Peers that speak QUIC and break our rules: each is ended by a typed error, and the listener goes on.

mod pair;
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;

use pair::{Pair, recv, within};
use sinew_auth::{AdmitEveryone, Identity};
use sinew_transport_api::{
    ConnectOptions, Connection, Error, Lane, Limits, ListenOptions, Listener, Security, Transport,
};
use sinew_transport_quic::Quic;

async fn open_listener(limits: Limits) -> Box<dyn Listener> {
    let options = ListenOptions { limits, ..ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone)) };
    Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &options).await.unwrap()
}

fn address(listener: &dyn Listener) -> SocketAddr {
    listener.endpoint().authority().parse().unwrap()
}

/// What the listener's end is told of a peer that opens these streams with these bytes, and how that peer is closed.
async fn told(streams: &[&[u8]]) -> (Error, u64) {
    let mut listener = open_listener(Limits::default()).await;
    let address = address(&*listener);
    let (raw, server) = tokio::join!(within(raw::connect_open(address)), within(listener.accept()));
    let (raw, mut server) = (raw.unwrap(), server.unwrap());
    let mut open = Vec::new();
    for bytes in streams {
        let mut stream = raw.open_uni().await.unwrap();
        // It may be cut off before everything is said.
        let _ = stream.write_all(bytes).await;
        open.push(stream);
    }
    let error = within(async {
        loop {
            match server.receiver.recv().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an orderly end"),
                Err(error) => return error,
            }
        }
    })
    .await;
    let code = match within(raw.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other:?}"),
    };
    honest(&mut listener).await;
    (error, code)
}

async fn honest(listener: &mut Box<dyn Listener>) {
    let endpoint = listener.endpoint().clone();
    let options = ConnectOptions::new(Security::Plaintext, None);
    let (client, server) = tokio::join!(within(Quic.connect(&endpoint, &options)), within(listener.accept()));
    Pair { client: client.unwrap(), server: server.unwrap() }.round_trip(Lane::CONTROL).await;
}

async fn check(streams: &[&[u8]], rule: &str) {
    match told(streams).await {
        (Error::Protocol { why, .. }, 3) => assert!(why.contains(rule), "{streams:?}: {why}"),
        other => panic!("{streams:?}: {other:?}"),
    }
}

#[tokio::test]
async fn broken_rules_are_named() {
    check(&[b"\x00\x00\x00\x00\x00"], "an empty block").await;
    check(&[b"\x00\x01\x00\x04\x00"], "262145 bytes").await;
    check(&[b"\x05\xff\xff\xff\xff"], "4294967295 bytes").await;
    check(&[b"\x03\x01\0\0\0x", b"\x03\x01\0\0\0x"], "lane 3 twice").await;
    check(&[b"\x20\x01\0\0\0x"], "no lane").await;
    check(&[b"\xff\x02\x04\0\0\0\0", b"\xff"], "two streams for words").await;
    check(&[b"\xff\x02\x01\0"], "goodbye is too short").await;
    check(&[b"\xff\x02\x04\x02\0\0\0\x02\x04\x02\0\0\0"], "goodbye twice").await;
    check(&[&[&[255][..], &[99; 2000]].concat()], "1024 bytes in words").await;
}

#[tokio::test]
async fn a_stream_that_ends_within_a_block_or_without_a_number_is_a_fault() {
    let mut listener = open_listener(Limits::default()).await;
    let address = address(&*listener);
    for bytes in [&b"\x00\x05\x00\x00\x00abc"[..], b"\x00\x05", b""] {
        let (raw, server) = tokio::join!(within(raw::connect_open(address)), within(listener.accept()));
        let (raw, mut server) = (raw.unwrap(), server.unwrap());
        let mut stream = raw.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.finish().unwrap();
        let error = within(server.receiver.recv()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{bytes:?}: {error:?}");
    }
    honest(&mut listener).await;
}

#[tokio::test]
async fn blocks_that_are_sent_before_admission_come_after_it() {
    let mut listener = open_listener(Limits::default()).await;
    let address = address(&*listener);
    let raw = within(raw::connect_open(address)).await.unwrap();
    let mut stream = raw.open_uni().await.unwrap();
    stream.write_all(b"\x00\x05\x00\x00\x00hello").await.unwrap();
    let Connection { mut receiver, .. } = within(listener.accept()).await.unwrap();
    assert_eq!(recv(&mut receiver).await, (Lane::CONTROL, "hello".into()));
}

#[tokio::test]
async fn streams_beyond_those_of_lanes_are_not_to_be_had() {
    let mut listener = open_listener(Limits::default()).await;
    let address = address(&*listener);
    let (raw, server) = tokio::join!(within(raw::connect_open(address)), within(listener.accept()));
    let (raw, _server) = (raw.unwrap(), server.unwrap());
    let mut held = Vec::new();
    for _ in 0..33 {
        held.push(within(raw.open_uni()).await.unwrap());
    }
    let more = std::pin::pin!(raw.open_uni());
    assert!(futures_ready(more).is_none(), "a thirty-fourth stream");
    let both_ways = std::pin::pin!(raw.open_bi());
    assert!(futures_ready(both_ways).is_none(), "a stream in both directions");
    honest(&mut listener).await;
}

/// The output of a future that is ready now.
fn futures_ready<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_secured_peer_that_breaks_a_rule_is_named_too() {
    let (server_identity, client) = (Arc::new(Identity::generate()), Identity::generate());
    let options = pair::listen_options(&server_identity);
    let mut listener = Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &options).await.unwrap();
    let address = address(&*listener);
    let connecting = raw::connect_secured(address, &client, &server_identity);
    let (raw, server) = tokio::join!(within(connecting), within(listener.accept()));
    let (raw, mut server) = (raw.unwrap(), server.unwrap());
    assert_eq!(server.peer.key, Some(client.public_key().into()));
    let mut stream = raw.open_uni().await.unwrap();
    stream.write_all(&[0; 64]).await.unwrap();
    let error = within(server.receiver.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_ours_is_no_server() {
    // It completes the handshake and then says something else.
    let config = sinew_auth::tls_open_server_config(&[b"sinew-open/1"]);
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config).unwrap();
    let server =
        quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), "127.0.0.1:0".parse().unwrap())
            .unwrap();
    let endpoint = format!("quic://{}", server.local_addr().unwrap()).parse().unwrap();
    for said in [&b"\x00hello"[..], b"\xff\x03\x00", b"\xff\x02\x00", b"\xff"] {
        let options = ConnectOptions::new(Security::Plaintext, None);
        let serving = async {
            let quic = server.accept().await.unwrap().await.unwrap();
            let mut stream = quic.open_uni().await.unwrap();
            stream.write_all(said).await.unwrap();
            stream.finish().unwrap();
            quic.closed().await
        };
        let (error, _) = within(async { tokio::join!(Quic.connect(&endpoint, &options), serving) }).await;
        assert!(matches!(error, Err(Error::Protocol { .. })), "{said:?}: {error:?}");
    }
}
