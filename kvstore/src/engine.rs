//! The seam between the service and what stores: the broker calls [`Engine`] and [`Bucket`], nothing else.
//!
//! Calls that take a `done`, and [`Bucket::get`], must not wait: the broker makes them where a block arrives. Everything
//! else may wait and is cancelled by dropping it. Reads see what is acknowledged, and nothing older than what was
//! acknowledged when they were called: the store is linearizable.

mod applier;
mod backup;
mod cache;
pub(crate) mod clock;
mod codec;
mod folder;
mod host;
mod journal_bucket;
mod journal_engine;
mod reading;
mod recovery;
mod rounds;
mod row;
mod shown;
#[cfg(any(test, feature = "simulation"))]
mod simulated_data;
#[cfg(any(test, feature = "simulation"))]
mod simulated_store;
mod sled_store;
mod store;
mod stored_bucket;
mod tables;
mod upkeep;
mod verify;
mod words;
mod workers;

use host::Host;
pub use host::KvEngineOptions;
pub use journal_engine::JournalEngine;
#[cfg(any(test, feature = "simulation"))]
pub use simulated_data::SimulatedData;
use words::{explain, storage, storage_of};

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sinew_session::{Level, ProgressSink, ResourceName};
use tokio::sync::watch;

use crate::{BucketConfig, Entry, Error, Key, Result, Revision, Write, Written};

