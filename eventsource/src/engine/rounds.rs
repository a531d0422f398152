//! A round of one stream: everything that waits is judged in order, stored by one write and one sync, and answered.

use std::sync::atomic::Ordering;

use sinew_hosting::locked;
use sinew_journal::{COMMIT_BYTES_MAX, Error as JournalError, Participant, PreparedBatch};
use sinew_session::to_value;

use super::stored_stream::{KIND_OPENING, OpenDone, Request, StoredStream, Writer};
use crate::stream::Judgement;
use crate::{AppendDone, Appended, Error, EventBatch, ProducerGrant, Result, StoredBatch};

/// Bytes of a round: below the journal's bound, with room for headers.
const ROUND_BYTES_MAX: usize = COMMIT_BYTES_MAX as usize / 2;

/// What is told once the round is stored.
enum Answer {
    Append(AppendDone, Result<Appended>),
    Open(OpenDone, Result<ProducerGrant>),
}

impl Answer {
    fn tell(self) {
        match self {
            Self::Append(done, result) => done(result),
            Self::Open(done, result) => done(result),
        }
    }

    /// The round was not stored. What was stored before it, below offset `next`, is told all the same: a producer that
    /// heard otherwise would give the batch's numbers to another one.
    fn fail(self, next: u64, error: Error) {
        match self {
            Self::Append(done, Ok(appended)) if appended.duplicate && appended.first < next => done(Ok(appended)),
            Self::Append(done, _) => done(Err(error)),
            Self::Open(done, _) => done(Err(error)),
        }
    }
}

/// A round as it is judged.
#[derive(Default)]
struct Round {
    batches: Vec<PreparedBatch>,
    /// The events among them, for who follows.
    events: Vec<StoredBatch>,
    answers: Vec<Answer>,
}

impl Participant for StoredStream {
    fn round(&self) -> Result<(), JournalError> {
        let on_panic = OnPanic(self);
        let done = self.round_now();
        std::mem::forget(on_panic);
        done
    }
}

/// A round that panics is the stream's last: nobody would run another for what waits.
struct OnPanic<'a>(&'a StoredStream);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        let why = "storing it panicked; restart the server, and please report this".into();
        self.0.give_up(&Error::Storage { stream: self.0.name.to_string(), why });
    }
}

impl StoredStream {
    /// Stores what waits, on this thread. `Err` is what the process must end for; everybody has been told.
    pub(crate) fn round_now(&self) -> Result<(), JournalError> {
        let mut writer = locked(&self.writer);
        // A round stands in one segment, which should not be larger than it is to be.
        let segment_bytes = usize::try_from(self.config().segment_bytes_max).unwrap_or(ROUND_BYTES_MAX);
        let requests = self.inbox.take(ROUND_BYTES_MAX.min(segment_bytes));
        if requests.is_empty() {
            return Ok(());
        }
        if writer.journal.is_none() {
            requests.into_iter().for_each(|request| request.refuse(self.ended()));
            return Ok(());
        }
        let now = self.host.clock.wall();
        let round = self.judge(&mut writer, requests, now);
        self.store(&mut writer, round, now)?;
        drop(writer);
        // A round has its bound; the rest is the next one's.
        self.wake_for_rest();
        Ok(())
    }

    fn judge(&self, writer: &mut Writer, requests: Vec<Request>, now: u64) -> Round {
        let (level, mut round) = (self.level(), Round::default());
        writer.state.begin(now);
        for request in requests {
            match request {
                Request::Append { append, batch, done } => match writer.state.judge(&append, level) {
                    Judgement::Store(appended) => {
                        round.batches.push(batch);
                        round.events.push(stored(append.events, &appended));
                        round.answers.push(Answer::Append(done, Ok(appended)));
                    }
                    Judgement::Answer(answer) => round.answers.push(Answer::Append(done, answer)),
                },
                Request::Open { name, done } => {
                    let (opening, grant) = writer.state.open_producer(&name, self.host.files().random().max(1));
                    let body = to_value(&opening).expect("numbers and texts can be written");
                    let batch = PreparedBatch::new(body, 0, 0).expect("a name is short");
                    round.batches.push(batch.kind(KIND_OPENING).producer(opening.id, opening.epoch, 0));
                    round.answers.push(Answer::Open(done, Ok(grant)));
                }
            }
        }
        round
    }

    fn store(&self, writer: &mut Writer, mut round: Round, now: u64) -> Result<(), JournalError> {
        let bytes: u64 = round.batches.iter().map(PreparedBatch::bytes).sum();
        let journal = writer.journal.as_mut().expect("looked at before");
        // Where there is nothing to store, everything that the answers tell of is stored already.
        let is_empty = round.batches.is_empty();
        let committed = if is_empty { Ok(None) } else { journal.commit(&mut round.batches, now).map(Some) };
        match committed {
            Ok(_) => {
                // The log has no time of a round that stores nothing.
                if is_empty {
                    writer.state.discard()
                } else {
                    writer.state.commit()
                }
                self.show(writer, round.events);
                round.answers.into_iter().for_each(Answer::tell);
                writer.grown += bytes;
                if writer.grown >= self.config().segment_bytes_max {
                    writer.grown = 0;
                    self.bell.ring();
                }
                Ok(())
            }
            Err(error) => {
                writer.state.discard();
                let (told, next) = (self.storage()(error.clone()), writer.state.next());
                round.answers.into_iter().for_each(|answer| answer.fail(next, told.clone()));
                if !error.is_fatal() {
                    return Ok(());
                }
                self.give_up(&told);
                Err(error)
            }
        }
    }

    /// Shows readers what is stored.
    fn show(&self, writer: &Writer, events: Vec<StoredBatch>) {
        let next = writer.state.next();
        self.producers.store(writer.state.producers().len() as u64, Ordering::Relaxed);
        if events.is_empty() {
            return;
        }
        let mut tail = locked(&self.tail);
        events.into_iter().for_each(|batch| tail.push(batch));
        drop(tail);
        self.range.send_modify(|range| range.next = next);
    }
}

fn stored(events: EventBatch, appended: &Appended) -> StoredBatch {
    StoredBatch { first: appended.first, timestamp: appended.timestamp, events }
}
