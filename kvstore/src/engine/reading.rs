//! Reading one bucket: from memory where it has it, else from its table, and values from its journal.
//!
//! Whoever needs the table holds it still, so that what waits for it and what is in it are of one moment: the one at which
//! the overlay was looked at. What is superseded while it is read may be gone from the journal by then; it is read again.

use std::sync::{PoisonError, RwLockReadGuard};

use bytes::Bytes;
use sinew_hosting::locked;
use sinew_journal::{BatchView, Error as JournalError};

use super::codec::{KIND_CHANGES, groups, value};
use super::shown::{Glance, PageBuilder, Shown};
use super::store::StoreError;
use super::stored_bucket::StoredBucket;
use super::{row, storage_of};
use crate::table::{Live, Span, Stored, Value};
use crate::{ChangePage, Entry, Error, Found, Key, Page, PageLimits, Range, Result, Revision};

/// Bytes that are asked of the journal at one time, where one change follows another.
const READ_BYTES: usize = 64 << 10;

/// What lies so near behind what was read is read on to, not looked up.
const NEAR_OFFSETS: u64 = 512;
/// What is not there at the first look was superseded, and is there at one of the next; or it is lost.
const LOOKS_MAX: usize = 100;

/// What a look at several keys gave.
enum Read<T> {
    Done(T),
    /// Something changed meanwhile: look again.
    Again,
    /// A round that is under way decides.
    Wait,
}

impl StoredBucket {
    /// What is there now, if that is known without the disk.
    pub(super) fn get(&self, key: &Key) -> Found {
        let mut shown = locked(&self.shown);
        if shown.ended {
            return Found::Failed(self.ended());
        }
        match shown.entry(key, || self.host.clock.steady()) {
            Some(entry) => Found::Now(entry),
            None => Found::OnDisk,
        }
    }

    fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.still.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until nothing comes in between.
    fn read<T>(&self, mut look: impl FnMut() -> Result<Read<T>>) -> Result<T> {
        let mut turns = 0;
        while turns < LOOKS_MAX {
            match look()? {
                Read::Done(done) => return Ok(done),
                Read::Again => turns += 1,
                // Whoever has the writer's lock next has seen the round's end.
                Read::Wait => drop(locked(&self.writer)),
            }
        }
        let why = "a value that its table has is not in its journal; verify it, and restore it from a backup";
        Err(storage_of(self.name.as_str(), why))
    }

    /// Several keys at one moment.
    pub(super) fn load(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        self.read(|| self.load_once(keys))
    }

    fn load_once(&self, keys: &[Key]) -> Result<Read<Vec<Option<Entry>>>> {
        let _still = self.still();
        let steady = self.host.clock.steady();
        let glances: Vec<_> = {
            let mut shown = self.living()?;
            keys.iter().map(|key| shown.glance(key, steady)).collect()
        };
        let (mut entries, mut values) = (Vec::with_capacity(keys.len()), Values::new(self));
        for (key, glance) in keys.iter().zip(glances) {
            let (stored, is_from_table) = match glance {
                Glance::Unknown => return Ok(Read::Wait),
                Glance::Known(stored) => (stored, false),
                Glance::Table { is_held } => match self.stored_row(key, is_held, steady)? {
                    Read::Done(stored) => (stored, true),
                    Read::Again => return Ok(Read::Again),
                    Read::Wait => return Ok(Read::Wait),
                },
            };
            let mut stored = stored;
            if let Some(stored) = &mut stored
                && !values.fill(stored)?
            {
                return Ok(Read::Again);
            }
            if is_from_table {
                let mut shown = self.living()?;
                // What waits is newer: it came since.
                if shown.waiting(key.as_bytes()).is_none() {
                    shown.cache.keep(key, stored.as_ref());
                }
            }
            entries.push(stored.filter(|stored| !stored.is_due(steady)).and_then(|stored| stored.entry(key)));
        }
        Ok(Read::Done(entries))
    }

