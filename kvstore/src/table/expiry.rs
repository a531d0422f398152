//! Which keys are gone next: an ordered index of deadlines on the steady clock.

use std::collections::{BTreeSet, HashMap};

use super::Stored;
use crate::Key;

/// The keys that have a deadline; each costs some 150 bytes of memory.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// Deadline and revision.
    in_order: BTreeSet<(u64, u64)>,
    /// By the revision that gave the key its deadline.
    keys: HashMap<u64, (u64, Key)>,
}

impl Expiry {
    /// A key is now so, and was so before.
    pub(crate) fn replace(&mut self, key: &Key, before: Option<&Stored>, after: Option<&Stored>) {
        if let Some(revision) = before.filter(|of| of.deadline().is_some()).map(|of| of.revision)
            && let Some((deadline, _)) = self.keys.remove(&revision)
        {
            self.in_order.remove(&(deadline, revision));
        }
        if let Some(after) = after
            && let Some(deadline) = after.deadline()
        {
            self.in_order.insert((deadline, after.revision));
            self.keys.insert(after.revision, (deadline, key.clone()));
        }
    }

    /// When the next one is gone.
    pub(crate) fn next(&self) -> Option<u64> {
        self.in_order.first().map(|(deadline, _)| *deadline)
    }

    /// Those that are due, first come first, at most `max`.
    pub(crate) fn due(&self, steady: u64, max: usize) -> Vec<Key> {
        let due = self.in_order.range(..=(steady, u64::MAX)).take(max);
        due.filter_map(|(_, revision)| self.keys.get(revision)).map(|(_, key)| key.clone()).collect()
    }

    /// The deadline that a revision gave its key, while it is the key's newest.
    pub(crate) fn deadline(&self, revision: u64) -> Option<u64> {
        self.keys.get(&revision).map(|(deadline, _)| *deadline)
    }

    /// How many have one.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}
