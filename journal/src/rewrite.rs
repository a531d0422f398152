//! Compaction: sealed segments are written anew without what nobody needs any more, and take their old ones' place.
//!
//! What must hold:
//! 1. Offsets stay. The new segment's header says up to which offset it stands for the old ones, so that a crash between
//!    its taking the place of the first and the removal of the others leaves nothing in doubt.
//! 2. The new one is on disk before it takes that place, and its name is durable before an old one is removed.
//! 3. Damaged segments are never rewritten: what could still be saved from them would be lost.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{BATCH_BODY_BYTES_MAX, BatchView};
use crate::error::{Damage, Error, Result};
use crate::files::{File, write_all};
use crate::index::{Index, IndexBuilder};
use crate::journal::Journal;
use crate::reader::{JournalReader, SegmentInfo};
use crate::segment::{HEADER_BYTES, Segment, SegmentHeader};
use crate::shared::{Shared, sync_failed};
use crate::walk::{PIECE_BYTES, Step, Walk};
use crate::whole;

/// What becomes of a batch.
#[derive(Clone, Debug)]
pub enum Rewritten {
    /// It stays as it is.
    Keep,
    /// It goes; its offsets are passed over by readers.
    Drop,
    /// It gets another body. Its offsets, time and kind stay.
    Replace {
        /// The new body.
        body: Bytes,
        /// Records in it.
        records: u32,
    },
}

/// A segment that can take the place of others. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct PreparedRewrite {
    shared: Arc<Shared>,
    replaced: Vec<Arc<Segment>>,
    header: SegmentHeader,
    path: PathBuf,
    /// `None` once it has been installed.
    index: Option<Index>,
}

impl PreparedRewrite {
    /// Bytes of the segments that it can take the place of.
    pub fn bytes_before(&self) -> u64 {
        self.replaced.iter().map(|segment| segment.summary().end).sum()
    }

    /// Its own bytes.
    pub fn bytes_after(&self) -> u64 {
        self.index.as_ref().map_or(0, |index| index.summary.end)
    }
}

impl Drop for PreparedRewrite {
    fn drop(&mut self) {
        if self.index.is_some() {
            // What is left behind is removed at the next start.
            let _ = self.shared.files.remove(&self.path);
        }
    }
}

impl JournalReader {
    /// Writes sealed neighbours anew as one segment, asking for each batch what becomes of it. Runs beside commits and
    /// readers and changes nothing until it is [installed](Journal::install). Costs one read and one write of them all.
    ///
    /// # Errors
    /// [`Error::Rewrite`] when they are not sealed neighbours of this journal, or too large together;
    /// [`Error::Damaged`]; [`Error::TooLarge`] for a new body; [`Error::NoSpace`]; [`Error::Io`]. Nothing has changed.
    pub fn prepare_rewrite(
        &self,
        segments: &[SegmentInfo],
        decide: &mut dyn FnMut(&BatchView) -> Rewritten,
    ) -> Result<PreparedRewrite> {
        let shared = &self.shared;
        shared.check()?;
        let (replaced, header) = self.choose(segments)?;
        let path = whole::name_beside(&*shared.files, &shared.directory.join("rewrite"));
        let file = shared.files.create_new(&path).map_err(Error::not_opened("create", &path))?;
        let mut prepared = PreparedRewrite { shared: shared.clone(), replaced, header, path, index: None };
        // From here on dropping it removes the file.
        prepared.index = Some(IndexBuilder::new(header.id, header.first, 0).finish());
        let mut output = Output::new(shared, &prepared, &*file);
        for segment in &prepared.replaced {
            self.rewrite(segment, &mut output, decide)?;
        }
        output.flush()?;
        let mut builder = output.builder;
        file.sync_data().map_err(sync_failed(&prepared.path))?;
        let end = builder.summary().end;
        builder.skip_to(end, header.covers);
        prepared.index = Some(builder.finish());
        Ok(prepared)
    }

    /// The segments, and the header of what is to stand for them.
    fn choose(&self, chosen: &[SegmentInfo]) -> Result<(Vec<Arc<Segment>>, SegmentHeader)> {
        let first = chosen.first().map_or(0, |info| info.first);
        let refused = |why| Error::Rewrite { first, why };
        let view = self.shared.view();
        let start = view.segments.iter().position(|segment| segment.first == first);
        let found = start.and_then(|start| view.segments.get(start..start + chosen.len())).unwrap_or_default();
        if chosen.is_empty() || found.is_empty() {
            return Err(refused("they are not there"));
        }
        if found.iter().zip(chosen).any(|(segment, info)| segment.first != info.first || !segment.state().is_sealed) {
            return Err(refused("they are not sealed neighbours"));
        }
        let covers = found.last().map_or(0, |last| last.summary().next);
        if covers == first {
            return Err(refused("they hold no offsets"));
        }
        if covers - first > u32::MAX.into() {
            return Err(refused("they hold too many offsets for one segment"));
        }
        // Damage at the end of one shows in the beginning of the next alone.
        for pair in found.windows(2) {
            let (summary, to) = (pair[0].summary(), pair[1].first);
            if summary.next != to {
                let (segment, position, from) = (pair[0].first, summary.end, summary.next);
                return Err(Error::Damaged(Damage { segment, position, from, to }));
            }
        }
        let created = found[0].summary().first_time;
        let header = SegmentHeader { id: self.shared.files.random(), first, covers, created };
        Ok((found.to_vec(), header))
    }

