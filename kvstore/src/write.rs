//! What a client asks to be written: conditions and actions, all or nothing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{Key, Level};

/// Conditions and actions of one write, together: what one commit must hold and one answer explain.
pub const OPERATIONS_MAX: usize = 1_024;
/// Bytes of the keys and values of one write: it stands in one batch of the journal, whole or not at all.
pub const WRITE_BYTES_MAX: usize = 12 << 20;

/// A write of one key, or a transaction over several of one bucket: where every condition holds, every action is done,
/// else none. Conditions are judged before the first action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// Told again, it gives the first answer: so that a write whose answer was lost is done once.
    pub id: Option<OperationId>,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What is done, in this order; at least one, each key at most once.
    pub actions: Vec<Action>,
}

/// Which write of which client. The client's number is random and its own for as long as it runs; its sequence numbers
/// rise, and it does not ask again for one that lies more than 1,024 behind its newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperationId {
    /// Of the client, chosen at random.
    pub client: u64,
    /// Of the write.
    pub sequence: u64,
}

/// What must hold of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which.
    pub key: Key,
    /// What it must be.
    pub expected: Expected,
}

/// What a key must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// Not there: never put, deleted or expired.
    Absent,
    /// There.
    Present,
    /// There, and of this revision.
    Revision(u64),
}

/// What is done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Which.
    pub key: Key,
    /// What.
    pub operation: Operation,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It gets this value.
    Put {
        /// The value.
        value: Bytes,
        /// How long it lives; `None`: as the bucket says. Not zero.
        time_to_live: Option<Duration>,
    },
    /// It is removed; its history stays. Of a key that is not there, nothing is written and the answer's revision is 0.
    Delete,
    /// The same, and its history is removed too.
    Purge,
    /// Its value, a whole number of 64 bits in decimal text of at most 20 bytes (0 where it is not there), is raised by so
    /// much; its deadline stays.
    Add(i64),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// For each action its revision; 0 for a delete of what was not there.
    pub revisions: Vec<u64>,
    /// For each `Add` its new value, in order.
    pub counters: Vec<i64>,
    /// When, in nanoseconds since 1970.
    pub timestamp: u64,
    /// What the acknowledgement means.
    pub level: Level,
    /// It had been written before: the answer to the first time was lost.
    pub duplicate: bool,
}
