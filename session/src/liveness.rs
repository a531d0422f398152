//! When to say "I am here" and when to give the other end up. No clock: the time comes in.

use std::time::{Duration, Instant};

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing until then.
    Wait(Instant),
    /// Send a heartbeat.
    Beat,
    /// The peer has been silent for too long.
    Lost,
}

/// The two times of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Liveness {
    heartbeat: Duration,
    lost_after: Duration,
    sent: Instant,
    received: Instant,
}

impl Liveness {
    pub(crate) fn new(heartbeat: Duration, lost_after: Duration, now: Instant) -> Self {
        Self { heartbeat, lost_after, sent: now, received: now }
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// When the peer is lost, if nothing comes until then.
    pub(crate) fn lost(&self) -> Instant {
        self.received + self.lost_after
    }

    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.sent = now;
    }

    pub(crate) fn on_received(&mut self, now: Instant) {
        self.received = now;
    }

    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let (lost, beat) = (self.lost(), self.sent + self.heartbeat);
        if now >= lost {
            Verdict::Lost
        } else if now >= beat {
            Verdict::Beat
        } else {
            Verdict::Wait(lost.min(beat))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_when_idle_and_gives_up_when_nothing_comes() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut live = Liveness::new(Duration::from_secs(1), Duration::from_secs(5), start);
        assert_eq!(live.verdict(at(0)), Verdict::Wait(at(1_000)));
        assert_eq!(live.verdict(at(1_000)), Verdict::Beat);
        live.on_sent(at(4_500));
        assert_eq!(live.verdict(at(4_600)), Verdict::Wait(at(5_000)));
        assert_eq!(live.verdict(at(5_000)), Verdict::Lost);
        live.on_received(at(5_000));
        assert_eq!(live.verdict(at(5_100)), Verdict::Wait(at(5_500)));
    }
}
