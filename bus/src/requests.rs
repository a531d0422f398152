//! Requests on their way: who asked, who was handed it, and who may answer. No clock, no waiting.
//!
//! Invariants:
//!
//! 1. A request is with exactly one responder, or held because none is there yet, or over.
//! 2. Only the subscription that it was handed to may answer, once, by the token it was given with.
//! 3. Whatever ends it (an answer, the loss of the responder, the requester's leaving) takes it out of every table.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use sinew_session::is_planted;

use crate::SubscriptionKey;

/// Names a request towards its responder. Counted up from the server's epoch, which is random: an answer that was given
/// before a restart names no request of this server. A stranger who guesses one is not the responder it is bound to.
pub(crate) type Token = u64;

/// A call of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    /// The session's number in the router.
    pub(crate) connection: u64,
    /// The number of its call.
    pub(crate) call: u32,
}

/// All requests of a server; `W` is how the requester is answered.
#[derive(Debug)]
pub(crate) struct Requests<W> {
    /// How many there were.
    last: u64,
    asked: BTreeMap<Token, Asked<W>>,
    by_caller: BTreeMap<Caller, Token>,
    by_responder: BTreeSet<(SubscriptionKey, Token)>,
    /// By session; none of 0.
    counts: BTreeMap<u64, usize>,
}

#[derive(Debug)]
struct Asked<W> {
    caller: Caller,
    responder: SubscriptionKey,
    waiter: W,
}

impl<W> Default for Requests<W> {
    fn default() -> Self {
        Self {
            last: 0,
            asked: BTreeMap::new(),
            by_caller: BTreeMap::new(),
            by_responder: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl<W> Requests<W> {
    /// A request is about to be handed to a responder: gives the token that it goes with.
    pub(crate) fn enter(&mut self, epoch: u64, caller: Caller, responder: SubscriptionKey, waiter: W) -> Token {
        self.last += 1;
        let token = epoch.wrapping_add(self.last);
        self.asked.insert(token, Asked { caller, responder, waiter });
        self.by_caller.insert(caller, token);
        self.by_responder.insert((responder, token));
        *self.counts.entry(caller.connection).or_default() += 1;
        token
    }

    /// An answer came from this subscription; gives the requester, if it is the one that was asked.
    pub(crate) fn answered(&mut self, token: Token, responder: SubscriptionKey) -> Option<W> {
        if self.asked.get(&token)?.responder != responder {
            return None;
        }
        if is_planted("wrong caller") {
            let newest = self.by_responder.range((responder, 0)..=(responder, Token::MAX)).next_back()?.1;
            return self.take(newest);
        }
        self.take(token)
    }

    /// The request was lost before its responder got it.
    pub(crate) fn lost(&mut self, token: Token) -> Option<W> {
        self.take(token)
    }

    /// The requester does not wait any more.
    pub(crate) fn cancel(&mut self, caller: Caller) -> Option<W> {
        let token = *self.by_caller.get(&caller)?;
        self.take(token)
    }

    /// The requester's connection is gone, and with it everything that it waits for.
    pub(crate) fn requester_left(&mut self, connection: u64) {
        let all = Caller { connection, call: 0 }..=Caller { connection, call: u32::MAX };
        let tokens: Vec<_> = self.by_caller.range(all).map(|(_, token)| *token).collect();
        tokens.into_iter().for_each(|token| drop(self.take(token)));
    }

    /// A responder is gone: gives those who wait for it.
    pub(crate) fn responder_left(&mut self, responder: SubscriptionKey) -> Vec<W> {
        let tokens: Vec<_> =
            self.by_responder.range((responder, 0)..=(responder, Token::MAX)).map(|(_, token)| *token).collect();
        tokens.into_iter().filter_map(|token| self.take(token)).collect()
    }

    /// How many of a session are on their way.
    pub(crate) fn count_of(&self, connection: u64) -> usize {
        self.counts.get(&connection).copied().unwrap_or(0)
    }

    /// How many there are in all.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.asked.len()
    }

    fn take(&mut self, token: Token) -> Option<W> {
        let asked = self.asked.remove(&token)?;
        self.by_caller.remove(&asked.caller);
        self.by_responder.remove(&(asked.responder, token));
        if let Entry::Occupied(mut count) = self.counts.entry(asked.caller.connection) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(asked.waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(connection: u64, call: u32) -> Caller {
        Caller { connection, call }
    }

    fn key(connection: u64, number: u32) -> SubscriptionKey {
        SubscriptionKey { connection, number }
    }

    #[test]
    fn only_the_one_that_was_asked_answers_and_only_once() {
        let mut requests = Requests::default();
        let token = requests.enter(7, caller(1, 7), key(2, 1), "waits");
        assert_eq!(requests.answered(token, key(3, 1)), None, "another session");
        assert_eq!(requests.answered(token, key(2, 2)), None, "another subscription of the same");
        assert_eq!(requests.answered(token + 1, key(2, 1)), None, "a token that is not there");
        assert_eq!(requests.answered(token, key(2, 1)), Some("waits"));
        assert_eq!(requests.answered(token, key(2, 1)), None);
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn an_answer_from_before_a_restart_reaches_nobody() {
        let (mut before, mut after) = (Requests::default(), Requests::default());
        let old = before.enter(u64::MAX, caller(1, 7), key(2, 1), "asked before");
        after.enter(12_345, caller(1, 7), key(2, 1), "asked after");
        assert_eq!(after.answered(old, key(2, 1)), None, "the same responder, and a request of another");
    }

    #[test]
    fn whoever_leaves_takes_its_requests_out_of_every_table() {
        let mut requests = Requests::default();
        let tokens: Vec<_> = [(1, 1, 5), (1, 2, 6), (2, 1, 5)]
            .map(|(c, call, r)| requests.enter(7, caller(c, call), key(9, r), (c, call)))
            .into();
        assert_eq!(requests.responder_left(key(9, 5)), [(1, 1), (2, 1)]);
        assert_eq!(requests.responder_left(key(9, 5)), []);
        assert_eq!((requests.count_of(1), requests.count_of(2)), (1, 0));
        requests.requester_left(1);
        assert_eq!(requests.answered(tokens[1], key(9, 6)), None);
        let token = requests.enter(7, caller(1, 3), key(9, 6), (1, 3));
        assert_eq!(requests.cancel(caller(1, 3)), Some((1, 3)));
        assert_eq!(requests.lost(token), None);
        assert!(requests.by_caller.is_empty() && requests.by_responder.is_empty() && requests.asked.is_empty());
    }
}
