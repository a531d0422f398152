//! A lock that one program holds at a time: a key with a time to live, renewed while it is held.
//!
//! No lock over a network can promise that its holder knows in time that it has lost it: a program may stop for longer than
//! the lock lives. So each holding has a **fence**, a number that rises from holder to holder: whatever the lock protects
//! refuses a fence below the highest that it has seen. There are never two holders of one fence.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::Pattern;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::client::{KvBucket, PutOptions, WatchFrom};
use crate::{Error, Expected, Key, Result, WatchEvent};

/// How a lock is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOptions {
    /// How long it is held without being renewed: as long as others wait for a holder that is gone. It is renewed when a third
    /// of it is over. Not zero. Default 15 s.
    pub time_to_live: Duration,
    /// The value under the key while it is held: who holds it, for people who look. Default: nothing.
    pub holder: Bytes,
}

impl Default for LockOptions {
    fn default() -> Self {
        Self { time_to_live: Duration::from_secs(15), holder: Bytes::new() }
    }
}

/// A lock: a key of a bucket. Nothing else should write it.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, kv) = sinew_testkit::memory::kv().await;
/// use sinew_kvstore::recipes::{Lock, LockOptions};
///
/// let (bucket, key) = (kv.bucket(&"locks".parse()?), "printer".parse()?);
/// let lock = Lock::new(&bucket, &key, LockOptions::default());
/// let held = lock.acquire().await?;
/// assert!(lock.try_acquire().await?.is_none(), "somebody has it");
/// println!("printing under fence {}", held.fence());
/// held.release().await?;
/// assert!(lock.try_acquire().await?.is_some());
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    bucket: KvBucket,
    key: Key,
    options: LockOptions,
}

impl Lock {
    /// The lock of this key. Asks nobody.
    pub fn new(bucket: &KvBucket, key: &Key, options: LockOptions) -> Self {
        Self { bucket: bucket.clone(), key: key.clone(), options }
    }

    /// Takes it, if nobody has it. One round trip.
    ///
    /// # Errors
    /// `Invalid` for a time to live of zero; `Denied`, `NoSpace`, `Session` as of any put.
    pub async fn try_acquire(&self) -> Result<Option<Held>> {
        // Counted from before it is asked for, so that it ends here no later than at the server.
        let until = Instant::now() + self.options.time_to_live;
        match self.put(Expected::Absent).await {
            Ok(revision) => {
                let held = Held::new(self.clone(), revision, until);
                // The answer may have taken longer than the lock lives.
                Ok(held.is_held().then_some(held))
            }
            Err(Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until nobody has it, and takes it. Who has waited longest is not preferred.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    pub async fn acquire(&self) -> Result<Held> {
        loop {
            if let Some(held) = self.try_acquire().await? {
                return Ok(held);
            }
            self.free().await?;
        }
    }

    /// Waits until nobody has it, at some moment.
    async fn free(&self) -> Result<()> {
        let mut watch = self.bucket.watch(&Pattern::from(self.key.as_subject()), WatchFrom::Snapshot).await?;
        let mut is_held = false;
        while let Some(event) = watch.next().await {
            match event {
                WatchEvent::Entry(_) => is_held = true,
                WatchEvent::Change(change) => is_held = matches!(change.change, crate::Change::Put { .. }),
                WatchEvent::CaughtUp { .. } | WatchEvent::Restarted => {}
            }
            if !is_held {
                return Ok(());
            }
        }
        match watch.end() {
            // Nobody can have it: there is no bucket, or too much has happened since.
            Some(Error::Ended { .. } | Error::Compacted { .. }) | None => Ok(()),
            Some(error) => Err(error),
        }
    }

    async fn put(&self, expected: Expected) -> Result<u64> {
        let LockOptions { time_to_live, holder } = &self.options;
        let options = PutOptions { time_to_live: Some(*time_to_live), expected: Some(expected), required: None };
        Ok(self.bucket.put_with(&self.key, holder.clone(), &options).await?.revision)
    }
}

/// A lock that is held, and renewed on the session's thread. Dropping it gives it back without waiting.
#[derive(Debug)]
pub struct Held {
    holding: Arc<Holding>,
    renewal: AbortHandle,
    released: bool,
}

#[derive(Debug)]
struct Holding {
    lock: Lock,
    fence: u64,
    state: Mutex<State>,
    /// Whoever writes the key has this, so that a release comes behind a renewal.
    writing: tokio::sync::Mutex<()>,
    lost: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    /// Of the last renewal.
    revision: u64,
    /// Until when it is surely held.
    until: Instant,
}

impl Holding {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews it until it is lost.
    async fn renew(self: Arc<Self>) {
        loop {
            let until = self.state().until;
            if *self.lost.borrow() {
                return;
            }
            sleep(self.lock.options.time_to_live / 3).await;
            match timeout_at(until, self.renew_once()).await {
                Ok(Ok(())) => {}
                // An error of the server's is its last word; there is no time for another attempt without an answer.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self.lost.send_replace(true);
    }

    async fn renew_once(&self) -> Result<()> {
        let _writing = self.writing.lock().await;
        if *self.lost.borrow() {
            // It is being given back.
            return Ok(());
        }
        let (until, revision) = (Instant::now() + self.lock.options.time_to_live, self.state().revision);
        let revision = self.lock.put(Expected::Revision(revision)).await?;
        *self.state() = State { revision, until };
        Ok(())
    }

    async fn give_back(&self) -> Result<()> {
        self.lost.send_replace(true);
        let _writing = self.writing.lock().await;
        let revision = self.state().revision;
        match self.lock.bucket.delete_if(&self.lock.key, revision).await {
            // It had run out.
            Ok(_) | Err(Error::Conflict { .. } | Error::UnknownBucket { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Held {
    fn new(lock: Lock, fence: u64, until: Instant) -> Self {
        let session = lock.bucket.kv().session().clone();
        let state = Mutex::new(State { revision: fence, until });
        let holding =
            Holding { lock, fence, state, writing: tokio::sync::Mutex::default(), lost: watch::Sender::new(false) };
        let holding = Arc::new(holding);
        let renewal = session.spawn(holding.clone().renew());
        Self { holding, renewal, released: false }
    }

    /// Higher than that of every holder before: what the lock protects refuses a lower one than it has seen.
    pub fn fence(&self) -> u64 {
        self.holding.fence
    }

    /// Whether it is surely held at this moment, by this machine's clock. What is begun now may still end after it is lost:
    /// that is what the fence is for.
    pub fn is_held(&self) -> bool {
        !*self.holding.lost.borrow() && Instant::now() < self.holding.state().until
    }

    /// Waits until it is lost: it could not be renewed in time, or somebody removed the key. Cancel-safe.
    pub async fn lost(&self) {
        let mut lost = self.holding.lost.subscribe();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Gives it back, so that the next one has it at once. One round trip.
    ///
    /// # Errors
    /// `Session` if the session has ended: it is free when its time is over.
    pub async fn release(mut self) -> Result<()> {
        self.released = true;
        self.holding.give_back().await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (holding, renewal) = (self.holding.clone(), self.renewal.clone());
        if self.released {
            return renewal.abort();
        }
        let session = holding.lock.bucket.kv().session().clone();
        // What comes of it nobody hears: at worst it is free when its time is over, and then there is nothing to do.
        session.spawn(async move {
            let _ = timeout(holding.lock.options.time_to_live, holding.give_back()).await;
            renewal.abort();
        });
    }
}
