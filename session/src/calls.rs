//! Calls in flight: their numbers, deadlines and fate after a cut. No clock, no waiting.

use std::collections::BTreeSet;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt};

use crate::outbox::Position;

/// A call that waits for its reply; `W` is whoever waits.
#[derive(Debug)]
struct Waiting<W> {
    deadline: Instant,
    /// Where its request stands in the outbox; `None` until it is packed.
    position: Option<Position>,
    waiter: W,
}

/// A call that was taken out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken<W> {
    pub(crate) waiter: W,
    /// Where its request stands in the outbox, if it is there.
    pub(crate) position: Option<Position>,
}

/// All calls of a session. Numbers are never used twice.
#[derive(Debug)]
pub(crate) struct Calls<W> {
    next: u32,
    max: usize,
    waiting: HashMap<u32, Waiting<W>>,
    deadlines: BTreeSet<(Instant, u32)>,
}

impl<W> Calls<W> {
    pub(crate) fn new(max: usize) -> Self {
        Self { next: 1, max, waiting: HashMap::new(), deadlines: BTreeSet::new() }
    }

    /// A fresh number, for a call or a stream. `None` once all 2³² − 1 are used up: reconnect then.
    pub(crate) fn number(&mut self) -> Option<u32> {
        let number = self.next;
        self.next = number.checked_add(1)?;
        Some(number)
    }

    /// Enters a call, or gives the waiter back where there are too many already.
    pub(crate) fn enter(&mut self, number: u32, deadline: Instant, waiter: W) -> Result<(), W> {
        if self.waiting.len() >= self.max {
            return Err(waiter);
        }
        self.enter_always(number, deadline, waiter);
        Ok(())
    }

    /// Enters a call whatever the limit. A number that is in use gets a new waiter, and the old one is dropped.
    pub(crate) fn enter_always(&mut self, number: u32, deadline: Instant, waiter: W) {
        if let Some(old) = self.waiting.insert(number, Waiting { deadline, position: None, waiter }) {
            self.deadlines.remove(&(old.deadline, number));
        }
        self.deadlines.insert((deadline, number));
    }

    /// Notes where the request was packed.
    pub(crate) fn packed(&mut self, number: u32, position: Position) {
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.position = Some(position);
        }
    }

    /// Takes a call out: it was answered, or its caller has gone.
    pub(crate) fn take(&mut self, number: u32) -> Option<Taken<W>> {
        let waiting = self.waiting.remove(&number)?;
        self.deadlines.remove(&(waiting.deadline, number));
        Some(Taken { waiter: waiting.waiter, position: waiting.position })
    }

    /// The next deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out one call whose deadline has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<(u32, Taken<W>)> {
        let (deadline, number) = *self.deadlines.first()?;
        (deadline <= now).then(|| (number, self.take(number).expect("both tables agree")))
    }

    /// After a cut: takes out the calls that were sent, whose outcome nobody knows.
    pub(crate) fn cut(&mut self, is_taken: impl Fn(Position) -> bool) -> Vec<W> {
        let sent = |waiting: &Waiting<W>| waiting.position.is_some_and(&is_taken);
        let mut numbers: Vec<u32> = self.waiting.iter().filter(|(_, w)| sent(w)).map(|(number, _)| *number).collect();
        // In their order: what follows from it must be the same each time.
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.take(number)).map(|taken| taken.waiter).collect()
    }

    /// Takes all out: the session is over.
    pub(crate) fn drain(&mut self) -> Vec<W> {
        let mut numbers: Vec<u32> = self.waiting.keys().copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.take(number)).map(|taken| taken.waiter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn replies_deadlines_and_cuts_each_settle_a_call_once() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut calls = Calls::new(3);
        let numbers: Vec<u32> = (0..4).map(|_| calls.number().unwrap()).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        for (number, second, waiter) in [(1, 9, "a"), (2, 5, "b"), (3, 7, "c")] {
            assert_eq!(calls.enter(number, at(second), waiter), Ok(()));
        }
        assert_eq!(calls.enter(4, at(1), "d"), Err("d"), "the limit holds");
        assert_eq!(calls.next_deadline(), Some(at(5)));
        assert_eq!(calls.expired(at(4)), None);
        assert_eq!(calls.expired(at(5)).map(|(number, taken)| (number, taken.waiter)), Some((2, "b")));
        assert_eq!(calls.take(2), None);
        assert_eq!(calls.take(1).map(|taken| taken.waiter), Some("a"));
        assert_eq!(calls.cut(|_| true), Vec::<&str>::new(), "not packed, so not sent");
        assert_eq!(calls.drain(), ["c"]);
        assert_eq!(calls.next_deadline(), None);
    }

    #[test]
    fn a_number_used_twice_leaves_no_deadline_behind() {
        let start = Instant::now();
        let mut calls = Calls::new(3);
        assert_eq!(calls.enter(1, start, "a"), Ok(()));
        assert_eq!(calls.enter(1, start + Duration::from_secs(1), "b"), Ok(()));
        assert_eq!(calls.expired(start), None);
        assert_eq!(calls.expired(start + Duration::from_secs(1)).map(|(_, taken)| taken.waiter), Some("b"));
        assert_eq!(calls.next_deadline(), None);
    }

    #[test]
    fn numbers_run_out_instead_of_coming_back() {
        let mut calls = Calls::<()>::new(1);
        calls.next = u32::MAX;
        assert_eq!(calls.number(), None);
    }
}
