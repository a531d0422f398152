//! One leader among several programs: whoever holds a lock, whose value says who that is.

use bytes::Bytes;
use sinew_session::Pattern;

use super::{Held, Lock, LockOptions};
use crate::client::{KvBucket, WatchFrom};
use crate::{Change, Entry, Error, Key, Result, Watch, WatchEvent};

/// An election, by a key of a bucket.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, kv) = sinew_testkit::memory::kv().await;
/// use std::time::Duration;
/// use sinew_kvstore::recipes::Election;
///
/// let election = Election::new(&kv.bucket(&"elections".parse()?), &"planner".parse()?, Duration::from_secs(10));
/// let mut leaders = election.observe().await?;
/// assert_eq!(leaders.next().await, Some(None), "nobody leads yet");
///
/// let leadership = election.campaign("ada").await?; // waits until nobody else leads
/// let leader = leaders.next().await.flatten().expect("somebody leads");
/// assert_eq!((&leader.name[..], leader.fence), (&b"ada"[..], leadership.fence()));
/// leadership.resign().await?;
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
pub struct Election {
    bucket: KvBucket,
    key: Key,
    time_to_live: std::time::Duration,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name, as it campaigned.
    pub name: Bytes,
    /// Higher than that of every leader before.
    pub fence: u64,
}

impl Leader {
    fn of(entry: &Entry) -> Self {
        Self { name: Bytes::copy_from_slice(&entry.value), fence: entry.created }
    }
}

impl Election {
    /// The election of this key. `time_to_live` is how long others wait for a leader that is gone. Asks nobody.
    pub fn new(bucket: &KvBucket, key: &Key, time_to_live: std::time::Duration) -> Self {
        Self { bucket: bucket.clone(), key: key.clone(), time_to_live }
    }

    /// Waits until nobody leads, and leads.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub async fn campaign(&self, name: impl Into<Bytes>) -> Result<Leadership> {
        let options = LockOptions { time_to_live: self.time_to_live, holder: name.into() };
        let held = Lock::new(&self.bucket, &self.key, options).acquire().await?;
        Ok(Leadership { held })
    }

    /// Who leads now. One round trip.
    ///
    /// # Errors
    /// As [`KvBucket::get`].
    pub async fn leader(&self) -> Result<Option<Leader>> {
        match self.bucket.get(&self.key).await {
            Ok(entry) => Ok(entry.as_ref().map(Leader::of)),
            // It is made by the first who campaigns.
            Err(Error::UnknownBucket { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who leads, now and whenever that changes. Makes the bucket where there is none.
    ///
    /// # Errors
    /// As [`KvBucket::watch`].
    pub async fn observe(&self) -> Result<Leaders> {
        let pattern = Pattern::from(self.key.as_subject());
        let watch = match self.bucket.watch(&pattern, WatchFrom::Snapshot).await {
            Err(Error::UnknownBucket { .. }) => {
                // A delete of nothing writes nothing, and makes the bucket.
                self.bucket.delete(&self.key).await?;
                self.bucket.watch(&pattern, WatchFrom::Snapshot).await?
            }
            watch => watch?,
        };
        Ok(Leaders { watch, told: None, leader: None, known: false })
    }
}

/// Leading, until it is lost. Dropping it resigns without waiting.
#[derive(Debug)]
pub struct Leadership {
    held: Held,
}

impl Leadership {
    /// Higher than that of every leader before: see [`Held::fence`].
    pub fn fence(&self) -> u64 {
        self.held.fence()
    }

    /// Whether it surely leads at this moment: see [`Held::is_held`].
    pub fn is_leading(&self) -> bool {
        self.held.is_held()
    }

    /// Waits until it does not lead any more. Cancel-safe.
    pub async fn lost(&self) {
        self.held.lost().await;
    }

    /// Leads no more, so that the next one does at once.
    ///
    /// # Errors
    /// As [`Held::release`].
    pub async fn resign(self) -> Result<()> {
        self.held.release().await
    }
}

/// Who leads, as it changes.
#[derive(Debug)]
pub struct Leaders {
    watch: Watch,
    /// What was given out last.
    told: Option<Option<Leader>>,
    /// Who leads, once that is known.
    leader: Option<Leader>,
    known: bool,
}

impl Leaders {
    /// Who leads now, at first, and then the next time that somebody else or nobody does; `None` once that cannot be told any
    /// more. Renewals are no changes. Cancel-safe.
    pub async fn next(&mut self) -> Option<Option<Leader>> {
        loop {
            if self.known && self.told.as_ref() != Some(&self.leader) {
                self.told = Some(self.leader.clone());
                return Some(self.leader.clone());
            }
            match self.watch.next().await? {
                WatchEvent::Entry(entry) => self.leader = Some(Leader::of(&entry)),
                WatchEvent::Change(change) => {
                    self.leader = match change.change {
                        Change::Put { value, created, .. } => {
                            Some(Leader { name: Bytes::copy_from_slice(&value), fence: created })
                        }
                        Change::Gone(_) => None,
                    };
                }
                WatchEvent::CaughtUp { .. } => self.known = true,
                WatchEvent::Restarted => (self.leader, self.known) = (None, false),
            }
        }
    }

    /// Why nothing more comes.
    pub fn end(&self) -> Option<Error> {
        self.watch.end()
    }
}
