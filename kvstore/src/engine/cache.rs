//! Hot keys in memory, bounded in bytes; that a key is not there is worth knowing too. What was not asked for since the hand
//! came by last goes first (second chance).

use std::collections::{HashMap, VecDeque};

use crate::Key;
use crate::table::Stored;

/// What an entry takes beside its key and value, about.
const ENTRY_BYTES: usize = 400;
/// No entry takes more than this part of the cache.
const PART_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Key, Cached>,
    /// In the order in which the hand comes by.
    order: VecDeque<Key>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Cached {
    stored: Option<Stored>,
    bytes: usize,
    was_asked_for: bool,
}

fn bytes_of(key: &Key, stored: Option<&Stored>) -> usize {
    ENTRY_BYTES + 2 * key.as_bytes().len() + stored.map_or(0, Stored::memory)
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// What it knows of a key.
    pub(super) fn find(&mut self, key: &Key) -> Option<Option<&Stored>> {
        let cached = self.entries.get_mut(key)?;
        cached.was_asked_for = true;
        Some(cached.stored.as_ref())
    }

    /// Keeps what was read.
    pub(super) fn keep(&mut self, key: &Key, stored: Option<&Stored>) {
        let bytes = bytes_of(key, stored);
        if bytes > self.bytes_max / PART_MAX {
            return self.forget(key);
        }
        let key = key.to_owned_bytes();
        let cached = Cached { stored: stored.cloned(), bytes, was_asked_for: false };
        self.bytes += bytes;
        match self.entries.insert(key.clone(), cached) {
            Some(before) => self.bytes -= before.bytes,
            None => self.order.push_back(key),
        }
        self.evict();
    }

    /// A key has changed: what it knows of it is as new as ever.
    pub(super) fn change(&mut self, key: &Key, stored: Option<&Stored>) {
        if self.entries.contains_key(key) {
            self.keep(key, stored);
        }
    }

    /// Knows nothing of a key any more.
    pub(super) fn forget(&mut self, key: &Key) {
        // Its place in the order is given up when the hand comes by.
        if let Some(cached) = self.entries.remove(key) {
            self.bytes -= cached.bytes;
            self.order.retain(|of| of != key);
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max {
            let Some(key) = self.order.pop_front() else { return };
            let Some(cached) = self.entries.get_mut(&key) else { continue };
            if std::mem::take(&mut cached.was_asked_for) {
                self.order.push_back(key);
            } else {
                self.bytes -= cached.bytes;
                self.entries.remove(&key);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        (self.entries, self.order, self.bytes) = (HashMap::new(), VecDeque::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::try_from(number.to_string().as_str()).expect("a key")
    }

    fn stored(revision: u64) -> Stored {
        Stored { revision, timestamp: 0, live: None, earlier: Vec::new() }
    }

    #[test]
    fn what_is_asked_for_stays_and_it_never_grows_beyond_its_bound() {
        let mut cache = Cache::new(16 * ENTRY_BYTES);
        cache.keep(&key(0), Some(&stored(1)));
        for number in 1..1_000 {
            assert!(cache.find(&key(0)).is_some(), "{number}");
            cache.keep(&key(number), None);
            assert!(cache.bytes <= cache.bytes_max && cache.order.len() == cache.entries.len());
        }
        assert!(cache.find(&key(1)).is_none() && cache.find(&key(999)).is_some_and(|of| of.is_none()));
        cache.change(&key(0), Some(&stored(2)));
        assert_eq!(cache.find(&key(0)).expect("kept").map(|of| of.revision), Some(2));
        cache.change(&key(5_000), Some(&stored(2)));
        assert!(cache.find(&key(5_000)).is_none());
        // One that is too large does not drive out all others, and what it was before is not kept either.
        let earlier = vec![0; 16 * ENTRY_BYTES];
        cache.change(&key(0), Some(&Stored { earlier, ..stored(3) }));
        assert!(cache.find(&key(0)).is_none() && cache.find(&key(999)).is_some());
        cache.clear();
        assert_eq!(cache.bytes, 0);
    }
}
