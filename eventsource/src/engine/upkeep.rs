//! Retention, compaction and snapshots of one stream, beside its appends and readers. The rules are in `retention.rs` and
//! `compaction.rs`.

use std::collections::HashMap;

use sinew_hosting::{GoOn, Kept, locked};
use sinew_journal::{BatchView, Error as JournalError, JournalReader, PreparedSnapshot, Rewritten, SegmentInfo};
use sinew_session::ResourceName;

use super::folder::COMPACTED;
use super::stored_stream::{KIND_OPENING, StoredStream, Writer, is_events};
use crate::compaction::{KeyMap, Pass, is_due, tombstones_until};
use crate::retention::{SegmentFacts, expired};
use crate::{Compacted, Compaction, Error, EventBatch, Progress, Result};

const READ_BYTES: usize = 1 << 20;

/// Which pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// If it pays.
    Due,
    /// Whether or not.
    Now,
}

/// What a look at a segment says about rewriting it.
struct Look {
    segment: SegmentInfo,
    bytes_kept: u64,
    events_dropped: u64,
}

/// What must stay so that a replay knows producers as they are: of each its epoch and its last batch.
type Producing = HashMap<u64, (u32, Option<u64>)>;

impl Kept for StoredStream {
    fn name(&self) -> &ResourceName {
        &self.name
    }

    fn keep(&self, go_on: GoOn<'_>) {
        if let Err(error) = self.maintain(go_on) {
            tracing::warn!(stream = %self.name, %error, "a stream could not be maintained; later");
        }
    }
}

impl StoredStream {
    /// Does what is due.
    pub(crate) fn maintain(&self, go_on: GoOn<'_>) -> Result<Compacted> {
        self.work(When::Due, go_on)
    }

    /// Does what can be done.
    pub(crate) fn compact(&self, go_on: GoOn<'_>) -> Result<Compacted> {
        self.work(When::Now, go_on)
    }

    fn work(&self, when: When, go_on: GoOn<'_>) -> Result<Compacted> {
        let _one = locked(&self.upkeep);
        let bytes = |reader: JournalReader| reader.segments().iter().map(|segment| segment.bytes).sum();
        let mut done = Compacted { bytes_before: bytes(self.reader()), ..Compacted::default() };
        let now = self.host.trusted_now();
        match self.snapshot_behind_roll(when) {
            // Retention may be what makes room again. Should the process end before the snapshot is made good, producers
            // that the rest of the log does not tell of are forgotten, which they are told.
            Err(Error::NoSpace { .. }) => {
                done.segments_expired = self.expire(now)?;
                self.snapshot_behind_roll(when)?;
            }
            saved => {
                saved?;
                done.segments_expired = self.expire(now)?;
            }
        }
        if let Compaction::ByKey { tombstone_age } = self.config().compaction {
            // One pass knows as many keys as its memory has room for.
            while let Some(events) = self.pass(when, tombstones_until(now, tombstone_age), go_on)? {
                done.events_superseded += events;
            }
        }
        done.bytes_after = bytes(self.reader());
        Ok(done)
    }

