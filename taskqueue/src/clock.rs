//! A queue's time.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::Moment;

/// What the wall clock showed when the queue was opened, carried on by the steady clock; in a runtime whose time stands still,
/// by that one's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Moment,
    since: Instant,
}

impl Clock {
    /// From now on, and never before `earliest`: the newest moment that is stored.
    pub(crate) fn start(earliest: Moment) -> Self {
        Self::start_at(wall(), earliest)
    }

    /// The same where the wall clock shows `wall`.
    pub(crate) fn start_at(wall: Moment, earliest: Moment) -> Self {
        Self { base: wall.max(earliest), since: Instant::now() }
    }

    /// At a moment of one's own.
    #[cfg(test)]
    pub(crate) fn at(base: Moment, since: Instant) -> Self {
        Self { base, since }
    }

    pub(crate) fn now(&self) -> Moment {
        self.base + self.since.elapsed()
    }

    /// When that is by the steady clock.
    pub(crate) fn instant(&self, at: Moment) -> Instant {
        let span = at.since(self.base);
        self.since.checked_add(span).unwrap_or_else(|| self.since + std::time::Duration::from_secs(86_400 * 365))
    }
}

/// What the wall clock shows.
pub(crate) fn wall() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
