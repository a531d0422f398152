//! Copying forward: what is live in the oldest segments of a queue's journal is stored again at its end, and then they are
//! removed. So a task that waits for a week keeps nothing else on disk, and the journal has about twice the bytes of what is
//! live, and two segments more, at most.
//!
//! 1. A task is stored again as it is, in the order of everything else that happens to it: what is read of it before and
//!    behind that makes the same task.
//! 2. A segment is removed once everything that was live in it is on disk at the end, and what ended the rest is too.

use std::collections::HashSet;

use sinew_hosting::{GoOn, Kept, locked};
use sinew_journal::{BatchView, Error as JournalError, Journal, SegmentInfo};
use sinew_session::{Progress, ResourceName};

use super::codec::Records;
use super::stored_queue::StoredQueue;
use crate::planted::is_planted;
use crate::scheduler::Record;
use crate::{Error, Queue, Result, TaskId};

const READ_BYTES: usize = 1 << 20;
/// Tasks that are stored again in one round, at most.
const PORTION_TASKS_MAX: usize = 256;
/// Bytes of their payloads, about.
const PORTION_BYTES: usize = 1 << 20;

impl Kept for StoredQueue {
    fn name(&self) -> &ResourceName {
        &self.name
    }

    fn keep(&self, go_on: GoOn<'_>) {
        if let Err(error) = self.maintain(go_on) {
            tracing::warn!(queue = %self.name, %error, "a queue could not be copied forward; later");
        }
    }
}

/// Whether the oldest segment goes.
fn is_due(segments: usize, bytes: u64, live: u64) -> bool {
    segments > 1 && bytes.saturating_sub(live) > live
}

/// What is to be stored again together.
#[derive(Default)]
struct Portion {
    /// Those that were in the segment already. An id may be there twice: the first was forgotten before the second came.
    seen: HashSet<(TaskId, Option<u64>)>,
    tasks: Vec<(TaskId, Option<u64>)>,
    bytes: usize,
}

impl StoredQueue {
    /// Copies forward while it is due, each segment that is there now once at most. Says how many segments went.
    pub(super) fn maintain(&self, go_on: GoOn<'_>) -> Result<usize> {
        let _one = locked(&self.upkeep);
        let mut gone = 0;
        let sealed = self.segments()?.len().saturating_sub(1);
        while gone < sealed {
            let segments = self.segments()?;
            let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
            let live = self.shell.look(|scheduler| scheduler.stored_bytes());
            let Some(oldest) = segments.first().filter(|_| is_due(segments.len(), bytes, live)) else { break };
            self.carry_all(oldest, go_on)?;
            // A task that was not carried since it has ended: its end must be there before its beginning goes.
            self.store_all()?;
            self.remove(oldest)?;
            gone += 1;
        }
        if gone > 0 {
            // What waits for room may find some.
            self.wake();
        }
        Ok(gone)
    }

    fn segments(&self) -> Result<Vec<SegmentInfo>> {
        self.with_journal(|journal| Ok(journal.segments()))
    }

    /// Runs with the journal of a queue that has not ended. An error after which nothing can be stored is published.
    fn with_journal<T>(&self, work: impl FnOnce(&mut Journal) -> Result<T, JournalError>) -> Result<T> {
        let mut writer = locked(&self.writer);
        let Some(journal) = &mut writer.journal else { return Err(self.ended()) };
        work(journal).map_err(|error| {
            let told = self.storage()(error.clone());
            if error.is_fatal() {
                self.give_up(&told);
            }
            told
        })
    }

    /// Stores again what is live in a segment.
    fn carry_all(&self, segment: &SegmentInfo, go_on: GoOn<'_>) -> Result<()> {
        let reader = self.reader()?;
        let (mut cursor, mut portion, mut progress) =
            (reader.cursor(segment.first), Portion::default(), Progress::default());
        progress.total = segment.bytes;
        while cursor.next_offset() < segment.next {
            let batches = match reader.read_on(&mut cursor, READ_BYTES) {
                Ok(batches) => batches,
                Err(JournalError::Damaged(_)) => {
                    // What was in it cannot be read: everything that is known is stored again, and it is made good.
                    let known = self.shell.look(|scheduler| scheduler.known());
                    for task in known {
                        self.add(&mut portion, (task, None), 0, go_on, &progress)?;
                    }
                    break;
                }
                Err(error) => return Err(self.storage()(error)),
            };
            for batch in batches.iter().filter(|batch| batch.header.base_offset < segment.next) {
                progress.done += u64::from(batch.header.body_bytes);
                for (task, sequence, bytes) in stored_in(batch) {
                    self.add(&mut portion, (task, Some(sequence)), bytes, go_on, &progress)?;
                }
            }
            if batches.is_empty() {
                break;
            }
        }
        self.carry(&mut portion, go_on, &progress)
    }

    fn add(
        &self,
        portion: &mut Portion,
        task: (TaskId, Option<u64>),
        bytes: usize,
        go_on: GoOn<'_>,
        progress: &Progress,
    ) -> Result<()> {
        if !portion.seen.insert(task) {
            // All that is known of it is stored again at one time.
            return Ok(());
        }
        portion.tasks.push(task);
        portion.bytes += bytes;
        if portion.tasks.len() >= PORTION_TASKS_MAX || portion.bytes >= PORTION_BYTES {
            self.carry(portion, go_on, progress)?;
        }
        Ok(())
    }

    /// Stores a portion again.
    fn carry(&self, portion: &mut Portion, go_on: GoOn<'_>, progress: &Progress) -> Result<()> {
        let tasks = std::mem::take(&mut portion.tasks);
        portion.bytes = 0;
        if !go_on(*progress) || self.shell.has_ended() {
            return Err(self.storage()(JournalError::Cancelled));
        }
        if self.shell.carry(&tasks) > 0 { self.store_all() } else { Ok(()) }
    }

    /// Everything that was said up to now is stored when this returns.
    pub(super) fn store_all(&self) -> Result<()> {
        if is_planted("removed before it is stored") {
            return Ok(());
        }
        // The first stores what was being stored, the second what came meanwhile.
        for _ in 0..2 {
            self.round_now().map_err(self.storage())?;
            if self.is_stuck() {
                return Err(Error::NoSpace { queue: self.name.to_string() });
            }
        }
        Ok(())
    }

    fn remove(&self, segment: &SegmentInfo) -> Result<()> {
        let bytes = self.with_journal(|journal| {
            // What was carried may only be written yet.
            journal.sync()?;
            journal.remove_before(segment.next)?;
            Ok(journal.segments().iter().map(|segment| segment.bytes).sum())
        })?;
        self.shell.set_disk_bytes(bytes);
        Ok(())
    }
}

/// The tasks of which a batch says all: which, their place in the order of acceptance, and bytes of their payloads.
fn stored_in(batch: &BatchView) -> impl Iterator<Item = (TaskId, u64, usize)> {
    Records::of(batch.body.clone()).flatten().filter_map(|record| match record {
        Record::Accepted { spec, sequence } => Some((spec.id, sequence, spec.payload.len())),
        Record::Carried(carried) => Some((carried.spec.id, carried.sequence, carried.spec.payload.len())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::is_due;

    #[test]
    fn it_is_due_where_more_than_half_is_dead() {
        for (segments, bytes, live, expected) in
            [(1, 100, 0, false), (2, 100, 50, false), (2, 101, 50, true), (2, 10, 0, true), (3, 40, 50, false)]
        {
            assert_eq!(is_due(segments, bytes, live), expected, "{segments} {bytes} {live}");
        }
    }
}