    /// A key that is not waiting: its row.
    fn stored_row(&self, key: &Key, is_held: bool, steady: u64) -> Result<Read<Option<Stored>>> {
        let Some(row) = self.row(key)? else { return Ok(Read::Done(None)) };
        // Without its deadline in the index it is not the newest any more.
        let Some(stored) = self.living()?.with_deadline(row) else { return Ok(Read::Again) };
        if stored.is_due(steady) && is_held {
            return Ok(Read::Wait);
        }
        Ok(Read::Done(Some(stored)))
    }

    fn living(&self) -> Result<std::sync::MutexGuard<'_, Shown>> {
        let shown = locked(&self.shown);
        if shown.ended { Err(self.ended()) } else { Ok(shown) }
    }

    /// A page of keys.
    pub(super) fn scan(&self, range: &Range, limits: PageLimits) -> Result<Page> {
        let span = Span::new(range);
        self.read(|| self.scan_once(&span, limits))
    }

    fn scan_once(&self, span: &Span, limits: PageLimits) -> Result<Read<Page>> {
        let _still = self.still();
        let steady = self.host.clock.steady();
        let (mut overlay, revision) = {
            let shown = self.living()?;
            let mut live = 0;
            let overlay = shown.overlay_from(span.start(), |key, waiting| {
                let is_live = waiting.stored.as_ref().is_some_and(|of| of.live.is_some() && !of.is_due(steady));
                live += usize::from(is_live);
                // One more than the page can have, so that it knows of more.
                span.holds(key.as_bytes()) && live <= limits.items_max.saturating_add(1)
            });
            (overlay.into_iter().peekable(), shown.revision)
        };
        let mut draft = Draft { found: Vec::new(), bytes: 0, limits, more: false };
        let (mut outcome, mut fault) = (Read::Done(()), None);
        let scanned = self.table()?.rows(span.start(), &mut |key, bytes| {
            while let Some((key, stored)) = overlay.next_if(|(of, _)| of.as_bytes() < key) {
                if !self.take(&mut draft, &mut outcome, key, stored, steady) {
                    return false;
                }
            }
            if !span.holds(key) {
                return false;
            }
            if let Some((key, stored)) = overlay.next_if(|(of, _)| of.as_bytes() == key) {
                return self.take(&mut draft, &mut outcome, key, stored, steady);
            }
            let row = row::decode(Bytes::copy_from_slice(bytes));
            let (Ok(key), Ok(stored)) = (Key::try_from(Bytes::copy_from_slice(key)), row) else {
                fault = Some("a row cannot be read".to_owned());
                return false;
            };
            let is_expiring = stored.live.as_ref().is_some_and(|live| live.expires.is_some());
            let stored = if is_expiring { locked(&self.shown).with_deadline(stored) } else { Some(stored) };
            match stored {
                Some(stored) => self.take(&mut draft, &mut outcome, key, Some(stored), steady),
                None => {
                    outcome = Read::Again;
                    false
                }
            }
        });
        let scanned = scanned.and(fault.map_or(Ok(()), |why| Err(StoreError(why))));
        scanned.map_err(|error| self.table_failed(&error))?;
        for (key, stored) in overlay {
            if draft.more || !self.take(&mut draft, &mut outcome, key, stored, steady) {
                break;
            }
        }
        match outcome {
            Read::Done(()) => draft.page(self, revision),
            Read::Again => Ok(Read::Again),
            Read::Wait => Ok(Read::Wait),
        }
    }

    /// Takes one key into a page; `false` ends it.
    fn take(&self, draft: &mut Draft, outcome: &mut Read<()>, key: Key, stored: Option<Stored>, steady: u64) -> bool {
        let Some(stored) = stored.filter(|stored| stored.live.is_some()) else { return true };
        if stored.is_due(steady) {
            if locked(&self.shown).is_held(&key) {
                *outcome = Read::Wait;
                return false;
            }
            return true;
        }
        draft.push(key, stored)
    }

    /// The revisions of a key that are kept.
    pub(super) fn history(&self, key: &Key) -> Result<Vec<Revision>> {
        let history = self.config().history;
        self.read(|| {
            let _still = self.still();
            let steady = self.host.clock.steady();
            // Not in the match: it would hold the lock that a look into the table takes again.
            let waiting = self.living()?.newest(key);
            let stored = match waiting {
                Some(stored) => stored,
                None => match self.stored_row(key, false, steady)? {
                    Read::Done(stored) => stored,
                    Read::Again => return Ok(Read::Again),
                    Read::Wait => return Ok(Read::Wait),
                },
            };
            let Some(stored) = stored else { return Ok(Read::Done(Vec::new())) };
            let (mut values, mut found) = (Values::new(self), Vec::new());
            for revision in stored.revisions(history) {
                match values.change(revision)? {
                    Some(change) => found.push(change),
                    // Superseded meanwhile, unless it was lost by damage.
                    None if self.living()?.newest(key).is_some_and(|now| now != Some(stored.clone())) => {
                        return Ok(Read::Again);
                    }
                    None => {}
                }
            }
            Ok(Read::Done(found))
        })
    }

    /// Changes from a revision on, where memory has them.
    pub(super) fn changes_here(&self, from: u64, limits: PageLimits) -> Option<Result<ChangePage>> {
        let shown = match self.living() {
            Ok(shown) => shown,
            Err(error) => return Some(Err(error)),
        };
        if from < shown.first {
            return Some(Err(self.compacted(from, shown.first)));
        }
        shown.recent(from, limits).map(Ok)
    }

    /// The same, from disk where that is where they are.
    pub(super) fn changes(&self, from: u64, limits: PageLimits) -> Result<ChangePage> {
        if let Some(page) = self.changes_here(from, limits) {
            return page;
        }
        let (reader, revision) = (self.reader(), self.living()?.revision);
        let mut builder = PageBuilder::new(from, revision, limits);
        let mut cursor = reader.cursor(from - 1);
        'reading: loop {
            let batches = match reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) => batches,
                // What was read before it is given first.
                Err(JournalError::Damaged(_)) if !builder.page.changes.is_empty() => break,
                Err(error) => return Err(self.storage()(error)),
            };
            if batches.is_empty() {
                break;
            }
            for batch in &batches {
                for change in self.revisions(batch)? {
                    let is_wanted = change.revision >= from && change.revision <= revision;
                    if is_wanted && !builder.push(change) {
                        break 'reading;
                    }
                }
            }
        }
        // What a compaction removed while it was read would be a gap.
        let first = self.living()?.first;
        if from < first {
            return Err(self.compacted(from, first));
        }
        Ok(builder.page)
    }

    fn compacted(&self, requested: u64, first: u64) -> Error {
        Error::Compacted { bucket: self.name.to_string(), requested, first }
    }

    /// The changes of a batch, on bytes of their own.
    fn revisions(&self, batch: &BatchView) -> Result<Vec<Revision>> {
        let (base, timestamp) = (batch.header.base_offset, batch.header.timestamp);
        if batch.header.kind != KIND_CHANGES {
            return Ok(Vec::new());
        }
        let groups = groups(batch.detached().body, base).map_err(|why| self.unreadable(base + 1, why))?;
        let records = groups.into_iter().flat_map(|group| group.records).filter(|record| record.revision > 0);
        let told = |record: crate::table::Record| Revision {
            key: record.key,
            revision: record.revision,
            timestamp,
            change: record.change,
        };
        Ok(records.map(told).collect())
    }

    fn unreadable(&self, revision: u64, why: &str) -> Error {
        storage_of(self.name.as_str(), format!("its changes from revision {revision} on cannot be read: {why}"))
    }
}

