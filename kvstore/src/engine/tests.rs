//! The engine as the broker uses it, on a disk and a table in memory or real ones, with a clock in hand.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sinew_hosting::locked;
use sinew_journal::{Files, SimulatedDisk};
use sinew_session::ResourceName;

use super::clock::Clock;
use super::simulated_store::SimulatedStores;
use super::stored_bucket::StoredBucket;
use super::*;
use crate::table::Now;
use crate::{Action, BucketLimits, Key, Operation, Write, Written};

mod basics;
mod beside;
mod crash;
mod faults;
mod golden;
mod tables;

/// Where the data directory is.
const DATA: &str = "/data";
/// When tests begin, in nanoseconds since 1970.
const START: u64 = 1_700_000_000_000_000_000;

/// A clock in hand; clones are the same clock.
#[derive(Clone, Debug)]
struct HandClock {
    wall: Arc<AtomicU64>,
    steady: Arc<AtomicU64>,
}

impl HandClock {
    fn new() -> Self {
        Self { wall: Arc::new(AtomicU64::new(START)), steady: Arc::default() }
    }

    /// Time passes.
    fn advance(&self, by: Duration) {
        let nanoseconds = by.as_nanos() as u64;
        self.wall.fetch_add(nanoseconds, Ordering::Relaxed);
        self.steady.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Somebody sets the clock.
    fn set(&self, to: u64) {
        self.wall.store(to, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        Now { wall: self.wall.load(Ordering::Relaxed), steady: self.steady() }
    }

    fn steady(&self) -> u64 {
        self.steady.load(Ordering::Relaxed)
    }
}

fn name(text: &str) -> ResourceName {
    ResourceName::try_from(text).expect("a name")
}

fn key(text: &str) -> Key {
    Key::try_from(text).expect("a key")
}

/// Small in everything, and without threads: what is dirty runs when it is told to, and so does everything else.
fn small() -> KvEngineOptions {
    KvEngineOptions {
        committer_threads: 0,
        overlay_bytes_max: 6_000,
        cache_bytes_max: 9_000,
        tail_bytes_max: 1_500,
        segment_bytes_max: 4_096,
        ..KvEngineOptions::default()
    }
}

fn engine_on(files: impl Files + 'static, clock: &HandClock, stores: &SimulatedStores) -> Result<JournalEngine> {
    JournalEngine::given(Arc::new(files), Path::new(DATA), small(), Box::new(clock.clone()), Arc::new(stores.clone()))
}

/// A disk, its tables, a clock, and an engine on them with a bucket.
fn bucket_with(config: &BucketConfig) -> (SimulatedDisk, HandClock, JournalEngine, Arc<StoredBucket>) {
    let (disk, clock) = (SimulatedDisk::new(1), HandClock::new());
    let engine = engine_on(disk.clone(), &clock, &SimulatedStores::new(&disk)).expect("opened");
    engine.create_now(&name("b"), config).expect("created");
    let bucket = engine.opened(&name("b")).expect("opened");
    (disk, clock, engine, bucket)
}

fn put(of: &str, value: impl Into<Vec<u8>>) -> Write {
    let operation = Operation::Put { value: value.into().into(), time_to_live: None };
    Write { actions: vec![Action { key: key(of), operation }], ..Write::default() }
}

fn put_for(of: &str, value: impl Into<Vec<u8>>, milliseconds: u64) -> Write {
    let time_to_live = Some(Duration::from_millis(milliseconds));
    let operation = Operation::Put { value: value.into().into(), time_to_live };
    Write { actions: vec![Action { key: key(of), operation }], ..Write::default() }
}

fn delete(of: &str) -> Write {
    Write { actions: vec![Action { key: key(of), operation: Operation::Delete }], ..Write::default() }
}

/// An answer that comes later.
#[derive(Clone, Debug)]
struct Later(Arc<Mutex<Option<Result<Written>>>>);

impl Later {
    /// `None` while there is no answer yet.
    fn answer(&self) -> Option<Result<Written>> {
        locked(&self.0).take()
    }
}

fn write(bucket: &StoredBucket, write: Write) -> Later {
    let later = Later(Arc::default());
    let cell = later.0.clone();
    let done = move |answer| assert!(locked(&cell).replace(answer).is_none(), "it is answered once");
    bucket.write(write, Box::new(done));
    later
}

/// Writes and stores at once, making room where it takes that.
fn write_now(bucket: &StoredBucket, of: Write) -> Result<Written> {
    let later = write(bucket, of);
    // What fails is in the answer.
    let _ = bucket.round_now();
    later.answer().unwrap_or_else(|| {
        bucket.apply_now()?;
        let _ = bucket.round_now();
        later.answer().expect("there is room now")
    })
}

const ALL: PageLimits = PageLimits { bytes_max: 1 << 20, items_max: 1 << 20, keys_only: false };

fn value_of(bucket: &StoredBucket, of: &str) -> Option<Vec<u8>> {
    let entry = bucket.load(&[key(of)]).expect("read").pop().expect("one answer");
    entry.map(|entry| entry.value.to_vec())
}

/// Few changes are kept, so that there is something to compact.
fn forgetful(history: u16) -> BucketConfig {
    let limits = BucketLimits { changes_kept: 20, ..BucketLimits::default() };
    BucketConfig { history, limits, ..BucketConfig::default() }
}
