//! Counts allocations on the way of a get through a server whose engine has the value in memory: block in, looked up,
//! packed, block out.
//!
//! Everything in the process is counted, the `mem` transport and the bare client included. What is paid once for a block
//! (its list of chunks, a boxed future) is spread over the hundreds of gets in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sinew_kvstore::{BucketConfig, Engine, Key, KvEngineOptions, KvLimits, MemoryEngine, SERVICE, SimulatedData};
use sinew_session::{CRITICAL, Header, Lane, REPLY, Run, encode};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
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

/// Gets in a block.
const BLOCK: usize = 500;
/// Blocks that are counted, and those before that.
const ROUNDS: usize = 200;
const WARM_UP: usize = 20;
/// Allocations for each get, at most. Measured: 0.017, which is what a block costs, spread over its gets.
const EACH_MAX: f64 = 0.05;
/// The verb of a get, written down a second time.
const GET: u8 = 1;

/// A get as `docs/WIRE.md` has it: a key head, and the bucket, a dot and the key as one text.
fn get(number: usize) -> Vec<u8> {
    let (bucket, key) = ("config", ["lights.hall", "lights.door", "nobody.knows"][number % 3]);
    let head = [&[bucket.len() as u8, key.len() as u8][..], format!("{bucket}.{key}").as_bytes()].concat();
    encode(Header { service: SERVICE, verb: GET, flags: CRITICAL, call: number as u32 + 10 }, &head, b"").to_vec()
}

/// Reads so many answers; says how many of them are replies of the store.
async fn answers(connection: &mut Connection, count: usize) -> usize {
    let (mut read, mut replies) = (0, 0);
    while read < count {
        let (_, block) = soon("a block", connection.receiver.recv()).await.unwrap().expect("it goes on");
        let run = Run::parse(&block).unwrap();
        for record in run.filter(|record| record.header.service == SERVICE) {
            read += 1;
            replies += usize::from(record.header.verb == GET && record.header.flags == REPLY);
        }
    }
    replies
}

async fn allocations_for_each(engine: Arc<dyn Engine>) -> f64 {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let _server = setup.serve_kv_on(engine, KvLimits::default()).await;
    let mut peer = setup.raw(0).await;
    say_hello(&mut peer, &Hello::default()).await.unwrap().expect("a welcome");
    let block = Bytes::from((0..BLOCK).flat_map(get).collect::<Vec<u8>>());
    let mut before = 0;
    for round in 0..WARM_UP + ROUNDS {
        if round == WARM_UP {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        send(&mut peer, Lane(1), block.clone()).await.unwrap();
        assert_eq!(answers(&mut peer, BLOCK).await, BLOCK, "each is answered");
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    allocations as f64 / (ROUNDS * BLOCK) as f64
}

/// Puts what the gets ask for. `step` is called once each write waits.
async fn fill(engine: &dyn Engine, step: impl Fn()) {
    let name = "config".parse().expect("a name of this test");
    engine.create(&name, &BucketConfig::default()).await.expect("it is made");
    let bucket = engine.bucket(&name).await.expect("it is there");
    for text in ["lights.hall", "lights.door"] {
        let key: Key = text.parse().expect("a key of this test");
        let operation = sinew_kvstore::Operation::Put { value: Bytes::from(vec![7; 100]), time_to_live: None };
        let actions = vec![sinew_kvstore::Action { key, operation }];
        let (told, done) = tokio::sync::oneshot::channel();
        let write = sinew_kvstore::Write { id: None, conditions: Vec::new(), actions };
        bucket.write(write, Box::new(move |written| drop(told.send(written))));
        step();
        done.await.expect("it is answered").expect("it is written");
    }
    // What is not there is known without the disk once it was looked for.
    let absent = "nobody.knows".parse().expect("a key of this test");
    assert_eq!(bucket.load(&[absent]).await.expect("it is read"), [None]);
}

/// In one test: what others do would be counted with it.
#[tokio::test(start_paused = true)]
async fn a_get_of_what_is_in_memory_costs_no_allocation() {
    let engine = Arc::new(MemoryEngine::default());
    fill(&*engine, || ()).await;
    let in_memory = allocations_for_each(engine).await;
    let data = SimulatedData::new(1);
    let engine = Arc::new(data.open(KvEngineOptions::default()).expect("nobody else has it"));
    fill(&*engine, || assert!(engine.step() > 0)).await;
    let on_disk = allocations_for_each(engine).await;
    println!("{in_memory:.4} allocations for each get in memory, {on_disk:.4} on disk with the value in memory");
    assert!(in_memory < EACH_MAX, "{in_memory:.4} allocations for each get in memory");
    assert!(on_disk < EACH_MAX, "{on_disk:.4} allocations for each get on disk");
}
