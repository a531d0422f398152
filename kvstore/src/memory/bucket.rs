//! One bucket in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use sinew_session::ResourceName;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout_at;

use super::Room;
use crate::engine::clock::{Clock, SystemClock};
use crate::table::{
    ChangedKey, Expiry, Group, Judgement, Looked, Now, Operations, Position, Span, Stored, Table, check_write,
};
use crate::{
    Bucket, BucketConfig, BucketInfo, BucketRange, Change, ChangePage, Entry, Error, Found, Key, Level, Page,
    PageLimits, Range, Result, Revision, Write, WriteDone, Written,
};

/// What a change takes beside its key and value, about.
const CHANGE_BYTES: usize = 128;
/// Keys whose expiry is written at one time.
const EXPIRIES_MAX: usize = 1_024;

#[derive(Debug)]
pub(super) struct MemoryBucket {
    name: ResourceName,
    state: Mutex<State>,
    range: watch::Sender<BucketRange>,
    clock: SystemClock,
    room: Arc<Room>,
    timer: Arc<Timer>,
    /// For the timer, which must not keep the bucket alive.
    own: Weak<Self>,
}

#[derive(Debug)]
struct State {
    rules: Table,
    keys: BTreeMap<Key, Stored>,
    expiry: Expiry,
    /// Every change that is kept, by revision: those that a watch may go back to, and those of histories.
    changes: BTreeMap<u64, Revision>,
    first: u64,
    bytes: usize,
    ended: bool,
}

/// The task that writes expiries when they are due.
#[derive(Debug, Default)]
struct Timer {
    is_running: AtomicBool,
    /// There is an earlier deadline than before, or the bucket is gone.
    changed: Notify,
}

fn bytes_of(change: &Revision) -> usize {
    let value = match &change.change {
        Change::Put { value, .. } => value.len(),
        Change::Gone(_) => 0,
    };
    CHANGE_BYTES + change.key.as_bytes().len() + value
}

