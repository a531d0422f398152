//! A bucket's state from its journal and its table: the table is believed as far as it says it is, the rest is replayed.

use sinew_hosting::locked;
use sinew_journal::{BatchView, Error as JournalError, JournalReader};

use super::codec::{KIND_CHANGES, groups};
use super::row::{self, Meta};
use super::storage_of;
use super::stored_bucket::StoredBucket;
use crate::planted::is_planted;
use crate::table::{ChangedKey, Counts, Deadline, Now, Operations, Position, Record, Remembered, Stored, Table};
use crate::{Change, Key, Result, Revision};

/// Bytes that are read at one time.
const READ_BYTES: usize = 1 << 20;

/// A replay under way.
struct Replay<'a> {
    bucket: &'a StoredBucket,
    now: Now,
    /// What the table has already.
    applied: u64,
    /// What the snapshot has already.
    remembered: u64,
    operations: Operations,
    counts: Counts,
    history: u16,
}

impl StoredBucket {
    /// Brings the bucket to where its journal ends. `first` is the first revision from which all changes are kept.
    pub(super) fn recover(&self, first: u64) -> Result<()> {
        let reader = self.reader();
        let next = reader.range().1;
        let meta = self.sound_table(first, next)?;
        let (operations, remembered) = self.remembered(&reader)?;
        let now = self.host.clock.now();
        self.load_deadlines(&meta, now)?;
        let history = self.config().history;
        let (applied, counts) = (meta.revision, meta.counts);
        let mut replay = Replay { bucket: self, now, applied, remembered, operations, counts, history };
        replay.run(&reader, applied.min(remembered))?;
        let (operations, counts) = (replay.operations, replay.counts);
        let mut writer = locked(&self.writer);
        let timestamp = writer.journal.as_ref().map_or(0, sinew_journal::Journal::timestamp);
        let position = Position { revision: next, timestamp, counts };
        writer.rules = Table::new(self.name.to_string(), self.config(), position, operations);
        writer.snapshot_at = remembered;
        drop(writer);
        let mut shown = locked(&self.shown);
        (shown.revision, shown.first, shown.counts) = (next, first, counts);
        drop(shown);
        self.range.send_modify(|range| range.revision = next);
        Ok(())
    }

    /// What the table has, or nothing where it cannot be believed: it is emptied then, and made again.
    fn sound_table(&self, first: u64, next: u64) -> Result<Meta> {
        let (table, mut meta) = (self.table()?, locked(&self.applied));
        let found = table.meta().map_err(|error| self.table_failed(&error))?;
        let Some(found) = found else { return Ok(*meta) };
        let found = Meta::decode(found);
        let why = match found {
            None => "is of another version",
            Some(found) if found.incarnation != meta.incarnation => "is of an earlier bucket of this name",
            Some(found) if found.revision > next => "is ahead of the journal",
            Some(found) if found.revision + 1 < first && !is_planted("stale table believed") => {
                "lacks changes that the journal has no more"
            }
            Some(found) => {
                *meta = found;
                return Ok(found);
            }
        };
        tracing::warn!(bucket = %self.name, "the table {why}; it is made again from the journal");
        table.clear().map_err(|error| self.table_failed(&error))?;
        Ok(*meta)
    }

    /// The newest snapshot of operations, and up to which revision it knows them.
    fn remembered(&self, reader: &JournalReader) -> Result<(Operations, u64)> {
        let Some((revision, bytes)) = reader.latest_snapshot().map_err(self.storage())? else {
            return Ok((Operations::default(), 0));
        };
        match Operations::restore(&bytes) {
            Ok(operations) => Ok((operations, revision)),
            Err(why) => {
                tracing::error!(bucket = %self.name, revision, why, "a snapshot of operations cannot be read; they are taken from the log");
                Ok((Operations::default(), 0))
            }
        }
    }

