//! How much this client may publish ahead of what the server has taken in.
//!
//! The server tells what it has taken in of this connection's publishes, and how large the window is. It stops telling
//! where a slow subscription holds its publishers back.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The window before the server has said anything, in bytes. It does at the first publish.
const WINDOW_FIRST: u64 = 1 << 20;

/// Publish credit of a session.
#[derive(Debug)]
pub(crate) struct Throttle {
    sent: AtomicU64,
    /// `sent` may grow up to here.
    limit: AtomicU64,
    window: AtomicU64,
    changed: Notify,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            limit: AtomicU64::new(WINDOW_FIRST),
            window: AtomicU64::new(WINDOW_FIRST),
            changed: Notify::new(),
        }
    }
}

impl Throttle {
    /// Whether a record of this size may go. One that is larger than what is left may when three quarters of the window
    /// are free: the server tells by quarters.
    #[inline]
    pub(crate) fn allows(&self, bytes: usize) -> bool {
        let left = self.limit.load(Ordering::Relaxed).saturating_sub(self.sent.load(Ordering::Relaxed));
        let window = self.window.load(Ordering::Relaxed);
        bytes as u64 <= left || left >= window - window / 4
    }

    /// So many bytes go.
    #[inline]
    pub(crate) fn spend(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The server has taken in so much of this connection's publishes.
    pub(crate) fn credit(&self, taken: u64, window: u64) {
        self.window.store(window, Ordering::Relaxed);
        self.limit.store(taken.saturating_add(window), Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Another connection: counting begins anew. What still waits to be sent is not counted, so that for once a little
    /// more may be on its way.
    pub(crate) fn reset(&self) {
        self.sent.store(0, Ordering::Relaxed);
        self.limit.store(WINDOW_FIRST, Ordering::Relaxed);
        self.window.store(WINDOW_FIRST, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits until a record of this size may go. Cancel-safe.
    pub(crate) async fn room(&self, bytes: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.allows(bytes) {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_spent_and_comes_back_with_what_the_server_took() {
        let throttle = Throttle::default();
        throttle.credit(0, 100);
        throttle.spend(60);
        assert!(throttle.allows(40) && !throttle.allows(41));
        throttle.credit(35, 100);
        assert!(throttle.allows(75) && throttle.allows(1_000), "three quarters are free");
        throttle.spend(1_000);
        assert!(!throttle.allows(1));
        throttle.credit(1_060, 100);
        assert!(throttle.allows(100));
        throttle.spend(1_060);
        throttle.reset();
        assert!(throttle.allows(WINDOW_FIRST as usize));
    }
}
