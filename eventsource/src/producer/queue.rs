//! What a producer has not had acknowledged: which batch goes next, and what an answer means for the others. No IO.
//!
//! 1. Batches are numbered by the events before them; the server stores them in that order alone.
//! 2. After an answer that leaves a batch unstored nothing new is sent until all that was under way is answered; then that
//!    batch goes alone, and the others once it is stored.
//! 3. Where the server was busy, that batch goes after a pause that the caller waits out: longer each time until something
//!    is stored, and none after a cut.

use std::collections::VecDeque;

use sinew_session::Error as SessionError;

use crate::protocol::BAD_REQUEST;
use crate::{Appended, Error, EventBatch, Result};

/// The queue; `T` is whoever hears what became of a batch.
#[derive(Debug)]
pub(super) struct Queue<T> {
    batches: VecDeque<Batch<T>>,
    /// The number of the next batch.
    sequence: u64,
    last_ticket: u64,
    under_way: usize,
    /// One goes alone, to see whether it goes through.
    probing: bool,
    /// The server was busy, and nobody waits for that yet.
    busy: bool,
    /// The pause that is waited out: nothing is sent in it.
    pause: Option<u64>,
    last_pause: u64,
    /// Pauses since something was stored.
    turn: u32,
    /// The connection is gone: nothing is sent before it was restored.
    cut: bool,
    pumping: bool,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Batch<T> {
    sequence: u64,
    events: EventBatch,
    /// Under which ticket it is under way.
    ticket: Option<u64>,
    /// Its number when it was sent last.
    sent: u64,
    /// It was sent before, and whether it was stored is not known.
    in_doubt: bool,
    told: T,
}

/// A batch to send.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) ticket: u64,
    pub(super) sequence: u64,
    pub(super) events: EventBatch,
}

/// What the caller is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Send(Outgoing),
    /// To wait, the longer the higher `turn` is, and then to call [`Queue::resume`] with this pause and to go on.
    Wait {
        pause: u64,
        turn: u32,
    },
    Nothing,
}

/// What an answer means.
enum Meaning {
    Stored(Appended),
    /// Not known: to be sent again once the connection is there.
    Cut,
    /// Not stored: to be sent again once those before it are.
    Again,
    /// Not stored for now: to be sent again later.
    Later,
    /// This batch cannot be stored; others can.
    Refused(Error),
    /// Nothing can be stored any more.
    Over(Error),
}

fn meaning(result: Result<Appended>) -> Meaning {
    match result {
        Ok(appended) => Meaning::Stored(appended),
        Err(Error::Session(SessionError::OutcomeUnknown)) => Meaning::Cut,
        Err(Error::SequenceGap { .. }) => Meaning::Again,
        Err(Error::Busy { .. } | Error::Session(SessionError::Timeout { .. } | SessionError::Calls { .. })) => {
            Meaning::Later
        }
        Err(
            error @ (Error::TooLarge { .. }
            | Error::Malformed(_)
            | Error::NoSpace { .. }
            | Error::NotNow { .. }
            | Error::Limit { .. }),
        ) => Meaning::Refused(error),
        // A malformed batch comes back under this name.
        Err(Error::Session(SessionError::Failed(failure))) if failure.code == BAD_REQUEST => {
            Meaning::Refused(Error::Session(SessionError::Failed(failure)))
        }
        Err(error) => Meaning::Over(error),
    }
}

