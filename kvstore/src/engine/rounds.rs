//! A round of one bucket: what is due expires, everything that waits is judged in order, stored by one write and one sync,
//! and answered.

use sinew_hosting::locked;
use sinew_journal::{COMMIT_BYTES_MAX, Error as JournalError, Participant, PreparedBatch};

use super::codec::{KIND_CHANGES, put_group};
use super::row;
use super::stored_bucket::{Request, StoredBucket, Writer};
use crate::planted::is_planted;
use crate::table::{Group, Judgement, Looked};
use crate::{Error, Key, Result, Revision, WriteDone, Written};

/// Bytes of a round: below the journal's bound, with room for what a write takes beside its keys and values.
const ROUND_BYTES_MAX: usize = COMMIT_BYTES_MAX as usize / 2;
/// A batch of the journal is full with so many bytes: what is read to find one value, and lost with one damaged bit.
const BATCH_BYTES: usize = 16 << 10;
/// The overlay is taken into the table at once when such a part of it is full: the rest has room for what comes meanwhile.
const APPLIED_PART: usize = 2;
/// Keys whose expiry is written in one round.
const EXPIRIES_MAX: usize = 1_024;

/// What is told once the round is stored.
type Answer = (WriteDone, Result<Written>);

impl Participant for StoredBucket {
    fn round(&self) -> Result<(), JournalError> {
        let on_panic = OnPanic(self);
        let done = self.round_now();
        std::mem::forget(on_panic);
        done
    }
}

/// A round that panics is the bucket's last: nobody would run another for what waits.
struct OnPanic<'a>(&'a StoredBucket);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        let why = "storing it panicked; restart the server, and please report this";
        self.0.give_up(&super::storage_of(self.0.name.as_str(), why));
    }
}

impl StoredBucket {
    /// Stores what waits, on this thread. `Err` is what the process must end for; everybody has been told.
    pub(super) fn round_now(&self) -> Result<(), JournalError> {
        let mut writer = locked(&self.writer);
        if writer.journal.is_none() {
            self.inbox.take(usize::MAX).into_iter().for_each(|request| (request.done)(Err(self.ended())));
            return Ok(());
        }
        let now = self.host.clock.now();
        let (is_full, due) = {
            let shown = locked(&self.shown);
            let is_full = shown.overlay_bytes() >= self.host.options.overlay_bytes_max;
            (is_full, shown.expiry.due(now.steady, EXPIRIES_MAX))
        };
        if is_full {
            // What waits goes on waiting: the applier wakes it.
            self.bell.apply();
            return Ok(());
        }
        // A round stands in one segment, and goes into the overlay as a whole.
        let segment_bytes = usize::try_from(self.host.options.segment_bytes_max).unwrap_or(ROUND_BYTES_MAX);
        let requests = self.inbox.take(ROUND_BYTES_MAX.min(segment_bytes).min(self.host.options.overlay_bytes_max));
        if requests.is_empty() && due.is_empty() {
            return Ok(());
        }
        writer.rules.begin(now.wall);
        let judged = self.judge(&mut writer, requests, &due);
        let stored = self.store(&mut writer, judged, now.wall);
        drop(writer);
        stored?;
        self.announce();
        // A round has its bound; the rest is the next one's.
        let is_due = locked(&self.shown).expiry.next().is_some_and(|next| next <= self.host.clock.steady());
        if is_due || !self.inbox.is_empty() {
            self.wake();
        }
        Ok(())
    }

    fn judge(&self, writer: &mut Writer, requests: Vec<Request>, due: &[Key]) -> Vec<Answer> {
        let level = self.level();
        let mut find = |key: &Key| self.look(key);
        for key in due {
            // Where the table has failed, everybody has been told.
            let _ = writer.rules.expire(key, &mut find);
        }
        let mut answers = Vec::with_capacity(requests.len());
        for Request { write, done } in requests {
            // By its own time: a key may have gone since the round began.
            let answer = match writer.rules.judge(&write, self.host.clock.now(), level, &mut find) {
                Judgement::Store(written) => Ok(written),
                Judgement::Answer(answer) => answer,
            };
            answers.push((done, answer));
        }
        answers
    }

