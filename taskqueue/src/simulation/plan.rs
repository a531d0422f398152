//! What a task's work is, as its payload says, so that whoever looks at it knows what may become of it.

use std::time::Duration;

use bytes::Bytes;
use sinew_testkit::random::Random;

use crate::{Backoff, TaskOptions};

/// What a worker does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Deed {
    Done,
    /// It fails, however often it is begun.
    Poison,
    /// The first attempts fail.
    FailsFirst,
    /// It fails, and says that it would fail again.
    FailsForGood,
    /// Its worker dies of it.
    Kills,
    /// The first attempts are handed back.
    HandedBack,
    /// It never ends.
    Stalls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) deed: Deed,
    /// In milliseconds.
    pub(super) work: u16,
    salt: u64,
}

const DEEDS: [Deed; 7] =
    [Deed::Done, Deed::Poison, Deed::FailsFirst, Deed::FailsForGood, Deed::Kills, Deed::HandedBack, Deed::Stalls];

impl Plan {
    pub(super) fn draw(random: &mut Random) -> Self {
        let deed = match random.below(20) {
            0..=9 => Deed::Done,
            10..=11 => Deed::Poison,
            12..=13 => Deed::FailsFirst,
            14 => Deed::FailsForGood,
            15 => Deed::Kills,
            16..=18 => Deed::HandedBack,
            _ => Deed::Stalls,
        };
        let work = if random.once_in(5) { random.below(9_000) } else { random.below(600) } as u16;
        Self { deed, work, salt: random.bits() }
    }

    pub(super) fn quick() -> Self {
        Self { deed: Deed::Done, work: 1, salt: 0 }
    }

    pub(super) fn payload(&self) -> Bytes {
        let mut bytes = vec![self.deed as u8];
        bytes.extend(self.work.to_le_bytes());
        bytes.extend(self.salt.to_le_bytes());
        bytes.into()
    }

    pub(super) fn of(payload: &[u8]) -> Self {
        let work = u16::from_le_bytes(payload[1..3].try_into().expect("two bytes"));
        let salt = u64::from_le_bytes(payload[3..11].try_into().expect("eight bytes"));
        Self { deed: DEEDS[usize::from(payload[0])], work, salt }
    }

    /// How such a task is to be done.
    pub(super) fn options(&self, random: &mut Random) -> TaskOptions {
        let tags: &[&str] = match random.below(8) {
            0..=1 => &["gpu"],
            2 => &["arm", "gpu"],
            _ => &[],
        };
        let mut some = |count: usize, first: usize, end: usize| {
            random.once_in(count).then(|| Duration::from_millis(first as u64) + random.millis(end))
        };
        let (delay, deadline) = (some(6, 100, 4_000), some(6, 500, 15_000));
        TaskOptions {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            priority: [100, 100, 7, 200][random.below(4)],
            delay,
            deadline,
            attempts_max: 1 + random.below(4) as u32,
            backoff: Backoff { first: Duration::from_millis(50) + random.millis(400), max: Duration::from_secs(1) },
            stall_timeout: (self.deed == Deed::Stalls).then_some(Duration::from_secs(1)),
            queueing: !random.once_in(4),
            detached: random.once_in(8),
            ..TaskOptions::default()
        }
    }
}
