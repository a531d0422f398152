//! Rounds of one queue: what has gathered is stored by one write and one sync, and then let out.
//!
//! 1. Nothing is let out before everything that was said up to then is stored.
//! 2. What does not fit on the disk waits, as it is, for room; new tasks are refused meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use sinew_hosting::locked;
use sinew_journal::{Error as JournalError, Participant, PreparedBatch};

use super::codec::{self, KIND_RECORDS};
use super::stored_queue::{StoredQueue, Writer};
use crate::Error;
use crate::planted::is_planted;
use crate::scheduler::Record;
use crate::shell::Unstored;

/// Bytes of the records of one batch, about.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes that are written and synced at one time; more than that takes several times.
pub(super) const ROUND_BYTES_MAX: u64 = 8 << 20;
/// What found no room is tried again after so long, and when something was freed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What is being stored.
#[derive(Debug)]
pub(super) struct Pending {
    commits: VecDeque<Vec<PreparedBatch>>,
    /// Let out once all of these are.
    unstored: Unstored,
}

impl Pending {
    fn new(mut unstored: Unstored, bytes_max: u64) -> Result<Self, JournalError> {
        let mut batches = Vec::new();
        let (mut body, mut count) = (Vec::new(), 0);
        for record in unstored.records.drain(..) {
            if is_planted("a record left out") && matches!(record, Record::Waits { .. }) {
                continue;
            }
            let before = body.len();
            codec::put(&mut body, &record);
            if before > 0 && body.len() > BATCH_BYTES {
                let rest = body.split_off(before);
                batches.push(batch(std::mem::replace(&mut body, rest), count)?);
                count = 0;
            }
            count += 1;
        }
        if count > 0 {
            batches.push(batch(body, count)?);
        }
        let (mut commits, mut bytes) = (VecDeque::<Vec<_>>::new(), 0);
        for batch in batches {
            bytes += batch.bytes();
            match commits.back_mut() {
                Some(commit) if bytes <= bytes_max => commit.push(batch),
                _ => {
                    bytes = batch.bytes();
                    commits.push_back(vec![batch]);
                }
            }
        }
        Ok(Self { commits, unstored })
    }
}

fn batch(body: Vec<u8>, count: u32) -> Result<PreparedBatch, JournalError> {
    PreparedBatch::new(body, count, count).map(|batch| batch.kind(KIND_RECORDS))
}

impl Participant for StoredQueue {
    fn round(&self) -> Result<(), JournalError> {
        let on_panic = OnPanic(self);
        let done = self.round_now();
        std::mem::forget(on_panic);
        done
    }
}

/// A round that panics is the queue's last: nobody would run another for what waits.
struct OnPanic<'a>(&'a StoredQueue);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        let why = "storing it panicked; restart the server, and please report this".into();
        self.0.give_up(&Error::Storage { queue: self.0.name.to_string(), why });
    }
}

impl StoredQueue {
    /// Stores what waits, on this thread, and lets out what was said with it. `Err` is what the process must end for; it
    /// is published.
    pub(super) fn round_now(&self) -> Result<(), JournalError> {
        let mut writer = locked(&self.writer);
        let stored = self.store(&mut writer);
        if let Err(error) = &stored {
            self.give_up(&self.storage()(error.clone()));
        }
        stored
    }

    fn store(&self, writer: &mut Writer) -> Result<(), JournalError> {
        let Writer { journal: Some(journal), pending, grown } = writer else { return Ok(()) };
        if pending.is_none() {
            let Some(mut unstored) = self.shell.unstored() else { return Ok(()) };
            if is_planted("let out before stored") {
                self.shell.stored(unstored.without_records());
            }
            let bytes_max = ROUND_BYTES_MAX.min(self.host.options.segment_bytes_max);
            *pending = Some(Pending::new(unstored, bytes_max)?);
        }
        let Some(round) = pending else { return Ok(()) };
        while let Some(commit) = round.commits.front_mut() {
            match journal.commit(commit, self.shell.now().0) {
                Ok(_) => *grown += commit.iter().map(PreparedBatch::bytes).sum::<u64>(),
                Err(error) if error.is_retryable() => {
                    self.shell.refuse(Some(self.storage()(error)));
                    self.wake_after(RETRY_AFTER);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            round.commits.pop_front();
        }
        if let Some(done) = pending.take() {
            self.shell.refuse(None);
            // With the writer in hand: those of the next round come behind them.
            self.shell.stored(done.unstored);
        }
        self.shell.set_disk_bytes(journal.segments().iter().map(|segment| segment.bytes).sum());
        if *grown >= self.host.options.segment_bytes_max {
            *grown = 0;
            self.bell.ring();
        }
        Ok(())
    }

    /// Whether something waits for room on the disk.
    pub(super) fn is_stuck(&self) -> bool {
        locked(&self.writer).pending.is_some()
    }
}
