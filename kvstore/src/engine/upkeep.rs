//! Compaction of one bucket, beside its writes and readers: what nobody can ask for any more goes.
//!
//! A sealed segment below the newest `changes_kept` changes is looked at record by record: the newest change of a key stays,
//! and what the key's history has; the table says which those are. Oldest first, each rewrite durable before the next.
//!
//! 1. Before anything goes, `first` says durably from where on all changes are kept, the operations are in a snapshot, and
//!    the table is complete up to there and flushed: a table that is older is not believed at a start.
//! 2. A removal goes only when every older change of its key is gone for good: not behind a segment that could not be
//!    rewritten.

use std::collections::HashMap;
use std::sync::PoisonError;

use bytes::Bytes;
use sinew_hosting::{GoOn, Kept, locked};
use sinew_journal::{BatchView, Error as JournalError, JournalReader, Rewritten, SegmentInfo};
use sinew_session::ResourceName;

use super::codec::{KIND_CHANGES, groups, put_group};
use super::folder::FIRST;
use super::stored_bucket::{StoredBucket, Writer};
use crate::planted::is_planted;
use crate::table::{Group, Stored};
use crate::{Change, Compacted, Key, Progress, Result};

const READ_BYTES: usize = 1 << 20;
/// What a key takes in the journal beside key and value, about.
const RECORD_BYTES: u64 = 32;
/// Bytes of a segment's header, and of a batch's.
const SEGMENT_HEADER_BYTES: u64 = 64;
const BATCH_HEADER_BYTES: u64 = 80;

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
    dropped: u64,
    /// For each batch that loses something, the revisions that stay.
    kept: HashMap<u64, Vec<u64>>,
    /// Keys that are gone, whose history goes too, and the revision of their removal.
    forgotten: Vec<(Key, u64)>,
}

/// Whether a pass is due: most of what is looked at is not needed any more, by a rough reckoning, and half as much as
/// was compacted before has come since, so that the work stays in proportion to what is written.
fn is_due(clean_bytes: u64, dirty_bytes: u64, live_bytes: u64) -> bool {
    dirty_bytes > 0 && dirty_bytes >= clean_bytes / 2 && 2 * (clean_bytes + dirty_bytes) >= 3 * live_bytes
}

impl Kept for StoredBucket {
    fn name(&self) -> &ResourceName {
        &self.name
    }

    fn keep(&self, go_on: GoOn<'_>) {
        if let Err(error) = self.maintain(go_on) {
            tracing::warn!(bucket = %self.name, %error, "a bucket could not be compacted; later");
        }
    }
}

impl StoredBucket {
    /// Does what is due.
    pub(super) fn maintain(&self, go_on: GoOn<'_>) -> Result<Compacted> {
        self.work(When::Due, go_on)
    }

    /// Does what can be done.
    pub(super) fn compact(&self, go_on: GoOn<'_>) -> Result<Compacted> {
        self.work(When::Now, go_on)
    }

    fn work(&self, when: When, go_on: GoOn<'_>) -> Result<Compacted> {
        let mut looked_at = locked(&self.upkeep);
        let bytes = |reader: JournalReader| reader.segments().iter().map(|segment| segment.bytes).sum();
        let mut done = Compacted { bytes_before: bytes(self.reader()), ..Compacted::default() };
        self.with_writer(|bucket, writer| bucket.snapshot_behind_roll(writer, when))?;
        done.changes = self.pass(when, &mut looked_at, go_on)?;
        done.bytes_after = bytes(self.reader());
        Ok(done)
    }

    /// Runs with the writer of a bucket that has not ended. An error after which nothing can be stored is published.
    fn with_writer<T>(&self, work: impl FnOnce(&Self, &mut Writer) -> Result<T, JournalError>) -> Result<T> {
        let mut writer = locked(&self.writer);
        if writer.journal.is_none() {
            return Err(self.ended());
        }
        work(self, &mut writer).map_err(|error| {
            let told = self.storage()(error.clone());
            if error.is_fatal() {
                self.give_up(&told);
            }
            told
        })
    }

    /// Operations are saved once for each segment, so that a start looks at little more than one, and before anything is
    /// removed that they were made from.
    fn snapshot_behind_roll(&self, writer: &mut Writer, when: When) -> Result<(), JournalError> {
        let Writer { journal: Some(journal), rules, snapshot_at, .. } = writer else { return Ok(()) };
        if when == When::Now {
            // What is asked for by hand is about everything.
            journal.roll()?;
        }
        let segments = journal.segments();
        let sealed = segments.iter().rev().find(|segment| segment.is_sealed).map_or(0, |segment| segment.next);
        let revision = rules.position().revision;
        if sealed > *snapshot_at && !is_planted("no snapshot of operations") {
            journal.save_snapshot(revision, &rules.operations().snapshot())?;
            *snapshot_at = revision;
        }
        Ok(())
    }