impl MemoryBucket {
    pub(super) fn new(name: ResourceName, config: BucketConfig, room: Arc<Room>) -> Arc<Self> {
        let rules = Table::new(name.to_string(), config, Position::default(), Operations::default());
        let state = State {
            rules,
            keys: BTreeMap::new(),
            expiry: Expiry::default(),
            changes: BTreeMap::new(),
            first: 1,
            bytes: 0,
            ended: false,
        };
        Arc::new_cyclic(|own| Self {
            name,
            state: Mutex::new(state),
            range: watch::Sender::new(BucketRange { first: 1, ..BucketRange::default() }),
            clock: SystemClock::default(),
            room,
            timer: Arc::default(),
            own: own.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn living(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.ended { Err(Error::Ended { bucket: self.name.to_string() }) } else { Ok(state) }
    }

    pub(super) fn alter(&self, config: BucketConfig) {
        let mut state = self.lock();
        state.rules.configure(config);
        self.forget(&mut state);
        self.show(&state);
    }

    /// It is deleted, or its engine closed.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        self.room.free(state.bytes);
        (state.bytes, state.keys, state.changes, state.expiry) = Default::default();
        drop(state);
        self.range.send_modify(|range| range.ended = true);
        self.timer.changed.notify_one();
    }

    pub(super) fn describe(&self) -> BucketInfo {
        let state = self.lock();
        let Position { revision, counts, .. } = state.rules.position();
        BucketInfo {
            name: self.name.to_string(),
            config: state.rules.config().clone(),
            revision,
            first: state.first,
            keys: counts.keys,
            bytes: counts.bytes,
            disk_bytes: 0,
            level: Level::Memory,
        }
    }

    fn store(&self, write: &Write) -> Result<Written> {
        let mut state = self.living()?;
        check_write(self.name.as_str(), state.rules.config(), write)?;
        let now = self.clock.now();
        let State { rules, keys, .. } = &mut *state;
        rules.begin(now.wall);
        let judgement = rules.judge(write, now, Level::Memory, &mut |key| Ok(look(keys, key, now)));
        // An expiry that came to light is stored, whatever became of the write.
        self.commit(&mut state)?;
        match judgement {
            Judgement::Store(written) => Ok(written),
            Judgement::Answer(answer) => answer,
        }
    }

    /// Stores the round.
    fn commit(&self, state: &mut State) -> Result<()> {
        let timestamp = state.rules.pending().timestamp;
        let changes: Vec<_> = state.rules.groups().iter().flat_map(|group| revisions(group, timestamp)).collect();
        if changes.is_empty() {
            state.rules.discard();
            return Ok(());
        }
        let bytes: usize = changes.iter().map(bytes_of).sum();
        let puts = changes.iter().any(|change| matches!(change.change, Change::Put { .. }));
        if !self.room.reserve(bytes) {
            // What makes room must not fail for want of it.
            if puts {
                state.rules.discard();
                return Err(Error::NoSpace { bucket: self.name.to_string() });
            }
            self.room.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        state.bytes += bytes;
        state.changes.extend(changes.into_iter().map(|change| (change.revision, change)));
        for ChangedKey { key, before, after } in state.rules.commit().keys {
            state.expiry.replace(&key, before.as_ref(), after.as_ref());
            match after {
                Some(stored) => drop(state.keys.insert(key, stored)),
                None => drop(state.keys.remove(&key)),
            }
            let dropped = before.iter().flat_map(|before| before.earlier.iter().copied().chain([before.revision]));
            for revision in dropped.filter(|revision| *revision < state.first).collect::<Vec<_>>() {
                self.forget_one(state, revision);
            }
        }
        self.forget(state);
        self.show(state);
        self.arm(state);
        Ok(())
    }

    /// Forgets the changes that a watch cannot go back to any more.
    fn forget(&self, state: &mut State) {
        let kept = state.rules.config().limits.changes_kept;
        let first = (state.rules.position().revision + 1).saturating_sub(kept).max(state.first);
        let behind: Vec<_> = state.changes.range(state.first..first).map(|(revision, _)| *revision).collect();
        state.first = first;
        behind.into_iter().for_each(|revision| self.forget_one(state, revision));
    }

    /// Forgets one, unless it is its key's newest or part of its history.
    fn forget_one(&self, state: &mut State, revision: u64) {
        let Some(change) = state.changes.get(&revision) else { return };
        if state.keys.get(&change.key).is_some_and(|stored| stored.keeps(revision)) {
            return;
        }
        let bytes = state.changes.remove(&revision).map_or(0, |change| bytes_of(&change));
        state.bytes -= bytes;
        self.room.free(bytes);
    }

    fn show(&self, state: &State) {
        let (first, revision) = (state.first, state.rules.position().revision);
        self.range.send_if_modified(|range| {
            let new = BucketRange { first, revision, ..*range };
            std::mem::replace(range, new) != new
        });
    }

    /// Sees to it that the next expiry is written when it is due.
    fn arm(&self, state: &State) {
        if state.expiry.next().is_none() {
            return;
        }
        if self.timer.is_running.swap(true, Ordering::AcqRel) {
            return self.timer.changed.notify_one();
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(keep_time(self.own.clone(), Running(self.timer.clone()), self.clock))),
            Err(_) => self.timer.is_running.store(false, Ordering::Release),
        }
    }

    /// Writes what is due; says when the next one is.
    fn expire(&self) -> Option<u64> {
        let mut state = self.living().ok()?;
        let now = self.clock.now();
        let due = state.expiry.due(now.steady, EXPIRIES_MAX);
        let State { rules, keys, .. } = &mut *state;
        rules.begin(now.wall);
        for key in due {
            // Nothing here can fail.
            let _ = rules.expire(&key, &mut |key| Ok(look(keys, key, now)));
        }
        // Removals always find room.
        let _ = self.commit(&mut state);
        state.expiry.next()
    }
}

impl Drop for MemoryBucket {
    fn drop(&mut self) {
        self.timer.changed.notify_one();
        self.room.free(self.lock().bytes);
    }
}

/// While this lives, the timer runs.
struct Running(Arc<Timer>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Release);
    }
}

