//! Which segments may go, and whether the clock can be trusted to say how old they are. No IO and no clock.

use std::time::Duration;

use crate::Retention;

/// What retention asks of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    /// The first offset behind it.
    pub(crate) next: u64,
    pub(crate) bytes: u64,
    pub(crate) events: u64,
    /// Log time of its newest event, in nanoseconds since 1970.
    pub(crate) newest: u64,
}

/// How many of the oldest segments may go; the last one, which is written to, never does. `now` is `None` while the
/// clock is not to be trusted: nothing goes for its age then.
///
/// Age: a segment goes when its newest event is older. Bytes and events: the oldest go while there are more.
pub(crate) fn expired(segments: &[SegmentFacts], retention: &Retention, now: Option<u64>) -> usize {
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut events: u64 = segments.iter().map(|segment| segment.events).sum();
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    let goes = |segment: &&SegmentFacts| {
        let age = now.map_or(Duration::ZERO, |now| Duration::from_nanos(now.saturating_sub(segment.newest)));
        let is_old = retention.age_max.is_some_and(|max| age > max);
        let is_too_much = retention.bytes_max.is_some_and(|max| bytes > max);
        let are_too_many = retention.events_max.is_some_and(|max| events > max);
        bytes -= segment.bytes;
        events -= segment.events;
        is_old || is_too_much || are_too_many
    };
    sealed.iter().take_while(goes).count()
}

/// A wall clock that moved by more than this against the steady one was set.
const JUMP_MIN: Duration = Duration::from_secs(60);
/// After a jump nothing goes for its age for so long: time enough to be told, and to set the clock right or retention
/// off.
pub const RETENTION_SUSPENDED: Duration = Duration::from_secs(3_600);

/// Watches the wall clock against one that only goes forward.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    /// What both said last.
    last: Option<(u64, Duration)>,
    /// Until when, by the steady one, ages do not count.
    suspended_until: Option<Duration>,
}

/// What the clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockVerdict {
    /// Ages count.
    Steady,
    /// The wall clock was set by so much (in nanoseconds, negative: back) since the last look; ages do not count.
    Jumped(i128),
    /// It was set not long ago; ages do not count.
    Suspended,
}

impl ClockWatch {
    /// Looks at both clocks: `wall` in nanoseconds since 1970, `steady` since any fixed moment.
    pub(crate) fn look(&mut self, wall: u64, steady: Duration) -> ClockVerdict {
        let before = self.last.replace((wall, steady));
        if let Some((wall_before, steady_before)) = before {
            let passed = i128::from(wall) - i128::from(wall_before);
            let jump = passed - steady.saturating_sub(steady_before).as_nanos() as i128;
            if jump.unsigned_abs() > JUMP_MIN.as_nanos() {
                self.suspended_until = Some(steady + RETENTION_SUSPENDED);
                return ClockVerdict::Jumped(jump);
            }
        }
        match self.suspended_until {
            Some(until) if steady < until => ClockVerdict::Suspended,
            _ => {
                self.suspended_until = None;
                ClockVerdict::Steady
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segments(newest: &[u64]) -> Vec<SegmentFacts> {
        let segment = |(at, newest): (usize, &u64)| SegmentFacts {
            next: (at as u64 + 1) * 10,
            bytes: 100,
            events: 10,
            newest: newest * 1_000_000_000,
        };
        newest.iter().enumerate().map(segment).collect()
    }

    #[track_caller]
    fn check(retention: Retention, now: Option<u64>, count: usize) {
        let segments = segments(&[10, 20, 30, 40]);
        assert_eq!(expired(&segments, &retention, now.map(|now| now * 1_000_000_000)), count);
    }

    #[test]
    fn each_bound_by_itself() {
        let age = |seconds| Retention { age_max: Some(Duration::from_secs(seconds)), ..Retention::default() };
        check(Retention::default(), Some(1_000), 0);
        check(age(15), Some(25), 0);
        check(age(15), Some(26), 1);
        check(age(15), Some(46), 3);
        check(age(15), Some(1_000), 3);
        check(age(15), None, 0);
        check(age(15), Some(5), 0);
        for (bytes, count) in [(400, 0), (399, 1), (300, 1), (299, 2), (0, 3)] {
            check(Retention { bytes_max: Some(bytes), ..Retention::default() }, Some(50), count);
        }
        for (events, count) in [(40, 0), (39, 1), (30, 1), (0, 3)] {
            check(Retention { events_max: Some(events), ..Retention::default() }, None, count);
        }
        assert_eq!(expired(&[], &age(0), Some(1)), 0);
    }

    #[test]
    fn a_clock_that_was_set_suspends_ages_for_an_hour() {
        let (mut watch, hour) = (ClockWatch::default(), 3_600_u64);
        let mut look = |wall: u64, steady| watch.look(wall * 1_000_000_000, Duration::from_secs(steady));
        assert_eq!(look(1_000, 0), ClockVerdict::Steady);
        assert_eq!(look(1_100, 40), ClockVerdict::Steady);
        assert_eq!(look(9_000, 100), ClockVerdict::Jumped(7_840_000_000_000));
        assert_eq!(look(9_010, 110), ClockVerdict::Suspended);
        assert_eq!(look(1_200, 120), ClockVerdict::Jumped(-7_820_000_000_000));
        assert_eq!(look(1_200 + hour - 1, 120 + hour - 1), ClockVerdict::Suspended);
        assert_eq!(look(1_200 + hour, 120 + hour), ClockVerdict::Steady);
    }

    proptest! {
        #[test]
        fn it_agrees_with_removing_one_at_a_time(
            sizes in proptest::collection::vec((1_u64..50, 0_u64..20, 0_u64..10), 1..12),
            bounds in (proptest::option::of(0_u64..40), proptest::option::of(0_u64..300), proptest::option::of(0_u64..100)),
            now in proptest::option::of(0_u64..100),
        ) {
            let (mut next, mut newest) = (0, 0);
            let mut all: Vec<_> = sizes.iter().map(|(bytes, events, later)| {
                (next, newest) = (next + events, newest + later);
                SegmentFacts { next, bytes: *bytes, events: *events, newest }
            }).collect();
            let (age_max, bytes_max, events_max) = bounds;
            let retention = Retention { age_max: age_max.map(Duration::from_nanos), bytes_max, events_max };
            let count = expired(&all, &retention, now);
            let mut removed = 0;
            while all.len() > 1 {
                let is_old = age_max.zip(now).is_some_and(|(max, now)| now > all[0].newest + max);
                let too_much = bytes_max.is_some_and(|max| all.iter().map(|of| of.bytes).sum::<u64>() > max);
                let too_many = events_max.is_some_and(|max| all.iter().map(|of| of.events).sum::<u64>() > max);
                if !(is_old || too_much || too_many) {
                    break;
                }
                all.remove(0);
                removed += 1;
            }
            prop_assert_eq!(count, removed);
        }
    }
}