/// Buckets by name.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Makes a bucket, durably. One that is there with the same configuration is left as it is.
    ///
    /// # Errors
    /// `BucketExists` where it is configured otherwise; `Limit`, `Config`, `Storage`.
    async fn create(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo>;
    /// Changes a bucket's configuration.
    ///
    /// # Errors
    /// `UnknownBucket`, `Config`, `Storage`.
    async fn alter(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo>;
    /// Removes a bucket with its keys.
    ///
    /// # Errors
    /// `UnknownBucket`, `Storage`.
    async fn delete(&self, name: &ResourceName) -> Result<()>;
    /// Names in order, those behind `after`, at most `max`.
    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>>;
    /// The bucket of this name. Cheap once it is open; waits while its table is rebuilt.
    ///
    /// # Errors
    /// `UnknownBucket`; `Storage` where it cannot be opened.
    async fn bucket(&self, name: &ResourceName) -> Result<Arc<dyn Bucket>>;

    /// Makes a bucket from what [`Bucket::backup`] wrote to `source`, a directory of the server's machine.
    ///
    /// # Errors
    /// `BucketExists`: a bucket is never overwritten; `Backup` for a directory that holds none; `NoSpace`, `Storage`;
    /// `Unsupported` by an engine that has nothing on disk.
    async fn restore(&self, name: &ResourceName, source: &Path, progress: ProgressSink) -> Result<BucketInfo> {
        let _ = (source, progress);
        Err(Error::Unsupported { bucket: name.to_string(), what: "restore" })
    }

    /// Waits for the first failure after which nothing more can be acknowledged: the server must end, and a restart finds
    /// out what is on disk. For ever, where all is well.
    async fn failed(&self) -> Error {
        std::future::pending().await
    }

    /// Ends every bucket in order: what waits is stored and answered, files are closed so that the next start is quick.
    ///
    /// # Errors
    /// The first failure, once all is closed.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// One bucket.
#[async_trait]
pub trait Bucket: Send + Sync + Debug {
    /// Its name.
    fn name(&self) -> &ResourceName;

    /// Judges and writes, all or nothing, in the order of these calls; `done` is called once it has the level that the
    /// bucket promises, or with why nothing was written: an answer that tells of a write that is not acknowledged yet
    /// waits for it. Does not wait; a queue that is full fails with `Busy`.
    fn write(&self, write: Write, done: WriteDone);

    /// What is there now, if that is known without the disk. Does not wait.
    fn get(&self, key: &Key) -> Found;

    /// The same for several keys, from the disk too, in the order of `keys`, all at one moment.
    ///
    /// # Errors
    /// `Storage`, `Ended`.
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>>;

    /// Keys in order of their bytes, those in `range`, a page of them. A page is of one moment, which it names; what
    /// changes between two pages is found by the changes since the first one's revision.
    ///
    /// # Errors
    /// `Storage`, `Ended`.
    async fn scan(&self, range: &Range, limits: PageLimits) -> Result<Page>;

    /// The revisions of a key that are kept, oldest first, at most as many as the bucket's history.
    ///
    /// # Errors
    /// `Storage`, `Ended`.
    async fn history(&self, key: &Key) -> Result<Vec<Revision>>;

    /// Changes with revisions of `from` and above, in order, a page of them; none at the end.
    ///
    /// # Errors
    /// `Compacted` where some of them are not kept any more; `Storage`, `Ended`.
    async fn changes(&self, from: u64, limits: PageLimits) -> Result<ChangePage>;

    /// How far it is, as it changes: one wake-up for each commit.
    fn range(&self) -> watch::Receiver<BucketRange>;

    /// What it has and how it is configured.
    async fn info(&self) -> Result<BucketInfo>;

    /// Reads everything that is stored and checks it, the table against the journal; changes nothing. Damage is in the
    /// result and no error.
    ///
    /// # Errors
    /// `Storage` for what cannot be read at all; `Unsupported`.
    async fn verify(&self, progress: ProgressSink) -> Result<Verified> {
        let _ = progress;
        Err(Error::Unsupported { bucket: self.name().to_string(), what: "verify" })
    }

    /// Removes what nobody can ask for any more now, instead of when it is due. Reads and writes go on.
    ///
    /// # Errors
    /// `NoSpace`, `Storage`; `Unsupported`.
    async fn compact(&self, progress: ProgressSink) -> Result<Compacted> {
        let _ = progress;
        Err(Error::Unsupported { bucket: self.name().to_string(), what: "compact" })
    }

    /// Copies the bucket as it is at one moment to `target`: a directory of the server's machine that does not exist yet,
    /// or is empty. Reads and writes go on.
    ///
    /// # Errors
    /// `Backup` where something is there already; `NoSpace`, `Storage`; `Unsupported`.
    async fn backup(&self, target: &Path, progress: ProgressSink) -> Result<BackedUp> {
        let _ = (target, progress);
        Err(Error::Unsupported { bucket: self.name().to_string(), what: "backup" })
    }
}

/// Called once with what became of a write, from any thread.
pub type WriteDone = Box<dyn FnOnce(Result<Written>) + Send>;

/// What [`Bucket::get`] knows.
#[derive(Clone, Debug)]
pub enum Found {
    /// The entry, or that there is none.
    Now(Option<Entry>),
    /// Only the disk can tell: [`Bucket::load`].
    OnDisk,
    /// It cannot be read.
    Failed(Error),
}

/// Which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Range {
    /// Those that begin with these bytes; a prefix need not end at a dot.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// From this key on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Behind this one: where the last page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Up to, and without this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// How much to read at one time. At least one item is given where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Bytes of keys and values.
    pub bytes_max: usize,
    /// Keys or changes.
    pub items_max: usize,
    /// Without values: empty ones instead.
    pub keys_only: bool,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub entries: Vec<Entry>,
    /// There may be more behind the last one.
    pub more: bool,
    /// The bucket's revision at that moment.
    pub revision: u64,
}

/// A page of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangePage {
    /// In order.
    pub changes: Vec<Revision>,
    /// Where to read on.
    pub next: u64,
    /// The bucket's revision at that moment.
    pub revision: u64,
}

/// How far a bucket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRange {
    /// The first revision from which all changes are kept.
    pub first: u64,
    /// The revision of the last change that is acknowledged; 0 before the first.
    pub revision: u64,
    /// The bucket is gone: it was deleted, or its server has stopped.
    pub ended: bool,
}

/// What a bucket has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// How it is configured.
    pub config: BucketConfig,
    /// The revision of its last change.
    pub revision: u64,
    /// The first revision from which all changes are kept.
    pub first: u64,
    /// Keys that are there.
    pub keys: u64,
    /// Their bytes, newest values included.
    pub bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// What its acknowledgements mean.
    pub level: Level,
}

/// What [`Bucket::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Changes that were read and are whole.
    pub changes: u64,
    /// Keys that are there.
    pub keys: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What does not hold, at most 100 lines.
    pub problems: Vec<String>,
}

/// What [`Bucket::compact`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Changes that nobody can ask for any more.
    pub changes: u64,
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk after.
    pub bytes_after: u64,
}

/// What [`Bucket::backup`] copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// The revision of the last change in it.
    pub revision: u64,
    /// Bytes of the copy.
    pub bytes: u64,
}

#[cfg(test)]
mod tests;
