//! What the handles of a client's session and its driver share.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew_transport_api::{Endpoint, Lane};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};

use crate::calls::Calls;
use crate::carry::now;
use crate::hello::verb;
use crate::options::SessionOptions;
use crate::outbox::{Outbox, Position};
use crate::record::{Header, SESSION};
use crate::request::Waiter;
use crate::service::Consumer;
use crate::{Error, Result};

/// How long what is asked for waits for the caller's runtime to turn, if more is asked for from the same thread: it is done
/// with what it polls within microseconds, or somebody holds it up.
const TURN_MAX: Duration = Duration::from_millis(1);

/// The most services a session can carry.
pub(crate) const SERVICES_MAX: usize = 16;

/// Whether the session is connected.
#[derive(Clone, Debug)]
pub enum State {
    /// Work is being sent.
    Connected,
    /// The connection was cut; work is buffered while the session tries again.
    Reconnecting,
    /// It is over.
    Ended(Error),
}

/// One-way records that did not make it, since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Surely lost in a cut: the server lived on and has counted.
    pub lost: u64,
    /// Sent before the server restarted, and not known to have arrived: at most so many are lost.
    pub unknown: u64,
}

/// What the handles and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: SessionOptions,
    pub(crate) outbox: Outbox,
    pub(crate) data_lanes: u8,
    pub(crate) calls: Mutex<Calls<Waiter>>,
    pub(crate) deadlines: Notify,
    pub(crate) consumers: [OnceLock<Arc<dyn Consumer>>; SERVICES_MAX],
    pub(crate) state: watch::Sender<State>,
    pub(crate) losses: Mutex<(Losses, Losses)>,
    /// What both ends take.
    pub(crate) record_bytes_max: AtomicUsize,
    /// Of the server that we are connected to, or were last.
    pub(crate) epoch: AtomicU64,
    pub(crate) closing: watch::Sender<bool>,
    /// Flushes at one time, well below what the server keeps.
    pub(crate) flushes: Semaphore,
    /// Where it runs.
    pub(crate) runtime: Handle,
    /// The thread that wakes the writer once its runtime has turned, and since when.
    pub(crate) turning: Mutex<Option<(ThreadId, Instant)>>,
}

impl Shared {
    pub(crate) fn calls(&self) -> MutexGuard<'_, Calls<Waiter>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn losses(&self) -> MutexGuard<'_, (Losses, Losses)> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn consumer(&self, code: u8) -> Option<&Arc<dyn Consumer>> {
        self.consumers.get(usize::from(code))?.get()
    }

    pub(crate) fn consumers(&self) -> impl Iterator<Item = &Arc<dyn Consumer>> {
        self.consumers.iter().filter_map(OnceLock::get)
    }

    /// Packs a goodbye behind everything, on all lanes, and lets nothing more in. The driver ends once it is sent.
    pub(crate) fn say_goodbye(&self) {
        let header = Header { service: SESSION, verb: verb::GOODBYE, flags: 0, call: 0 };
        self.outbox.pack().push_on_all(header, &Bytes::copy_from_slice(&[self.data_lanes + 1]));
        self.outbox.close();
        self.closing.send_replace(true);
    }

    /// Tells the server that nobody waits for this call any more, behind its request: on the same lane.
    pub(crate) fn cancel(&self, number: u32, position: Option<Position>) {
        let header = Header { service: SESSION, verb: verb::CANCEL, flags: 0, call: number };
        let lane = position.map_or(Lane::CONTROL, Position::lane);
        self.outbox.pack().push(lane, header, &[], &Bytes::new());
    }

    /// Enters a call and packs its request, so that a cut cannot fall in between. Gives the waiter back where it cannot.
    pub(crate) fn begin(
        &self,
        number: u32,
        deadline: Duration,
        waiter: Waiter,
        pack: impl FnOnce(&Outbox) -> Position,
    ) -> std::result::Result<(), (Error, Waiter)> {
        let mut calls = self.calls();
        let deadline = after(now_or_std(), deadline);
        let first = calls.next_deadline().is_none_or(|next| deadline < next);
        if let Err(waiter) = calls.enter(number, deadline, waiter) {
            return Err((Error::Calls { max: self.options.limits.calls_max }, waiter));
        }
        let position = pack(&self.outbox);
        // Whoever ends the session closes the outbox first and then settles the calls there are, under this lock.
        if position == Position::nowhere()
            && let Some(taken) = calls.take(number)
        {
            return Err((self.end(), taken.waiter));
        }
        calls.packed(number, position);
        drop(calls);
        if first {
            self.deadlines.notify_one();
        }
        Ok(())
    }

    /// Wakes the writer once the runtime that this is called from has polled what it polls now: what the caller asks for
    /// until then travels in one block, and the other end wakes once for it. At once where there is no runtime.
    pub(crate) fn wake_in_turn(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return self.outbox.wake() };
        let (here, now) = (thread::current().id(), now());
        let mut turning = self.turning();
        match *turning {
            None => {
                *turning = Some((here, now));
                drop(turning);
                let turn = Turn(self.clone());
                runtime.spawn(async move { drop(turn) });
            }
            Some((thread, since)) if thread == here && now.saturating_duration_since(since) < TURN_MAX => {}
            // It may be held up there, or that was another runtime, which nobody drives any more.
            Some(_) => {
                drop(turning);
                self.outbox.wake();
            }
        }
    }

    fn turning(&self) -> MutexGuard<'_, Option<(ThreadId, Instant)>> {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing can be sent any more.
    pub(crate) fn end(&self) -> Error {
        match &*self.state.borrow() {
            State::Ended(error) => error.clone(),
            State::Connected | State::Reconnecting => Error::Closed,
        }
    }

    pub(crate) fn number(&self) -> Result<u32> {
        self.calls().number().ok_or(Error::Calls { max: u32::MAX as usize })
    }
}

/// Wakes the writer when it is dropped, also by a runtime that ends.
struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.turning() = None;
        self.0.outbox.wake();
    }
}

/// The runtime's clock where there is one (so that tests can turn it), else the system's: callers need no runtime.
pub(crate) fn now_or_std() -> std::time::Instant {
    if tokio::runtime::Handle::try_current().is_ok() { now() } else { std::time::Instant::now() }
}

/// The longest wait there is: what is longer never ends for anybody, and must not overflow the clock.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The time of a deadline, whatever the caller asks for.
pub(crate) fn after(now: std::time::Instant, wait: Duration) -> std::time::Instant {
    now + wait.min(WAIT_MAX)
}
