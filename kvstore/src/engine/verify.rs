//! Reading all of one bucket, to know whether it is still good: every batch of its journal, every change in it, the
//! snapshot, and the table against them.

use std::ops::{Bound, ControlFlow};

use sinew_hosting::{GoOn, locked};
use sinew_journal::{Error as JournalError, JournalReader};

use super::codec::{KIND_CHANGES, groups};
use super::row;
use super::stored_bucket::StoredBucket;
use crate::table::{Operations, Record, Stored};
use crate::{Change, Progress, Result, Verified};

/// Problems that are told.
const TOLD_MAX: usize = 100;
const READ_BYTES: usize = 1 << 20;

/// What was found so far.
struct Finding<'a> {
    bucket: &'a StoredBucket,
    found: Verified,
    progress: Progress,
    /// Changes that the table has as their keys' newest.
    newest: u64,
}

/// Checks everything. Costs two reads of the journal and a look into the table for each change.
pub(super) fn verify(bucket: &StoredBucket, go_on: GoOn<'_>) -> Result<Verified> {
    // Nothing is removed under it.
    let _one = locked(&bucket.upkeep);
    bucket.apply_now()?;
    let (reader, before) = (bucket.reader(), locked(&bucket.shown).revision);
    let total = 2 * reader.segments().iter().map(|segment| segment.bytes).sum::<u64>();
    let progress = Progress { done: 0, total };
    let mut finding = Finding { bucket, found: Verified::default(), progress, newest: 0 };
    finding.bytes(&reader, go_on)?;
    let snapshot = reader.latest_snapshot().map_err(bucket.storage())?;
    if let Some(Err(why)) = snapshot.map(|(_, bytes)| Operations::restore(&bytes)) {
        finding.problem(format!("the snapshot of operations cannot be read: {why}"));
    }
    finding.changes(&reader, go_on)?;
    finding.table()?;
    // Whoever writes meanwhile makes some of them older.
    if locked(&bucket.shown).revision == before && finding.newest != finding.found.keys {
        let (keys, newest) = (finding.found.keys, finding.newest);
        finding.problem(format!("the table has {keys} keys, and the journal the newest changes of {newest}"));
    }
    Ok(finding.found)
}

impl Finding<'_> {
    fn problem(&mut self, why: String) {
        if self.found.problems.len() < TOLD_MAX {
            self.found.problems.push(why);
        }
    }

    fn bytes(&mut self, reader: &JournalReader, go_on: GoOn<'_>) -> Result<()> {
        let progress = &mut self.progress;
        let report = reader.verify(&mut |of| {
            progress.done = of.bytes_done;
            if go_on(*progress) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let report = report.map_err(self.bucket.storage())?;
        self.found.bytes = report.bytes;
        for path in &report.suspect {
            self.problem(format!("{} has a damaged header", path.display()));
        }
        for damage in &report.damaged {
            self.problem(format!("changes {} to {} are damaged", damage.from + 1, damage.to));
        }
        Ok(())
    }

    fn changes(&mut self, reader: &JournalReader, go_on: GoOn<'_>) -> Result<()> {
        let (mut cursor, mut due, mut time) = (reader.cursor(reader.range().0), 0, 0);
        loop {
            let batches = match reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) => batches,
                // It is in the report.
                Err(JournalError::Damaged(damage)) => {
                    cursor = reader.cursor(damage.to);
                    continue;
                }
                Err(error) => return Err(self.bucket.storage()(error)),
            };
            if batches.is_empty() {
                return Ok(());
            }
            for batch in &batches {
                let header = &batch.header;
                let at = header.base_offset + 1;
                if header.base_offset < due || header.timestamp < time {
                    self.problem(format!("changes from {at} on: their revision or their time is below the one before"));
                }
                (due, time) = (header.next_offset(), header.timestamp);
                match groups(batch.body.clone(), header.base_offset) {
                    _ if header.kind != KIND_CHANGES => {
                        self.problem(format!("changes from {at} on are of kind {}, which is not known", header.kind));
                    }
                    Err(why) => self.problem(format!("changes from {at} on cannot be read: {why}")),
                    Ok(groups) => {
                        for record in groups.into_iter().flat_map(|group| group.records) {
                            self.change(&record)?;
                        }
                    }
                }
                self.progress.done += 80 + u64::from(header.body_bytes);
            }
            self.progress.total = self.progress.total.max(self.progress.done);
            if !go_on(self.progress) {
                return Err(self.bucket.storage()(JournalError::Cancelled));
            }
        }
    }

    fn change(&mut self, record: &Record) -> Result<()> {
        if record.revision == 0 {
            return Ok(());
        }
        self.found.changes += 1;
        let Some(row) = self.bucket.row(&record.key)? else { return Ok(()) };
        if row.revision < record.revision && locked(&self.bucket.shown).waiting(record.key.as_bytes()).is_none() {
            let (key, of, at) = (&record.key, row.revision, record.revision);
            // Between the two looks it may have come into the table.
            if self.bucket.row(&record.key)?.is_some_and(|row| row.revision < record.revision) {
                self.problem(format!("the table has `{key}` as of {of}, and the journal a change {at} of it"));
            }
        }
        if row.revision == record.revision && row.live.is_some() {
            self.newest += 1;
            if !is_same(&row, record) {
                self.problem(format!("`{}` is another in the table than change {} says", record.key, record.revision));
            }
        }
        Ok(())
    }

    fn table(&mut self) -> Result<()> {
        let (mut keys, mut broken) = (0, 0);
        let rows = self.bucket.table()?.rows(Bound::Unbounded, &mut |_, row| {
            match row::decode(bytes::Bytes::copy_from_slice(row)) {
                Ok(row) => keys += u64::from(row.live.is_some()),
                Err(_) => broken += 1,
            }
            true
        });
        rows.map_err(|error| self.bucket.table_failed(&error))?;
        self.found.keys = keys;
        if broken > 0 {
            self.problem(format!("{broken} rows of the table cannot be read"));
        }
        Ok(())
    }
}

fn is_same(row: &Stored, record: &Record) -> bool {
    let (Some(live), Change::Put { value, created, expires }) = (&row.live, &record.change) else { return false };
    let is_same_value = match &live.value {
        crate::table::Value::Here(here) => here == value,
        crate::table::Value::Journal(bytes) => *bytes as usize == value.len(),
    };
    is_same_value && live.created == *created && live.expires.map(|deadline| deadline.wall) == *expires
}
