//! When items are due that are played again at their own speed, or a multiple of it. No clock in here.

use std::time::Duration;

use crate::{Error, Result};

/// The longest gap between two items that is waited for as it was. A day without an event is no use to wait for.
pub const PACE_GAP_MAX: Duration = Duration::from_secs(60 * 60);

/// How fast items are played again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

impl Speed {
    /// As they were.
    pub const ORIGINAL: Self = Self(1.0);

    /// `factor` times as fast.
    ///
    /// # Errors
    /// `Outside` for a factor that is not between a thousandth and a million.
    pub fn new(factor: f64) -> Result<Self> {
        if (0.001..=1e6).contains(&factor) {
            return Ok(Self(factor));
        }
        let what = format!("cannot play at speed {factor}");
        Err(Error::Outside { what, why: "write a factor from 0.001 to 1000000".into(), retryable: false })
    }
}

/// Remembers when what was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    speed: Speed,
    /// The item before: its own time, and when it was due, counted from the beginning.
    before: Option<(u64, Duration)>,
}

impl Pace {
    pub(crate) fn new(speed: Speed) -> Self {
        Self { speed, before: None }
    }

    /// How long after the first item, which was given at time zero, this one is due; `elapsed` is the time now. One without
    /// a time, or with an earlier one than that before, is due at once. Who has fallen behind does not catch up.
    pub(crate) fn due(&mut self, timestamp: Option<u64>, elapsed: Duration) -> Duration {
        let Some(timestamp) = timestamp else { return elapsed };
        let due = match self.before {
            None => elapsed,
            Some((before, due)) => {
                let gap = Duration::from_nanos(timestamp.saturating_sub(before)).div_f64(self.speed.0);
                due + gap.min(PACE_GAP_MAX)
            }
        };
        // A hiccup is made up for; beyond a second the pace begins anew.
        let due = if elapsed.saturating_sub(due) > Duration::from_secs(1) { elapsed } else { due };
        self.before = Some((timestamp.max(self.before.map_or(0, |(before, _)| before)), due));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn check(speed: f64, items: &[(u64, u64, u64)]) {
        let mut pace = Pace::new(Speed::new(speed).unwrap());
        for (timestamp, elapsed, due) in items {
            let found = pace.due(Some(timestamp * MS), Duration::from_millis(*elapsed));
            assert_eq!(found, Duration::from_millis(*due), "{timestamp} at {elapsed}");
        }
    }

    #[test]
    fn gaps_are_kept_and_scaled() {
        check(1.0, &[(5_000, 0, 0), (5_100, 0, 100), (5_100, 100, 100), (5_400, 100, 400)]);
        check(2.0, &[(5_000, 0, 0), (5_100, 0, 50), (5_400, 50, 200)]);
        check(0.5, &[(5_000, 0, 0), (5_100, 0, 200)]);
    }

    #[test]
    fn a_hiccup_is_made_up_for_and_a_long_stop_is_not() {
        check(1.0, &[(0, 0, 0), (100, 500, 100), (200, 500, 200), (600, 500, 600)]);
        check(1.0, &[(0, 0, 0), (100, 9_000, 9_000), (200, 9_000, 9_100)]);
    }

    #[test]
    fn odd_times_do_not_hold_it_up() {
        check(1.0, &[(1_000, 0, 0), (500, 10, 10 - 10), (1_100, 10, 100)]);
        let hour = PACE_GAP_MAX.as_millis() as u64;
        check(1.0, &[(0, 0, 0), (hour * 24, 0, hour)]);
        let mut pace = Pace::new(Speed::ORIGINAL);
        assert_eq!(pace.due(None, Duration::from_secs(7)), Duration::from_secs(7));
        assert!(Speed::new(0.0).is_err() && Speed::new(f64::NAN).is_err() && Speed::new(1e7).is_err());
    }
}
