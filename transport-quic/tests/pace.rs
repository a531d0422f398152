//! Strangers in numbers: handshakes begin no faster than the limit says, and who proves its address comes in.

mod pair;
mod raw;

use std::sync::Arc;
use std::time::Instant;

use pair::{Pair, within};
use sinew_auth::AdmitEveryone;
use sinew_transport_api::{ConnectOptions, Endpoint, Lane, Limits, ListenOptions, Listener, Security, Transport};
use sinew_transport_quic::Quic;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Of a packet's first byte (RFC 9000, section 17.2).
const TYPE_BITS: u8 = 0x30;
/// Retry, in these bits.
const RETRY: u8 = 0x30;

async fn listen(handshakes_per_second_max: usize) -> (Box<dyn Listener>, Endpoint) {
    let limits = Limits { handshakes_per_second_max, ..Limits::default() };
    let options = ListenOptions { limits, ..ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone)) };
    let listener = Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &options).await.unwrap();
    let endpoint = listener.endpoint().clone();
    (listener, endpoint)
}

/// Whether a stranger that says no more than a first packet is asked for a proof of its address.
async fn is_asked_for_proof(endpoint: &Endpoint) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let packet = within(raw::first_packet()).await;
    socket.send_to(&packet, endpoint.authority()).await.unwrap();
    let mut answer = [0; 2_048];
    let (size, _) = within(socket.recv_from(&mut answer)).await.unwrap();
    assert!(size > 0);
    answer[0] & TYPE_BITS == RETRY
}

#[tokio::test]
async fn strangers_beyond_the_pace_are_asked_for_a_proof_and_others_come_in_meanwhile() {
    let (mut listener, endpoint) = listen(10).await;
    let start = Instant::now();
    let mut begun = 0;
    for _ in 0..40 {
        begun += u64::from(!is_asked_for_proof(&endpoint).await);
    }
    // Four at once, and then one a second.
    assert!((4..=5 + start.elapsed().as_secs()).contains(&begun), "{begun} began");
    let options = ConnectOptions::new(Security::Plaintext, None);
    let (client, server) = tokio::join!(within(Quic.connect(&endpoint, &options)), within(listener.accept()));
    Pair { client: client.unwrap(), server: server.unwrap() }.round_trip(Lane::CONTROL).await;
}

#[tokio::test]
async fn many_clients_at_once_come_in_one_after_the_other() {
    const CLIENTS: u32 = 30;
    const PER_SECOND: u32 = 50;
    let (mut listener, endpoint) = listen(PER_SECOND as usize).await;
    let start = Instant::now();
    let mut connecting = JoinSet::new();
    for _ in 0..CLIENTS {
        let endpoint = endpoint.clone();
        connecting.spawn(async move {
            let options = ConnectOptions::new(Security::Plaintext, None);
            Quic.connect(&endpoint, &options).await
        });
    }
    let mut accepted = Vec::new();
    for _ in 0..CLIENTS {
        accepted.push(within(listener.accept()).await.unwrap());
    }
    // Eight of them at once.
    let least = f64::from(CLIENTS - 8) / f64::from(PER_SECOND);
    assert!(start.elapsed().as_secs_f64() >= least, "{:?}", start.elapsed());
    for client in within(connecting.join_all()).await {
        client.unwrap();
    }
}