/// A page of keys as it is filled.
struct Draft {
    found: Vec<(Key, Stored)>,
    bytes: usize,
    limits: PageLimits,
    more: bool,
}

impl Draft {
    /// `false` when it is full.
    fn push(&mut self, key: Key, stored: Stored) -> bool {
        let value = stored.live.as_ref().map_or(0, |live| live.value.bytes() as usize);
        self.bytes += key.as_bytes().len() + if self.limits.keys_only { 0 } else { value };
        let is_full = self.bytes > self.limits.bytes_max || self.found.len() >= self.limits.items_max;
        if !self.found.is_empty() && is_full {
            self.more = true;
            return false;
        }
        self.found.push((key, stored));
        true
    }

    fn page(self, bucket: &StoredBucket, revision: u64) -> Result<Read<Page>> {
        let Self { mut found, limits, more, .. } = self;
        if !limits.keys_only {
            // In the order in which they stand in the journal, so that one read serves many.
            let mut order: Vec<_> = (0..found.len()).collect();
            order.sort_unstable_by_key(|at| found[*at].1.revision);
            let mut values = Values::new(bucket);
            for at in order {
                if !values.fill(&mut found[at].1)? {
                    return Ok(Read::Again);
                }
            }
        }
        let entry = |(key, stored): (Key, Stored)| match &stored.live {
            Some(live) if limits.keys_only => Some(stored.entry_with(&key, live, Bytes::new())),
            _ => stored.entry(&key),
        };
        Ok(Read::Done(Page { entries: found.into_iter().filter_map(entry).collect(), more, revision }))
    }
}

