//! Hostile input, over any transport: after an admission with good credentials, and before one by bare bytes.

use std::time::Duration;

use bytes::Bytes;
use sinew_bus::SERVICE;
use sinew_session::{CRITICAL, CallHead, Header, REPLY, Server, encode, to_cbor};
use sinew_transport_api::{Connection, Endpoint, Lane};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::random::Random;
use crate::scenarios;
use crate::setup::{Setup, soon};
use crate::tap::verb as bus;
use crate::wire::{self, Hello, SESSION, say_hello, send, session_record};

/// Rounds between two honest round trips.
const HONEST_EVERY: usize = 100;
/// How long a round may wait for the server's answer: only so that both sides get a turn.
const TURN: Duration = Duration::from_millis(1);

#[derive(serde::Serialize)]
struct Subscribe {
    pattern: String,
    window_bytes: u64,
    used_bytes: u64,
    queue_records_max: u64,
    queue_bytes_max: u64,
    cursor: Option<u64>,
}

/// `rounds` of nonsense by admitted peers. The server stays, and serves honest peers after each hundred.
///
/// # Panics
/// If it does not.
pub async fn after_admission(setup: &Setup, server: &Server, index: usize, seed: u64, rounds: usize) {
    let mut random = Random::new(seed);
    let mut connection = None;
    for round in 0..rounds {
        let mut peer = match connection.take() {
            Some(peer) => peer,
            None => newcomer(setup, index, &mut random).await,
        };
        let lane = Lane(random.below(2) as u8);
        // Whether the server has had enough of this peer is its own affair; the next one is there at once.
        if send(&mut peer, lane, nonsense(&mut random)).await.is_ok()
            && !random.once_in(20)
            && let Err(_) | Ok(Ok(Some(_))) = timeout(TURN, peer.receiver.recv()).await
        {
            connection = Some(peer);
        }
        if round % HONEST_EVERY == HONEST_EVERY - 1 {
            scenarios::round_trip(setup, index).await;
        }
    }
    drop(connection);
    assert!(server.connections() <= rounds / HONEST_EVERY + 10, "{} connections", server.connections());
}

/// `rounds` of bare bytes at the server's port, by TCP or UDP.
///
/// # Panics
/// If the server does not serve honest peers after each hundred.
pub async fn before_admission(setup: &Setup, index: usize, seed: u64, rounds: usize) {
    let mut random = Random::new(seed);
    let endpoint = setup.endpoints[index].clone();
    for round in 0..rounds {
        let bound = [20, 64, 1_200][random.below(3)];
        let size = random.below(bound);
        let mut bytes = random.bytes(size);
        if random.once_in(2) {
            imitate(&endpoint, &mut bytes, &mut random);
        }
        throw(&endpoint, &bytes).await;
        if round % HONEST_EVERY == HONEST_EVERY - 1 {
            scenarios::round_trip(setup, index).await;
        }
    }
}

/// The first bytes of what the port expects, so that not everything ends at the first one.
fn imitate(endpoint: &Endpoint, bytes: &mut [u8], random: &mut Random) {
    let zmtp: &[u8] = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let quic: &[u8] = &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x41, 0];
    let start = if endpoint.scheme() == "quic" { quic } else { zmtp };
    let length = random.below(start.len() + 1).min(bytes.len());
    bytes[..length].copy_from_slice(&start[..length]);
}

async fn throw(endpoint: &Endpoint, bytes: &[u8]) {
    let address = endpoint.authority();
    if endpoint.scheme() == "quic" {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let _ = socket.send_to(bytes, &address).await;
    } else {
        let mut stream = soon("connecting", TcpStream::connect(&address)).await.expect("the port is open");
        let _ = timeout(crate::setup::PATIENCE, stream.write_all(bytes)).await;
    }
}

