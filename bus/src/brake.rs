//! Publish credit of one session: how much of what it published was taken in, and whether it is held back.
//!
//! The server tells what it has taken in, and a client publishes at most a window beyond that. Where a subscription
//! holds its publishers back, the server stops telling: so what is on its way is bounded, and nothing else waits, since
//! everything is still read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sinew_session::{Header, Lane, Link};

use crate::protocol::{SERVICE, credit_head, verb};

/// The credit of one publishing session.
#[derive(Debug)]
pub(crate) struct Brake {
    window: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` while the connection is cut.
    link: Option<Arc<Link>>,
    /// Publish bytes taken in on this connection.
    taken: u64,
    /// What the client was told of them; `None` before it was told anything.
    told: Option<u64>,
    /// Subscriptions that hold it back.
    holds: usize,
}

impl Brake {
    /// The credit of a new connection.
    pub(crate) fn new(link: &Arc<Link>, window: usize) -> Self {
        let state = State { link: Some(link.clone()), taken: 0, told: None, holds: 0 };
        Self { window: window as u64, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be on its way from the publisher.
    pub(crate) fn window(&self) -> usize {
        self.window as usize
    }

    /// So many bytes of publishes were taken in. The client is told at the first ones, and then by quarters of the
    /// window.
    pub(crate) fn take(&self, bytes: usize) {
        let mut state = self.lock();
        state.taken += bytes as u64;
        if state.holds == 0 && state.told.is_none_or(|told| state.taken - told >= self.window / 4) {
            state.tell(self.window);
        }
    }

    /// A subscription holds the publisher back.
    pub(crate) fn hold(&self) {
        self.lock().holds += 1;
    }

    /// And lets it go on.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.holds -= 1;
        if state.holds == 0 {
            state.tell(self.window);
        }
    }

    /// The connection is gone.
    pub(crate) fn suspend(&self) {
        self.lock().link = None;
    }

    /// Another connection carries the session: counting begins anew.
    pub(crate) fn resume(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        (state.link, state.taken, state.told) = (Some(link.clone()), 0, None);
    }
}

impl State {
    fn tell(&mut self, window: u64) {
        self.told = Some(self.taken);
        if let Some(link) = &self.link {
            let header = Header { service: SERVICE, verb: verb::CREDIT, flags: 0, call: 0 };
            link.pack().push(Lane::CONTROL, header, &[&credit_head(self.taken, window)], &Bytes::new());
        }
    }
}
