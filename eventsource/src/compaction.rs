//! Compaction by key: which events stay. No IO.
//!
//! A pass learns the newest offset of each key in what was not compacted yet, oldest segment first, as far as its memory
//! reaches ([`KeyMap`]); then every segment up to there is judged again, oldest first ([`Pass`]). What a pass does not
//! know it leaves alone, so that a map that is full makes it slower and never wrong.
//!
//! 1. An event goes only when a newer one with its key is known to be stored.
//! 2. A tombstone goes only when it is old enough and every older event of its key is gone for good: segments are
//!    rewritten oldest first, each durably before the next.

use std::collections::HashMap;
use std::time::Duration;

use crate::EventBatch;

/// Bytes of keys that a pass knows at one time, with what the map itself takes.
pub const KEY_MAP_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an entry takes beside its key.
const ENTRY_BYTES: usize = 64;

/// The newest offset of each key.
#[derive(Debug)]
pub(crate) struct KeyMap {
    newest: HashMap<Box<[u8]>, u64>,
    bytes: usize,
    bytes_max: usize,
}

impl KeyMap {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { newest: HashMap::new(), bytes: 0, bytes_max }
    }

    /// Learns the keys of a batch, whose first offset is `first`. `false` when the map is full: what was learned of the
    /// batch holds, and the pass ends before it. The first batch is learned whole, so that every pass gets on.
    pub(crate) fn learn(&mut self, events: &EventBatch, first: u64) -> bool {
        let is_first = self.newest.is_empty();
        for (delta, key, _) in events.keys() {
            let Some(key) = key else { continue };
            let offset = first + u64::from(delta);
            if let Some(newest) = self.newest.get_mut(&*key) {
                *newest = (*newest).max(offset);
                continue;
            }
            if self.bytes + key.len() + ENTRY_BYTES > self.bytes_max && !is_first {
                return false;
            }
            self.bytes += key.len() + ENTRY_BYTES;
            self.newest.insert(key.as_ref().into(), offset);
        }
        true
    }
}

/// Whether a pass is due: once what was not compacted yet is half as much as what was, so that the work stays in
/// proportion to what is appended.
pub(crate) fn is_due(clean_bytes: u64, dirty_bytes: u64) -> bool {
    dirty_bytes > 0 && dirty_bytes >= clean_bytes / 2
}

/// How a pass judges batches below where it learned up to.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    /// What it knows.
    pub(crate) keys: &'a KeyMap,
    /// Tombstones of this log time and before may go: `None` while the clock is not to be trusted, and in a pass that
    /// had to leave a segment alone.
    pub(crate) tombstones_until: Option<u64>,
}

impl Pass<'_> {
    /// What stays of a batch.
    pub(crate) fn retain(&self, events: &EventBatch, first: u64, timestamp: u64) -> EventBatch {
        let may_forget = self.tombstones_until.is_some_and(|until| timestamp <= until);
        events.retain(|delta, key, is_tombstone| {
            let Some(key) = key else { return true };
            let offset = first + u64::from(delta);
            let is_newest = self.keys.newest.get(key).is_none_or(|newest| *newest <= offset);
            is_newest && !(is_tombstone && may_forget)
        })
    }
}

/// Up to which log time tombstones may go.
pub(crate) fn tombstones_until(now: Option<u64>, age: Duration) -> Option<u64> {
    now?.checked_sub(u64::try_from(age.as_nanos()).ok()?)
}

#[cfg(test)]
#[path = "compaction/tests.rs"]
mod tests;
