//! Between those who come in and `accept`: connections that wait to be taken, and reports of peers that were refused.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use sinew_transport_api::{Connection, Error, Result};

use crate::link::lock;

/// Reports that wait at most; what comes on top is not told. Strangers must not fill our memory.
const REPORTS_MAX: usize = 64;

/// The queue before `accept`. Connections are bounded by the listener's `connections_max`.
#[derive(Default)]
pub(crate) struct Porch {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Result<Connection>>,
    reports: usize,
    closed: bool,
    acceptor: Option<Waker>,
}

impl Porch {
    /// Tells of a peer that did not get in.
    pub(crate) fn report(&self, error: Error) {
        let mut state = lock(&self.state);
        if state.reports < REPORTS_MAX && !state.closed {
            state.reports += 1;
            state.put(Err(error));
        }
    }

    /// Offers a connection; it is dropped when the listener is closed.
    pub(crate) fn offer(&self, connection: Connection) {
        let mut state = lock(&self.state);
        if !state.closed {
            state.put(Ok(connection));
        }
    }

    /// The next of either.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<Connection>> {
        let mut state = lock(&self.state);
        match state.waiting.pop_front() {
            Some(found) => {
                state.reports = state.reports.saturating_sub(usize::from(found.is_err()));
                Poll::Ready(found)
            }
            None if state.closed => Poll::Ready(Err(Error::Closed)),
            None => {
                state.acceptor = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Takes nobody any more; those who waited are dropped.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let acceptor = state.acceptor.take();
        drop(state);
        drop(waiting);
        acceptor.into_iter().for_each(Waker::wake);
    }

    /// Ends it with an error that the acceptor is told once.
    pub(crate) fn fail(&self, error: Error) {
        self.close();
        lock(&self.state).waiting.push_back(Err(error));
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}

impl State {
    fn put(&mut self, item: Result<Connection>) {
        self.waiting.push_back(item);
        self.acceptor.take().into_iter().for_each(Waker::wake);
    }
}
