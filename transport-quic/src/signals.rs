//! Who is woken by what arrives: a waker for each lane that marks the lane and wakes the receiver.
//!
//! **Invariant:** quinn wakes while it holds its connection's lock. So nothing in here takes a lock under which quinn is
//! called.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Marks and waiting tasks of one connection.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    readable: AtomicU32,
    receiver: Mutex<Option<Waker>>,
    pump: Mutex<Option<Waker>>,
    pump_listens: AtomicBool,
}

impl Signals {
    /// Lanes that may have something since the last call, as bits.
    pub(crate) fn take_readable(&self) -> u32 {
        self.readable.swap(0, Ordering::AcqRel)
    }

    /// The task to wake when something arrives. Register first, then look.
    pub(crate) fn receiver_waits(&self, waker: &Waker) {
        store(&self.receiver, waker);
    }

    /// The connection's own task. It is woken by lanes only after [`listen`](Self::listen).
    pub(crate) fn pump_waits(&self, waker: &Waker) {
        store(&self.pump, waker);
    }

    /// From now on the connection's own task is woken by lanes too.
    pub(crate) fn listen(&self) {
        self.pump_listens.store(true, Ordering::Release);
    }

    pub(crate) fn wake_receiver(&self) {
        take(&self.receiver);
    }

    pub(crate) fn wake_pump(&self) {
        let waker = self.pump.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Marks a lane and wakes who waits for it.
    pub(crate) fn mark(&self, lane: u8) {
        self.readable.fetch_or(1 << lane, Ordering::AcqRel);
        self.wake_receiver();
        if self.pump_listens.load(Ordering::Acquire) {
            self.wake_pump();
        }
    }

    /// A waker for quinn that marks `lane`.
    pub(crate) fn lane_waker(self: &Arc<Self>, lane: u8) -> Waker {
        Arc::new(LaneSignal { signals: Arc::clone(self), lane }).into()
    }
}

fn store(slot: &Mutex<Option<Waker>>, waker: &Waker) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if !slot.as_ref().is_some_and(|stored| stored.will_wake(waker)) {
        *slot = Some(waker.clone());
    }
}

fn take(slot: &Mutex<Option<Waker>>) {
    let waker = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    waker.into_iter().for_each(Waker::wake);
}

struct LaneSignal {
    signals: Arc<Signals>,
    lane: u8,
}

impl Wake for LaneSignal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signals.mark(self.lane);
    }
}
