//! How fast handshakes begin. Rules without IO or clock.
//!
//! A handshake costs its server about half a millisecond of the processor (a signature, a key agreement and its packets),
//! on the thread that also carries those who are let in. So strangers begin one after the other, in a pace that leaves
//! time for everybody else: two buckets fill with time, and who begins takes from them.
//!
//! Whoever has proven its address waits for its turn. Who has not is asked for the proof instead (Retry, RFC 9000, section
//! 8.1.2), which costs a fiftieth, keeps nothing, and costs an honest newcomer one round trip; only a few begin without.
//! So those who cannot or will not answer, however many, cost little and take nothing from those who do.

use std::time::{Duration, Instant};

/// Handshakes that may begin at once after a pause: four milliseconds of the processor.
pub(crate) const HANDSHAKES_AT_ONCE_MAX: u32 = 8;

/// Those among them, and among all that begin, whose client has not proven its address: this part.
const UNPROVEN_PART: u32 = 10;

/// Of those who may begin at once, so many without a proof.
const UNPROVEN_AT_ONCE_MAX: u32 = 4;

/// What is to be done with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its handshake begins.
    Now,
    /// It is to prove its address, and come again with the proof.
    Prove,
    /// Its turn comes at this time; nobody overtakes it.
    At(Instant),
}

/// Who begins when, at one listener.
#[derive(Debug)]
pub(crate) struct Pace {
    all: Bucket,
    unproven: Bucket,
}

impl Pace {
    /// So many handshakes in a second, and at least one.
    pub(crate) fn new(per_second_max: usize, now: Instant) -> Self {
        let between = Duration::from_secs(1) / u32::try_from(per_second_max).unwrap_or(u32::MAX).max(1);
        Self {
            all: Bucket::new(between, HANDSHAKES_AT_ONCE_MAX, now),
            unproven: Bucket::new(between * UNPROVEN_PART, UNPROVEN_AT_ONCE_MAX, now),
        }
    }

    /// The turn of the client that comes next; [`Turn::Now`] is counted.
    pub(crate) fn turn(&mut self, has_proof: bool, now: Instant) -> Turn {
        match (has_proof, self.all.next(now)) {
            (true, at) if at > now => Turn::At(at),
            (false, at) if at > now || self.unproven.next(now) > now => Turn::Prove,
            (has_proof, _) => {
                self.all.take(now);
                if !has_proof {
                    self.unproven.take(now);
                }
                Turn::Now
            }
        }
    }
}

/// Fills with time, up to a few.
#[derive(Debug)]
struct Bucket {
    between: Duration,
    /// All that it holds at most, as the time in which it fills.
    depth: Duration,
    /// When it was empty, or would have been.
    empty_at: Instant,
}

impl Bucket {
    /// Full.
    fn new(between: Duration, most: u32, now: Instant) -> Self {
        let depth = between * most;
        Self { between, depth, empty_at: now.checked_sub(depth).unwrap_or(now) }
    }

    /// When there is one to take: not after `now` if there is one already.
    fn next(&self, now: Instant) -> Instant {
        self.filled_since(now) + self.between
    }

    fn take(&mut self, now: Instant) {
        self.empty_at = self.filled_since(now) + self.between;
    }

    /// It overflows.
    fn filled_since(&self, now: Instant) -> Instant {
        now.checked_sub(self.depth).map_or(self.empty_at, |full| self.empty_at.max(full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A clock that can be looked back from.
    fn start() -> Instant {
        Instant::now() + 1_000 * SECOND
    }

    #[test]
    fn a_few_begin_at_once_and_the_rest_in_their_turn() {
        let now = start();
        let mut pace = Pace::new(10, now);
        for _ in 0..HANDSHAKES_AT_ONCE_MAX {
            assert_eq!(pace.turn(true, now), Turn::Now);
        }
        let next = now + SECOND / 10;
        assert_eq!(pace.turn(true, now), Turn::At(next));
        assert_eq!(pace.turn(true, next - SECOND / 1_000), Turn::At(next), "who asks again loses nothing");
        assert_eq!(pace.turn(true, next), Turn::Now);
        assert_eq!(pace.turn(true, next), Turn::At(next + SECOND / 10));
    }

    #[test]
    fn in_a_long_time_no_more_than_the_pace_begin() {
        let (mut now, mut begun) = (start(), 0);
        let mut pace = Pace::new(100, now);
        let end = now + 10 * SECOND;
        while now < end {
            begun += u32::from(pace.turn(true, now) == Turn::Now);
            now += SECOND / 1_700;
        }
        assert!((1_000..=1_000 + HANDSHAKES_AT_ONCE_MAX).contains(&begun), "{begun}");
    }

    #[test]
    fn a_long_pause_saves_up_no_more_than_a_few() {
        let now = start();
        let mut pace = Pace::new(1_000, now);
        let later = now + 3_600 * SECOND;
        let begun = (0..100).filter(|_| pace.turn(true, later) == Turn::Now).count();
        assert_eq!(begun as u32, HANDSHAKES_AT_ONCE_MAX);
    }

    #[test]
    fn who_proves_nothing_is_asked_to_and_takes_no_turn_from_those_who_do() {
        let now = start();
        let mut pace = Pace::new(1_000, now);
        let without = (0..10_000).filter(|_| pace.turn(false, now) == Turn::Now).count();
        assert_eq!(without as u32, UNPROVEN_AT_ONCE_MAX);
        let with = (0..10_000).filter(|_| pace.turn(true, now) == Turn::Now).count();
        assert_eq!(with as u32, HANDSHAKES_AT_ONCE_MAX - UNPROVEN_AT_ONCE_MAX);
        assert_eq!(pace.turn(false, now), Turn::Prove);
        let (mut at, mut without) = (now, 0);
        while at < now + SECOND {
            at += SECOND / 2_000;
            without += u32::from(pace.turn(false, at) == Turn::Now);
        }
        assert!((99..=101).contains(&without), "a tenth of a thousand: {without}");
    }

    #[test]
    fn any_limit_will_do() {
        let now = Instant::now();
        for limit in [0, 1, usize::MAX] {
            assert_eq!(Pace::new(limit, now).turn(true, now + SECOND), Turn::Now, "{limit}");
        }
    }
}