impl<T> Queue<T> {
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            batches: VecDeque::new(),
            sequence,
            last_ticket: 0,
            under_way: 0,
            probing: false,
            busy: false,
            pause: None,
            last_pause: 0,
            turn: 0,
            cut: false,
            pumping: false,
            failed: None,
        }
    }

    pub(super) fn failed(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    pub(super) fn push(&mut self, events: EventBatch, told: T) -> Result<()> {
        self.failed()?;
        let sequence = self.sequence;
        self.sequence += u64::from(events.count());
        self.batches.push_back(Batch { sequence, events, ticket: None, sent: sequence, in_doubt: false, told });
        Ok(())
    }

    /// Whether the caller is to send what [`next`](Self::next) gives, until that is nothing; somebody else does if not.
    pub(super) fn begin_pumping(&mut self) -> bool {
        !std::mem::replace(&mut self.pumping, true)
    }

    pub(super) fn next(&mut self) -> Next {
        let alone = (self.probing || self.busy) && self.under_way > 0;
        let may = !self.cut && self.pause.is_none() && self.failed.is_none() && !alone;
        let next = if may { self.batches.iter().position(|batch| batch.ticket.is_none()) } else { None };
        self.pumping = next.is_some() && !self.busy;
        match next {
            None => Next::Nothing,
            Some(_) if std::mem::take(&mut self.busy) => {
                self.last_pause += 1;
                self.pause = Some(self.last_pause);
                let turn = self.turn;
                self.turn = turn.saturating_add(1);
                Next::Wait { pause: self.last_pause, turn }
            }
            Some(place) => Next::Send(self.send(place)),
        }
    }

    /// A pause is over; one that a cut has ended before changes nothing.
    pub(super) fn resume(&mut self, pause: u64) {
        self.pause.take_if(|waited| *waited == pause);
    }

    fn send(&mut self, place: usize) -> Outgoing {
        self.last_ticket += 1;
        self.under_way += 1;
        let batch = &mut self.batches[place];
        (batch.ticket, batch.sent) = (Some(self.last_ticket), batch.sequence);
        Outgoing { ticket: self.last_ticket, sequence: batch.sequence, events: batch.events.clone() }
    }

    /// The connection is there again: those to be sent before anything that still waits in the outbox.
    pub(super) fn after_cut(&mut self) -> Vec<Outgoing> {
        (self.cut, self.probing, self.busy, self.pause) = (false, false, false, None);
        if self.failed.is_some() {
            return Vec::new();
        }
        let lost = self.batches.iter().take_while(|batch| batch.ticket.is_none()).count();
        (0..lost).map(|place| self.send(place)).collect()
    }

    /// A batch was answered. Gives whom to tell what.
    pub(super) fn settle(&mut self, ticket: u64, result: Result<Appended>) -> Vec<(T, Result<Appended>)> {
        let Some(place) = self.batches.iter().position(|batch| batch.ticket == Some(ticket)) else {
            return Vec::new();
        };
        self.under_way -= 1;
        if let Err(error) = &result
            && self.is_the_last(place, error)
        {
            return self.fail(error);
        }
        match meaning(result) {
            Meaning::Stored(appended) => {
                (self.probing, self.turn) = (false, 0);
                let batch = self.batches.remove(place).expect("just found");
                vec![(batch.told, Ok(appended))]
            }
            Meaning::Cut => {
                let batch = &mut self.batches[place];
                (batch.ticket, batch.in_doubt) = (None, true);
                self.cut = true;
                Vec::new()
            }
            Meaning::Again => {
                self.batches[place].ticket = None;
                self.probing = true;
                Vec::new()
            }
            Meaning::Later => {
                self.batches[place].ticket = None;
                (self.probing, self.busy) = (true, true);
                Vec::new()
            }
            Meaning::Refused(error) => {
                let batch = self.batches.remove(place).expect("just found");
                let count = u64::from(batch.events.count());
                // Those behind it are not stored either: the server waits for the numbers that this one had.
                self.batches.iter_mut().skip(place).for_each(|behind| behind.sequence -= count);
                self.sequence -= count;
                self.probing = self.under_way > 0;
                vec![(batch.told, Err(error))]
            }
            Meaning::Over(error) => self.fail(&error),
        }
    }

    /// Whether nothing can be stored any more after what would else be about one batch.
    fn is_the_last(&self, place: usize, error: &Error) -> bool {
        let batch = &self.batches[place];
        match error {
            // Everything before it was acknowledged, and the server has lost it: asking again would go on for ever.
            Error::SequenceGap { .. } => place == 0 && batch.sent == batch.sequence,
            // The server says so before it looks whether it has the batch, and another one must not get its numbers.
            Error::TooLarge { .. } => batch.in_doubt,
            _ => false,
        }
    }

    pub(super) fn fail(&mut self, why: &Error) -> Vec<(T, Result<Appended>)> {
        self.failed.get_or_insert_with(|| why.clone());
        self.under_way = 0;
        self.batches.drain(..).map(|batch| (batch.told, Err(why.clone()))).collect()
    }
}

#[cfg(test)]
mod tests;
