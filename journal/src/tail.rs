//! The end of the log: how far a segment can be believed, and what becomes of the bytes behind that.
//!
//! Each batch says how far its segment was on disk when it was written, and an orderly close says it too. A bad place
//! before that is damage: it was on disk once. A bad place behind everything that is known to have been on disk is where a
//! crash tore the log: nobody was told that it was there.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Damage, Error, Result};
use crate::files::{File, Files, write_all};
use crate::index::IndexBuilder;
use crate::mark::Mark;
use crate::planted::is_planted;
use crate::segment::HEADER_BYTES;
use crate::shared::write_raw;
use crate::walk::{PIECE_BYTES, Step, Walk, read_piece};

/// Bytes of a torn tail that are saved.
pub const TORN_BYTES_SAVED_MAX: usize = 1024 * 1024;
/// Files of saved tails that are kept in a journal's directory; with more of them a new tail is not saved, but reported.
pub const TORN_FILES_MAX: usize = 16;

/// What a segment holds.
pub(crate) struct Scan {
    /// All batches that can be believed.
    pub(crate) builder: IndexBuilder,
    pub(crate) damaged: Vec<Damage>,
    /// Byte before which everything was on disk.
    pub(crate) synced: u64,
    /// First byte behind the last one that is not zero, where there are such behind the last batch.
    pub(crate) end_of_bytes: Option<u64>,
}

/// Walks through all of the segment that begins with offset `first`. `last` is for the one that was written to last, with
/// the mark of a close where there is one: its tail may be torn. In any other a bad place is damage.
pub(crate) fn scan(
    mut walk: Walk<'_>,
    first: u64,
    last: Option<Option<&Mark>>,
    mut builder: IndexBuilder,
) -> io::Result<Scan> {
    let mark = last.flatten();
    let mut synced = mark.map_or(HEADER_BYTES, |mark| mark.position);
    let (mut damaged, mut has_looked_ahead) = (Vec::new(), last.is_none());
    loop {
        match walk.step()? {
            Step::Batch(header, _) => {
                synced = synced.max(header.synced);
                builder.push(&header);
                continue;
            }
            Step::End if walk.position() >= synced || last.is_none() => break,
            Step::End | Step::Bad => {}
        }
        if !has_looked_ahead {
            synced = synced.max(look_ahead(walk.clone())?);
            has_looked_ahead = true;
        }
        if last.is_some() && walk.position() >= synced {
            break;
        }
        let (position, from) = (walk.position(), walk.next());
        let found = walk.skip_bad()?.map(|header| (walk.position(), header.base_offset));
        // A close knows where the batches ended even when none of the later ones can be read.
        let behind = mark.map(|mark| (mark.position, mark.next)).filter(|behind| behind.0 > position);
        let Some((end, to)) = [found, behind].into_iter().flatten().min() else { break };
        damaged.push(Damage { segment: first, position, from, to });
        builder.skip_to(end, to);
        walk.jump(end, to);
    }
    let end_of_bytes = walk.end_of_bytes()?;
    Ok(Scan { builder, damaged, synced, end_of_bytes })
}

/// How far the batches behind a bad place say that the segment was on disk.
fn look_ahead(mut walk: Walk<'_>) -> io::Result<u64> {
    let mut synced = 0;
    while let Some(header) = walk.skip_bad()? {
        synced = synced.max(header.synced);
    }
    Ok(synced)
}

/// Saves the bytes that are about to be zeroed. What is in its name keeps it apart from what an interrupted recovery saved.
pub(crate) fn save(
    files: &dyn Files,
    directory: &Path,
    file: &dyn File,
    (segment, from): (u64, u64),
    to: u64,
) -> Result<Option<PathBuf>> {
    let names = files.list(directory).map_err(Error::io("list", directory))?;
    let bytes = usize::try_from(to - from).unwrap_or(usize::MAX).min(TORN_BYTES_SAVED_MAX);
    let bytes = read_piece(file, from, bytes).map_err(Error::io("read", directory))?;
    let name = format!("torn-{segment:020}-{from:010}-{:08x}", crc32c::crc32c(&bytes));
    let path = directory.join(&name);
    if names.contains(&name) {
        return Ok(Some(path));
    }
    if names.iter().filter(|name| name.starts_with("torn-")).count() >= TORN_FILES_MAX {
        return Ok(None);
    }
    match write_raw(files, &path, &bytes) {
        // Nobody was told that they were there; that readers can go on is worth more.
        Err(Error::NoSpace { .. }) => return Ok(None),
        written => written?,
    }
    files.sync_dir(directory).map_err(crate::shared::sync_failed(directory))?;
    Ok(Some(path))
}

/// Writes what is there once more, so that a sync makes it durable whatever happened to it: after a sync that failed, the
/// operating system may hold pages that it takes for written, and shows them until it needs their memory.
pub(crate) fn write_again(file: &dyn File, mut from: u64, to: u64) -> io::Result<()> {
    while from < to && !is_planted("tail not written again") {
        let bytes = usize::try_from(to - from).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let piece = read_piece(file, from, bytes)?;
        if piece.is_empty() {
            break;
        }
        write_all(file, &piece, from)?;
        from += piece.len() as u64;
    }
    Ok(())
}