    /// Runs with the writer of a stream that has not ended. An error after which nothing can be stored is published.
    fn with_writer<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T, JournalError>) -> Result<T> {
        let mut writer = locked(&self.writer);
        if writer.journal.is_none() {
            return Err(self.ended());
        }
        work(&mut writer).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &JournalError) -> Error {
        let told = self.storage()(error.clone());
        if error.is_fatal() {
            self.give_up(&told);
        }
        told
    }

    /// Producers are saved once for each segment, so that a start looks at little more than one, and before anything is
    /// removed that they were made from. Appends go on while they are written.
    fn snapshot_behind_roll(&self, when: When) -> Result<()> {
        let Some((prepared, at)) = self.with_writer(|writer| snapshot_if_due(writer, when))? else { return Ok(()) };
        prepared.write().map_err(|error| self.failed(&error))?;
        locked(&self.writer).snapshot_at = at;
        Ok(())
    }

    fn expire(&self, now: Option<u64>) -> Result<u64> {
        let segments = self.reader().segments();
        let facts = |segment: &SegmentInfo| SegmentFacts {
            next: segment.next,
            bytes: segment.bytes,
            events: segment.records,
            newest: segment.last_timestamp,
        };
        let facts: Vec<_> = segments.iter().map(facts).collect();
        let count = expired(&facts, &self.config().retention, now);
        if count == 0 {
            return Ok(0);
        }
        let mut first = 0;
        for segment in &facts[..count] {
            // One after the other: appends go on in between.
            first = self.with_writer(|writer| {
                let journal = writer.journal.as_mut().expect("looked at just now");
                journal.remove_before(segment.next)
            })?;
            self.range.send_modify(|range| range.first = first);
            locked(&self.tail).cut(first);
        }
        tracing::info!(stream = %self.name, first, segments = count, "segments were removed by retention");
        Ok(count as u64)
    }

    /// One pass of compaction; `None` when there is nothing to do. Says how many events it removed.
    fn pass(&self, when: When, tombstones_until: Option<u64>, go_on: GoOn<'_>) -> Result<Option<u64>> {
        let reader = self.reader();
        let sealed: Vec<_> = reader.segments().into_iter().filter(|segment| segment.is_sealed).collect();
        let Some(end) = sealed.last().map(|segment| segment.next) else { return Ok(None) };
        // Where that is not known, it is compacted again.
        let compacted = self.folder.number(COMPACTED).ok().flatten().unwrap_or(0);
        let clean = compacted.min(end);
        let bytes = |is_clean: bool| {
            let of_kind = sealed.iter().filter(|segment| (segment.next <= clean) == is_clean);
            of_kind.map(|segment| segment.bytes).sum()
        };
        let (clean_bytes, dirty_bytes): (u64, u64) = (bytes(true), bytes(false));
        let has_work = match when {
            When::Due => is_due(clean_bytes, dirty_bytes),
            When::Now => clean < end || tombstones_until.is_some(),
        };
        if !has_work {
            return Ok(None);
        }
        let total = 2 * (clean_bytes + dirty_bytes);
        let mut work = Work { stream: self, reader: &reader, go_on, done: 0, total };
        let (keys, covered) = work.learn(clean, end)?;
        let mut pass = Pass { keys: &keys, tombstones_until };
        let dropped = work.rewrite(&sealed, covered, &mut pass)?;
        self.folder.write_number(COMPACTED, covered)?;
        // Where the memory for keys was enough, this was the last pass; tombstones that got old are no reason for more.
        Ok((covered < end || dropped > 0).then_some(dropped).filter(|_| covered > clean || dropped > 0))
    }

    fn producing(&self) -> Producing {
        locked(&self.writer).state.producers().epochs().collect()
    }

    /// What becomes of a batch, and how many events it loses.
    fn decide(&self, batch: &BatchView, covered: u64, pass: &Pass<'_>, producing: &Producing) -> (Rewritten, u64) {
        let header = &batch.header;
        if header.base_offset >= covered {
            return (Rewritten::Keep, 0);
        }
        let known = producing.get(&header.producer_id);
        if header.kind == KIND_OPENING {
            let is_current = known.is_some_and(|(epoch, _)| *epoch == header.producer_epoch);
            return (if is_current { Rewritten::Keep } else { Rewritten::Drop }, 0);
        }
        if !is_events(header) {
            return (Rewritten::Keep, 0);
        }
        // What is no batch of events is left for `verify` to tell of.
        let Ok(events) = EventBatch::parse(batch.body.clone()) else { return (Rewritten::Keep, 0) };
        let kept = pass.retain(&events, header.base_offset, header.timestamp);
        let lost = u64::from(events.count() - kept.count());
        let is_last = known.is_some_and(|(_, last)| *last == Some(header.base_offset));
        match (lost, kept.count()) {
            (0, 1..) => (Rewritten::Keep, 0),
            (_, 0) if !is_last => (Rewritten::Drop, lost),
            (_, count) => (Rewritten::Replace { body: kept.body().clone(), records: count }, lost),
        }
    }
}

/// A snapshot of producers, and of when it is: an offset, and how many openings there were.
type DueSnapshot = (PreparedSnapshot, (u64, u64));

/// The producers as they are, where there is a segment behind the newest snapshot of them; and of when that is.
fn snapshot_if_due(writer: &mut Writer, when: When) -> Result<Option<DueSnapshot>, JournalError> {
    let Writer { journal: Some(journal), state, snapshot_at, .. } = writer else { return Ok(None) };
    let segments = journal.segments();
    let sealed = segments.iter().rev().find(|segment| segment.is_sealed).map_or(0, |segment| segment.next);
    let now = (state.next(), state.producers().openings());
    // An opening takes no offset: one that was made after the snapshot may stand in what is sealed.
    let is_behind = sealed > snapshot_at.0 || (sealed == snapshot_at.0 && now.1 > snapshot_at.1);
    if is_behind || (when == When::Now && sealed > 0 && now > *snapshot_at) {
        let prepared = journal.prepare_snapshot(now.0, state.producers().snapshot())?;
        return Ok(Some((prepared, now)));
    }
    Ok(None)
}

/// A pass under way.
struct Work<'a> {
    stream: &'a StoredStream,
    reader: &'a JournalReader,
    go_on: GoOn<'a>,
    done: u64,
    total: u64,
}

