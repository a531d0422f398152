//! Online backup: a copy of the journal in another directory, as of an offset, made beside commits.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::directory::WHOLE_FILE_BYTES_MAX;
use crate::error::{Error, Result};
use crate::files::{File, Files, OpenMode, write_all};
use crate::index::Index;
use crate::mark::Mark;
use crate::progress::Progress;
use crate::reader::{JournalReader, missing};
use crate::segment::{HEADER_BYTES, Segment, SegmentHeader, file_name, index_path};
use crate::shared::{sync_failed, write_raw};
use crate::snapshot;
use crate::walk::{PIECE_BYTES, Step, Walk, read_piece};
use crate::whole;

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Its first offset.
    pub first: u64,
    /// The first offset that is not in it.
    pub next: u64,
    /// Bytes of segments that were copied.
    pub bytes: u64,
}

/// A copy under way.
struct Copy<'a> {
    files: &'a dyn Files,
    directory: &'a Path,
    up_to: u64,
    progress: Progress,
    tell: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>,
    mark: Option<Mark>,
}

impl JournalReader {
    /// Copies everything below offset `up_to` (whole batches; what is committed when it is called at most) and the
    /// snapshots that go with it into an empty directory of the same file system interface, to be opened as a journal.
    /// `tell` hears of each MiB and may stop it. Bytes are copied as they are, damaged ones too:
    /// [`verify`](Self::verify) the copy. Costs one read and one write of everything, and a sync for each segment.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]; [`Error::OutOfRange`] when retention overtakes it; [`Error::Rewrite`] when a rewrite does;
    /// [`Error::Cancelled`]; [`Error::NoSpace`]; [`Error::Io`]. What was copied by then is left there.
    pub fn copy_to(
        &self,
        directory: impl AsRef<Path>,
        up_to: u64,
        tell: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Copied> {
        let (files, directory) = (&*self.shared.files, directory.as_ref());
        files.create_dir_all(directory).map_err(Error::io("create", directory))?;
        if !files.list(directory).map_err(Error::io("list", directory))?.is_empty() {
            return Err(Error::NotEmpty { path: directory.into() });
        }
        let view = self.shared.view();
        let (first, up_to) = (view.first(), up_to.min(view.next()));
        let below = view.segments.iter().filter(|segment| segment.first < up_to);
        let bytes_total = below.map(|segment| segment.summary().end).sum();
        let progress = Progress { bytes_done: 0, bytes_total };
        let mut copy = Copy { files, directory, up_to, progress, tell, mark: None };
        let mut at = first;
        // One that begins at the end has batches that take no offset.
        let begins = |at: u64| view.segments.iter().any(|segment| segment.first == at);
        while at < up_to || copy.mark.is_none() || begins(at) {
            let behind = self.copy_segment(&mut copy, at)?;
            if behind <= at {
                break;
            }
            at = behind;
        }
        let mark = copy.mark.expect("there is a segment to be copied");
        self.copy_snapshots(&copy, mark.next)?;
        // The mark comes last: with it the copy is complete.
        mark.write(files, directory)?;
        Ok(Copied { first, next: mark.next, bytes: copy.progress.bytes_done })
    }

    /// Copies the segment that begins with offset `at`; says where the next one begins.
    fn copy_segment(&self, copy: &mut Copy<'_>, at: u64) -> Result<u64> {
        let (segment, file) = self.segment_at(at)?;
        let summary = segment.summary();
        let is_whole = segment.state().is_sealed && summary.next <= copy.up_to;
        let (end, next, time) = match is_whole {
            true => (summary.end, summary.next, summary.last_time),
            false => self.find_cut(&segment, &*file, copy.up_to)?,
        };
        let damaged = SegmentHeader { id: segment.id, first: segment.first, covers: 0, created: 0 };
        let mut header = self.shared.header(&segment, &*file)?.unwrap_or(damaged);
        // The copy gives out again what lies behind it.
        header.covers = header.covers.min(next);
        let path = copy.directory.join(file_name(segment.first));
        copy.copy_bytes(&*file, &path, &header, end)?;
        if is_whole {
            let index = self.shared.index(&segment, &*file)?;
            let path = index_path(&path);
            write_raw(copy.files, &path, &index.encode())?;
        }
        copy.mark = Some(Mark { segment_id: segment.id, position: end, next, time });
        Ok(if is_whole { next } else { copy.up_to })
    }

    fn segment_at(&self, at: u64) -> Result<(Arc<Segment>, Arc<dyn File>)> {
        let mut turns = 0;
        loop {
            let view = self.shared.view();
            let segment = &view.segments[view.find(at)];
            if segment.first > at {
                return Err(Error::OutOfRange { requested: at, first: view.first(), next: view.next() });
            }
            if segment.first < at {
                return Err(Error::Rewrite {
                    first: segment.first,
                    why: "it took its place while it was copied; copy again",
                });
            }
            if let Some(file) = self.shared.file(segment)? {
                return Ok((segment.clone(), file));
            }
            missing(segment, &mut turns)?;
        }
    }

    /// Byte, offset and log time behind the last batch that lies below `up_to` as a whole.
    fn find_cut(&self, segment: &Segment, file: &dyn File, up_to: u64) -> Result<(u64, u64, u64)> {
        let end = segment.summary().end;
        let start = self.shared.place(segment, file, |entries| Index::before(entries, segment.first, up_to))?;
        let mut walk = Walk::new(file, segment.id, segment.is_gapless, start, end);
        let (mut cut, mut time) = (start, 0);
        loop {
            match walk.step().map_err(Error::io("read", &segment.path))? {
                Step::Batch(header, _) if header.next_offset() <= up_to => {
                    (cut, time) = ((walk.position(), walk.next()), header.timestamp);
                }
                Step::Bad => {
                    let damage = self.damage(segment, &mut walk, None)?;
                    if damage.to > up_to {
                        return Ok((cut.0, cut.1, time));
                    }
                    cut = (walk.position(), walk.next());
                }
                Step::Batch(..) | Step::End => return Ok((cut.0, cut.1, time)),
            }
        }
    }

    fn copy_snapshots(&self, copy: &Copy<'_>, next: u64) -> Result<()> {
        for offset in snapshot::offsets(self.shared.names()?.iter()).into_iter().filter(|offset| *offset <= next) {
            let name = snapshot::file_name(offset);
            match whole::read(copy.files, &self.shared.directory.join(&name), WHOLE_FILE_BYTES_MAX) {
                Ok(Some(bytes)) => whole::write(copy.files, &copy.directory.join(&name), &bytes)?,
                Ok(None) => {}
                Err(error @ (Error::Io { .. } | Error::NoSpace { .. })) => return Err(error),
                Err(error) => tracing::warn!(%error, "a snapshot is not copied"),
            }
        }
        Ok(())
    }
}

/// Copies one file that nobody writes to, one of a copied journal say, and syncs it; its name is durable once its directory
/// is synced. `tell` hears of the bytes of each MiB and may stop it.
///
/// # Errors
/// [`Error::Cancelled`]; [`Error::NoSpace`]; [`Error::Io`], also when there is such a file. What was copied by then is
/// left there.
pub fn copy_file(
    files: &dyn Files,
    from: &Path,
    to: &Path,
    tell: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<()> {
    let source = files.open(from, OpenMode::Read).map_err(Error::io("open", from))?;
    let target = files.create_new(to).map_err(Error::io("create", to))?;
    let mut at = 0;
    loop {
        let piece = read_piece(&*source, at, PIECE_BYTES).map_err(Error::io("read", from))?;
        if piece.is_empty() {
            return target.sync_data().map_err(Error::io("sync", to));
        }
        write_all(&*target, &piece, at).map_err(Error::io("write", to))?;
        at += piece.len() as u64;
        if tell(piece.len() as u64).is_break() {
            return Err(Error::Cancelled);
        }
    }
}

impl Copy<'_> {
    fn copy_bytes(&mut self, from: &dyn File, path: &Path, header: &SegmentHeader, end: u64) -> Result<()> {
        let file = self.files.create_new(path).map_err(Error::io("create", path))?;
        write_all(&*file, &header.encode(), 0).map_err(Error::io("write", path))?;
        let mut at = HEADER_BYTES;
        self.progress.advance(at, self.tell)?;
        while at < end {
            let bytes = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let piece = read_piece(from, at, bytes).map_err(Error::io("read", path))?;
            if piece.is_empty() {
                break;
            }
            write_all(&*file, &piece, at).map_err(Error::io("write", path))?;
            at += piece.len() as u64;
            self.progress.advance(piece.len() as u64, self.tell)?;
        }
        file.sync_data().map_err(sync_failed(path))
    }
}
