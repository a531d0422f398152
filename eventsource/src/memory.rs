//! Streams in memory: for tests, and for whoever wants a log that need not outlive its server. It says so: its
//! acknowledgements have the level `memory`.
//!
//! The rules are those of the engine on disk. What is kept is bounded by retention alone, and by `bytes_max` of all.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sinew_session::ResourceName;

use crate::stream::check_config;
use crate::{Compaction, Engine, Error, Result, Stream, StreamConfig, StreamInfo};

mod stream;
use stream::MemoryStream;

/// Streams that an engine in memory has at most.
const STREAMS_MAX: usize = 10_000;
/// Bytes of all events, unless said otherwise.
const BYTES_MAX_DEFAULT: usize = 1 << 30;

/// Streams in memory. They are gone with it.
#[derive(Debug)]
pub struct MemoryEngine {
    streams: Mutex<BTreeMap<ResourceName, Arc<MemoryStream>>>,
    shared: Arc<Shared>,
}

/// What all streams share.
#[derive(Debug)]
struct Shared {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Numbers of producers: of an engine that forgets, they need only differ.
    producers: AtomicU64,
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new(BYTES_MAX_DEFAULT)
    }
}

impl MemoryEngine {
    /// One that keeps at most so many bytes of events, of which each batch takes 128 beside its own; beyond, appends fail
    /// with `NoSpace`. Default: 1 GiB.
    pub fn new(bytes_max: usize) -> Self {
        let shared = Shared { bytes: AtomicUsize::new(0), bytes_max, producers: AtomicU64::new(1) };
        Self { streams: Mutex::default(), shared: Arc::new(shared) }
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<ResourceName, Arc<MemoryStream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &ResourceName) -> Result<Arc<MemoryStream>> {
        self.streams().get(name).cloned().ok_or_else(|| Error::UnknownStream { stream: name.to_string() })
    }
}

/// Whether a stream in memory can be configured so.
fn check(name: &ResourceName, config: &StreamConfig) -> Result<()> {
    check_config(name.as_str(), config)?;
    if config.compaction == Compaction::Off {
        return Ok(());
    }
    Err(Error::Config {
        stream: name.to_string(),
        field: "compaction".into(),
        value: "by key".into(),
        why: "streams in memory are not compacted; bound them by retention, or give the server a data directory".into(),
    })
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn create(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        check(name, config)?;
        let mut streams = self.streams();
        if let Some(stream) = streams.get(name) {
            let info = stream.describe();
            let same = info.config == *config;
            return if same { Ok(info) } else { Err(Error::StreamExists { stream: name.to_string() }) };
        }
        if streams.len() >= STREAMS_MAX {
            let reason = format!("{STREAMS_MAX} streams in memory are the most there can be; delete some");
            return Err(Error::Limit { reason });
        }
        let stream = Arc::new(MemoryStream::new(name.clone(), config.clone(), self.shared.clone()));
        let info = stream.describe();
        streams.insert(name.clone(), stream);
        Ok(info)
    }

    async fn alter(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        check(name, config)?;
        let stream = self.find(name)?;
        stream.alter(config.clone());
        Ok(stream.describe())
    }

    async fn delete(&self, name: &ResourceName) -> Result<()> {
        let stream = self.find(name)?;
        self.streams().remove(name);
        stream.end();
        Ok(())
    }

    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let streams = self.streams();
        Ok(streams.range::<ResourceName, _>((from, Bound::Unbounded)).take(max).map(|(name, _)| name.clone()).collect())
    }

    async fn stream(&self, name: &ResourceName) -> Result<Arc<dyn Stream>> {
        Ok(self.find(name)?)
    }

    async fn close(&self) -> Result<()> {
        self.streams().values().for_each(|stream| stream.end());
        Ok(())
    }
}

impl Shared {
    /// Takes room for so many bytes, if there is.
    fn reserve(&self, bytes: usize) -> bool {
        let room = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    fn free(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn producer(&self) -> u64 {
        self.producers.fetch_add(1, Ordering::Relaxed)
    }
}
