//! The readers' side of a journal: read from an offset, follow, find by time. Any number of them, beside the writer.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::batch::{BatchHeader, BatchView};
use crate::error::{Damage, Error, Result};
use crate::index::Index;
use crate::segment::{HEADER_BYTES, Segment};
use crate::shared::{Shared, View};
use crate::walk::{PIECE_BYTES, Step, Walk};

/// Reads a journal while it is written to. Cheap to clone. Every method that reads may wait for the disk: async callers
/// use a thread for it.
#[derive(Clone, Debug)]
pub struct JournalReader {
    pub(crate) shared: Arc<Shared>,
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its first offset, which is its name.
    pub first: u64,
    /// The first offset behind it.
    pub next: u64,
    /// Bytes of its batches and its header.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Log time of its first batch, in nanoseconds since 1970; 0 without one.
    pub first_timestamp: u64,
    /// Log time of its last batch; 0 without one.
    pub last_timestamp: u64,
    /// Whether nothing is added to it any more.
    pub is_sealed: bool,
}

/// Where a reader is, between two batches. What batches without offsets need: an offset alone does not say which of them
/// were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    next: u64,
    place: Option<Place>,
    /// Whether damage is told even where it cost batches without offsets alone.
    is_exact: bool,
}

/// A byte of a segment; ignored when the segment is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    segment_id: u64,
    position: u64,
    /// The offset that is due there.
    due: u64,
}

impl Place {
    fn start_of(segment: &Segment) -> Self {
        Self { segment_id: segment.id, position: HEADER_BYTES, due: segment.first }
    }
}

impl Cursor {
    /// The offset that it has come to.
    pub fn next_offset(&self) -> u64 {
        self.next
    }
}

/// What a reader asks for.
struct Wanted {
    from: u64,
    bytes_max: usize,
    is_exact: bool,
    /// Whether it has read up to just here.
    is_continued: bool,
}

impl Wanted {
    /// Whether it is told of this. Not of what lies before its beginning, where it may come from behind this very damage.
    fn concerns(&self, damage: &Damage) -> bool {
        let may_lack = self.is_exact && (self.is_continued || damage.from == self.from);
        damage.to > self.from || may_lack
    }
}

/// What one look at one segment gave.
enum Looked {
    /// Some batches, or none because the segment has no more.
    Batches(Vec<BatchView>),
    /// The segment is gone: look at the list again.
    Gone,
}

