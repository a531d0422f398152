//! Buckets in memory: for tests, and for whoever wants a store that need not outlive its server. It says so: its
//! acknowledgements have the level `memory`.
//!
//! The rules are those of the engine on disk. What is kept is bounded by the buckets' limits, and by `bytes_max` of all.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sinew_session::ResourceName;

use crate::table::check_config;
use crate::{Bucket, BucketConfig, BucketInfo, Engine, Error, Result};

mod bucket;
use bucket::MemoryBucket;

/// Buckets that an engine in memory has at most.
const BUCKETS_MAX: usize = 1_000;
/// Bytes of everything that is kept, unless said otherwise.
const BYTES_MAX_DEFAULT: usize = 1 << 30;

/// Buckets in memory. They are gone with it. Writes are to be made within a tokio runtime: it is what tells watchers of a
/// key that its time is over; without one they are told with the next write.
#[derive(Debug)]
pub struct MemoryEngine {
    buckets: Mutex<BTreeMap<ResourceName, Arc<MemoryBucket>>>,
    room: Arc<Room>,
}

/// Bytes that all buckets share.
#[derive(Debug)]
struct Room {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new(BYTES_MAX_DEFAULT)
    }
}

impl MemoryEngine {
    /// One that keeps at most so many bytes of keys and values, those of earlier changes included; beyond, puts fail with
    /// `NoSpace`. Default: 1 GiB.
    pub fn new(bytes_max: usize) -> Self {
        Self { buckets: Mutex::default(), room: Arc::new(Room { bytes: AtomicUsize::new(0), bytes_max }) }
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<ResourceName, Arc<MemoryBucket>>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &ResourceName) -> Result<Arc<MemoryBucket>> {
        self.buckets().get(name).cloned().ok_or_else(|| Error::UnknownBucket { bucket: name.to_string() })
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn create(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        check_config(name.as_str(), config)?;
        let mut buckets = self.buckets();
        if let Some(bucket) = buckets.get(name) {
            let info = bucket.describe();
            let same = info.config == *config;
            return if same { Ok(info) } else { Err(Error::BucketExists { bucket: name.to_string() }) };
        }
        if buckets.len() >= BUCKETS_MAX {
            let reason = format!("{BUCKETS_MAX} buckets in memory are the most there can be; delete some");
            return Err(Error::Limit { reason });
        }
        let bucket = MemoryBucket::new(name.clone(), config.clone(), self.room.clone());
        let info = bucket.describe();
        buckets.insert(name.clone(), bucket);
        Ok(info)
    }

    async fn alter(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        check_config(name.as_str(), config)?;
        let bucket = self.find(name)?;
        bucket.alter(config.clone());
        Ok(bucket.describe())
    }

    async fn delete(&self, name: &ResourceName) -> Result<()> {
        let bucket = self.find(name)?;
        self.buckets().remove(name);
        bucket.end();
        Ok(())
    }

    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let buckets = self.buckets();
        Ok(buckets.range::<ResourceName, _>((from, Bound::Unbounded)).take(max).map(|(name, _)| name.clone()).collect())
    }

    async fn bucket(&self, name: &ResourceName) -> Result<Arc<dyn Bucket>> {
        Ok(self.find(name)?)
    }

    async fn close(&self) -> Result<()> {
        self.buckets().values().for_each(|bucket| bucket.end());
        Ok(())
    }
}

impl Room {
    /// Takes room for so many bytes, if there is.
    fn reserve(&self, bytes: usize) -> bool {
        let room = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    fn free(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
