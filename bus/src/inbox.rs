//! The client's end of one subscription: what has come and was not consumed yet. Plain state behind one short lock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sinew_session::{Error as SessionError, is_planted};

use crate::Error;
use crate::protocol::Subscribed;
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
    /// It answers requests.
    pub(crate) responds: bool,
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
    /// The window that the server gave.
    window_bytes: Option<u64>,
    /// While it is being restored, what comes already: the gap belongs before it.
    held: Option<VecDeque<Item>>,
    /// A server that did not know us has begun to count anew, and the subscriber was not told yet.
    unknown: bool,
    /// It is over once the cursor is there: nothing more was sent.
    last: Option<Last>,
    waker: Option<Waker>,
    ended: Option<Error>,
}

/// The end of a subscription that the server has ended.
#[derive(Debug)]
struct Last {
    cursor: u64,
    /// Records that are lost behind that, until they are told.
    lost: u64,
    /// Why, unless we asked for it.
    why: Option<Error>,
}

impl Inbox {
    pub(crate) fn new(number: u32, pattern: String, options: crate::SubscribeOptions, responds: bool) -> Self {
        Self { number, pattern, options, responds, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many records came in one piece.
    pub(crate) fn receive(&self, records: Bytes, count: u64) {
        let mut state = self.lock();
        state.unconsumed += records.len() as u64;
        state.cursor = state.cursor.saturating_add(count);
        enqueue(state, Item::Records(records));
    }

    /// The server says that so many were dropped here.
    pub(crate) fn lag(&self, count: u64) {
        let mut state = self.lock();
        state.cursor = state.cursor.saturating_add(count);
        enqueue(state, Item::Lagged(count));
    }

    /// It stands at the server; what was missed before that, if it stood before. To be called where the answer arrives:
    /// a cut after it must find the subscription confirmed.
    pub(crate) fn confirm(&self, subscribed: &Subscribed) {
        let mut state = self.lock();
        state.window_bytes = subscribed.window_bytes;
        if !std::mem::replace(&mut state.confirmed, true) {
            return;
        }
        let missed = subscribed.gap.unwrap_or(0);
        state.cursor = state.cursor.saturating_add(missed);
        if std::mem::take(&mut state.unknown) || subscribed.gap.is_none() {
            state.items.push_back(Item::Gap(Gap::Unknown));
        }
        if missed > 0 && !is_planted("gap not told") {
            state.items.push_back(Item::Gap(Gap::Exact(missed)));
        }
        state.let_go();
        wake(state);
    }

    /// What a server needs to know to take it up again: the cursor, if it has kept count, and the bytes in use. `None`
    /// if the subscription never stood. A server that has not `resumed` the session counts anew.
    pub(crate) fn standing(&self, resumed: bool) -> Option<(Option<u64>, u64)> {
        let mut state = self.lock();
        if !state.confirmed || state.ended.is_some() {
            return None;
        }
        if state.is_at_end() {
            return None;
        }
        if let Some(last) = state.last.take() {
            // What was still to come is lost in the cut, and the server has forgotten it.
            state.items.push_back(Item::Gap(Gap::Unknown));
            state.ended = Some(last.why.unwrap_or(Error::Session(SessionError::OutcomeUnknown)));
            state.let_go();
            wake(state);
            return None;
        }
        state.ungranted = 0;
        if !resumed {
            state.cursor = 0;
            if std::mem::replace(&mut state.unknown, true) {
                // The server that we did not get an answer from is gone as well: what it sent comes between two gaps.
                state.items.push_back(Item::Gap(Gap::Unknown));
            }
            state.let_go();
        }
        state.held.get_or_insert_default();
        Some((resumed.then_some(state.cursor), state.unconsumed))
    }

    /// It is over; what is here can still be consumed.
    pub(crate) fn end(&self, why: &Error) {
        let mut state = self.lock();
        if !state.is_at_end() {
            state.ended.get_or_insert_with(|| why.clone());
        }
        state.let_go();
        wake(state);
    }

    /// It is over once everything has come up to this cursor, for this reason, if it is one.
    pub(crate) fn end_at(&self, cursor: u64, lost: u64, why: Option<Error>) {
        let mut state = self.lock();
        state.last = Some(Last { cursor, lost, why });
        state.tell_last_loss();
        wake(state);
    }

    /// Why nothing more comes, if so.
    pub(crate) fn ended(&self) -> Option<Error> {
        let state = self.lock();
        let at_end = if state.is_at_end() { state.last.as_ref().and_then(|last| last.why.clone()) } else { None };
        state.ended.clone().or(at_end)
    }

    /// Takes all that waits, or registers to be woken. `Ready(false)`: nothing waits and nothing will.
    pub(crate) fn poll_take(&self, into: &mut VecDeque<Item>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if !state.items.is_empty() {
            std::mem::swap(&mut state.items, into);
            return Poll::Ready(true);
        }
        if state.ended.is_some() || state.is_at_end() {
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
        let window = state.window_bytes.unwrap_or(self.options.window_bytes as u64);
        let due = state.ungranted >= window / 4;
        due.then(|| std::mem::take(&mut state.ungranted))
    }
}

impl State {
    /// Whether all that was sent has come, of a subscription that is over.
    fn is_at_end(&self) -> bool {
        self.last.as_ref().is_some_and(|last| self.cursor >= last.cursor)
    }

    /// What is lost at the end comes behind everything that was sent, on whatever lane.
    fn tell_last_loss(&mut self) {
        if self.is_at_end()
            && let Some(last) = &mut self.last
            && last.lost > 0
        {
            let lost = std::mem::take(&mut last.lost);
            self.items.push_back(Item::Lagged(lost));
        }
    }

    /// Gives out what was held back.
    fn let_go(&mut self) {
        let held = self.held.take();
        self.items.extend(held.into_iter().flatten());
    }
}

fn enqueue(mut state: MutexGuard<'_, State>, item: Item) {
    match &mut state.held {
        Some(held) => held.push_back(item),
        None => {
            state.items.push_back(item);
            state.tell_last_loss();
            wake(state);
        }
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
        Inbox::new(1, "a".into(), crate::SubscribeOptions { window_bytes: 100, ..Default::default() }, false)
    }

    fn subscribed(gap: Option<u64>) -> Subscribed {
        Subscribed { gap, window_bytes: None }
    }

    #[test]
    fn the_cursor_counts_what_came_and_what_was_told() {
        let inbox = inbox();
        assert_eq!(inbox.standing(true), None, "it does not stand before it is confirmed");
        inbox.confirm(&subscribed(None));
        inbox.receive(Bytes::from_static(&[0; 40]), 2);
        inbox.lag(5);
        inbox.confirm(&subscribed(Some(3)));
        assert_eq!(inbox.standing(true), Some((Some(10), 40)));
        assert_eq!(inbox.standing(false), Some((None, 40)), "a restarted server counts anew");
        inbox.receive(Bytes::from_static(&[0; 20]), 1);
        assert_eq!(inbox.standing(true), Some((Some(1), 60)));
    }

    fn taken(inbox: &Inbox) -> Vec<Item> {
        let mut items = VecDeque::new();
        let _ = inbox.poll_take(&mut items, &mut Context::from_waker(Waker::noop()));
        items.into()
    }

    #[test]
    fn what_comes_while_it_is_restored_comes_after_the_gap() {
        let inbox = inbox();
        inbox.confirm(&subscribed(None));
        inbox.standing(true);
        inbox.receive(Bytes::from_static(&[0; 40]), 2);
        assert_eq!(taken(&inbox).len(), 0);
        inbox.confirm(&subscribed(Some(3)));
        assert!(matches!(taken(&inbox)[..], [Item::Gap(Gap::Exact(3)), Item::Records(_)]));
    }

    #[test]
    fn a_restart_is_told_even_if_the_first_answer_after_it_is_cut_off() {
        let inbox = inbox();
        inbox.confirm(&subscribed(None));
        inbox.receive(Bytes::from_static(&[0; 40]), 2);
        assert_eq!(inbox.standing(false), Some((None, 40)));
        assert_eq!(inbox.standing(true), Some((Some(0), 40)));
        inbox.confirm(&subscribed(Some(0)));
        assert!(matches!(taken(&inbox)[..], [Item::Records(_), Item::Gap(Gap::Unknown)]));
    }

    #[test]
    fn credit_goes_back_by_quarters_of_the_window() {
        let inbox = inbox();
        inbox.receive(Bytes::from_static(&[0; 60]), 3);
        assert_eq!((inbox.consume(20), inbox.consume(4), inbox.consume(1)), (None, None, Some(25)));
    }
}
