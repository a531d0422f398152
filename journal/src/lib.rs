//! The one way to disk: a segmented, checksummed, group-committed log.
//!
//! ```
//! use std::sync::Arc;
//! use sinew_journal::{DataDirectory, Disk, Journal, JournalOptions, PreparedBatch};
//!
//! # let folder = tempfile::tempdir()?;
//! let data = DataDirectory::open(Arc::new(Disk), folder.path())?;
//! let path = data.path().join("orders");
//! let (mut journal, _) = Journal::open(data.files().clone(), &path, JournalOptions::default())?;
//! let reader = journal.reader();
//!
//! let committed = journal.commit(&mut [PreparedBatch::new("17 euros", 1, 1)?], 1_000)?; // on disk when this returns
//! assert_eq!((committed.first, committed.next), (0, 1));
//! let batches = reader.read(0, 1 << 20)?;
//! assert_eq!(batches[0].body, "17 euros");
//! journal.close()?;
//!
//! let (journal, recovery) = Journal::open(data.files().clone(), &path, JournalOptions::default())?;
//! assert!(recovery.is_clean);
//! assert_eq!(journal.next_offset(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One [`Journal`] for each thing that must not be lost; its owner decides what a batch means, judges conditions, and puts
//! what gathered while the last sync ran into the next [`commit`](Journal::commit). A [`Committer`] runs the rounds of
//! many owners on a few threads. [`JournalReader`]s read beside it. What is promised after a crash stands with
//! [`Durability`], what recovery may have to say with [`Recovery`], and every byte in `docs/STORAGE.md`.

mod error;
pub use error::{Damage, Error, Result};
mod files;
pub use files::{Directory, File, Files, Lock, OpenMode};
mod disk;
pub use disk::Disk;
mod directory;
mod whole;
pub use directory::{DataDirectory, WHOLE_FILE_BYTES_MAX};
mod batch;
pub use batch::{BATCH_BODY_BYTES_MAX, BatchHeader, BatchView, PreparedBatch};
mod index;
mod options;
mod segment;
mod walk;
pub use options::{
    COMMIT_BYTES_MAX, Durability, INDEX_INTERVAL_BYTES_DEFAULT, JournalOptions, SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MAX, WRITTEN_SYNC_INTERVAL,
};
mod resources;
pub use resources::{INDEX_BYTES_MAX, OPEN_FILES_MAX, Resources};
mod mark;
mod recovery;
mod shared;
mod tail;
pub use recovery::{Cut, Recovery};
pub use tail::{TORN_BYTES_SAVED_MAX, TORN_FILES_MAX};
mod upkeep;
pub use upkeep::{ZERO_STEP_BYTES_MAX, ZERO_STEP_BYTES_MIN};
mod journal;
pub use journal::{Committed, Journal};
mod reader;
pub use reader::{Cursor, JournalReader, SegmentInfo};
mod snapshot;
pub use snapshot::{PreparedSnapshot, SNAPSHOTS_KEPT};
mod rewrite;
pub use rewrite::{PreparedRewrite, Rewritten};
mod progress;
pub use progress::Progress;
mod copy;
pub use copy::{Copied, copy_file};
mod verify;
pub use verify::VerifyReport;
mod committer;
pub use committer::{COMMITTER_THREADS_MAX, Committer, Participant, Wake};
#[cfg(feature = "simulation")]
mod simulated;
#[cfg(feature = "simulation")]
pub use simulated::{Crash, Dice, Fault, FaultKind, History, Replay, SimulatedDisk};
mod planted;
#[cfg(feature = "planted")]
pub use planted::plant;