impl JournalReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The first offset there is, and the one that the next commit begins with.
    pub fn range(&self) -> (u64, u64) {
        let view = self.shared.view();
        (view.first(), view.next())
    }

    /// Changes with every commit, once what was committed can be read: the offset that the next one begins with.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.next.subscribe()
    }

    /// All segments in order, the one that is written to last.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let view = self.shared.view();
        let info = |segment: &Arc<Segment>| {
            let (summary, is_sealed) = {
                let state = segment.state();
                (state.summary, state.is_sealed)
            };
            SegmentInfo {
                first: segment.first,
                next: summary.next,
                bytes: summary.end,
                records: summary.records,
                first_timestamp: summary.first_time,
                last_timestamp: summary.last_time,
                is_sealed,
            }
        };
        view.segments.iter().map(info).collect()
    }

    /// The batch that has offset `from`, or the next one where a rewrite dropped it, and those behind it, as far as they
    /// have `bytes_max` bytes together and at least one. Empty at the end. One read of up to 1 MiB (more for a larger
    /// batch); the bodies are slices of its buffer. Batches that take no offsets come before the offset at which they
    /// stand, and again with the next call from that offset, unless they end the segment before: where they matter, use a
    /// [`Cursor`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Damaged`], after which reading goes on at its `to`; [`Error::Io`].
    pub fn read(&self, from: u64, bytes_max: usize) -> Result<Vec<BatchView>> {
        self.read_on(&mut Cursor { next: from, place: None, is_exact: false }, bytes_max)
    }

    /// A cursor at an offset: [`read_on`](Self::read_on) begins as [`read`](Self::read) does.
    pub fn cursor(&self, from: u64) -> Cursor {
        Cursor { next: from, place: None, is_exact: true }
    }

    /// The same from a cursor, which moves behind what was read. [`Error::Damaged`] is told once: the cursor stands behind
    /// the damage then, and the next call goes on there. On any other error it stays.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_on(&self, cursor: &mut Cursor, bytes_max: usize) -> Result<Vec<BatchView>> {
        let mut turns = 0;
        'view: loop {
            let view = self.shared.view();
            self.check_range(&view, cursor.next)?;
            let held = cursor.place.and_then(|place| view.segments.iter().position(|of| of.id == place.segment_id));
            let start = held.unwrap_or_else(|| view.find(cursor.next));
            for (at, segment) in view.segments.iter().enumerate().skip(start) {
                // Batches without offsets may stand at the end of the segment before.
                let behind = view.segments.get(at + 1).map(|behind| behind.first);
                match self.read_segment(segment, behind, cursor, bytes_max)? {
                    Looked::Batches(batches) if batches.is_empty() => {
                        if let Some(behind) = view.segments.get(at + 1) {
                            cursor.place = Some(Place::start_of(behind));
                        }
                    }
                    Looked::Batches(batches) => return Ok(batches),
                    Looked::Gone => {
                        missing(segment, &mut turns)?;
                        continue 'view;
                    }
                }
            }
            return Ok(Vec::new());
        }
    }

    fn check_range(&self, view: &View, requested: u64) -> Result<()> {
        let (first, next) = (view.first(), view.next());
        if (first..=next).contains(&requested) {
            return Ok(());
        }
        Err(Error::OutOfRange { requested, first, next })
    }

    fn read_segment(
        &self,
        segment: &Segment,
        behind: Option<u64>,
        cursor: &mut Cursor,
        bytes_max: usize,
    ) -> Result<Looked> {
        let end = segment.summary().end;
        let place = cursor.place.filter(|place| place.segment_id == segment.id);
        if place.is_some_and(|place| place.position >= end) && behind.is_none() {
            return Ok(Looked::Batches(Vec::new()));
        }
        let Some(file) = self.shared.file(segment)? else { return Ok(Looked::Gone) };
        let from = cursor.next.max(segment.first);
        let start = match place {
            Some(place) => (place.position, place.due),
            None => self.shared.place(segment, &*file, |entries| Index::before(entries, segment.first, from))?,
        };
        let piece = bytes_max.saturating_add(self.shared.options.index_interval_bytes as usize).min(PIECE_BYTES);
        let mut walk = Walk::new(&*file, segment.id, segment.is_gapless, start, end).in_pieces(piece);
        let (is_exact, is_continued) = (cursor.is_exact, place.is_some());
        let wanted = Wanted { from, bytes_max, is_exact, is_continued };
        let collected = self.collect(segment, &mut walk, behind, &wanted);
        let (position, due) = (walk.position(), walk.next());
        let place = Some(Place { segment_id: segment.id, position, due });
        if let Err(Error::Damaged(damage)) = &collected {
            *cursor = Cursor { next: damage.to.max(cursor.next), place, is_exact };
        }
        let batches = collected?;
        if !batches.is_empty() || behind.is_none() {
            let next = batches.last().map_or(cursor.next, |last| last.header.next_offset().max(cursor.next));
            *cursor = Cursor { next, place, is_exact };
        }
        Ok(Looked::Batches(batches))
    }

    fn collect(
        &self,
        segment: &Segment,
        walk: &mut Walk<'_>,
        behind: Option<u64>,
        wanted: &Wanted,
    ) -> Result<Vec<BatchView>> {
        let Wanted { from, bytes_max, .. } = *wanted;
        let failed = |cause| Error::io("read", &segment.path)(cause);
        let (mut batches, mut bytes) = (Vec::new(), 0);
        loop {
            let before = (walk.position(), walk.next());
            match walk.step().map_err(failed)? {
                Step::Batch(header, body) if is_wanted(&header, from) => {
                    bytes += header.bytes() as usize;
                    if bytes > bytes_max && !batches.is_empty() {
                        walk.jump(before.0, before.1);
                        break;
                    }
                    batches.push(BatchView { header, body, segment: segment.first, position: before.0 });
                }
                Step::Batch(..) => {}
                Step::Bad | Step::End if !batches.is_empty() => break,
                Step::Bad => {
                    let damage = self.damage(segment, walk, behind)?;
                    if wanted.concerns(&damage) {
                        return Err(Error::Damaged(damage));
                    }
                }
                Step::End => {
                    // A rewrite may have dropped what stood at the end.
                    let next = if segment.is_gapless { walk.next() } else { segment.summary().next };
                    if let Some(to) = behind.filter(|to| next < *to && from < *to) {
                        let (segment, position) = (segment.first, walk.position());
                        return Err(Error::Damaged(Damage { segment, position, from: next, to }));
                    }
                    break;
                }
            }
        }
        Ok(batches)
    }

    /// What is damaged where the walk stands; the walk goes behind it.
    pub(crate) fn damage(&self, segment: &Segment, walk: &mut Walk<'_>, behind: Option<u64>) -> Result<Damage> {
        let (position, from) = (walk.position(), walk.next());
        let found = walk.skip_bad().map_err(Error::io("read", &segment.path))?;
        let to = found.map_or_else(|| behind.unwrap_or(segment.summary().next), |header| header.base_offset);
        if found.is_none() {
            walk.jump(walk.end(), to);
        }
        Ok(Damage { segment: segment.first, position, from, to })
    }

    /// The first offset whose batch has this log time (nanoseconds since 1970) or a later one; the journal's next offset
    /// when there is none. Costs a look into one index and a read of what lies between two of its entries.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the place is damaged; [`Error::Io`].
    pub fn offset_at(&self, timestamp: u64) -> Result<u64> {
        let mut turns = 0;
        'view: loop {
            let view = self.shared.view();
            for (at, segment) in view.segments.iter().enumerate() {
                let summary = segment.summary();
                if summary.end <= HEADER_BYTES || summary.last_time < timestamp {
                    continue;
                }
                let Some(file) = self.shared.file(segment)? else {
                    missing(segment, &mut turns)?;
                    continue 'view;
                };
                let find = |entries: &[_]| Index::before_time(entries, segment.first, timestamp);
                let start = self.shared.place(segment, &*file, find)?;
                let mut walk = Walk::new(&*file, segment.id, segment.is_gapless, start, summary.end);
                let behind = view.segments.get(at + 1).map(|behind| behind.first);
                if let Some(offset) = self.seek(segment, &mut walk, behind, timestamp)? {
                    return Ok(offset);
                }
            }
            return Ok(view.next());
        }
    }

    fn seek(&self, segment: &Segment, walk: &mut Walk<'_>, behind: Option<u64>, time: u64) -> Result<Option<u64>> {
        loop {
            match walk.step().map_err(Error::io("read", &segment.path))? {
                Step::Batch(header, _) if header.timestamp >= time => return Ok(Some(header.base_offset)),
                Step::Batch(..) => {}
                Step::Bad => return Err(Error::Damaged(self.damage(segment, walk, behind)?)),
                Step::End => return Ok(None),
            }
        }
    }
}

/// A file that is not there although the list has it: a rewrite or retention is changing the list just now, unless it stays
/// so, because somebody else removed it.
pub(crate) fn missing(segment: &Segment, turns: &mut usize) -> Result<()> {
    const TURNS_MAX: usize = 1_000;
    *turns += 1;
    std::thread::yield_now();
    if *turns < TURNS_MAX {
        return Ok(());
    }
    Err(Error::io("find", &segment.path)(std::io::ErrorKind::NotFound.into()))
}

/// Whether a batch is at or behind an offset.
fn is_wanted(header: &BatchHeader, from: u64) -> bool {
    header.next_offset() > from || (header.span == 0 && header.base_offset >= from)
}

impl BatchView {
    /// The same with a body of its own, for what is kept for long: it pins no read buffer. Costs a copy.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { body: Bytes::copy_from_slice(&self.body), ..self.clone() }
    }
}