    /// A key as it is acknowledged. Once it was said to be there, readers hear nothing else until the round is over.
    pub(super) fn look(&self, key: &Key) -> Result<Looked> {
        let known = locked(&self.shown).newest(key);
        let stored = match known {
            Some(stored) => stored,
            None => self.row(key)?,
        };
        let mut shown = locked(&self.shown);
        // Only a round makes it older than the newest, and this is one.
        let stored = stored.and_then(|stored| shown.with_deadline(stored));
        let is_due = stored.as_ref().is_some_and(|stored| shown.hold(key, stored, || self.host.clock.steady()));
        Ok(Looked { stored, is_due })
    }

    /// What the table has of a key.
    pub(super) fn row(&self, key: &Key) -> Result<Option<crate::table::Stored>> {
        let row = self.table()?.row(key.as_bytes()).map_err(|error| self.table_failed(&error))?;
        let decoded = row.map(row::decode).transpose();
        decoded.map_err(|why| self.table_failed(&super::store::StoreError(format!("the row of `{key}`: {why}"))))
    }

    fn store(&self, writer: &mut Writer, answers: Vec<Answer>, wall: u64) -> Result<(), JournalError> {
        let (mut batches, bytes) = batches(writer.rules.groups());
        let journal = writer.journal.as_mut().expect("looked at before");
        // Where there is nothing to store, everything that the answers tell of is stored already.
        let committed = if batches.is_empty() { Ok(()) } else { journal.commit(&mut batches, wall).map(drop) };
        match committed {
            Ok(()) => {
                self.show(writer);
                answers.into_iter().for_each(|(done, answer)| done(answer));
                writer.grown += bytes;
                if writer.grown >= self.host.options.segment_bytes_max {
                    writer.grown = 0;
                    self.bell.maintain();
                }
                Ok(())
            }
            Err(error) => {
                writer.rules.discard();
                locked(&self.shown).release();
                let (told, revision) = (self.storage()(error.clone()), writer.rules.position().revision);
                answers.into_iter().for_each(|(done, answer)| done(after_failure(answer, revision, &told)));
                if !error.is_fatal() {
                    return Ok(());
                }
                self.give_up(&told);
                Err(error)
            }
        }
    }

    /// Shows readers what is stored.
    fn show(&self, writer: &mut Writer) {
        let position = writer.rules.pending();
        let changes = writer.rules.commit();
        let revisions = changes.groups.into_iter().flat_map(|group| group.records).filter(|record| record.revision > 0);
        let revisions = revisions.map(|record| Revision {
            key: record.key,
            revision: record.revision,
            timestamp: position.timestamp,
            change: record.change,
        });
        let revisions: Vec<_> = revisions.collect();
        let mut shown = locked(&self.shown);
        shown.release();
        if revisions.is_empty() {
            return;
        }
        shown.commit(changes.keys, revisions, position.revision, position.counts);
        let is_much = shown.overlay_bytes() >= self.host.options.overlay_bytes_max / APPLIED_PART;
        drop(shown);
        self.range.send_modify(|range| range.revision = position.revision);
        if is_much { self.bell.apply() } else { self.bell.apply_later() }
    }
}

/// What is told where the round was not stored. What was stored before it is told all the same: whoever heard otherwise
/// would do it again.
fn after_failure(answer: Result<Written>, revision: u64, error: &Error) -> Result<Written> {
    match answer {
        Ok(written) if written.duplicate && written.revisions.iter().all(|of| *of <= revision) => Ok(written),
        _ => Err(error.clone()),
    }
}

/// Groups as batches of the journal, and their bytes.
fn batches(groups: &[Group]) -> (Vec<PreparedBatch>, u64) {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    let (mut body, mut base, mut span) = (Vec::new(), None, 0);
    let mut finish = |body: &mut Vec<u8>, span: &mut u32| {
        let batch = PreparedBatch::new(std::mem::take(body), *span, *span).expect("a write's bound is below a batch's");
        bytes += batch.bytes();
        batches.push(batch.kind(KIND_CHANGES));
        *span = 0;
    };
    for group in groups {
        let revisions = || group.records.iter().map(|record| record.revision).filter(|revision| *revision > 0);
        let Some(first) = revisions().next() else { continue };
        let group_base = *base.get_or_insert(first - 1);
        if is_planted("operation ids not stored") {
            put_group(&mut body, group_base, &Group { id: None, records: group.records.clone() });
        } else {
            put_group(&mut body, group_base, group);
        }
        span += revisions().count() as u32;
        if body.len() >= BATCH_BYTES {
            finish(&mut body, &mut span);
            base = None;
        }
    }
    if span > 0 {
        finish(&mut body, &mut span);
    }
    (batches, bytes)
}
