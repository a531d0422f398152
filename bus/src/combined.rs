//! Several subscriptions read as one, each with something of its reader's beside it. Order holds within each of them.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{Delivery, Subscription};

/// Taken from one subscription in a row while others may wait: large enough that it is cheap to ask many, small enough
/// that a busy one does not hold up the others.
const IN_A_ROW_MAX: usize = 64;

/// Subscriptions, and where we are with them.
#[derive(Debug)]
pub(crate) struct Combined<T> {
    members: Vec<(Subscription, T)>,
    at: usize,
    in_a_row: usize,
}

/// What comes from one of them.
#[derive(Debug)]
pub(crate) enum Next {
    /// The member at this place has something.
    Delivery(usize, Delivery),
    /// The member at this place has ended.
    Ended(usize),
}

impl<T> Default for Combined<T> {
    fn default() -> Self {
        Self { members: Vec::new(), at: 0, in_a_row: 0 }
    }
}

impl<T> Combined<T> {
    pub(crate) fn push(&mut self, subscription: Subscription, beside: T) {
        self.members.push((subscription, beside));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn member(&mut self, place: usize) -> &mut (Subscription, T) {
        &mut self.members[place]
    }

    pub(crate) fn place_of(&self, pattern: &str) -> Option<usize> {
        self.members.iter().position(|(subscription, _)| subscription.pattern() == pattern)
    }

    pub(crate) fn remove(&mut self, place: usize) -> (Subscription, T) {
        self.members.swap_remove(place)
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&(Subscription, T)) -> bool) {
        self.members.retain(keep);
    }

    pub(crate) fn take_all(&mut self) -> Vec<Subscription> {
        std::mem::take(&mut self.members).into_iter().map(|(subscription, _)| subscription).collect()
    }

    /// The next of any. Stays with one that has more for a while, so that a message costs no walk over all of them.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.in_a_row >= IN_A_ROW_MAX {
            (self.at, self.in_a_row) = (self.at + 1, 0);
        }
        for _ in 0..self.members.len() {
            self.at %= self.members.len();
            match Pin::new(&mut self.members[self.at].0).poll_next(cx) {
                Poll::Ready(Some(delivery)) => {
                    self.in_a_row += 1;
                    return Poll::Ready(Next::Delivery(self.at, delivery));
                }
                Poll::Ready(None) => return Poll::Ready(Next::Ended(self.at)),
                Poll::Pending => (self.at, self.in_a_row) = (self.at + 1, 0),
            }
        }
        Poll::Pending
    }
}
