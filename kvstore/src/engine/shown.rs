//! What readers see of a bucket without a disk: what is committed and not yet in the table (the overlay), hot values (the
//! cache), the newest changes (the tail), and deadlines.
//!
//! 1. What is newest of a key stands in the overlay, or else in the table. An entry leaves the overlay once it is in there.
//! 2. What the cache says of a key is newest too: every commit changes it.
//! 3. A key whose deadline is past is gone, unless a round that is not stored yet was told that it is there: then nobody
//!    knows until that one is over ([`Glance::Unknown`]), or a reader would see it go before a write that found it there.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use super::cache::Cache;
use crate::table::{ChangedKey, Counts, Deadline, Expiry, Stored};
use crate::{Change, ChangePage, Entry, Key, PageLimits, Revision};

/// What an entry of the overlay takes beside its key and value, about.
const WAITING_BYTES: usize = 400;
/// What a change takes in the tail beside its key and value, about.
const CHANGE_BYTES: usize = 128;

/// What the table has of a key: for counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InTable {
    /// Of key and value, where it is there.
    pub(super) bytes: Option<u64>,
    pub(super) expires: bool,
}

impl InTable {
    pub(super) fn of(key: &Key, stored: Option<&Stored>) -> Self {
        let live = stored.and_then(|stored| stored.live.as_ref());
        Self { bytes: live.map(|live| live.bytes(key)), expires: live.is_some_and(|live| live.expires.is_some()) }
    }
}

/// What waits to be taken into the table.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) stored: Option<Stored>,
    /// What the table has of it, once it is this one's turn.
    pub(super) in_table: InTable,
}

/// Keys that wait, in order.
pub(super) type Generation = BTreeMap<Key, Waiting>;

/// What a look at a key says.
#[derive(Debug)]
pub(super) enum Glance {
    /// The table knows; whether a round under way was told that the key is there.
    Table { is_held: bool },
    /// As it is; `None` where nothing is kept of it.
    Known(Option<Stored>),
    /// A round that is under way decides.
    Unknown,
}

/// What readers see.
#[derive(Debug)]
pub(super) struct Shown {
    /// The last change that is acknowledged.
    pub(super) revision: u64,
    pub(super) first: u64,
    pub(super) counts: Counts,
    /// What came since the applier began its present work.
    newer: Generation,
    /// What the applier takes into the table.
    older: Arc<Generation>,
    /// Everything up to this revision is in the older generation and the table.
    older_revision: u64,
    newer_bytes: usize,
    older_bytes: usize,
    pub(super) cache: Cache,
    pub(super) expiry: Expiry,
    /// Keys with a deadline that a round under way was told are there.
    held: HashSet<Key>,
    tail: Tail,
    pub(super) ended: bool,
}

pub(super) fn memory_of(key: &Key, stored: Option<&Stored>) -> usize {
    WAITING_BYTES + key.as_bytes().len() + stored.map_or(0, Stored::memory)
}

impl Shown {
    pub(super) fn new(cache_bytes_max: usize, tail_bytes_max: usize) -> Self {
        Self {
            revision: 0,
            first: 1,
            counts: Counts::default(),
            newer: Generation::new(),
            older: Arc::default(),
            older_revision: 0,
            newer_bytes: 0,
            older_bytes: 0,
            cache: Cache::new(cache_bytes_max),
            expiry: Expiry::default(),
            held: HashSet::new(),
            tail: Tail { changes: VecDeque::new(), bytes: 0, bytes_max: tail_bytes_max },
            ended: false,
        }
    }

    /// Bytes of memory of the overlay.
    pub(super) fn overlay_bytes(&self) -> usize {
        self.newer_bytes + self.older_bytes
    }

    /// The newest of a key that is not in the table yet.
    pub(super) fn waiting(&self, key: &[u8]) -> Option<&Waiting> {
        self.newer.get(key).or_else(|| self.older.get(key))
    }

    /// What is known of a key without the disk.
    fn known(&mut self, key: &Key) -> Option<Option<&Stored>> {
        if let Some(waiting) = self.newer.get(key).or_else(|| self.older.get(key)) {
            return Some(waiting.stored.as_ref());
        }
        self.cache.find(key)
    }