    /// One pass; says how many changes it removed.
    fn pass(&self, when: When, looked_at: &mut u64, go_on: GoOn<'_>) -> Result<u64> {
        let reader = self.reader();
        let (floor, live_bytes) = {
            let (shown, kept) = (locked(&self.shown), self.config().limits.changes_kept);
            let live = shown.counts.bytes + shown.counts.keys * RECORD_BYTES;
            ((shown.revision + 1).saturating_sub(kept).max(1), live)
        };
        // Wholly below the changes that are kept: their last revision is their next offset.
        let below = |segment: &SegmentInfo| segment.is_sealed && segment.next < floor;
        let segments: Vec<_> = reader.segments().into_iter().take_while(below).collect();
        let Some(end) = segments.last().map(|segment| segment.next) else { return Ok(0) };
        let clean = (*looked_at).max(locked(&self.shown).first - 1);
        let bytes = |is_clean: bool| -> u64 {
            segments.iter().filter(|of| (of.next <= clean) == is_clean).map(|of| of.bytes).sum()
        };
        let (clean_bytes, dirty_bytes) = (bytes(true), bytes(false));
        if when == When::Due && !is_due(clean_bytes, dirty_bytes, live_bytes) {
            return Ok(0);
        }
        // The table speaks of everything below, and goes on to do so after a kill.
        self.apply_now()?;
        self.stores.flush().map_err(|error| self.table_failed(&error))?;
        let total = clean_bytes + dirty_bytes;
        let mut pass = Pass { bucket: self, reader: &reader, go_on, done: 0, total, may_forget: true, first: end + 1 };
        let dropped = pass.run(&segments)?;
        *looked_at = end;
        Ok(dropped)
    }

    /// Shows that changes below this revision are not all kept any more, and makes it last.
    fn advance_first(&self, first: u64) -> Result<()> {
        if locked(&self.shown).first >= first {
            return Ok(());
        }
        self.folder.write_number(FIRST, first)?;
        locked(&self.shown).first = first;
        self.range.send_modify(|range| range.first = first);
        Ok(())
    }

    /// What is kept of a key.
    fn kept_of(&self, key: &Key) -> Result<Option<Stored>> {
        let waiting = locked(&self.shown).waiting(key.as_bytes()).map(|waiting| waiting.stored.clone());
        match waiting {
            Some(stored) => Ok(stored),
            None => self.row(key),
        }
    }

    /// Removes the rows of keys that are gone, unless something happened to them since.
    fn forget_rows(&self, keys: &[(Key, u64)]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let (meta, table) = (locked(&self.applied), self.table()?);
        let _still = self.still.write().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::new();
        for (key, revision) in keys {
            let found = self.row(key)?.is_some_and(|row| row.revision == *revision && row.live.is_none());
            if found {
                rows.push((Bytes::copy_from_slice(key.as_bytes()), None));
            }
        }
        table.apply(rows, meta.encode()).map_err(|error| self.table_failed(&error))?;
        let mut shown = locked(&self.shown);
        keys.iter().for_each(|(key, _)| shown.cache.forget(key));
        Ok(())
    }
}

/// A pass under way.
struct Pass<'a> {
    bucket: &'a StoredBucket,
    reader: &'a JournalReader,
    go_on: GoOn<'a>,
    done: u64,
    total: u64,
    /// No older segment was left as it was.
    may_forget: bool,
    /// From where on all changes are kept once this has begun to remove some.
    first: u64,
}

