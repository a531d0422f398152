//! A reader of a bucket that keeps what it reads in this process, kept true by a watch.
//!
//! Changes are taken in where they arrive, on the session's own thread: reading asks nobody and needs no task.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use sinew_session::Pattern;
use tokio::sync::watch;

use crate::client::{KvBucket, WatchOptions};
use crate::{Change, Entry, Error, Freshness, Key, Result, Revision, Watch, WatchEvent};

/// A value below this is copied, so that a small one pins no receive buffer.
const SHARED_FROM: usize = 16 * 1024;

/// The keys of a pattern, in this process. Reading costs a look-up and no round trip; how fresh it is
/// [`freshness`](Self::freshness) says. Through cuts it shows what it had, and comes up to date by itself; where too much
/// was missed it reads everything anew, and shows what it had until that is complete. Takes as much memory as the keys and
/// values have. Cheap to clone.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, kv) = sinew_testkit::memory::kv().await;
/// use sinew_kvstore::CachedBucket;
///
/// let (bucket, lamp) = (kv.bucket(&"config".parse()?), "lights.hall".parse()?);
/// bucket.put(&lamp, "on").await?;
/// let lights = CachedBucket::open(&bucket, &"lights.>".try_into()?).await?;
/// assert_eq!(&lights.get(&lamp).expect("it is there").value[..], b"on");
/// assert!(lights.freshness().is_current());
///
/// let off = bucket.put(&lamp, "off").await?;
/// lights.reached(off.revision).await?;
/// assert_eq!(&lights.get(&lamp).expect("it is there").value[..], b"off");
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
pub struct CachedBucket {
    cache: Arc<Cache>,
}

#[derive(Debug)]
struct Cache {
    watch: Mutex<Taking>,
    entries: RwLock<BTreeMap<Key, Entry>>,
    /// The revision of the last change that was taken in.
    changed: watch::Sender<u64>,
}

/// What takes in.
#[derive(Debug)]
struct Taking {
    watch: Watch,
    /// While a snapshot is told, what there will be.
    building: Option<BTreeMap<Key, Entry>>,
}

/// Takes in what has come; called where it arrives.
struct Waking(Weak<Cache>);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        if let Some(cache) = self.0.upgrade() {
            cache.take_in(&Waker::from(self));
        }
    }
}

impl CachedBucket {
    /// Begins to watch, and resolves once everything that there is has come.
    ///
    /// # Errors
    /// As [`KvBucket::watch`].
    pub async fn open(bucket: &KvBucket, keys: &Pattern) -> Result<Self> {
        Self::open_with(bucket, keys, WatchOptions::default()).await
    }

    /// The same with another window, or without values. Where it begins, and that it begins anew where it must, is its own.
    ///
    /// # Errors
    /// As [`KvBucket::watch`].
    pub async fn open_with(bucket: &KvBucket, keys: &Pattern, options: WatchOptions) -> Result<Self> {
        let options = WatchOptions { from: crate::WatchFrom::Snapshot, restarts: true, ..options };
        let watch = bucket.watch_with(keys, options).await?;
        let taking = Mutex::new(Taking { watch, building: Some(BTreeMap::new()) });
        let cache = Cache { watch: taking, entries: RwLock::default(), changed: watch::Sender::new(0) };
        let cache = Arc::new(cache);
        cache.take_in(&Waker::from(Arc::new(Waking(Arc::downgrade(&cache)))));
        let this = Self { cache };
        // The first revision that there can be: it is told with the first snapshot, also of an empty bucket.
        let mut changed = this.cache.changed.subscribe();
        loop {
            if this.cache.taking().building.is_none() {
                return Ok(this);
            }
            if let Some(error) = this.end() {
                return Err(error);
            }
            let _ = changed.changed().await;
        }
    }

    /// What is under a key, as far as is known here.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.cache.entries().get(key).cloned()
    }

    /// All entries whose keys begin with these bytes, in order.
    pub fn with_prefix(&self, prefix: &str) -> Vec<Entry> {
        let entries = self.cache.entries();
        let from = (Bound::Included(prefix.as_bytes()), Bound::Unbounded);
        let range = entries.range::<[u8], _>(from).take_while(|(key, _)| key.as_bytes().starts_with(prefix.as_bytes()));
        range.map(|(_, entry)| entry.clone()).collect()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.cache.entries().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How fresh it is.
    pub fn freshness(&self) -> Freshness {
        self.cache.taking().watch.freshness()
    }

    /// Waits until it has taken in the changes up to this revision: what a write that was answered has done is seen then, if
    /// it is of these keys. Cancel-safe.
    ///
    /// # Errors
    /// Why nothing more comes.
    pub async fn reached(&self, revision: u64) -> Result<()> {
        let mut changed = self.cache.changed.subscribe();
        loop {
            if *changed.borrow_and_update() >= revision && self.cache.taking().building.is_none() {
                return Ok(());
            }
            if let Some(error) = self.end() {
                return Err(error);
            }
            let _ = changed.changed().await;
        }
    }

    /// The revision of the last change that was taken in, and a way to be told of the next.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.cache.changed.subscribe()
    }

    /// Why nothing more is taken in: `Ended`, `Denied`, or the session's end. `None` while it goes on.
    pub fn end(&self) -> Option<Error> {
        self.cache.taking().watch.end()
    }
}

impl Cache {
    fn taking(&self) -> MutexGuard<'_, Taking> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, waker: &Waker) {
        let mut cx = Context::from_waker(waker);
        let mut last = None;
        let mut taking = self.taking();
        while let Poll::Ready(event) = taking.watch.poll_event(&mut cx) {
            let Some(event) = event else {
                last.get_or_insert(0);
                break;
            };
            last = last.max(self.take(&mut taking, event));
        }
        drop(taking);
        if let Some(revision) = last {
            // Also where the revision is the same: who waits for the snapshot, or for the end, looks again.
            self.changed.send_modify(|known| *known = revision.max(*known));
        }
    }

    /// Gives the revision that is reached by it.
    fn take(&self, taking: &mut Taking, event: WatchEvent) -> Option<u64> {
        match event {
            WatchEvent::Restarted => {
                taking.building = Some(BTreeMap::new());
                None
            }
            WatchEvent::Entry(entry) => {
                let entries = taking.building.get_or_insert_default();
                entries.insert(entry.key.to_owned_bytes(), owned(entry));
                None
            }
            WatchEvent::CaughtUp { revision } => {
                if let Some(complete) = taking.building.take() {
                    *self.entries.write().unwrap_or_else(PoisonError::into_inner) = complete;
                }
                Some(revision)
            }
            WatchEvent::Change(change) => {
                let revision = change.revision;
                match &mut taking.building {
                    Some(building) => apply(building, change),
                    None => apply(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner), change),
                }
                Some(revision)
            }
        }
    }
}

fn apply(entries: &mut BTreeMap<Key, Entry>, change: Revision) {
    let Revision { key, revision, timestamp, change } = change;
    match change {
        Change::Put { value, created, expires } => {
            let key = key.to_owned_bytes();
            entries.insert(key.clone(), owned(Entry { key, value, revision, created, timestamp, expires }));
        }
        Change::Gone(_) => drop(entries.remove(&key)),
    }
}

/// On bytes of its own.
fn owned(entry: Entry) -> Entry {
    let value = if entry.value.len() >= SHARED_FROM { entry.value } else { Bytes::copy_from_slice(&entry.value) };
    Entry { key: entry.key.to_owned_bytes(), value, ..entry }
}