impl Work<'_> {
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        let progress = Progress { done: self.done, total: self.total.max(self.done) };
        if (self.go_on)(progress) && !self.stream.current_range().ended {
            Ok(())
        } else {
            Err(self.stream.storage()(JournalError::Cancelled))
        }
    }

    /// Keys from `from` up to the end of what is sealed, or as far as there is room; and up to where.
    fn learn(&mut self, from: u64, end: u64) -> Result<(KeyMap, u64)> {
        let mut keys = KeyMap::new(self.stream.host.options.key_map_bytes_max);
        let mut cursor = self.reader.cursor(from.max(self.reader.range().0));
        loop {
            let batches = match self.reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) => batches,
                Err(JournalError::Damaged(damage)) => {
                    cursor = self.reader.cursor(damage.to);
                    continue;
                }
                Err(error) => return Err(self.stream.read_failed(error)),
            };
            if batches.is_empty() {
                return Ok((keys, end));
            }
            for batch in &batches {
                if batch.header.base_offset >= end {
                    return Ok((keys, end));
                }
                if let Some(stored) = self.stream.stored_batch(batch).unwrap_or(None)
                    && !keys.learn(&stored.events, stored.first)
                {
                    return Ok((keys, stored.first));
                }
            }
            self.advance(batches.iter().map(|batch| u64::from(batch.header.body_bytes)).sum())?;
        }
    }

    /// Rewrites the segments that would lose something, oldest first; small neighbours become one.
    fn rewrite(&mut self, sealed: &[SegmentInfo], covered: u64, pass: &mut Pass<'_>) -> Result<u64> {
        let producing = self.stream.producing();
        let bytes_max = self.stream.config().segment_bytes_max;
        let (mut group, mut dropped): (Vec<Look>, u64) = (Vec::new(), 0);
        for segment in sealed.iter().filter(|segment| segment.first < covered) {
            // Of one without an event nothing can be read, and those on both its sides are no neighbours.
            let is_empty = segment.next == segment.first;
            let look = if is_empty { None } else { self.look(segment, covered, pass, &producing)? };
            let joins = look.as_ref().is_some_and(|look| {
                let bytes: u64 = group.iter().map(|of| of.bytes_kept).sum();
                let first = group.first().map_or(segment.first, |of| of.segment.first);
                bytes + look.bytes_kept <= bytes_max && segment.next - first <= u32::MAX.into()
            });
            if !joins {
                dropped += self.install(&group, covered, pass, &producing)?;
                group.clear();
            }
            match look {
                Some(look) => group.push(look),
                // It cannot be read as a whole and stays as it is. Older events of a key may be in it, so that no
                // tombstone behind it may go.
                None => pass.tombstones_until = None,
            }
        }
        dropped += self.install(&group, covered, pass, &producing)?;
        Ok(dropped)
    }

    /// What a segment would lose; `None` for a damaged one.
    fn look(
        &mut self,
        segment: &SegmentInfo,
        covered: u64,
        pass: &Pass<'_>,
        producing: &Producing,
    ) -> Result<Option<Look>> {
        let (mut cursor, mut look) =
            (self.reader.cursor(segment.first), Look { segment: *segment, bytes_kept: 64, events_dropped: 0 });
        loop {
            let batches = match self.reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) => batches,
                Err(JournalError::Damaged(_)) => return Ok(None),
                Err(error) => return Err(self.stream.read_failed(error)),
            };
            for batch in &batches {
                if batch.segment != segment.first {
                    return Ok(Some(look));
                }
                let (decision, lost) = self.stream.decide(batch, covered, pass, producing);
                look.events_dropped += lost;
                look.bytes_kept += match decision {
                    Rewritten::Keep => 80 + batch.body.len() as u64,
                    Rewritten::Replace { body, .. } => 80 + body.len() as u64,
                    Rewritten::Drop => 0,
                };
            }
            if batches.is_empty() {
                return Ok(Some(look));
            }
            self.advance(batches.iter().map(|batch| u64::from(batch.header.body_bytes)).sum())?;
        }
    }

    fn install(&mut self, group: &[Look], covered: u64, pass: &Pass<'_>, producing: &Producing) -> Result<u64> {
        let dropped: u64 = group.iter().map(|look| look.events_dropped).sum();
        if dropped == 0 {
            return Ok(0);
        }
        let segments: Vec<_> = group.iter().map(|look| look.segment).collect();
        let stream = self.stream;
        let prepared = self
            .reader
            .prepare_rewrite(&segments, &mut |batch| stream.decide(batch, covered, pass, producing).0)
            .map_err(stream.storage())?;
        stream.with_writer(|writer| match &mut writer.journal {
            Some(journal) => journal.install(prepared),
            None => Ok(()),
        })?;
        Ok(dropped)
    }
}
