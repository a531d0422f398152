//! The seam between the service and what stores: the broker calls [`Engine`] and [`Stream`], nothing else.
//!
//! The built-in engine keeps each stream in a journal of its own. Calls that take a `done` must not wait: what they
//! start ends by one call of it, from any thread. Everything else may wait and is cancelled by dropping it.

mod backup;
mod cursor_log;
pub(crate) mod folder;
pub(crate) mod host;
mod journal_engine;
mod journal_stream;
mod reading;
mod recovery;
mod rounds;
pub(crate) mod stored_stream;
mod tail;
mod upkeep;
mod verify;
mod words;

pub use host::EngineOptions;
pub(crate) use host::Host;
pub use journal_engine::JournalEngine;
pub(crate) use words::{explain, storage, storage_of};

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sinew_session::{Level, ProgressSink, ResourceName};
use tokio::sync::watch;

use crate::{Error, EventBatch, Result, StreamConfig};

/// Streams by name.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Makes a stream, durably. One that is there with the same configuration is left as it is.
    ///
    /// # Errors
    /// `StreamExists` where it is configured otherwise; `Limit`, `Config`, `Storage`.
    async fn create(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo>;
    /// Changes a stream's configuration.
    ///
    /// # Errors
    /// `UnknownStream`, `Config`, `Storage`.
    async fn alter(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo>;
    /// Removes a stream with its events and cursors.
    ///
    /// # Errors
    /// `UnknownStream`, `Storage`.
    async fn delete(&self, name: &ResourceName) -> Result<()>;
    /// Names in order, those behind `after`, at most `max`.
    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>>;
    /// The stream of this name. Cheap once it is open.
    ///
    /// # Errors
    /// `UnknownStream`; `Storage` where it cannot be opened.
    async fn stream(&self, name: &ResourceName) -> Result<Arc<dyn Stream>>;

    /// Makes a stream from what [`Stream::backup`] wrote to `source`, a directory of the server's machine.
    ///
    /// # Errors
    /// `StreamExists`: a stream is never overwritten; `Backup` for a directory that holds none; `NoSpace`, `Storage`;
    /// `Unsupported` by an engine that has nothing on disk.
    async fn restore(&self, name: &ResourceName, source: &Path, progress: ProgressSink) -> Result<StreamInfo> {
        let _ = (source, progress);
        Err(Error::Unsupported { stream: name.to_string(), what: "restore" })
    }

    /// Makes a stream of this configuration from the `.log` files of the original event source in `source`, a directory
    /// of the server's machine. Offsets stay; times stay, and none goes below the one before it.
    ///
    /// # Errors
    /// `StreamExists`; `MalformedImport` with file and byte; `NoSpace`, `Storage`, `Config`; `Unsupported`. After an
    /// error there is no such stream.
    async fn import(
        &self,
        name: &ResourceName,
        config: &StreamConfig,
        source: &Path,
        progress: ProgressSink,
    ) -> Result<StreamInfo> {
        let _ = (config, source, progress);
        Err(Error::Unsupported { stream: name.to_string(), what: "import" })
    }

    /// Waits for the first failure after which nothing more can be acknowledged: the server must end, and a restart
    /// finds out what is on disk. For ever, where all is well.
    async fn failed(&self) -> Error {
        std::future::pending().await
    }

    /// Ends every stream in order: what waits is stored and answered, files are closed so that the next start is quick.
    ///
    /// # Errors
    /// The first failure, once all is closed.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// One stream.
#[async_trait]
pub trait Stream: Send + Sync + Debug {
    /// Its name.
    fn name(&self) -> &ResourceName;

    /// Appends a batch, all or nothing; `done` is called once it has the level that the stream promises. Batches get
    /// their offsets in the order of these calls. Does not wait; a queue that is full fails with `Busy`.
    fn append(&self, append: Append, done: AppendDone);

    /// Batches from the one that holds `from`, or the next there is; nothing at the end. Readers see only what is
    /// acknowledged.
    ///
    /// # Errors
    /// `OutOfRange` below the first offset and above the next one; `Damaged` for what cannot be read any more.
    async fn read(&self, from: u64, limits: ReadLimits) -> Result<Page>;

    /// First offset, and the one that the next event gets, as they change.
    fn range(&self) -> watch::Receiver<StreamRange>;

    /// The first offset whose event is not older than `timestamp`; the next one where all are.
    async fn offset_at(&self, timestamp: u64) -> Result<u64>;

    /// What it has and how it is configured.
    async fn info(&self) -> Result<StreamInfo>;

    /// Opens the idempotent producer of this name: raises its epoch, which fences whoever had it, and tells how far it
    /// was. Durable when it returns.
    async fn open_producer(&self, name: &ResourceName) -> Result<ProducerGrant>;

    /// Stores cursors durably, all or nothing; `done` is called once they are. A cursor without an offset is removed.
    fn commit(&self, updates: Vec<CursorUpdate>, done: CommitDone);

    /// The cursor of this name as it was last committed.
    async fn cursor(&self, name: &str) -> Result<Option<Cursor>>;

    /// Names of cursors in order, those behind `after`, at most `max`.
    async fn cursors(&self, after: Option<&str>, max: usize) -> Result<Vec<(String, Cursor)>>;

    /// Reads everything that is stored and checks it; changes nothing. Damage is in the result and no error.
    ///
    /// # Errors
    /// `Storage` for what cannot be read at all; `Unsupported`.
    async fn verify(&self, progress: ProgressSink) -> Result<Verified> {
        let _ = progress;
        Err(Error::Unsupported { stream: self.name().to_string(), what: "verify" })
    }

    /// Applies compaction by key and retention now, instead of when they are due. Appends and reads go on.
    ///
    /// # Errors
    /// `NoSpace`, `Storage`; `Unsupported`.
    async fn compact(&self, progress: ProgressSink) -> Result<Compacted> {
        let _ = progress;
        Err(Error::Unsupported { stream: self.name().to_string(), what: "compact" })
    }

    /// Copies the stream as it is at one moment, with producers and cursors, to `target`: a directory of the server's
    /// machine that does not exist yet, or is empty. Appends and reads go on.
    ///
    /// # Errors
    /// `Backup` where something is there already; `NoSpace`, `Storage`; `Unsupported`.
    async fn backup(&self, target: &Path, progress: ProgressSink) -> Result<BackedUp> {
        let _ = (target, progress);
        Err(Error::Unsupported { stream: self.name().to_string(), what: "backup" })
    }
}

/// What [`Stream::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The first offset.
    pub first: u64,
    /// The offset behind the last event.
    pub next: u64,
    /// Events that were read and are whole.
    pub events: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Ranges of offsets that are damaged, at most 100.
    pub damaged: Vec<(u64, u64)>,
    /// What else does not hold (an index, a snapshot, an event), at most 100 lines.
    pub problems: Vec<String>,
}

/// What [`Stream::compact`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Events removed because a newer one has their key, or because they say that a key is gone.
    pub events_superseded: u64,
    /// Segments removed by retention.
    pub segments_expired: u64,
    /// Bytes of segments before.
    pub bytes_before: u64,
    /// Bytes of segments after.
    pub bytes_after: u64,
}

