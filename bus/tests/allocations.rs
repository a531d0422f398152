//! Counts allocations on the way of a message through a server: block in, routed, packed for a subscriber, block out.
//!
//! Everything in the process is counted, the `mem` transport and the two bare peers included. What is paid once for a
//! block (its list of chunks, a boxed future) is spread over the hundreds of messages in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::Serialize;
use sinew_bus::SERVICE;
use sinew_session::{CRITICAL, CallHead, Header, Lane, Run, encode, to_cbor};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use sinew_testkit::tap::verb;
use sinew_testkit::wire::{Hello, say_hello, send};
use sinew_transport_api::Connection;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[allow(unsafe_code, reason = "a global allocator can only be written so; it hands everything on to the system's")]
// SAFETY: every call goes unchanged to `System`, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages in a block.
const BLOCK: usize = 500;

#[derive(Serialize)]
struct Subscribe {
    pattern: &'static str,
    window_bytes: u64,
    used_bytes: u64,
    queue_records_max: u64,
    queue_bytes_max: u64,
    cursor: Option<u64>,
}

async fn subscribe(connection: &mut Connection, pattern: &'static str) {
    let ask = Subscribe {
        pattern,
        window_bytes: 8 << 20,
        used_bytes: 0,
        queue_records_max: 1_000_000,
        queue_bytes_max: 8 << 20,
        cursor: None,
    };
    let header = Header { service: SERVICE, verb: verb::SUBSCRIBE, flags: CRITICAL, call: 1 };
    let block = encode(header, &to_cbor(&CallHead::default()), &to_cbor(&ask));
    send(connection, Lane(1), block).await.unwrap();
    soon("the confirmation", connection.receiver.recv()).await.unwrap().unwrap();
}

/// Reads so many messages and grants them back, block by block.
async fn read(connection: &mut Connection, mut messages: usize) {
    while messages > 0 {
        let (_, block) = soon("a block", connection.receiver.recv()).await.unwrap().expect("it goes on");
        let run = Run::parse(&block).unwrap();
        if run.first().is_some_and(|record| record.header.service == SERVICE) {
            messages -= run.count();
            let header = Header { service: SERVICE, verb: verb::GRANT, flags: 0, call: 1 };
            let grant = encode(header, &(block.len() as u64).to_le_bytes(), b"");
            send(connection, Lane(1), grant).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_on_its_way_through_the_server_costs_no_allocation() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let _server = setup.serve_bus().await;
    let mut peers = Vec::new();
    for pattern in ["", "sensors.*.temperature", "sensors.>"] {
        let mut peer = setup.raw(0).await;
        say_hello(&mut peer, &Hello::default()).await.unwrap().expect("a welcome");
        if !pattern.is_empty() {
            subscribe(&mut peer, pattern).await;
        }
        peers.push(peer);
    }
    // Two subjects in turn, so that not every message has its predecessor's.
    let publish = |number: usize| {
        let subject: &[u8] = [&b"sensors.7.temperature"[..], b"sensors.8.temperature"][number / 5 % 2];
        let head = [&(subject.len() as u16).to_le_bytes()[..], subject].concat();
        encode(Header { service: SERVICE, verb: verb::PUBLISH, flags: 0, call: 0 }, &head, &[7; 16])
    };
    let block = Bytes::from((0..BLOCK).flat_map(publish).collect::<Vec<u8>>());
    let (rounds, warm_up) = (200, 20);
    let mut before = 0;
    for round in 0..warm_up + rounds {
        if round == warm_up {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        let [publisher, subscribers @ ..] = &mut peers[..] else { unreachable!("there are three") };
        send(publisher, Lane(1), block.clone()).await.unwrap();
        for subscriber in subscribers {
            read(subscriber, BLOCK).await;
        }
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let messages = (rounds * BLOCK) as f64;
    let each = allocations as f64 / messages;
    println!("{allocations} allocations for {messages} messages to two subscribers: {each:.4} for each message");
    assert!(each < 0.05, "{each:.4} allocations for each message");
}