    /// A key's entry as a reader at this moment has it, where no disk is needed to tell. Allocates nothing.
    pub(super) fn entry(&mut self, key: &Key, steady: impl FnOnce() -> u64) -> Option<Option<Entry>> {
        let Some(stored) = self.known(key)? else { return Some(None) };
        if stored.live.is_none() {
            return Some(None);
        }
        if stored.deadline().is_none_or(|deadline| deadline > steady()) {
            return stored.entry(key).map(Some);
        }
        // Its time is over, whether or not that is written; but see the third rule above.
        if self.held.contains(key) { None } else { Some(None) }
    }

    /// The same as a glance, for whoever goes on to the table.
    pub(super) fn glance(&mut self, key: &Key, steady: u64) -> Glance {
        let is_held = self.held.contains(key);
        match self.known(key) {
            None => Glance::Table { is_held },
            Some(Some(stored)) if stored.is_due(steady) && is_held => Glance::Unknown,
            Some(Some(stored)) if stored.is_due(steady) => Glance::Known(None),
            Some(stored) => Glance::Known(stored.cloned()),
        }
    }

    /// Whether a round under way was told that this key is there.
    pub(super) fn is_held(&self, key: &Key) -> bool {
        self.held.contains(key)
    }

    /// What is newest of a key, for a round: its deadline does not count.
    pub(super) fn newest(&mut self, key: &Key) -> Option<Option<Stored>> {
        self.known(key).map(|stored| stored.cloned())
    }

    /// A row that came from the table, with its deadline as it counts here; `None` when it is not the newest any more.
    pub(super) fn with_deadline(&self, mut stored: Stored) -> Option<Stored> {
        if let Some(live) = &mut stored.live
            && let Some(deadline) = &mut live.expires
        {
            *deadline = Deadline { wall: deadline.wall, steady: self.expiry.deadline(stored.revision)? };
        }
        Some(stored)
    }

    /// A round is told of this key: whether it is there by then.
    pub(super) fn hold(&mut self, key: &Key, stored: &Stored, steady: impl FnOnce() -> u64) -> bool {
        if stored.deadline().is_none() {
            return false;
        }
        // Under the same lock as readers' looks: those that came before saw a time before this one.
        let is_due = stored.is_due(steady());
        if !is_due {
            self.held.insert(key.to_owned_bytes());
        }
        is_due
    }

    /// The round is over.
    pub(super) fn release(&mut self) {
        self.held.clear();
    }

    /// A round is stored.
    pub(super) fn commit(&mut self, keys: Vec<ChangedKey>, changes: Vec<Revision>, revision: u64, counts: Counts) {
        keys.into_iter().for_each(|key| self.change(key));
        (self.revision, self.counts) = (revision, counts);
        changes.into_iter().for_each(|change| self.tail.push(change));
    }

    /// A key is now so, and was so before.
    pub(super) fn change(&mut self, changed: ChangedKey) {
        let ChangedKey { key, before, after } = changed;
        self.expiry.replace(&key, before.as_ref(), after.as_ref());
        self.cache.change(&key, after.as_ref());
        self.newer_bytes += memory_of(&key, after.as_ref());
        match self.newer.get_mut(&key) {
            Some(waiting) => {
                self.newer_bytes -= memory_of(&key, waiting.stored.as_ref());
                waiting.stored = after;
            }
            None => {
                // What was newest before is in the table, or in the generation that is taken there first.
                let in_table = InTable::of(&key, before.as_ref());
                self.newer.insert(key, Waiting { stored: after, in_table });
            }
        }
    }

    /// What the applier is to take next: all that waits, and up to which revision it is complete.
    pub(super) fn begin_applying(&mut self) -> Option<(Arc<Generation>, u64)> {
        if self.older.is_empty() {
            if self.newer.is_empty() {
                return None;
            }
            self.older = Arc::new(std::mem::take(&mut self.newer));
            self.older_bytes = std::mem::take(&mut self.newer_bytes);
            self.older_revision = self.revision;
        }
        Some((self.older.clone(), self.older_revision))
    }

    /// So much of it is in the table: as much may come in its place. It is let go with the rest.
    pub(super) fn make_room(&mut self, bytes: usize) {
        self.older_bytes = self.older_bytes.saturating_sub(bytes);
    }

