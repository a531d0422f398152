//! The engine as the broker uses it, on a disk in memory or a real one, with a clock in hand.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sinew_hosting::{GoOn, Upkeep, locked};
use sinew_journal::Files;
use sinew_session::ResourceName;

use super::host::Clock;
use super::stored_stream::StoredStream;
use super::*;
use crate::{EventBatchBuilder, NewEvent, StreamConfig};

mod basics;
mod beside;
mod copies;
mod crash;
mod faults;
mod golden;
mod imports;
mod races;

/// Where the data directory is.
const DATA: &str = "/data";
/// When tests begin, in nanoseconds since 1970.
const START: u64 = 1_700_000_000_000_000_000;

/// A clock in hand; clones are the same clock.
#[derive(Clone, Debug)]
pub(super) struct HandClock {
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
    fn wall(&self) -> u64 {
        self.wall.load(Ordering::Relaxed)
    }

    fn steady(&self) -> Duration {
        Duration::from_nanos(self.steady.load(Ordering::Relaxed))
    }
}

fn name(text: &str) -> ResourceName {
    ResourceName::try_from(text).expect("a name")
}

/// An engine without threads: what is dirty runs when it is told to, and so does maintenance.
fn engine_on(files: impl Files + 'static, clock: &HandClock) -> Result<JournalEngine> {
    let options = EngineOptions {
        committer_threads: 0,
        tail_bytes_max: 2_000,
        cursor_log_bytes_max: 4_096,
        key_map_bytes_max: 500,
        ..EngineOptions::default()
    };
    JournalEngine::open_on(Arc::new(files), Path::new(DATA), options, Box::new(clock.clone()), Upkeep::idle())
}

/// Small segments.
fn config() -> StreamConfig {
    StreamConfig { segment_bytes_max: 4_096, index_interval_bytes: 256, ..StreamConfig::default() }
}

fn batch(events: &[NewEvent]) -> EventBatch {
    let mut builder = EventBatchBuilder::default();
    events.iter().for_each(|event| builder.push(event).expect("small"));
    builder.finish()
}

fn append_of(events: &[NewEvent]) -> Append {
    Append { events: batch(events), expected_next: None, producer: None }
}

/// An answer that comes later.
#[derive(Clone, Debug)]
struct Later<T>(Arc<Mutex<Option<Result<T>>>>);

impl<T: Send + 'static> Later<T> {
    #[allow(clippy::type_complexity, reason = "it is what the calls take")]
    fn new() -> (Box<dyn FnOnce(Result<T>) + Send>, Self) {
        let later = Self(Arc::default());
        let cell = later.0.clone();
        (Box::new(move |answer| assert!(locked(&cell).replace(answer).is_none(), "it is answered once")), later)
    }

    /// `None` while there is no answer yet.
    fn answer(&self) -> Option<Result<T>> {
        locked(&self.0).take()
    }
}

fn append(stream: &StoredStream, append: Append) -> Later<Appended> {
    let (done, later) = Later::new();
    stream.append(append, done);
    later
}

/// Appends and stores at once.
fn append_now(stream: &StoredStream, of: Append) -> Result<Appended> {
    let later = append(stream, of);
    let _ = stream.round_now();
    later.answer().expect("the round answers")
}

fn open_producer(stream: &StoredStream, producer: &str) -> Result<ProducerGrant> {
    let (done, later) = Later::new();
    stream.open_producer(&name(producer), done);
    let _ = stream.round_now();
    later.answer().expect("the round answers")
}

fn commit_now(stream: &StoredStream, updates: Vec<CursorUpdate>) -> Result<()> {
    let (done, later) = Later::new();
    stream.cursors.commit(updates, done);
    let _ = stream.cursors.round_now();
    later.answer().expect("the round answers")
}

/// All events from an offset on, as they are read page by page.
fn read_all(stream: &StoredStream, from: u64, limits: &ReadLimits) -> Result<Vec<crate::Event>> {
    let (mut at, mut events) = (from, Vec::new());
    loop {
        let page = stream.read(at, limits)?;
        let of_page = page.batches.iter().flat_map(|batch| batch.events.events(batch.first, batch.timestamp));
        events.extend(of_page.filter(|event| event.offset >= from));
        assert!(page.next >= at && (page.next > at || page.batches.is_empty()));
        if page.next == at {
            return Ok(events);
        }
        at = page.next;
    }
}

const ALL: ReadLimits = ReadLimits { bytes_max: 1 << 20, events_max: 1 << 20 };