/// What [`Stream::backup`] copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// The first offset.
    pub first: u64,
    /// The offset behind the last event.
    pub next: u64,
    /// Bytes of the copy.
    pub bytes: u64,
}

/// Called once with what became of an append.
pub type AppendDone = Box<dyn FnOnce(Result<Appended>) + Send>;
/// Called once with what became of a commit of cursors.
pub type CommitDone = Box<dyn FnOnce(Result<()>) + Send>;

/// A batch to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// The events.
    pub events: EventBatch,
    /// Only if the next offset is this one.
    pub expected_next: Option<u64>,
    /// Whose it is, so that it is not stored twice.
    pub producer: Option<ProducerStamp>,
}

/// Which batch of which producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerStamp {
    /// From [`ProducerGrant`].
    pub id: u64,
    /// From [`ProducerGrant`].
    pub epoch: u32,
    /// Events of this producer before this batch, under all epochs.
    pub sequence: u64,
}

/// An opened producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerGrant {
    /// Its number in this stream.
    pub id: u64,
    /// Its epoch: smaller ones are fenced.
    pub epoch: u32,
    /// Events of it that are stored: the sequence of its next batch.
    pub sequence: u64,
    /// The offset of its last event, where there is one.
    pub last_offset: Option<u64>,
}

/// A stored batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first event's offset; the others follow it.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Their time, in nanoseconds since 1970.
    pub timestamp: u64,
    /// What the acknowledgement means.
    pub level: Level,
    /// It was stored before: the producer had sent it already.
    pub duplicate: bool,
}

/// How much to read at one time. At least one batch is given where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of batch bodies.
    pub bytes_max: usize,
    /// Events.
    pub events_max: usize,
}

/// A stored batch as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The offset that deltas count from.
    pub first: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub timestamp: u64,
    /// The events. The first batch of a page may begin before what was asked for.
    pub events: EventBatch,
}

/// What a read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Batches in order.
    pub batches: Vec<StoredBatch>,
    /// Where to read on: behind the last batch, and behind gaps that follow it.
    pub next: u64,
    /// The stream's next offset at that time.
    pub end: u64,
}

/// Which offsets there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRange {
    /// The first offset that can be read.
    pub first: u64,
    /// The offset that the next event gets.
    pub next: u64,
    /// The stream is gone: it was deleted, or its server has stopped.
    pub ended: bool,
}

/// What a stream has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// How it is configured.
    pub config: StreamConfig,
    /// The first offset that can be read.
    pub first: u64,
    /// The offset that the next event gets.
    pub next: u64,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Its segments.
    pub segments: u64,
    /// Idempotent producers that are remembered.
    pub producers: u64,
    /// Cursors and groups.
    pub cursors: u64,
    /// Ranges of offsets that are damaged and cannot be read, at most 100.
    pub damaged: Vec<(u64, u64)>,
    /// What its acknowledgements mean.
    pub level: Level,
}

/// The longest name of a cursor, in bytes.
pub const CURSOR_NAME_BYTES_MAX: usize = 255;
/// What an owner may keep with a cursor, in bytes.
pub const CURSOR_STATE_BYTES_MAX: usize = 16 * 1024;
/// Ranges that a cursor may have above its offset: a group that has more in disorder waits for the lowest.
pub const CURSOR_RANGES_MAX: usize = 4_096;

/// How far a reader, or a group of readers, is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything below has been dealt with.
    pub offset: u64,
    /// What has been dealt with above, as ranges with their ends left out, rising and apart from each other. At most
    /// [`CURSOR_RANGES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<(u64, u64)>,
    /// What the owner keeps with it: a group's settings, a connector's position. At most
    /// [`CURSOR_STATE_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes_compat")]
    pub state: Vec<u8>,
}

/// A change of a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorUpdate {
    /// Which, 1 to [`CURSOR_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// What it is now; `None` removes it.
    pub cursor: Option<Cursor>,
}

/// Bytes as one CBOR byte string instead of an array of numbers.
pub(crate) mod serde_bytes_compat {
    use std::fmt;

    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = sequence.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests;
