//! What a waiting task takes in memory at the server, beside its payload: counted in a process that has a whole server, for both
//! engines. Whoever submits is a bare connection that keeps nothing.
//!
//! There are just more tasks than the tables of the queue and of the session had room for, so that these have doubled, and
//! half of them stands empty: there is no number of tasks at which each takes more.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{CRITICAL, FAILURE, Header, REPLY, Run, encode, to_cbor};
use sinew_taskqueue::{
    Engine, JournalEngine, Level, MemoryEngine, QueueConfig, SERVICE, TaskEngineOptions, TaskLimits, TaskOptions,
};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use sinew_testkit::wire::{Hello, say_hello, send};
use sinew_transport_api::{Connection, Lane};

/// Bytes that are allocated now.
static LIVE: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[allow(unsafe_code, reason = "a global allocator can only be written so; it hands everything on to the system's")]
// SAFETY: every call goes unchanged to `System`, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What was promised.
const EACH_MAX: i64 = 1_024;
const PAYLOAD_BYTES: usize = 128;
/// A table of 16,384 places takes seven eighths of that, and then has 32,768.
const TASKS: u32 = 7 * 2_048 + 1;
/// In one block.
const BLOCK: u32 = 256;
/// The verb of a submission, as the page of the wire has it.
const SUBMIT: u8 = 1;

fn record(number: u32, options: &TaskOptions) -> Bytes {
    let options = to_cbor(options);
    let queue = b"orders";
    let id = u128::from(number) << 64 | 7;
    let length = (options.len() as u16).to_le_bytes();
    let head = [&[queue.len() as u8][..], queue, &id.to_be_bytes(), &[1, 0], &length, &options].concat();
    encode(Header { service: SERVICE, verb: SUBMIT, flags: CRITICAL, call: number }, &head, &[7; PAYLOAD_BYTES])
}

/// Submits so many tasks, and waits until each was accepted.
async fn submit(peer: &mut Connection, numbers: std::ops::Range<u32>, options: impl Fn(u32) -> TaskOptions) {
    for first in numbers.clone().step_by(BLOCK as usize) {
        let mut left = first..numbers.end.min(first + BLOCK);
        let mut waited = left.len();
        let block: Vec<u8> = left.by_ref().flat_map(|number| record(number, &options(number))).collect();
        send(peer, Lane(1), block.into()).await.unwrap();
        while waited > 0 {
            let (_, block) = soon("answers", peer.receiver.recv()).await.unwrap().expect("it goes on");
            for answer in Run::parse(&block).unwrap().filter(|record| record.header.service == SERVICE) {
                let header = answer.header;
                assert_eq!((header.verb, header.flags & (REPLY | FAILURE)), (SUBMIT, REPLY), "{:?}", answer.body());
                waited -= 1;
            }
        }
    }
}

/// Bytes for each waiting task beside its payload.
async fn each(engine: Arc<dyn Engine>, level: Level, options: impl Fn(u32) -> TaskOptions) -> i64 {
    engine.create(&"orders".parse().unwrap(), &QueueConfig { level, ..QueueConfig::default() }).await.unwrap();
    let mut setup = Setup::on(&Net::default(), "mem://here");
    let server = setup.serve_tasks_on(engine, TaskLimits::default()).await;
    let mut peer = setup.raw(0).await;
    say_hello(&mut peer, &Hello::default()).await.unwrap().expect("a welcome");
    // What is there once, whether one waits or many.
    submit(&mut peer, 1..1 + BLOCK, &options).await;
    let before = LIVE.load(Ordering::Relaxed);
    submit(&mut peer, 1 + BLOCK..1 + TASKS, &options).await;
    let taken = LIVE.load(Ordering::Relaxed) - before;
    drop(peer);
    server.abort().await;
    taken / i64::from(TASKS - BLOCK) - PAYLOAD_BYTES as i64
}

fn plain(_: u32) -> TaskOptions {
    TaskOptions { queueing: true, ..TaskOptions::default() }
}

/// One of which the queue has much to remember.
fn rich(number: u32) -> TaskOptions {
    TaskOptions {
        tags: vec!["gpu".into()],
        deadline: Some(Duration::from_secs(3_600)),
        idempotency_key: Some(format!("order-{number:010}")),
        ..plain(number)
    }
}

#[tokio::test]
async fn a_waiting_task_takes_at_most_a_kibibyte_beside_its_payload() {
    let folder = tempfile::tempdir().unwrap();
    let stored = |name| JournalEngine::open(folder.path().join(name), TaskEngineOptions::default()).unwrap();
    for (name, options) in [("plain", plain as fn(u32) -> TaskOptions), ("rich", rich)] {
        let memory = each(Arc::new(MemoryEngine::new()), Level::Memory, options).await;
        let disk = each(Arc::new(stored(name)), Level::Fsynced, options).await;
        println!("{name}: {memory} bytes in memory, {disk} in memory where it is on disk too");
        for bytes in [memory, disk] {
            assert!(bytes <= EACH_MAX, "{bytes} bytes for each waiting task beside its payload ({name})");
        }
    }
}
