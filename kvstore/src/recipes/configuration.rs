//! Settings of a program under a key, always the newest, without a restart of the program.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use sinew_session::Pattern;
use tokio::sync::watch;

use crate::client::KvBucket;
use crate::{CachedBucket, Error, Freshness, Key, Result};

/// A value of type `T` under a key, in CBOR as [`KvBucket::put_value`] writes it. It is there at once, and whenever somebody
/// puts another one that one is. A value that cannot be read changes nothing, and [`problem`](Self::problem) says so.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, kv) = sinew_testkit::memory::kv().await;
/// use sinew_kvstore::recipes::Configuration;
///
/// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
/// struct Limits { speed: u32 }
///
/// let (bucket, key) = (kv.bucket(&"config".parse()?), "robot.limits".parse()?);
/// bucket.put_value(&key, &Limits { speed: 30 }).await?;
/// let limits = Configuration::open(&bucket, &key, Limits { speed: 10 }).await?;
/// assert_eq!(limits.current().speed, 30);
///
/// bucket.put_value(&key, &Limits { speed: 50 }).await?;
/// assert_eq!(limits.changed().await?.speed, 50);
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Debug)]
pub struct Configuration<T> {
    cached: CachedBucket,
    key: Key,
    changes: watch::Receiver<u64>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    /// Of the value that was read last; 0 where there is none.
    revision: u64,
    value: Arc<T>,
    default: Arc<T>,
    problem: Option<Error>,
}

impl<T: DeserializeOwned> Configuration<T> {
    /// Reads the value and begins to watch it; `default` is what holds while nothing is under the key.
    ///
    /// # Errors
    /// As [`KvBucket::watch`].
    pub async fn open(bucket: &KvBucket, key: &Key, default: T) -> Result<Self> {
        let cached = CachedBucket::open(bucket, &Pattern::from(key.as_subject())).await?;
        let default = Arc::new(default);
        let state = State { revision: 0, value: default.clone(), default, problem: None };
        Ok(Self { changes: cached.changes(), cached, key: key.clone(), state: Mutex::new(state) })
    }

    fn look(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.cached.get(&self.key);
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        if state.revision != revision {
            state.revision = revision;
            match entry.map_or_else(|| Ok(state.default.clone()), |entry| entry.read().map(Arc::new)) {
                Ok(value) => (state.value, state.problem) = (value, None),
                Err(problem) => state.problem = Some(problem),
            }
        }
        state
    }

    /// The newest value that could be read. A look-up; a new one is read once.
    pub fn current(&self) -> Arc<T> {
        self.look().value.clone()
    }

    /// Why the newest value could not be read, if so: the one before holds.
    pub fn problem(&self) -> Option<Error> {
        self.look().problem.clone()
    }

    /// Waits for another value than [`current`](Self::current) gave or would give, and gives it. Cancel-safe.
    ///
    /// # Errors
    /// Why no change can be heard any more.
    pub async fn changed(&self) -> Result<Arc<T>> {
        let before = self.state.lock().unwrap_or_else(PoisonError::into_inner).value.clone();
        let mut changes = self.changes.clone();
        loop {
            changes.mark_unchanged();
            let now = self.current();
            if !Arc::ptr_eq(&before, &now) {
                return Ok(now);
            }
            if let Some(error) = self.cached.end() {
                return Err(error);
            }
            let _ = changes.changed().await;
        }
    }

    /// How fresh it is.
    pub fn freshness(&self) -> Freshness {
        self.cached.freshness()
    }
}