/// A peer that says hello, twice hello, or something else first.
async fn newcomer(setup: &Setup, index: usize, random: &mut Random) -> Connection {
    let mut connection = soon("a place for a hostile peer", async {
        loop {
            // A listener may have its hands full of those before: that is one of its limits, and no harm.
            match setup.try_raw(index).await {
                Ok(connection) => return connection,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(TURN).await;
        }
    })
    .await;
    match random.below(10) {
        0 => drop(send(&mut connection, Lane::CONTROL, nonsense(random)).await),
        1 => {
            let size = 1 + random.below(3_000);
            drop(send(&mut connection, Lane::CONTROL, random.bytes(size).into()).await);
        }
        2 => {
            let mut hello = wire::hello(&Hello::default()).to_vec();
            let at = random.below(hello.len());
            hello[at] ^= 1 << random.below(8);
            drop(send(&mut connection, Lane::CONTROL, hello.into()).await);
        }
        _ => drop(say_hello(&mut connection, &Hello::default()).await),
    }
    connection
}

fn nonsense(random: &mut Random) -> Bytes {
    let call = [0, 1, 7, u32::MAX][random.below(4)];
    let header = |service, verb, flags| Header { service, verb, flags, call };
    let byte = random.bits() as u8;
    match random.below(16) {
        0 => {
            let size = 1 + random.below(2_000);
            random.bytes(size).into()
        }
        1 => {
            let whole = encode(header(SERVICE, bus::PUBLISH, 0), b"\x01\0a", b"body");
            whole.slice(..1 + random.below(whole.len() - 1))
        }
        2 => {
            let (verb, flags) = (random.bits() as u8, random.bits() as u8);
            encode(header(byte, verb, flags), &random.bytes(9), &random.bytes(30))
        }
        3 => {
            // A record that claims to be giant.
            let mut claim = encode(header(SERVICE, bus::PUBLISH, 0), b"", b"").to_vec();
            claim[..4].copy_from_slice(&(random.bits() as u32).to_le_bytes());
            claim.into()
        }
        4 => {
            let head = [(random.bits() as u32).to_le_bytes(), (random.below(300) as u32).to_le_bytes()].concat();
            session_record(wire::verb::FRAGMENT, byte & 8, 0, &head, &random.bytes(40))
        }
        5 => {
            // A fragment that begins a record of 8 MiB and is not continued.
            let head = [(8_u32 << 20).to_le_bytes(), [0; 4]].concat();
            session_record(wire::verb::FRAGMENT, 0, 0, &head, &random.bytes(2_000))
        }
        6 => wire::hello(&Hello::default()),
        7 => {
            let ask = |random: &mut Random| Subscribe {
                pattern: ["a", ">", "*.b", "", "a..b", "$KV.x", "\u{0}"][random.below(7)].into(),
                window_bytes: random.bits(),
                used_bytes: random.bits(),
                queue_records_max: random.bits(),
                queue_bytes_max: random.bits(),
                cursor: Some(random.bits()).filter(|cursor| cursor % 2 == 0),
            };
            let head = to_cbor(&CallHead::default());
            let mut block = Vec::new();
            for _ in 0..1 + random.below(300) {
                let call = random.bits() as u32;
                let header = Header { service: SERVICE, verb: bus::SUBSCRIBE, flags: CRITICAL, call };
                block.extend_from_slice(&encode(header, &head, &to_cbor(&ask(random))));
            }
            block.into()
        }
        8 => encode(header(SERVICE, bus::GRANT, 0), &u64::MAX.to_le_bytes(), b""),
        9 => encode(header(SERVICE, bus::UNSUBSCRIBE, CRITICAL), &to_cbor(&CallHead::default()), b"\xa1\x66number\x07"),
        10 => {
            let subject: &[u8] = [&b"$SYS"[..], b"", b"a b", b"a.", b"\xff\xfe", b"a.*"][random.below(6)];
            let length = [(subject.len() as u16).to_le_bytes(), [byte, 0]][random.below(2)];
            encode(header(SERVICE, bus::PUBLISH, 0), &[&length, subject].concat(), &random.bytes(20))
        }
        11 => encode(header(SERVICE, bus::SUBSCRIBE, REPLY), b"", b"never asked"),
        12 => session_record(wire::verb::FLUSH, CRITICAL, random.bits() as u32, b"", &[byte]),
        13 => session_record(wire::verb::CANCEL, 0, call, b"", b""),
        14 => {
            let mut block = Vec::new();
            for _ in 0..200 {
                block.extend_from_slice(&encode(header(SESSION, byte, CRITICAL), b"", b""));
            }
            block.into()
        }
        _ => session_record(wire::verb::GOODBYE, 0, 0, b"", &[byte]),
    }
}
