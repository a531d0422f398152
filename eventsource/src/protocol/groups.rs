//! What members and managers of consumer groups say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Position;
use crate::Filter;

/// How a group works. Kept with its cursor; members that join later must want the same. How it hands out again can be altered
/// by [`Log::alter_group`](crate::Log::alter_group), the rest is as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// An event that was not acknowledged for so long is handed out again. Default 30 s.
    pub acknowledge_within: Duration,
    /// An event that was handed out so often without being acknowledged is given up: counted, listed, and not handed out
    /// again. Counted anew when the server starts, and once the group had no member for a while (`LogLimits::group_idle`).
    /// Default: never.
    pub deliveries_max: Option<u32>,
    /// Where a new group begins. Default: at the start.
    pub start: Position,
    /// Which events it gets. Default: all.
    #[serde(default, skip_serializing_if = "Filter::is_all")]
    pub filter: Filter,
    /// Events of one key go to one member at a time, the next one only once the one before it is dealt with. Default: no.
    pub key_order: bool,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            acknowledge_within: Duration::from_secs(30),
            deliveries_max: None,
            start: Position::Start,
            filter: Filter::default(),
            key_order: false,
        }
    }
}

/// How a group hands out again what was not acknowledged: what of its settings can be altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivery {
    /// As [`GroupSettings::acknowledge_within`].
    pub acknowledge_within: Duration,
    /// As [`GroupSettings::deliveries_max`].
    pub deliveries_max: Option<u32>,
}

impl GroupSettings {
    /// How it hands out again.
    pub fn redelivery(&self) -> Redelivery {
        Redelivery { acknowledge_within: self.acknowledge_within, deliveries_max: self.deliveries_max }
    }

    pub(crate) fn with(self, redelivery: Redelivery) -> Self {
        let Redelivery { acknowledge_within, deliveries_max } = redelivery;
        Self { acknowledge_within, deliveries_max, ..self }
    }
}

/// Asks to be a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) stream: String,
    pub(crate) group: String,
    pub(crate) settings: GroupSettings,
    /// Events that it may have at one time.
    pub(crate) in_flight_max: u32,
    /// Their bytes.
    pub(crate) in_flight_bytes_max: u64,
    /// On coming back after a cut: the events that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<Held>,
}

/// Runs of events that a member says it has, and that it is told are its own: together with everything else they stay
/// within the largest request in CBOR. What does not fit is handed out again.
pub(crate) const HELD_RUNS_MAX: usize = 640;

/// Events that a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// When they were handed to it.
    pub(crate) era: u32,
    /// First offset, how many follow one another from there on, and their attempt; rising, at most [`HELD_RUNS_MAX`].
    pub(crate) runs: Vec<(u64, u32, u32)>,
}

impl Held {
    /// Of offsets and attempts, rising. Those that do not fit are left out.
    pub(crate) fn of(era: u32, events: impl IntoIterator<Item = (u64, u32)>) -> Self {
        let mut runs: Vec<(u64, u32, u32)> = Vec::new();
        for (offset, attempt) in events {
            let is_full = runs.len() == HELD_RUNS_MAX;
            match runs.last_mut() {
                Some((first, count, of)) if *of == attempt && *first + u64::from(*count) == offset => *count += 1,
                _ if is_full => break,
                _ => runs.push((offset, 1, attempt)),
            }
        }
        Self { era, runs }
    }
}

/// The answer: it is one, what it is handed is of this era, and these of the events that it has are still its own: first
/// offset, and how many follow one another from there on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) era: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<(u64, u32)>,
}

impl Joined {
    pub(crate) fn keeps(&self, offset: u64) -> bool {
        let at = self.kept.partition_point(|(first, _)| *first <= offset);
        let run = at.checked_sub(1).and_then(|at| self.kept.get(at));
        run.is_some_and(|(first, count)| offset - first < u64::from(*count))
    }
}

/// The head of settlements: the membership (u32), and the era that they are of (u32).
pub(crate) fn settle_head(number: u32, era: u32) -> [u8; 8] {
    let mut head = [0; 8];
    head[..4].copy_from_slice(&number.to_le_bytes());
    head[4..].copy_from_slice(&era.to_le_bytes());
    head
}

/// And back.
pub(crate) fn read_settle_head(head: &[u8]) -> Option<(u32, u32)> {
    Some((super::read_number(head)?, super::read_number(head.get(4..)?)?))
}

/// What a member did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is dealt with.
    Done,
    /// It is to be handed out again, after so long.
    Again(Duration),
}

/// In place of a delay: dealt with.
const DONE: u32 = u32::MAX;
const SETTLEMENT_BYTES: usize = 16;

/// A settlement: offset (u64), attempt (u32), delay in milliseconds (u32).
pub(crate) fn settlement_bytes(offset: u64, attempt: u32, settled: Settled) -> [u8; SETTLEMENT_BYTES] {
    let delay = match settled {
        Settled::Done => DONE,
        Settled::Again(delay) => u32::try_from(delay.as_millis()).unwrap_or(DONE).min(DONE - 1),
    };
    let mut bytes = [0; SETTLEMENT_BYTES];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&attempt.to_le_bytes());
    bytes[12..].copy_from_slice(&delay.to_le_bytes());
    bytes
}

/// The settlements in a body; what is left over at its end is left out.
pub(crate) fn read_settlements(body: &[u8]) -> impl Iterator<Item = (u64, u32, Settled)> {
    body.as_chunks::<SETTLEMENT_BYTES>().0.iter().map(|bytes| {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let offset = u64::from(u32_at(0)) | u64::from(u32_at(4)) << 32;
        let settled = match u32_at(12) {
            DONE => Settled::Done,
            delay => Settled::Again(Duration::from_millis(delay.into())),
        };
        (offset, u32_at(8), settled)
    })
}

/// Asks about groups of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupAsk {
    pub(crate) stream: String,
    pub(crate) act: GroupAct,
}

/// What is to be done with groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GroupAct {
    /// Those behind this name.
    List(Option<String>),
    Info(String),
    Pause(String),
    Resume(String),
    Reset(String, Position),
    Alter(String, Redelivery),
    Delete(String),
}

/// Names of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupPage {
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) more: bool,
}

/// How a group is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name.
    pub group: String,
    /// How it works.
    pub settings: GroupSettings,
    /// Everything below was dealt with.
    pub offset: u64,
    /// Offsets that were not dealt with yet: an upper bound where a filter or compaction leaves some out.
    pub lag: u64,
    /// Its members, those included whose connection was cut a moment ago.
    pub members: u64,
    /// Events that members have.
    pub in_flight: u64,
    /// Events that wait to be handed out again.
    pub redelivering: u64,
    /// It hands nothing out.
    pub paused: bool,
    /// Events given up, in all.
    pub given_up: u64,
    /// The last of them, at most 100.
    pub given_up_last: Vec<u64>,
    /// Why it does not go on until it is reset: what it was to read next was removed by retention, or is damaged.
    pub halted: Option<String>,
}
