//! Reading all of one queue, to know whether it is still good: every batch of its journal, every record in it, and that
//! everything that the queue knows is there.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sinew_hosting::{GoOn, locked};
use sinew_journal::{BatchView, Error as JournalError, JournalReader};

use super::codec::{KIND_RECORDS, Records};
use super::stored_queue::StoredQueue;
use crate::scheduler::Record;
use crate::{Error, Progress, Result, TaskId, Verified};

/// Problems that are told.
const TOLD_MAX: usize = 100;
const READ_BYTES: usize = 1 << 20;

/// What was found so far.
struct Finding<'a> {
    queue: &'a StoredQueue,
    found: Verified,
    progress: Progress,
    /// Tasks of which the journal must have all, and has not yet.
    missing: BTreeSet<TaskId>,
    /// The offset that comes next at the earliest, and the log time.
    due: (u64, u64),
}

/// Checks everything. Costs two reads of the journal, and some 30 bytes for each task; the queue is held up while its tasks
/// are listed.
pub(super) fn verify(queue: &StoredQueue, go_on: GoOn<'_>) -> Result<Verified> {
    // Nothing is removed under it.
    let _one = locked(&queue.upkeep);
    let known = queue.shell.look(|scheduler| scheduler.known());
    let found = Verified { tasks: known.len() as u64, ..Verified::default() };
    let missing = match queue.store_all() {
        Ok(()) => known,
        // Some of them wait for room.
        Err(Error::NoSpace { .. }) => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    let reader = queue.reader()?;
    let total = 2 * reader.segments().iter().map(|segment| segment.bytes).sum::<u64>();
    let mut finding = Finding { queue, found, progress: Progress { done: 0, total }, missing, due: (0, 0) };
    finding.bytes(&reader, go_on)?;
    finding.records(&reader, go_on)?;
    if let Some(first) = finding.missing.first() {
        let count = finding.missing.len();
        finding.problem(format!("{count} tasks of the queue are not in its journal, {first} among them"));
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
        let report = report.map_err(self.queue.storage())?;
        self.found.bytes = report.bytes;
        for path in &report.suspect {
            self.problem(format!("{} has a damaged header", path.display()));
        }
        for damage in &report.damaged {
            self.problem(format!("records {} up to {} are damaged", damage.from, damage.to));
        }
        Ok(())
    }

    fn records(&mut self, reader: &JournalReader, go_on: GoOn<'_>) -> Result<()> {
        let mut cursor = reader.cursor(reader.range().0);
        loop {
            let batches = match reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) => batches,
                // It is in the report.
                Err(JournalError::Damaged(damage)) => {
                    cursor = reader.cursor(damage.to);
                    continue;
                }
                Err(error) => return Err(self.queue.storage()(error)),
            };
            if batches.is_empty() {
                return Ok(());
            }
            batches.iter().for_each(|batch| self.batch(batch));
            self.progress.total = self.progress.total.max(self.progress.done);
            if !go_on(self.progress) {
                return Err(self.queue.storage()(JournalError::Cancelled));
            }
        }
    }

    fn batch(&mut self, batch: &BatchView) {
        let (header, at) = (&batch.header, batch.header.base_offset);
        if at < self.due.0 || header.timestamp < self.due.1 {
            self.problem(format!("records from {at} on: their place or their time is below the one before"));
        }
        self.due = (header.next_offset(), header.timestamp);
        self.progress.done += 80 + u64::from(header.body_bytes);
        if header.kind != KIND_RECORDS {
            return self.problem(format!("records from {at} on are of kind {}, which is not known", header.kind));
        }
        let mut count = 0;
        for record in Records::of(batch.body.clone()) {
            match record {
                Ok(record) => self.record(&record),
                Err(why) => return self.problem(format!("the records from {at} on cannot be read: {why}")),
            }
            count += 1;
        }
        if count != header.records {
            self.problem(format!("there are {count} records from {at} on, and {} were written", header.records));
        }
    }

    fn record(&mut self, record: &Record) {
        self.found.records += 1;
        match record {
            Record::Accepted { spec, .. } => self.missing.remove(&spec.id),
            Record::Carried(carried) => self.missing.remove(&carried.spec.id),
            _ => false,
        };
    }
}