async fn keep_time(bucket: Weak<MemoryBucket>, running: Running, clock: SystemClock) {
    loop {
        let next = match bucket.upgrade() {
            Some(bucket) if !bucket.lock().ended => bucket.expire(),
            _ => return,
        };
        let changed = running.0.changed.notified();
        match next {
            // Early or late, what is due is looked up again.
            Some(next) => drop(timeout_at(clock.instant(next), changed).await),
            None => changed.await,
        }
    }
}

fn look(keys: &BTreeMap<Key, Stored>, key: &Key, now: Now) -> Looked {
    let stored = keys.get(key).cloned();
    let is_due = stored.as_ref().is_some_and(|stored| stored.is_due(now.steady));
    Looked { stored, is_due }
}

fn revisions(group: &Group, timestamp: u64) -> impl Iterator<Item = Revision> {
    group.records.iter().filter(|record| record.revision > 0).map(move |record| Revision {
        key: record.key.clone(),
        revision: record.revision,
        timestamp,
        change: record.change.clone(),
    })
}

impl State {
    /// A key that is there now.
    fn entry(&self, key: &Key, steady: u64) -> Option<Entry> {
        let (key, stored) = self.keys.get_key_value(key)?;
        if stored.is_due(steady) { None } else { stored.entry(key) }
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    fn name(&self) -> &ResourceName {
        &self.name
    }

    fn write(&self, write: Write, done: WriteDone) {
        done(self.store(&write));
    }

    fn get(&self, key: &Key) -> Found {
        match self.living() {
            Ok(state) => Found::Now(state.entry(key, self.clock.steady())),
            Err(error) => Found::Failed(error),
        }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let (state, steady) = (self.living()?, self.clock.steady());
        Ok(keys.iter().map(|key| state.entry(key, steady)).collect())
    }

    async fn scan(&self, range: &Range, limits: PageLimits) -> Result<Page> {
        let (state, span, steady) = (self.living()?, Span::new(range), self.clock.steady());
        let mut page = Page { revision: state.rules.position().revision, ..Page::default() };
        let mut bytes = 0;
        let keys = state.keys.range::<[u8], _>((span.start(), Bound::Unbounded));
        for (key, stored) in keys.take_while(|(key, _)| span.holds(key.as_bytes())) {
            let Some(mut entry) = stored.entry(key).filter(|_| !stored.is_due(steady)) else { continue };
            if limits.keys_only {
                entry.value = bytes::Bytes::new();
            }
            bytes += key.as_bytes().len() + entry.value.len();
            if !page.entries.is_empty() && (bytes > limits.bytes_max || page.entries.len() >= limits.items_max) {
                page.more = true;
                break;
            }
            page.entries.push(entry);
        }
        Ok(page)
    }

    async fn history(&self, key: &Key) -> Result<Vec<Revision>> {
        let state = self.living()?;
        let Some(stored) = state.keys.get(key) else { return Ok(Vec::new()) };
        let revisions = stored.revisions(state.rules.config().history);
        Ok(revisions.filter_map(|revision| state.changes.get(&revision).cloned()).collect())
    }

    async fn changes(&self, from: u64, limits: PageLimits) -> Result<ChangePage> {
        let (state, from) = (self.living()?, from.max(1));
        if from < state.first {
            return Err(Error::Compacted { bucket: self.name.to_string(), requested: from, first: state.first });
        }
        let mut page = ChangePage { changes: Vec::new(), next: from, revision: state.rules.position().revision };
        let mut bytes = 0;
        for change in state.changes.range(from..).map(|(_, change)| change) {
            let mut change = change.clone();
            if let Change::Put { value, .. } = &mut change.change
                && limits.keys_only
            {
                *value = bytes::Bytes::new();
            }
            bytes += bytes_of(&change) - CHANGE_BYTES;
            if !page.changes.is_empty() && (bytes > limits.bytes_max || page.changes.len() >= limits.items_max) {
                break;
            }
            page.next = change.revision + 1;
            page.changes.push(change);
        }
        Ok(page)
    }

    fn range(&self) -> watch::Receiver<BucketRange> {
        self.range.subscribe()
    }

    async fn info(&self) -> Result<BucketInfo> {
        drop(self.living()?);
        Ok(self.describe())
    }
}

#[cfg(test)]
mod tests;
