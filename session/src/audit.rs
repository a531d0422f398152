//! The audit log: who came, who was refused, what was denied, as `tracing` events with target `sinew::audit` (connects:
//! `sinew::audit::connect`). Bounded, since peers decide how often they are denied: what is not said is counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines about denials and refused peers that a server writes in one [`SERVER_PERIOD`] at most.
const SERVER_LINES_MAX: u32 = 20;
const SERVER_PERIOD: Duration = Duration::from_secs(1);
/// Lines about the denials of one connection in one [`LINK_PERIOD`] at most. They name the first; the rest are a count.
const LINK_LINES_MAX: u32 = 2;
const LINK_PERIOD: Duration = Duration::from_secs(10);

/// Lets so many lines through in each period, and counts the others.
#[derive(Debug)]
pub(crate) struct Gate {
    lines_max: u32,
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Gate {
    /// For a server.
    pub(crate) fn of_server() -> Self {
        Self { lines_max: SERVER_LINES_MAX, period: SERVER_PERIOD, state: Mutex::default() }
    }

    /// For a connection.
    pub(crate) fn of_link() -> Self {
        Self { lines_max: LINK_LINES_MAX, period: LINK_PERIOD, state: Mutex::default() }
    }

    /// Whether a line may be written now; if so, how many were not since the last one.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state();
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= self.period) {
            (state.since, state.said) = (Some(now), 0);
        }
        if state.said < self.lines_max {
            state.said += 1;
            return Some(std::mem::take(&mut state.unsaid));
        }
        state.unsaid += 1;
        None
    }

    /// A line that was let through, and what it was to tell, could not be written after all.
    pub(crate) fn owe(&self, unsaid: u64) {
        self.state().unsaid += unsaid;
    }

    /// How many were not said, if nothing has been said for a period; they are then as good as said.
    pub(crate) fn quiet(&self, now: Instant) -> Option<u64> {
        let mut state = self.state();
        let over = state.since.is_some_and(|since| now.saturating_duration_since(since) >= self.period);
        (over && state.unsaid > 0).then(|| std::mem::take(&mut state.unsaid))
    }

    /// How many were not said, at the end.
    pub(crate) fn rest(&self) -> u64 {
        std::mem::take(&mut self.state().unsaid)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let (gate, start) = (Gate::of_link(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let passed: Vec<_> = (0..1_000).filter_map(|i| gate.pass(at(i))).collect();
        assert_eq!(passed, [0, 0]);
        assert_eq!(gate.quiet(at(9_999)), None);
        assert_eq!(gate.pass(at(10_000)), Some(998));
        assert_eq!((gate.pass(at(10_001)), gate.pass(at(10_002))), (Some(0), None));
        assert_eq!((gate.quiet(at(20_000)), gate.quiet(at(20_001)), gate.rest()), (Some(1), None, 0));
    }
}
