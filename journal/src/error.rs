//! What can go wrong on the way to disk, named for what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A journal's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Offsets that can no longer be read, and where they stood. What was there is left as it is; reading goes on at
/// [`to`](Self::to).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Damage {
    /// First offset of the segment, which is its file's name.
    pub segment: u64,
    /// Byte within that file where the damage begins.
    pub position: u64,
    /// First offset that is lost.
    pub from: u64,
    /// First offset behind the loss.
    pub to: u64,
}

/// What went wrong. Cheap to clone: one failed round concerns many callers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk is full. Nothing of the call stays; the same may succeed once there is room, without a restart.
    #[error("no space left to {what} {}; free some, writing resumes by itself", path.display())]
    NoSpace {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// A file or a directory could not be opened, or no new one made, before anything was written: too many are open, say.
    /// The same may succeed later, without a restart.
    #[error("cannot {what} {} before anything is written; writing goes on by itself once it can", path.display())]
    NotOpened {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// A write or a sync failed before: what is on disk is known only after a restart. Reading goes on.
    #[error("the journal in {} takes nothing more since {why}; check the disk, then restart", directory.display())]
    Poisoned {
        /// The journal.
        directory: PathBuf,
        /// What failed first.
        why: Arc<str>,
    },
    /// An offset that is not there, because retention removed it or nothing was written there yet.
    #[error("offset {requested} is not in the journal, which has {first} up to {next}; go on at one of these")]
    OutOfRange {
        /// The offset asked for.
        requested: u64,
        /// The first there is.
        first: u64,
        /// The one that the next commit begins with.
        next: u64,
    },
    /// Offsets whose bytes on disk were changed or lost. Nothing was deleted.
    #[error(
        "offsets {} up to {} are damaged (segment {}, byte {}); go on at {}, and restore the segment from a backup",
        .0.from, .0.to, .0.segment, .0.position, .0.to
    )]
    Damaged(Damage),
    /// A small file that was cut or changed.
    #[error("{} {why}; restore it from a backup, or remove it to do without", path.display())]
    FileDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two segments hold the same offsets, and none says that it takes the other's place.
    #[error(
        "segments {first} and {second} in {} overlap; one was put there by hand: move it away",
        directory.display()
    )]
    Overlap {
        /// The journal.
        directory: PathBuf,
        /// First offset of the one.
        first: u64,
        /// First offset of the other.
        second: u64,
    },
    /// A file of a format that this version does not know.
    #[error("{} has format version {found}, and this program knows {known}; use the one that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u32,
        /// The version that is known here.
        known: u32,
    },
    /// Another process uses the data directory.
    #[error("{} is in use{}; stop that one first, or choose another directory", path.display(), holder(*.pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, where the holder could be read.
        pid: Option<u32>,
    },
    /// A batch, a commit or a file above its limit.
    #[error("{what} of {bytes} bytes; the limit is {max}: split it")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its bytes.
        bytes: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The offsets of 64 bits are used up.
    #[error("the journal in {} has used up its offsets; begin a new one", directory.display())]
    OffsetsUsedUp {
        /// The journal.
        directory: PathBuf,
    },
    /// A snapshot of a state that is not on disk yet.
    #[error("a snapshot at offset {offset}, but only what is below {next} is on disk; commit and wait first")]
    SnapshotAhead {
        /// Of the snapshot.
        offset: u64,
        /// The durable end.
        next: u64,
    },
    /// A rewrite of segments that are not there, not sealed, not neighbours, or too large together.
    #[error("cannot rewrite the segments from {first}: {why}")]
    Rewrite {
        /// First offset of the first one.
        first: u64,
        /// Why.
        why: &'static str,
    },
    /// A backup's target that holds something already.
    #[error("{} is not empty; name a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The caller's progress function said to stop.
    #[error("stopped as asked")]
    Cancelled,
    /// A participant of the committer panicked; it is not run again.
    #[error("a round panicked: {why}; please report this")]
    Panicked {
        /// The panic's message.
        why: Arc<str>,
    },
    /// The operating system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
}

impl Error {
    /// Names what was tried, and on what; a full disk is told apart.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { what, path: path.into() },
            _ => Self::Io { what, path: path.into(), cause: Arc::new(cause) },
        }
    }

    /// The same for what is opened before anything is written.
    pub(crate) fn not_opened(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| match Self::io(what, path)(cause) {
            Self::Io { what, path, cause } => Self::NotOpened { what, path, cause },
            full => full,
        }
    }

    /// An error of opening something to read it, where that came before anything was written.
    pub(crate) fn before_writing(self) -> Self {
        match self {
            Self::Io { what: "open", path, cause } => Self::NotOpened { what: "open", path, cause },
            other => other,
        }
    }

    /// Whether a journal can do nothing more before a restart, where a call that writes ended with it: it is poisoned, or
    /// the disk fails, or a round panicked.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Poisoned { .. } | Self::Io { .. } | Self::Panicked { .. })
    }

    /// Whether the same may succeed later without a restart.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::NotOpened { .. })
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}
