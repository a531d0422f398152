//! The client's end of one subscription: what has come and was not consumed yet. Plain state behind one short lock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sinew_session::Error as SessionError;

use crate::subscription::Gap;

/// What waits for the subscriber.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// Deliver records of this subscription, one after the other.
    Records(Bytes),
    /// The server's queue overflowed here.
    Lagged(u64),
    /// The connection was cut here.
    Gap(Gap),
}

/// One subscription at the client.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) number: u32,
    pub(crate) pattern: String,
    pub(crate) options: crate::SubscribeOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Bytes of records received and not consumed.
    unconsumed: u64,
    /// Of what was consumed, bytes not yet granted back.
    ungranted: u64,
    /// Messages received and losses told, together.
    cursor: u64,
    confirmed: bool,
    waker: Option<Waker>,
    ended: Option<SessionError>,
}

impl Inbox {
    pub(crate) fn new(number: u32, pattern: String, options: crate::SubscribeOptions) -> Self {
        Self { number, pattern, options, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many records came in one piece.
    pub(crate) fn receive(&self, records: Bytes, count: u64) {
        let mut state = self.lock();
        state.unconsumed += records.len() as u64;
        state.cursor += count;
        state.items.push_back(Item::Records(records));
        wake(state);
    }

    /// The server says that so many were dropped here.
    pub(crate) fn lag(&self, count: u64) {
        let mut state = self.lock();
        state.cursor += count;
        state.items.push_back(Item::Lagged(count));
        wake(state);
    }

    /// It stands at the server; what was missed before that, if it stood before.
    pub(crate) fn confirm(&self, gap: Option<u64>) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.confirmed, true) {
            return;
        }
        let gap = match gap {
            Some(0) => return,
            Some(count) => {
                state.cursor += count;
                Gap::Exact(count)
            }
            None => Gap::Unknown,
        };
        state.items.push_back(Item::Gap(gap));
        wake(state);
    }

    /// What a server needs to know to take it up again: the cursor, if it has kept count, and the bytes in use. `None`
    /// if the subscription never stood. A server that has not `resumed` the session counts anew.
    pub(crate) fn standing(&self, resumed: bool) -> Option<(Option<u64>, u64)> {
        let mut state = self.lock();
        state.ungranted = 0;
        if !resumed {
            state.cursor = 0;
        }
        state.confirmed.then_some((resumed.then_some(state.cursor), state.unconsumed))
    }

    /// The session is over; what is here can still be consumed.
    pub(crate) fn end(&self, why: &SessionError) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(|| why.clone());
        wake(state);
    }

    /// Why nothing more comes, if so.
    pub(crate) fn ended(&self) -> Option<SessionError> {
        self.lock().ended.clone()
    }

    /// Takes all that waits, or registers to be woken. `Ready(false)`: nothing waits and nothing will.
    pub(crate) fn poll_take(&self, into: &mut VecDeque<Item>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if !state.items.is_empty() {
            std::mem::swap(&mut state.items, into);
            return Poll::Ready(true);
        }
        if state.ended.is_some() {
            return Poll::Ready(false);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// So many bytes were consumed; gives what is to be granted back now, a quarter of the window at least.
    pub(crate) fn consume(&self, bytes: u64) -> Option<u64> {
        let mut state = self.lock();
        state.unconsumed = state.unconsumed.saturating_sub(bytes);
        state.ungranted += bytes;
        let due = state.ungranted >= self.options.window_bytes as u64 / 4;
        due.then(|| std::mem::take(&mut state.ungranted))
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> Inbox {
        Inbox::new(1, "a".into(), crate::SubscribeOptions { window_bytes: 100, ..Default::default() })
    }

    #[test]
    fn the_cursor_counts_what_came_and_what_was_told() {
        let inbox = inbox();
        assert_eq!(inbox.standing(true), None, "it does not stand before it is confirmed");
        inbox.confirm(None);
        inbox.receive(Bytes::from_static(&[0; 40]), 2);
        inbox.lag(5);
        inbox.confirm(Some(3));
        assert_eq!(inbox.standing(true), Some((Some(10), 40)));
        assert_eq!(inbox.standing(false), Some((None, 40)), "a restarted server counts anew");
        inbox.receive(Bytes::from_static(&[0; 20]), 1);
        assert_eq!(inbox.standing(true), Some((Some(1), 60)));
    }

    #[test]
    fn credit_goes_back_by_quarters_of_the_window() {
        let inbox = inbox();
        inbox.receive(Bytes::from_static(&[0; 60]), 3);
        assert_eq!((inbox.consume(20), inbox.consume(4), inbox.consume(1)), (None, None, Some(25)));
    }
}
