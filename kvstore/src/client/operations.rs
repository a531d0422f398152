//! Operation ids: each write has one, so that it can be sent again after a cut and is done once. The server knows those that
//! lie not too far behind the newest, so a new one waits while an old one is not settled.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{OPERATIONS_REMEMBERED_PER_CLIENT, OperationId};

/// Writes of a client that are under way at one time, counted from the oldest: what a server promises to know.
const OPERATIONS_IN_FLIGHT_MAX: u64 = OPERATIONS_REMEMBERED_PER_CLIENT;

/// The writes of a client.
#[derive(Debug)]
pub(crate) struct Operations {
    client: u64,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: BTreeSet<u64>,
}

impl State {
    fn begin(&mut self) -> Option<u64> {
        let next = self.last + 1;
        let oldest = self.open.first().copied().unwrap_or(next);
        if next - oldest >= OPERATIONS_IN_FLIGHT_MAX {
            return None;
        }
        self.last = next;
        self.open.insert(next);
        Some(next)
    }
}

impl Operations {
    pub(crate) fn new(client: u64) -> Self {
        Self { client, state: Mutex::default(), settled: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id for a write; waits while too many are under way. Cancel-safe.
    pub(crate) async fn begin(&self) -> UnderWay<'_> {
        loop {
            let told = self.settled.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let begun = self.lock().begin();
            if let Some(sequence) = begun {
                return UnderWay { operations: self, id: OperationId { client: self.client, sequence } };
            }
            told.await;
        }
    }
}

/// A write that is under way: settled, or given up, when it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    operations: &'a Operations,
    pub(crate) id: OperationId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.operations.lock().open.remove(&self.id.sequence);
        self.operations.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_one_waits_for_the_oldest_and_for_no_other() {
        let operations = Operations::new(7);
        let oldest = operations.begin().await;
        let mut others = Vec::new();
        for _ in 1..OPERATIONS_IN_FLIGHT_MAX {
            others.push(operations.begin().await);
        }
        assert_eq!((oldest.id.client, oldest.id.sequence), (7, 1));
        assert_eq!(operations.lock().begin(), None);
        others.truncate(5);
        assert_eq!(operations.lock().begin(), None, "the oldest is not settled");
        let waiting = operations.begin();
        tokio::pin!(waiting);
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
        drop(oldest);
        assert_eq!(waiting.await.id.sequence, OPERATIONS_IN_FLIGHT_MAX + 1);
    }
}