/// Values from the journal: what was read for one may have the next.
struct Values<'a> {
    bucket: &'a StoredBucket,
    batches: Vec<BatchView>,
}

impl<'a> Values<'a> {
    fn new(bucket: &'a StoredBucket) -> Self {
        Self { bucket, batches: Vec::new() }
    }

    /// The batch with a revision; `None` where it is not there any more.
    fn batch(&mut self, revision: u64) -> Result<Option<&BatchView>> {
        let offset = revision - 1;
        let has = |batch: &BatchView| (batch.header.base_offset..batch.header.next_offset()).contains(&offset);
        if !self.batches.iter().any(has) {
            let behind = self.batches.last().map(|batch| batch.header.next_offset());
            let is_near = behind.is_some_and(|behind| (behind..behind + NEAR_OFFSETS).contains(&offset));
            let bytes = if is_near { READ_BYTES } else { 1 };
            self.batches = self.bucket.reader().read(offset, bytes).map_err(|error| match error {
                JournalError::Damaged(_) => {
                    self.bucket.unreadable(revision, "they are damaged; restore it from a backup")
                }
                error => self.bucket.storage()(error),
            })?;
        }
        Ok(self.batches.iter().find(|batch| has(batch)))
    }

    /// Puts the value where it is not yet; `false` when it has gone meanwhile.
    fn fill(&mut self, stored: &mut Stored) -> Result<bool> {
        let revision = stored.revision;
        let Some(Live { value: of @ Value::Journal(_), .. }) = &mut stored.live else { return Ok(true) };
        let bucket = self.bucket;
        let Some(batch) = self.batch(revision)? else { return Ok(false) };
        let found = value(batch.body.clone(), batch.header.base_offset, revision);
        let Some(found) = found.map_err(|why| bucket.unreadable(revision, why))? else { return Ok(false) };
        // It is kept for long, and lies in the buffer of a read.
        *of = Value::Here(Bytes::copy_from_slice(&found));
        Ok(true)
    }

    /// A change as it was written.
    fn change(&mut self, revision: u64) -> Result<Option<Revision>> {
        let bucket = self.bucket;
        let Some(batch) = self.batch(revision)? else { return Ok(None) };
        Ok(bucket.revisions(batch)?.into_iter().find(|change| change.revision == revision))
    }
}
