//! Snapshots of the owner's state beside the log, so that a start need not replay all of it and retention may remove what
//! the state was made from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::directory::WHOLE_FILE_BYTES_MAX;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::journal::Journal;
use crate::reader::JournalReader;
use crate::shared::Shared;
use crate::whole;

/// Snapshots that are kept: when the newest cannot be read, the one before stands.
pub const SNAPSHOTS_KEPT: usize = 2;

pub(crate) fn file_name(offset: u64) -> String {
    format!("snapshot-{offset:020}")
}

/// The offset in a snapshot's file name.
fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("snapshot-")?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Journal {
    /// Keeps the owner's state as of everything below `offset`; the [two](SNAPSHOTS_KEPT) newest are kept. Costs two
    /// syncs.
    ///
    /// # Errors
    /// [`Error::SnapshotAhead`] when `offset` is above what was committed; [`Error::TooLarge`] above
    /// [`WHOLE_FILE_BYTES_MAX`]; [`Error::NoSpace`], [`Error::NotOpened`] and [`Error::Io`]: those there were still stand.
    pub fn save_snapshot(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.prepare_snapshot(offset, bytes.to_vec())?.write()
    }

    /// The first half of [`save_snapshot`](Self::save_snapshot): makes sure that what the state was made from is on disk.
    /// The second half needs the writer no longer. Costs one sync at most.
    ///
    /// # Errors
    /// As [`save_snapshot`](Self::save_snapshot).
    pub fn prepare_snapshot(&mut self, offset: u64, bytes: Vec<u8>) -> Result<PreparedSnapshot> {
        if offset > self.next_offset() {
            return Err(Error::SnapshotAhead { offset, next: self.next_offset() });
        }
        if bytes.len() as u64 > WHOLE_FILE_BYTES_MAX {
            let bytes = bytes.len() as u64;
            return Err(Error::TooLarge { what: "a snapshot", bytes, max: WHOLE_FILE_BYTES_MAX });
        }
        // What the state was made from must not be lost in a crash that the snapshot survives.
        self.sync()?;
        Ok(PreparedSnapshot { shared: self.shared.clone(), offset, bytes })
    }

    /// The newest snapshot that can be read, and its offset.
    ///
    /// # Errors
    /// [`Error::Io`]. A damaged one is logged and passed over.
    pub fn latest_snapshot(&self) -> Result<Option<(u64, Bytes)>> {
        self.reader().latest_snapshot()
    }
}

/// A snapshot of what is on disk, not written yet.
#[derive(Debug)]
#[must_use = "it is kept once it is written"]
pub struct PreparedSnapshot {
    shared: Arc<Shared>,
    offset: u64,
    bytes: Vec<u8>,
}

impl PreparedSnapshot {
    /// Keeps it, beside commits and readers; one at a time writes those of a journal. Costs two syncs.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::NotOpened`] and [`Error::Io`]: those there were still stand.
    pub fn write(self) -> Result<()> {
        let (files, directory) = (&*self.shared.files, &self.shared.directory);
        let mut names = self.shared.names()?;
        whole::write(files, &directory.join(file_name(self.offset)), &self.bytes)?;
        names.insert(file_name(self.offset));
        for old in offsets(names.iter()).into_iter().rev().skip(SNAPSHOTS_KEPT) {
            let path = directory.join(file_name(old));
            match files.remove(&path) {
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(Error::io("remove", &path))?,
            }
        }
        Ok(())
    }
}

impl JournalReader {
    /// The newest snapshot that can be read, and its offset.
    ///
    /// # Errors
    /// [`Error::Io`]. A damaged one is logged and passed over.
    pub fn latest_snapshot(&self) -> Result<Option<(u64, Bytes)>> {
        let names = self.shared.names()?;
        for offset in offsets(names.iter()).into_iter().rev() {
            let path = self.shared.directory.join(file_name(offset));
            match whole::read(&*self.shared.files, &path, WHOLE_FILE_BYTES_MAX) {
                Ok(Some(bytes)) => return Ok(Some((offset, bytes.into()))),
                // Removed since the names were read: a newer one took its place.
                Ok(None) => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "a snapshot is passed over"),
            }
        }
        Ok(None)
    }
}

/// In rising order.
pub(crate) fn offsets<'a>(names: impl Iterator<Item = &'a String>) -> Vec<u64> {
    let mut offsets: Vec<_> = names.filter_map(|name| parse_name(name)).collect();
    offsets.sort_unstable();
    offsets
}

/// Gives snapshots of what the log no longer has another name: its offsets will be given out again, to other things.
pub(crate) fn set_aside_ahead(
    files: &dyn Files,
    directory: &Path,
    names: &[String],
    next: u64,
    suspect: &mut Vec<(PathBuf, &'static str)>,
) -> Result<()> {
    let mut has_changed = false;
    for offset in offsets(names.iter()).into_iter().filter(|offset| *offset > next) {
        let path = directory.join(file_name(offset));
        let aside = directory.join(format!("ahead-{}", file_name(offset)));
        files.rename(&path, &aside).map_err(Error::io("set aside", &path))?;
        suspect.push((aside, "is a snapshot of more than the log has and was set aside"));
        has_changed = true;
    }
    if has_changed {
        files.sync_dir(directory).map_err(crate::shared::sync_failed(directory))?;
    }
    Ok(())
}
