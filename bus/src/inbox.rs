//! The client's end of one subscription: how far it is, and what is told of losses. What waits is in the session's
//! [`Arrivals`].

use bytes::Bytes;
use sinew_session::{Arrivals, ArrivalsGuard, Error as SessionError, StreamState, is_planted};

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
    pub(crate) arrivals: Arrivals<Item, State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Messages received and losses told, together.
    cursor: u64,
    confirmed: bool,
    /// The window that was wished, or what the server gave.
    window_bytes: u64,
    /// While it is being restored, what comes already: the gap belongs before it.
    held: Option<Vec<Item>>,
    /// A server that did not know us has begun to count anew, and the subscriber was not told yet.
    unknown: bool,
    /// It is over once the cursor is there: nothing more was sent.
    last: Option<Last>,
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
        let state = State { window_bytes: options.window_bytes as u64, ..State::default() };
        Self { number, pattern, options, responds, arrivals: Arrivals::new(state) }
    }

    fn lock(&self) -> Guard<'_> {
        self.arrivals.lock()
    }

    /// So many records came in one piece.
    pub(crate) fn receive(&self, records: Bytes, count: u64) {
        let mut state = self.lock();
        state.spend(records.len() as u64);
        state.cursor = state.cursor.saturating_add(count);
        enqueue(&mut state, Item::Records(records));
    }

    /// The server says that so many were dropped here.
    pub(crate) fn lag(&self, count: u64) {
        let mut state = self.lock();
        state.cursor = state.cursor.saturating_add(count);
        enqueue(&mut state, Item::Lagged(count));
    }

    /// It stands at the server; what was missed before that, if it stood before. To be called where the answer arrives:
    /// a cut after it must find the subscription confirmed.
    pub(crate) fn confirm(&self, subscribed: &Subscribed) {
        let mut state = self.lock();
        state.window_bytes = subscribed.window_bytes.unwrap_or(self.options.window_bytes as u64);
        if !std::mem::replace(&mut state.confirmed, true) {
            return;
        }
        let missed = subscribed.gap.unwrap_or(0);
        state.cursor = state.cursor.saturating_add(missed);
        if std::mem::take(&mut state.unknown) || subscribed.gap.is_none() {
            state.push(Item::Gap(Gap::Unknown));
        }
        if missed > 0 && !is_planted("gap not told") {
            state.push(Item::Gap(Gap::Exact(missed)));
        }
        let_go(&mut state);
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
            state.push(Item::Gap(Gap::Unknown));
            state.ended = Some(last.why.unwrap_or(Error::Session(SessionError::OutcomeUnknown)));
            let_go(&mut state);
            return None;
        }
        let in_use = state.in_use();
        if !resumed {
            state.cursor = 0;
            if std::mem::replace(&mut state.unknown, true) {
                // The server that we did not get an answer from is gone as well: what it sent comes between two gaps.
                state.push(Item::Gap(Gap::Unknown));
            }
            let_go(&mut state);
        }
        state.held.get_or_insert_default();
        Some((resumed.then_some(state.cursor), in_use))
    }

    /// It is over; what is here can still be consumed.
    pub(crate) fn end(&self, why: &Error) {
        let mut state = self.lock();
        if !state.is_at_end() {
            state.ended.get_or_insert_with(|| why.clone());
        }
        let_go(&mut state);
    }

    /// It is over once everything has come up to this cursor, for this reason, if it is one.
    pub(crate) fn end_at(&self, cursor: u64, lost: u64, why: Option<Error>) {
        let mut state = self.lock();
        state.last = Some(Last { cursor, lost, why });
        tell_last_loss(&mut state);
        state.wake();
    }

    /// Why nothing more comes, if so.
    pub(crate) fn ended(&self) -> Option<Error> {
        let state = self.lock();
        let at_end = if state.is_at_end() { state.last.as_ref().and_then(|last| last.why.clone()) } else { None };
        state.ended.clone().or(at_end)
    }
}

type Guard<'a> = ArrivalsGuard<'a, Item, State>;

impl StreamState for State {
    fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() || self.is_at_end()
    }
}

impl State {
    /// Whether all that was sent has come, of a subscription that is over.
    fn is_at_end(&self) -> bool {
        self.last.as_ref().is_some_and(|last| self.cursor >= last.cursor)
    }
}

/// What is lost at the end comes behind everything that was sent, on whatever lane.
fn tell_last_loss(state: &mut Guard<'_>) {
    if !state.is_at_end() {
        return;
    }
    let lost = state.last.as_mut().map_or(0, |last| std::mem::take(&mut last.lost));
    if lost > 0 {
        state.push(Item::Lagged(lost));
    }
}

/// Gives out what was held back.
fn let_go(state: &mut Guard<'_>) {
    let held = state.held.take();
    held.into_iter().flatten().for_each(|item| state.push(item));
    state.wake();
}

fn enqueue(state: &mut Guard<'_>, item: Item) {
    match &mut state.held {
        Some(held) => held.push(item),
        None => {
            state.push(item);
            tell_last_loss(state);
        }
    }
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
        let mut items = std::collections::VecDeque::new();
        let _ = inbox.arrivals.poll_take(&mut items, &mut std::task::Context::from_waker(std::task::Waker::noop()));
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
}
