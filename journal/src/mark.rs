//! The mark that an orderly close leaves: how far the last segment was on disk, so that damage before it is told from a
//! torn tail. It stays true afterwards: what was on disk then still must be.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::Files;
use crate::whole;

const FILE: &str = "clean";
const BYTES: usize = 32;

/// What was on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) segment_id: u64,
    /// Byte of that segment behind the last batch.
    pub(crate) position: u64,
    /// Offset behind it.
    pub(crate) next: u64,
    /// Log time of it.
    pub(crate) time: u64,
}

impl Mark {
    pub(crate) fn write(&self, files: &dyn Files, directory: &Path) -> Result<()> {
        let fields = [self.segment_id, self.position, self.next, self.time].map(u64::to_le_bytes);
        whole::write(files, &directory.join(FILE), fields.as_flattened())
    }

    /// `None` when there is none; [`Error::FileDamaged`] when it cannot be believed.
    pub(crate) fn read(files: &dyn Files, directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        let Some(bytes) = whole::read(files, &path, BYTES as u64)? else { return Ok(None) };
        let Ok(bytes) = <[u8; BYTES]>::try_from(bytes) else {
            return Err(Error::FileDamaged { path, why: "is no mark of a close" });
        };
        let field = |at: usize| u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
        Ok(Some(Self { segment_id: field(0), position: field(1), next: field(2), time: field(3) }))
    }
}
