//! Where time comes from.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::table::Now;

/// Where time comes from.
pub(crate) trait Clock: Send + Sync + Debug {
    /// Now, by both clocks.
    fn now(&self) -> Now;
    /// The steady one alone, in nanoseconds since a fixed moment.
    fn steady(&self) -> u64;
}

/// The clocks of this machine; in a runtime whose time stands still, that one's for the steady one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl SystemClock {
    /// The moment when the steady clock shows this.
    pub(crate) fn instant(&self, steady: u64) -> Instant {
        self.0 + Duration::from_nanos(steady)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { wall: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), steady: self.steady() }
    }

    fn steady(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
