//! The client's end of one follow: how far it is. What waits is in the session's [`Arrivals`].

use bytes::Bytes;
use sinew_session::{
    Arrivals, ArrivalsGuard, Error as SessionError, Failure, Record, ResourceName, StreamState, from_cbor,
};

use crate::client::FollowOptions;
use crate::protocol::{Followed, Mark, error_of, read_batch_head, verb};
use crate::{Error, Result};

/// What waits for the reader.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A batch, and the bytes of credit that it takes.
    Batch { first: u64, timestamp: u64, body: Bytes, cost: u64 },
    /// Everything below had been sent, and there was no more.
    CaughtUp { next: u64 },
}

/// One follow at the client.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) number: u32,
    pub(crate) stream: ResourceName,
    pub(crate) options: FollowOptions,
    pub(crate) arrivals: Arrivals<Item, State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// The offset to go on with after a cut.
    next: u64,
    to: Option<u64>,
    /// Counts how often it was asked for after the first time.
    standing: u32,
    window_bytes: u64,
    confirmed: bool,
    /// It is over, and why unless it came to its end.
    ended: Option<Option<Error>>,
}

/// What a server needs to know to take a follow up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) next: u64,
    pub(crate) to: Option<u64>,
    pub(crate) used_bytes: u64,
    pub(crate) standing: u32,
}

impl Inbox {
    pub(crate) fn new(number: u32, stream: ResourceName, options: FollowOptions) -> Self {
        Self { number, stream, options, arrivals: Arrivals::new(State::default()) }
    }

    fn lock(&self) -> ArrivalsGuard<'_, Item, State> {
        self.arrivals.lock()
    }

    /// A record for it has come.
    pub(crate) fn receive(&self, record: &Record<'_>) {
        match record.header.verb {
            verb::DELIVER => self.batch(record),
            verb::POSITION => {
                let Some(mark) = Mark::read(record.head()) else { return };
                let mut state = self.lock();
                state.next = state.next.max(mark.next);
                if mark.caught_up {
                    state.push(Item::CaughtUp { next: mark.next });
                }
            }
            verb::ENDED if record.body().is_empty() => self.end(None),
            verb::ENDED => {
                let failure =
                    from_cbor(record.body()).unwrap_or_else(|error| Failure::new("unreadable", error.to_string()));
                self.end(Some(error_of(SessionError::Failed(failure))));
            }
            _ => {}
        }
    }

    fn batch(&self, record: &Record<'_>) {
        let span = record.head().get(20..).and_then(|rest| rest.first_chunk()).map(|span| u32::from_le_bytes(*span));
        let (Some((first, timestamp, _)), Some(span)) = (read_batch_head(record.head()), span) else { return };
        let cost = record.size() as u64;
        let mut state = self.lock();
        state.spend(cost);
        state.next = state.next.max(first.saturating_add(span.into()));
        state.push(Item::Batch { first, timestamp, body: record.body_shared(), cost });
    }

    /// It stands at the server. To be called where the answer arrives: a cut after it must find it confirmed.
    pub(crate) fn confirm(&self, followed: &Followed) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.confirmed, true) {
            (state.next, state.to) = (followed.next, followed.to);
        }
        state.window_bytes = followed.window_bytes;
    }

    /// Where to go on after a cut; `None` if it never stood, or is over.
    pub(crate) fn standing(&self) -> Option<Standing> {
        let mut state = self.lock();
        if !state.confirmed || state.ended.is_some() {
            return None;
        }
        state.standing += 1;
        let (used_bytes, standing) = (state.in_use(), state.standing);
        Some(Standing { next: state.next, to: state.to, used_bytes, standing })
    }

    /// Which asking the credit belongs to that is given back now.
    pub(crate) fn now_standing(&self) -> u32 {
        self.lock().standing
    }

    /// It is over; what is here can still be consumed.
    pub(crate) fn end(&self, why: Option<Error>) {
        let mut state = self.lock();
        state.ended.get_or_insert(why);
        state.wake();
    }

    /// Why nothing more comes, if it did not come to its end.
    pub(crate) fn why_ended(&self) -> Option<Error> {
        self.lock().ended.clone().flatten()
    }
}

impl StreamState for State {
    fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    fn is_over(&self) -> bool {
        self.ended.is_some()
    }
}

/// The end of a session, or nothing, as a result.
pub(crate) fn ended(why: Option<Error>) -> Result<()> {
    why.map_or(Ok(()), Err)
}