impl Pass<'_> {
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        let progress = Progress { done: self.done, total: self.total.max(self.done) };
        if (self.go_on)(progress) && !locked(&self.bucket.shown).ended {
            Ok(())
        } else {
            Err(self.bucket.storage()(JournalError::Cancelled))
        }
    }

    /// Rewrites the segments that would lose something, oldest first; small neighbours become one.
    fn run(&mut self, segments: &[SegmentInfo]) -> Result<u64> {
        let bytes_max = self.bucket.host.options.segment_bytes_max;
        let (mut group, mut dropped): (Vec<Look>, u64) = (Vec::new(), 0);
        for segment in segments.iter().filter(|segment| segment.next > segment.first) {
            let look = self.look(segment)?;
            let joins = look.as_ref().is_some_and(|look| {
                let bytes: u64 = group.iter().map(|of| of.bytes_kept).sum();
                let first = group.first().map_or(segment.first, |of| of.segment.first);
                bytes + look.bytes_kept <= bytes_max && segment.next - first <= u32::MAX.into()
            });
            if !joins {
                dropped += self.install(std::mem::take(&mut group))?;
            }
            match look {
                Some(look) => group.push(look),
                None => self.may_forget = false,
            }
        }
        Ok(dropped + self.install(group)?)
    }

    /// What a segment would lose; `None` for a damaged one.
    fn look(&mut self, segment: &SegmentInfo) -> Result<Option<Look>> {
        let mut cursor = self.reader.cursor(segment.first);
        let mut look = Look {
            segment: *segment,
            bytes_kept: SEGMENT_HEADER_BYTES,
            dropped: 0,
            kept: HashMap::new(),
            forgotten: Vec::new(),
        };
        loop {
            let batches = match self.reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) => batches,
                Err(JournalError::Damaged(_)) => return Ok(None),
                Err(error) => return Err(self.bucket.storage()(error)),
            };
            for batch in &batches {
                if batch.segment != segment.first {
                    return Ok(Some(look));
                }
                if !self.look_at(batch, &mut look)? {
                    return Ok(None);
                }
            }
            if batches.is_empty() {
                return Ok(Some(look));
            }
            self.advance(batches.iter().map(|batch| u64::from(batch.header.body_bytes)).sum())?;
        }
    }

    /// `false` for what cannot be understood.
    fn look_at(&mut self, batch: &BatchView, look: &mut Look) -> Result<bool> {
        let base = batch.header.base_offset;
        if batch.header.kind != KIND_CHANGES {
            return Ok(false);
        }
        let Ok(groups) = groups(batch.body.clone(), base) else { return Ok(false) };
        let (mut kept, mut lost, mut lost_bytes) = (Vec::new(), 0, 0);
        for record in groups.iter().flat_map(|group| &group.records).filter(|record| record.revision > 0) {
            let newest = self.bucket.kept_of(&record.key)?;
            let is_kept = newest.as_ref().is_some_and(|newest| newest.keeps(record.revision));
            let is_removal = matches!(record.change, Change::Gone(_));
            // A key that is gone leaves its history for as long as its removal can be watched.
            let is_over = newest.as_ref().is_some_and(|newest| newest.live.is_none() && newest.revision < self.first);
            let goes = match (is_kept, is_removal) {
                (true, _) if is_over && self.may_forget => {
                    let newest = newest.as_ref().map_or(0, |newest| newest.revision);
                    if newest == record.revision {
                        look.forgotten.push((record.key.to_owned_bytes(), newest));
                    }
                    true
                }
                (true, _) => false,
                (false, true) => self.may_forget,
                (false, false) => !is_planted("removals forgotten first"),
            };
            if goes {
                (lost, lost_bytes) = (lost + 1, lost_bytes + bytes_of(record));
            } else {
                kept.push(record.revision);
            }
        }
        look.dropped += lost;
        let bytes = BATCH_HEADER_BYTES + u64::from(batch.header.body_bytes);
        look.bytes_kept += if kept.is_empty() && lost > 0 { 0 } else { bytes.saturating_sub(lost_bytes) };
        if lost > 0 {
            look.kept.insert(base, kept);
        }
        Ok(true)
    }

    /// Lets a rewrite of neighbours take their place, where they lose something; says how many changes.
    fn install(&mut self, group: Vec<Look>) -> Result<u64> {
        let dropped: u64 = group.iter().map(|look| look.dropped).sum();
        if dropped == 0 {
            return Ok(0);
        }
        let bucket = self.bucket;
        bucket.advance_first(self.first)?;
        for look in &group {
            bucket.forget_rows(&look.forgotten)?;
        }
        let segments: Vec<_> = group.iter().map(|look| look.segment).collect();
        let kept: HashMap<u64, &Vec<u64>> =
            group.iter().flat_map(|look| &look.kept).map(|(base, kept)| (*base, kept)).collect();
        let prepared = self.reader.prepare_rewrite(&segments, &mut |batch| rewritten(batch, &kept));
        let prepared = prepared.map_err(bucket.storage())?;
        bucket.with_writer(|_, writer| match &mut writer.journal {
            Some(journal) => journal.install(prepared),
            None => Ok(()),
        })?;
        Ok(dropped)
    }
}

fn bytes_of(record: &crate::table::Record) -> u64 {
    let value = match &record.change {
        Change::Put { value, .. } => value.len() as u64,
        Change::Gone(_) => 0,
    };
    record.key.as_bytes().len() as u64 + value
}

/// A batch without what goes. Its operations are in the snapshot.
fn rewritten(batch: &BatchView, kept: &HashMap<u64, &Vec<u64>>) -> Rewritten {
    let base = batch.header.base_offset;
    let Some(kept) = kept.get(&base) else { return Rewritten::Keep };
    let Ok(groups) = groups(batch.body.clone(), base) else { return Rewritten::Keep };
    let records = groups.into_iter().flat_map(|group| group.records);
    let records: Vec<_> = records.filter(|record| kept.contains(&record.revision)).collect();
    if records.is_empty() {
        return Rewritten::Drop;
    }
    let count = records.len() as u32;
    let mut body = Vec::new();
    // A group has a bound that a batch has not.
    for records in records.chunks(crate::OPERATIONS_MAX) {
        put_group(&mut body, base, &Group { id: None, records: records.to_vec() });
    }
    Rewritten::Replace { body: body.into(), records: count }
}

#[cfg(test)]
mod tests {
    use super::is_due;

    #[test]
    fn a_pass_is_due_where_it_pays() {
        for (clean, dirty, live, expected) in [
            (0, 0, 0, false),
            (0, 10, 7, false),
            (0, 10, 6, true),
            (100, 49, 10, false),
            (100, 50, 10, true),
            (100, 50, 101, false),
        ] {
            assert_eq!(is_due(clean, dirty, live), expected, "{clean} {dirty} {live}");
        }
    }
}
