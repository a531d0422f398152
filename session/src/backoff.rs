//! How long to wait before the next attempt to connect: doubling, with jitter, bounded. No clock, no random source.

use std::time::Duration;

/// First wait, largest wait. Each is twice the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait, before jitter. Default 50 ms: a restarted server is back in about that.
    pub first: Duration,
    /// The longest wait, before jitter. Default 5 s.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), max: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// The wait before attempt `attempt` (from 0), between half and all of the doubled time; `random` decides where.
    pub fn wait(&self, attempt: u32, random: u32) -> Duration {
        let full = self.first.saturating_mul(1 << attempt.min(16)).min(self.max);
        full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_bound_with_jitter() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(0, u32::MAX), Duration::from_millis(50));
        assert_eq!(backoff.wait(0, 0), Duration::from_millis(25));
        assert_eq!(backoff.wait(3, u32::MAX), Duration::from_millis(400));
        assert_eq!(backoff.wait(40, u32::MAX), Duration::from_secs(5));
        assert_eq!(backoff.wait(u32::MAX, 0), Duration::from_millis(2_500));
    }
}