    /// The deadlines of what the table has.
    fn load_deadlines(&self, meta: &Meta, now: Now) -> Result<()> {
        if meta.expiring == 0 {
            return Ok(());
        }
        let (table, mut shown, mut fault) = (self.table()?, locked(&self.shown), None);
        let found = table.rows(std::ops::Bound::Unbounded, &mut |key, row| {
            let key = Key::try_from(bytes::Bytes::copy_from_slice(key));
            let row = row::decode(bytes::Bytes::copy_from_slice(row));
            let (Ok(key), Ok(mut stored)) = (key, row) else {
                fault = Some("a row cannot be read".to_owned());
                return false;
            };
            if let Some(live) = &mut stored.live
                && let Some(deadline) = &mut live.expires
            {
                *deadline = Deadline::at(deadline.wall, now);
                shown.expiry.replace(&key, None, Some(&stored));
            }
            true
        });
        drop(shown);
        let found = found.and(fault.map_or(Ok(()), |why| Err(super::store::StoreError(why))));
        found.map_err(|error| self.table_failed(&error))
    }
}

impl Replay<'_> {
    fn run(&mut self, reader: &JournalReader, from: u64) -> Result<()> {
        let mut cursor = reader.cursor(from.max(reader.range().0));
        loop {
            match reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) if batches.is_empty() => return Ok(()),
                Ok(batches) => batches.iter().try_for_each(|batch| self.batch(batch))?,
                // It was reported when the journal was opened, or is now.
                Err(JournalError::Damaged(damage)) => {
                    let (from, to) = (damage.from + 1, damage.to);
                    let bucket = &self.bucket.name;
                    tracing::error!(%bucket, from, to, "changes are damaged: keys may have older values than they should");
                    cursor = reader.cursor(damage.to);
                }
                Err(error) => return Err(self.bucket.storage()(error)),
            }
        }
    }

    fn batch(&mut self, batch: &BatchView) -> Result<()> {
        let header = &batch.header;
        if self.bucket.host.is_closing() {
            return Err(self.bucket.ended());
        }
        if header.next_offset() <= self.applied.min(self.remembered) {
            return Ok(());
        }
        if header.kind != KIND_CHANGES {
            let why = format!("its journal has a batch of kind {} that this version does not know", header.kind);
            return Err(storage_of(self.bucket.name.as_str(), why));
        }
        let groups = match groups(batch.body.clone(), header.base_offset) {
            Ok(groups) => groups,
            Err(why) => {
                let (bucket, revision) = (&self.bucket.name, header.base_offset + 1);
                tracing::error!(%bucket, revision, why, "changes cannot be read: keys may have older values than they should");
                return Ok(());
            }
        };
        for group in groups {
            if let Some(id) = group.id
                && group.records.iter().any(|record| record.revision > self.remembered)
                && !is_planted("operations not restored")
            {
                self.operations.replay(id, Remembered::new(&group.records, header.timestamp));
            }
            let applied = self.applied;
            for record in group.records.into_iter().filter(|record| record.revision > applied) {
                self.record(record, header.timestamp)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, record: Record, timestamp: u64) -> Result<()> {
        let (key, revision) = (record.key.to_owned_bytes(), record.revision);
        let change = match record.change {
            // It lies in the buffer that the journal was read into.
            Change::Put { value, created, expires } => {
                Change::Put { value: bytes::Bytes::copy_from_slice(&value), created, expires }
            }
            gone => gone,
        };
        let deadline = match &change {
            Change::Put { expires, .. } => expires.map(|wall| Deadline::at(wall, self.now)),
            Change::Gone(_) => None,
        };
        let bucket = self.bucket;
        let known = locked(&bucket.shown).newest(&key);
        let before = match known {
            Some(known) => known,
            None => {
                let row = bucket.row(&key)?;
                let shown = locked(&bucket.shown);
                row.and_then(|row| shown.with_deadline(row))
            }
        };
        let changes = vec![Revision { key: key.clone(), revision, timestamp, change: change.clone() }];
        let mut keys = Vec::new();
        // A generation that was taken in part is in the table as it was meant to be.
        if before.as_ref().is_none_or(|before| before.revision < revision) {
            let after = Stored::after(before.as_ref(), revision, timestamp, &change, deadline, self.history);
            self.counts.replace(&key, before.as_ref(), after.as_ref());
            keys.push(ChangedKey { key, before, after });
        }
        let mut shown = locked(&bucket.shown);
        shown.commit(keys, changes, revision, self.counts);
        let is_full = shown.overlay_bytes() >= bucket.host.options.overlay_bytes_max;
        drop(shown);
        if is_full { bucket.apply_now() } else { Ok(()) }
    }
}
