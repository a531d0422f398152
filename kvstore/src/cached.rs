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
/// was missed, or the bucket was deleted and made anew meanwhile, it reads everything anew, and shows what it had until that
/// is complete. Takes as much memory as the keys and values have. Cheap to clone.
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
    /// The revision of the last change that was taken in, of the bucket that is told of.
    revision: u64,
    /// Which life of the bucket's name the last complete snapshot is of.
    incarnation: u64,
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
        let taking = Taking { watch, building: Some(BTreeMap::new()), revision: 0, incarnation: 0 };
        let cache = Cache { watch: Mutex::new(taking), entries: RwLock::default(), changed: watch::Sender::new(0) };
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
    /// `Remade` where the bucket turns out to be another one than when this was called: it may never have such a revision.
    /// Else why nothing more comes.
    pub async fn reached(&self, revision: u64) -> Result<()> {
        let mut changed = self.cache.changed.subscribe();
        let incarnation = self.cache.taking().incarnation;
        loop {
            changed.mark_unchanged();
            if self.cache.has(revision, incarnation)? {
                return Ok(());
            }
            if let Some(error) = self.end() {
                return Err(error);
            }
            let _ = changed.changed().await;
        }
    }

    /// The revision of the last change that was taken in, and a way to be told of the next. It goes back only where the bucket
    /// was deleted and made anew.
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

    /// Whether the changes up to this revision of the bucket's present life are shown; an error where that is another one.
    fn has(&self, revision: u64, incarnation: u64) -> Result<bool> {
        let taking = self.taking();
        if taking.incarnation != incarnation {
            return Err(Error::Remade { bucket: taking.watch.bucket().name().to_string() });
        }
        Ok(taking.revision >= revision && taking.building.is_none())
    }

    fn take_in(&self, waker: &Waker) {
        let mut cx = Context::from_waker(waker);
        let mut taking = self.taking();
        let (mut came, mut ended) = (false, false);
        while let Poll::Ready(event) = taking.watch.poll_event(&mut cx) {
            let Some(event) = event else {
                ended = true;
                break;
            };
            self.take(&mut taking, event);
            came = true;
        }
        // While a snapshot is told, what was there before is shown, and its revision.
        let revision = taking.building.is_none().then_some(taking.revision);
        drop(taking);
        if ended || (came && revision.is_some()) {
            // Also where the revision is the same: who waits for the snapshot, or for the end, looks again.
            self.changed.send_modify(|known| *known = revision.unwrap_or(*known));
        }
    }

    fn take(&self, taking: &mut Taking, event: WatchEvent) {
        match event {
            WatchEvent::Restarted => (taking.building, taking.revision) = (Some(BTreeMap::new()), 0),
            WatchEvent::Entry(entry) => {
                let entries = taking.building.get_or_insert_default();
                entries.insert(entry.key.to_owned_bytes(), owned(entry));
            }
            WatchEvent::CaughtUp { revision } => {
                taking.revision = revision.max(taking.revision);
                if let Some(complete) = taking.building.take() {
                    taking.incarnation = taking.watch.incarnation();
                    *self.entries.write().unwrap_or_else(PoisonError::into_inner) = complete;
                }
            }
            WatchEvent::Change(change) => {
                taking.revision = change.revision.max(taking.revision);
                match &mut taking.building {
                    Some(building) => apply(building, change),
                    None => apply(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner), change),
                }
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
