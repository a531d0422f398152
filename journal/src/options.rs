//! How a journal is to be.

use std::sync::Arc;
use std::time::Duration;

use crate::resources::Resources;

/// A segment is closed and the next one begun at about this size. Large enough that a roll (five syncs) is rare, small
/// enough that retention has steps and the scan of the last one at a start takes well under a second.
pub const SEGMENT_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;
/// The most that may be asked for: positions within a segment have 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// An index entry for each of so many bytes.
pub const INDEX_INTERVAL_BYTES_DEFAULT: u32 = 16 * 1024;
/// Bytes of all batches of one commit, which stand in one segment.
pub const COMMIT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long what is only written may wait for its sync, where a committer looks after the journal.
pub const WRITTEN_SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// What a commit promises when it returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// It is on disk and survives power loss. Readers see what is on disk.
    #[default]
    Fsynced,
    /// The operating system has it: it survives the end of this process, and reaches the disk at the next roll, at
    /// close, and within [`WRITTEN_SYNC_INTERVAL`] where the journal is [attached](crate::Journal::attach) to a
    /// committer. Readers see what is written.
    Written,
}

/// How a journal is to be.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Bytes of a segment, at most [`SEGMENT_BYTES_MAX`]; one larger commit makes one larger segment.
    pub segment_bytes: u64,
    /// Bytes for one entry of the index.
    pub index_interval_bytes: u32,
    /// What a commit promises.
    pub durability: Durability,
    /// The offset that a new journal begins with.
    pub first_offset: u64,
    /// The caches that it shares with others.
    pub resources: Arc<Resources>,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            index_interval_bytes: INDEX_INTERVAL_BYTES_DEFAULT,
            durability: Durability::Fsynced,
            first_offset: 0,
            resources: Resources::shared(),
        }
    }
}
