//! What clients asked and what they were answered, with the order in which that began and ended.

use std::collections::BTreeMap;

/// A value, by the number that only one write has, and the revision that it was told to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) revision: u64,
}

/// What was done to a key by a write that may or may not have been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Put(u64),
    Delete,
}

/// What an operation was, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What was read of a key.
    Read(String, Option<Seen>),
    /// What was read of several at one moment.
    ReadAll(Vec<(String, Option<Seen>)>),
    /// Written with these revisions, key by key; 0 for a delete of what was not there. With the revision that the first key
    /// was expected to have.
    Written(Vec<(String, Effect, u64)>, Option<(String, u64)>),
    /// A compare-and-set of this key that expected one revision and found another, 0 for none.
    Conflict(String, u64, u64),
    /// It was not answered: a read that took too long.
    Nothing,
}

impl Answer {
    /// Whether it is a read of this key.
    pub(crate) fn is_of(&self, key: &str) -> bool {
        matches!(self, Self::Read(read, _) if read == key)
    }
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) client: usize,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) answer: Answer,
}

/// A history, in the order in which the operations began.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    /// What is stored in the end: revision, key and number of each change, without a number where it is gone.
    pub(crate) log: BTreeMap<u64, (String, Option<u64>)>,
    /// Commits in which two compare-and-sets expected the same revision of a key.
    pub(crate) twins: u64,
    /// Cuts and restarts.
    pub(crate) cuts: u64,
}
