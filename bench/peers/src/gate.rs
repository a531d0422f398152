//! The cap of outstanding messages, the same for every system: what was published and not yet heard by the slowest
//! subscriber. Also what the subscribers counted, since both are one thing.
//!
//! Invariant: a subscriber shows its count at the latest every [`Gate::step`] messages, and the publisher waits for at
//! most half of the cap to be heard, so that no wake-up is missed while anything is on its way.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Messages that may be outstanding.
const CAP_MESSAGES: u64 = 8192;
/// Bytes that may be outstanding, where that is fewer messages.
const CAP_BYTES: u64 = 8 << 20;
/// Nobody waits.
const NOBODY: u64 = u64::MAX;

/// One subscriber's count on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

/// Between one publisher and its subscribers.
#[derive(Debug)]
pub(crate) struct Gate {
    cap: u64,
    counts: Vec<Count>,
    awaited: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// Messages of `size` bytes that may be outstanding.
pub(crate) fn cap(size: usize) -> u64 {
    (CAP_BYTES / size.max(1) as u64).clamp(1, CAP_MESSAGES)
}

impl Gate {
    /// For messages of `size` bytes and so many subscribers.
    pub(crate) fn new(size: usize, subscribers: usize) -> Self {
        let counts = (0..subscribers).map(|_| Count::default()).collect();
        Self { cap: cap(size), counts, awaited: AtomicU64::new(NOBODY), waker: Mutex::default() }
    }

    /// How many messages a subscriber may count by itself before it shows them.
    pub(crate) fn step(&self) -> u64 {
        (self.cap / 256).max(1)
    }

    /// How many may be outstanding.
    pub(crate) fn cap(&self) -> u64 {
        self.cap
    }

    /// A subscriber shows its count.
    pub(crate) fn heard(&self, subscriber: usize, count: u64) {
        // Sequentially consistent, as in `wait`: one of the two sees what the other did.
        self.counts[subscriber].0.store(count, Ordering::SeqCst);
        if count >= self.awaited.load(Ordering::SeqCst) && self.floor() >= self.awaited.load(Ordering::SeqCst) {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// What the slowest subscriber has heard.
    pub(crate) fn floor(&self) -> u64 {
        self.counts.iter().map(|count| count.0.load(Ordering::SeqCst)).min().unwrap_or(0)
    }

    /// What all have heard together.
    pub(crate) fn delivered(&self) -> u64 {
        self.counts.iter().map(|count| count.0.load(Ordering::Relaxed)).sum()
    }

    /// The publisher, having published so many, waits until half of the cap is free; gives the new floor.
    pub(crate) async fn wait(&self, published: u64) -> u64 {
        let wanted = published.saturating_sub(self.cap / 2);
        poll_fn(|cx| {
            *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            self.awaited.store(wanted, Ordering::SeqCst);
            let floor = self.floor();
            if floor < wanted {
                return Poll::Pending;
            }
            self.awaited.store(NOBODY, Ordering::SeqCst);
            Poll::Ready(floor)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::{Gate, cap};

    #[test]
    fn the_cap_is_in_messages_or_bytes() {
        assert_eq!([16, 1024, 1025, 16 * 1024, 1 << 20, 64 << 20].map(cap), [8192, 8192, 8184, 512, 8, 1]);
    }

    #[test]
    fn the_publisher_waits_for_the_slowest() {
        let gate = Gate::new(1 << 20, 2);
        gate.heard(0, 8);
        gate.heard(1, 3);
        let waiting = &mut std::pin::pin!(gate.wait(8));
        let mut poll = || waiting.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(poll().is_pending());
        gate.heard(1, 4);
        assert_eq!(poll(), std::task::Poll::Ready(4));
        assert_eq!((gate.floor(), gate.delivered()), (4, 12));
    }

    #[test]
    fn the_one_that_makes_room_wakes_the_publisher() {
        let gate = std::sync::Arc::new(Gate::new(16, 1));
        let subscriber = gate.clone();
        let heard = std::thread::spawn(move || (1..=4096).for_each(|count| subscriber.heard(0, count)));
        assert_eq!(futures::executor::block_on(gate.wait(8192)), 4096);
        heard.join().unwrap();
    }
}