    /// It is in the table.
    pub(super) fn end_applying(&mut self) {
        self.older = Arc::default();
        self.older_bytes = 0;
    }

    /// What waits from a key on, in order: as many as `wanted` says.
    pub(super) fn overlay_from(
        &self,
        start: std::ops::Bound<&[u8]>,
        mut wanted: impl FnMut(&Key, &Waiting) -> bool,
    ) -> Vec<(Key, Option<Stored>)> {
        let range = (start, std::ops::Bound::Unbounded);
        let mut newer = self.newer.range::<[u8], _>(range).peekable();
        let mut older = self.older.range::<[u8], _>(range).peekable();
        let mut found = Vec::new();
        loop {
            let is_newer = match (newer.peek(), older.peek()) {
                (None, None) => return found,
                (Some((newer, _)), Some((old, _))) => newer <= old,
                (newer, _) => newer.is_some(),
            };
            let next = if is_newer { newer.next() } else { older.next() };
            let Some((key, waiting)) = next else { return found };
            if is_newer {
                older.next_if(|(old, _)| *old == key);
            }
            if !wanted(key, waiting) {
                return found;
            }
            found.push((key.clone(), waiting.stored.clone()));
        }
    }

    /// Changes from a revision on, where the tail has them.
    pub(super) fn recent(&self, from: u64, limits: PageLimits) -> Option<ChangePage> {
        self.tail.page(from, self.revision, limits)
    }

    /// The bucket is gone.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.cache.clear();
        (self.tail.changes, self.tail.bytes) = (VecDeque::new(), 0);
    }
}

impl Stored {
    /// Bytes of memory beside what every one takes.
    pub(super) fn memory(&self) -> usize {
        let value = match self.live.as_ref().map(|live| &live.value) {
            Some(crate::table::Value::Here(value)) => value.len(),
            _ => 0,
        };
        value + self.earlier.len() * 8
    }
}

/// The newest changes, without a gap.
#[derive(Debug)]
struct Tail {
    changes: VecDeque<Revision>,
    bytes: usize,
    bytes_max: usize,
}

fn bytes_of(change: &Revision) -> usize {
    let value = match &change.change {
        Change::Put { value, .. } => value.len(),
        Change::Gone(_) => 0,
    };
    change.key.as_bytes().len() + value
}

impl Tail {
    fn push(&mut self, change: Revision) {
        if self.changes.back().is_some_and(|last| last.revision + 1 != change.revision) {
            (self.changes, self.bytes) = (VecDeque::new(), 0);
        }
        self.bytes += bytes_of(&change) + CHANGE_BYTES;
        self.changes.push_back(change);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= bytes_of(&oldest) + CHANGE_BYTES;
        }
    }

    fn page(&self, from: u64, revision: u64, limits: PageLimits) -> Option<ChangePage> {
        if from > revision {
            return Some(ChangePage { changes: Vec::new(), next: from, revision });
        }
        let skipped = usize::try_from(from.checked_sub(self.changes.front()?.revision)?).ok()?;
        let mut page = PageBuilder::new(from, revision, limits);
        for change in self.changes.range(skipped.min(self.changes.len())..) {
            if !page.push(change.clone()) {
                break;
            }
        }
        Some(page.page)
    }
}

/// A page of changes as it is filled.
#[derive(Debug)]
pub(super) struct PageBuilder {
    pub(super) page: ChangePage,
    limits: PageLimits,
    bytes: usize,
}

impl PageBuilder {
    pub(super) fn new(from: u64, revision: u64, limits: PageLimits) -> Self {
        Self { page: ChangePage { changes: Vec::new(), next: from, revision }, limits, bytes: 0 }
    }

    /// Whether it was taken; one at least is.
    pub(super) fn push(&mut self, mut change: Revision) -> bool {
        if let Change::Put { value, .. } = &mut change.change
            && self.limits.keys_only
        {
            *value = bytes::Bytes::new();
        }
        self.bytes += bytes_of(&change);
        let is_full = self.bytes > self.limits.bytes_max || self.page.changes.len() >= self.limits.items_max;
        if !self.page.changes.is_empty() && is_full {
            return false;
        }
        self.page.next = change.revision + 1;
        self.page.changes.push(change);
        true
    }
}