    fn rewrite(
        &self,
        segment: &Segment,
        output: &mut Output<'_>,
        decide: &mut dyn FnMut(&BatchView) -> Rewritten,
    ) -> Result<()> {
        let gone = || Error::Rewrite { first: segment.first, why: "one of them is gone meanwhile" };
        let file = self.shared.file(segment)?.ok_or_else(gone)?;
        let summary = segment.summary();
        let start = (HEADER_BYTES, segment.first);
        let mut walk = Walk::new(&*file, segment.id, segment.is_gapless, start, summary.end);
        loop {
            let position = walk.position();
            match walk.step().map_err(Error::io("read", &segment.path))? {
                Step::Batch(header, body) => {
                    let batch = BatchView { header, body, segment: segment.first, position };
                    match decide(&batch) {
                        Rewritten::Keep => output.push(batch)?,
                        Rewritten::Drop => {}
                        Rewritten::Replace { body, records } => output.push(replaced(batch, body, records)?)?,
                    }
                }
                Step::Bad => return Err(Error::Damaged(self.damage(segment, &mut walk, Some(summary.next))?)),
                Step::End => return Ok(()),
            }
        }
    }
}

fn replaced(mut batch: BatchView, body: Bytes, records: u32) -> Result<BatchView> {
    if body.len() > BATCH_BODY_BYTES_MAX {
        let (bytes, max) = (body.len() as u64, BATCH_BODY_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: "a batch", bytes, max });
    }
    (batch.header.body_bytes, batch.header.body_crc) = (body.len() as u32, crc32c::crc32c(&body));
    (batch.header.records, batch.body) = (records, body);
    Ok(batch)
}

/// The new segment, as it is written.
struct Output<'a> {
    prepared: &'a PreparedRewrite,
    file: &'a dyn File,
    builder: IndexBuilder,
    buffer: Vec<u8>,
    written: u64,
}

impl<'a> Output<'a> {
    fn new(shared: &Shared, prepared: &'a PreparedRewrite, file: &'a dyn File) -> Self {
        let header = &prepared.header;
        let builder = IndexBuilder::new(header.id, header.first, shared.options.index_interval_bytes);
        Self { prepared, file, builder, buffer: header.encode().to_vec(), written: 0 }
    }

    fn push(&mut self, batch: BatchView) -> Result<()> {
        let mut header = batch.header;
        // All of a segment is on disk before it takes its place.
        let position = self.builder.summary().end;
        (header.segment_id, header.synced) = (self.prepared.header.id, position);
        self.builder.push(&header);
        if self.builder.summary().end > u32::MAX.into() {
            let first = self.prepared.header.first;
            return Err(Error::Rewrite { first, why: "they are too large together" });
        }
        self.buffer.extend_from_slice(&header.encode(position));
        self.buffer.extend_from_slice(&batch.body);
        if self.buffer.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        write_all(self.file, &self.buffer, self.written).map_err(Error::io("write", &self.prepared.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Journal {
    /// Lets a rewrite take its place. Readers in the midst of an old segment finish it. Costs two directory syncs.
    ///
    /// # Errors
    /// [`Error::Rewrite`] when the old segments have changed since it was prepared, or the journal was opened again;
    /// [`Error::NoSpace`], [`Error::NotOpened`]; all leave things as they were. Else as [`commit`](Self::commit).
    pub fn install(&mut self, mut prepared: PreparedRewrite) -> Result<()> {
        self.shared.check()?;
        let first = prepared.header.first;
        if !Arc::ptr_eq(&prepared.shared, &self.shared) {
            // Opening has removed its file.
            return Err(Error::Rewrite { first, why: "the journal was opened again since it was prepared" });
        }
        let view = self.shared.view();
        let start = view.segments.iter().position(|segment| segment.first == first).unwrap_or(0);
        let now = view.segments.iter().skip(start).map(|segment| segment.id);
        if !now.take(prepared.replaced.len()).eq(prepared.replaced.iter().map(|segment| segment.id)) {
            return Err(Error::Rewrite { first, why: "they have changed since it was prepared" });
        }
        self.or_poison(|journal| journal.install_now(&mut prepared, start))
    }

    fn install_now(&mut self, prepared: &mut PreparedRewrite, start: usize) -> Result<()> {
        let shared = self.shared.clone();
        let path = prepared.replaced[0].path.clone();
        let directory = shared.open_directory()?;
        // Readers that have the old list find the old file by its name no longer.
        let files = prepared.replaced.iter().map(|old| shared.file(old).map_err(Error::before_writing));
        let files: Vec<_> = files.collect::<Result<_>>()?;
        for (old, file) in prepared.replaced.iter().zip(files) {
            old.state().file = file;
        }
        shared.files.rename(&prepared.path, &path).map_err(Error::io("rename", &path))?;
        let index = prepared.index.take().expect("it is installed once");
        if !crate::planted::is_planted("no directory sync") {
            shared.sync_names(&*directory)?;
        }
        let segment = Arc::new(Segment::sealed(path, &prepared.header, false, index.summary));
        shared.change_view(|segments| {
            segments.splice(start..start + prepared.replaced.len(), [segment.clone()]);
        });
        shared.write_index(&segment.index_path(), &index);
        shared.options.resources.keep_index(shared.key(&segment), Arc::new(index));
        shared.options.resources.forget(shared.key(&prepared.replaced[0]));
        for old in &prepared.replaced[1..] {
            self.remove(old)?;
        }
        shared.sync_names(&*directory)
    }
}
