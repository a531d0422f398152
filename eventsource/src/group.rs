//! A consumer group: who has which event, what was dealt with, what is handed out next. Rules without IO; the time comes as
//! an argument.
//!
//! 1. Everything below the cursor's offset, in its ranges above, or given up was dealt with; nothing else was.
//! 2. An event is with one member at most. In key order so are all events of its key, and of these only the first that was
//!    not dealt with.
//! 3. What was read ahead is bounded in events and in bytes, and so are the cursor's ranges.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::{GroupInfo, GroupSettings, HELD_RUNS_MAX, Held, Redelivery, Settled};
use crate::selection::Selection;
use crate::{Cursor, StoredBatch};

/// An event of at least so many bytes shares the buffer that it was read into.
const SHARED_FROM: usize = 16 * 1024;
/// Events given up that are listed.
const GIVEN_UP_LISTED: usize = 100;

/// A member: its connection's number, and that of the call by which it joined.
pub(crate) type MemberKey = (u64, u32);

/// What a group keeps with its cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupState {
    pub(crate) settings: GroupSettings,
    pub(crate) paused: bool,
    pub(crate) given_up: u64,
    pub(crate) given_up_last: VecDeque<u64>,
}

/// How much a group reads ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// How much a member may have at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// An event on its way to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) member: MemberKey,
    pub(crate) attempt: u32,
    /// A batch of one.
    pub(crate) event: StoredBatch,
}

#[derive(Debug)]
pub(crate) struct Group {
    state: GroupState,
    window: Window,
    /// Read and not dealt with, by offset.
    undone: BTreeMap<u64, Undone>,
    bytes: usize,
    /// Of `undone`, those that can be handed out now.
    ready: BTreeSet<u64>,
    /// In key order: the offsets of each key in `undone`.
    keys: HashMap<Bytes, BTreeSet<u64>>,
    /// When an event comes back to be handed out.
    timers: BTreeSet<(Instant, u64)>,
    members: BTreeMap<MemberKey, Member>,
    /// Everything below was read.
    read_next: u64,
    /// What was dealt with above that, before the group was loaded.
    done_before: VecDeque<(u64, u64)>,
    served: u64,
    /// Another one after each reset: what members say about events of an earlier one does not count.
    era: u32,
    halted: Option<String>,
    /// It is not as its cursor was last taken.
    dirty: bool,
}

#[derive(Debug)]
struct Undone {
    event: StoredBatch,
    key: Option<Bytes>,
    attempts: u32,
    /// Who had it last.
    last: Option<MemberKey>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ready,
    With { member: MemberKey, until: Instant },
    Later { until: Instant },
}

#[derive(Debug)]
struct Member {
    share: Share,
    in_flight: BTreeSet<u64>,
    bytes: usize,
    /// Its connection is gone; it may come back until then.
    cut: Option<Instant>,
    /// When it was served last, by count.
    served: u64,
}

impl Group {
    /// As its cursor says. No two lives of a group should have the same era.
    pub(crate) fn new(cursor: &Cursor, state: GroupState, window: Window, era: u32) -> Self {
        Self {
            state,
            window,
            undone: BTreeMap::new(),
            bytes: 0,
            ready: BTreeSet::new(),
            keys: HashMap::new(),
            timers: BTreeSet::new(),
            members: BTreeMap::new(),
            read_next: cursor.offset,
            done_before: cursor.above.iter().copied().collect(),
            served: 0,
            era,
            halted: None,
            dirty: false,
        }
    }

    pub(crate) fn settings(&self) -> &GroupSettings {
        &self.state.settings
    }

    /// What is handed out from now on comes back by this; what members have already does as it was to.
    pub(crate) fn alter(&mut self, redelivery: Redelivery) {
        self.state.settings = std::mem::take(&mut self.state.settings).with(redelivery);
        self.dirty = true;
    }

    /// What members are handed is of this era.
    pub(crate) fn era(&self) -> u32 {
        self.era
    }

    /// Everything below was read.
    pub(crate) fn read_next(&self) -> u64 {
        self.read_next
    }

    /// Whether there is any, those included whose connection was cut a moment ago.
    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(crate) fn has_member(&self, key: MemberKey) -> bool {
        self.members.contains_key(&key)
    }

    /// The offset to read from, while there is room and somebody to read for.
    pub(crate) fn wants(&self) -> Option<u64> {
        let room = self.undone.len() < self.window.events_max && self.bytes < self.window.bytes_max;
        let here = self.members.values().any(|member| member.cut.is_none());
        (room && here && !self.state.paused && self.halted.is_none()).then_some(self.read_next)
    }

    /// How many events may be read at one time.
    pub(crate) fn room(&self) -> usize {
        self.window.events_max.saturating_sub(self.undone.len()).max(1)
    }

    /// What was read from [`wants`](Self::wants); everything below `next` is in it.
    pub(crate) fn offer(&mut self, batches: &[StoredBatch], next: u64) {
        let selection = Selection { from: self.read_next, to: None, filter: self.state.settings.filter.clone() };
        let mut pieces = Vec::new();
        // One event to a piece: each goes its own way.
        batches.iter().for_each(|batch| selection.pieces(batch, 1, &mut pieces));
        for event in pieces {
            let Some(view) = event.events.views().next() else { continue };
            let offset = event.first + u64::from(view.delta);
            if !self.was_done_before(offset) {
                let key = view.key.filter(|_| self.state.settings.key_order).map(Bytes::copy_from_slice);
                // Kept for long: a small one not with the whole of what was read.
                let small = event.events.body().len() < SHARED_FROM;
                let events = if small { event.events.to_owned_bytes() } else { event.events };
                self.enter(offset, StoredBatch { events, ..event }, key);
            }
        }
        self.read_next = self.read_next.max(next);
        while self.done_before.front().is_some_and(|(_, end)| *end <= self.read_next) {
            self.done_before.pop_front();
        }
    }

    fn was_done_before(&mut self, offset: u64) -> bool {
        while self.done_before.front().is_some_and(|(_, end)| *end <= offset) {
            self.done_before.pop_front();
        }
        self.done_before.front().is_some_and(|(start, _)| *start <= offset)
    }

    fn enter(&mut self, offset: u64, event: StoredBatch, key: Option<Bytes>) {
        if let Some(key) = &key {
            self.keys.entry(key.clone()).or_default().insert(offset);
        }
        self.bytes += event.events.body().len();
        self.undone.insert(offset, Undone { event, key, attempts: 0, last: None, phase: Phase::Ready });
        self.make_ready(offset);
    }

    /// An event that is with nobody can be handed out, unless its key is held up by an earlier one.
    fn make_ready(&mut self, offset: u64) {
        let Some(undone) = self.undone.get(&offset).filter(|undone| undone.phase == Phase::Ready) else { return };
        let first = |key: &Bytes| self.keys.get(key).and_then(BTreeSet::first) == Some(&offset);
        if undone.key.as_ref().is_none_or(first) {
            self.ready.insert(offset);
        }
    }

    /// It is dealt with.
    fn finish(&mut self, offset: u64) {
        let Some(undone) = self.undone.remove(&offset) else { return };
        self.take_back(offset, undone.phase, undone.event.events.body().len());
        self.ready.remove(&offset);
        self.bytes -= undone.event.events.body().len();
        self.dirty = true;
        if let Some(key) = undone.key
            && let Some(offsets) = self.keys.get_mut(&key)
        {
            offsets.remove(&offset);
            match offsets.first().copied() {
                Some(next) => self.make_ready(next),
                None => drop(self.keys.remove(&key)),
            }
        }
    }

    /// It is no longer with its member, and waits for no time.
    fn take_back(&mut self, offset: u64, phase: Phase, bytes: usize) {
        match phase {
            Phase::Ready => {}
            Phase::Later { until } => drop(self.timers.remove(&(until, offset))),
            Phase::With { member, until } => {
                self.timers.remove(&(until, offset));
                if let Some(member) = self.members.get_mut(&member) {
                    member.in_flight.remove(&offset);
                    member.bytes -= bytes;
                }
            }
        }
    }

    /// It was not dealt with: it is handed out again, or given up.
    fn give_back(&mut self, offset: u64, later: Option<Instant>, counts: bool) {
        let Some(undone) = self.undone.get_mut(&offset) else { return };
        let (phase, bytes) = (undone.phase, undone.event.events.body().len());
        undone.attempts -= u32::from(!counts);
        let attempts = undone.attempts;
        undone.phase = later.map_or(Phase::Ready, |until| Phase::Later { until });
        self.take_back(offset, phase, bytes);
        if self.state.settings.deliveries_max.is_some_and(|max| attempts >= max.max(1)) {
            if let Some(undone) = self.undone.get_mut(&offset) {
                undone.phase = Phase::Ready;
            }
            self.finish(offset);
            self.state.given_up += 1;
            self.state.given_up_last.push_back(offset);
            if self.state.given_up_last.len() > GIVEN_UP_LISTED {
                self.state.given_up_last.pop_front();
            }
            return;
        }
        match later {
            Some(until) => drop(self.timers.insert((until, offset))),
            None => self.make_ready(offset),
        }
    }

    /// A new member. What could not be read is tried once more, so that it hears why the group does not go on.
    pub(crate) fn join(&mut self, key: MemberKey, share: Share) {
        self.served += 1;
        let member = Member { share, in_flight: BTreeSet::new(), bytes: 0, cut: None, served: self.served };
        self.members.insert(key, member);
        self.halted = None;
    }

    /// A member is back after a cut and has these events. Gives those that are still its own, as runs of a first offset and
    /// a count; what else it had was on its way and is handed out again. `None` if it was forgotten.
    pub(crate) fn rejoin(&mut self, key: MemberKey, share: Share, held: &Held) -> Option<Vec<(u64, u32)>> {
        let member = self.members.get_mut(&key)?;
        (member.cut, member.share) = (None, share);
        let own: Vec<u64> = member.in_flight.iter().copied().collect();
        let runs = held.runs.iter().filter(|_| held.era == self.era);
        let runs: BTreeMap<u64, (u32, u32)> =
            runs.map(|(first, count, attempt)| (*first, (*count, *attempt))).collect();
        let has = |offset: u64, attempt: u32| {
            let run = runs.range(..=offset).next_back();
            run.is_some_and(|(first, (count, of))| offset - first < u64::from(*count) && *of == attempt)
        };
        let mut kept: Vec<(u64, u32)> = Vec::new();
        for offset in own {
            let is_held = has(offset, self.undone.get(&offset).map_or(0, |undone| undone.attempts));
            let has_room = kept.len() < HELD_RUNS_MAX;
            match kept.last_mut() {
                Some((first, count)) if is_held && *first + u64::from(*count) == offset => *count += 1,
                _ if is_held && has_room => kept.push((offset, 1)),
                // It never got there, or cannot be told.
                _ => self.give_back(offset, None, false),
            }
        }
        Some(kept)
    }

    /// A member's connection was cut: it may come back until then.
    pub(crate) fn cut(&mut self, key: MemberKey, until: Instant) {
        if let Some(member) = self.members.get_mut(&key) {
            member.cut = Some(until);
        }
    }

    /// A member leaves. What it has is handed out again; that counts as a delivery where it `counts`.
    pub(crate) fn leave(&mut self, key: MemberKey, counts: bool) {
        let Some(member) = self.members.get(&key) else { return };
        let offsets: Vec<u64> = member.in_flight.iter().copied().collect();
        offsets.into_iter().for_each(|offset| self.give_back(offset, None, counts));
        self.members.remove(&key);
    }

    /// The next event to hand out, to a member that has room and that `can` take it.
    pub(crate) fn next(&mut self, now: Instant, mut can: impl FnMut(MemberKey) -> bool) -> Option<Handed> {
        if self.state.paused || self.halted.is_some() {
            return None;
        }
        let offset = *self.ready.first()?;
        let first = &self.undone[&offset];
        let (bytes, last) = (first.event.events.body().len(), first.last);
        let fits = |member: &Member| {
            let Share { events_max, bytes_max } = member.share;
            let light = member.bytes == 0 || member.bytes + bytes <= bytes_max;
            member.cut.is_none() && member.in_flight.len() < events_max && light
        };
        let mut fitting: Vec<_> = self.members.iter().filter(|(_, member)| fits(member)).collect();
        // Rather not to whom it was handed in vain; then to whom has least, in turn.
        fitting.sort_by_key(|(key, member)| (last == Some(**key), member.in_flight.len(), member.served));
        let key = fitting.into_iter().map(|(key, _)| *key).find(|key| can(*key))?;
        self.served += 1;
        let member = self.members.get_mut(&key).expect("just found");
        member.served = self.served;
        member.bytes += bytes;
        member.in_flight.insert(offset);
        self.ready.remove(&offset);
        let until = now + self.state.settings.acknowledge_within.clamp(Duration::from_millis(1), FOR_EVER);
        let undone = self.undone.get_mut(&offset).expect("just seen");
        undone.phase = Phase::With { member: key, until };
        undone.attempts += 1;
        undone.last = Some(key);
        self.timers.insert((until, offset));
        Some(Handed { member: key, attempt: undone.attempts, event: undone.event.clone() })
    }

    /// What a member did with an event that it was handed in this era. `false` if that comes too late: it is dealt with, or
    /// with somebody else, or was handed to the member again, or the group was reset.
    pub(crate) fn settle(
        &mut self,
        key: MemberKey,
        era: u32,
        (offset, attempt, settled): (u64, u32, Settled),
        now: Instant,
    ) -> bool {
        let Some(undone) = self.undone.get(&offset).filter(|_| era == self.era) else { return false };
        let own = match undone.phase {
            Phase::With { member, .. } => member == key && undone.attempts == attempt,
            // With nobody yet: whoever had it last has done it.
            Phase::Ready | Phase::Later { .. } => attempt > 0 && undone.attempts == attempt && settled == Settled::Done,
        };
        match settled {
            _ if !own => {}
            Settled::Done => self.finish(offset),
            Settled::Again(Duration::ZERO) => self.give_back(offset, None, true),
            Settled::Again(delay) => self.give_back(offset, Some(now + delay.min(FOR_EVER)), true),
        }
        own
    }

    /// Takes back what was not acknowledged in time, and forgets members that did not come back.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let gone = |(key, member): (&MemberKey, &Member)| member.cut.filter(|until| *until <= now).map(|_| *key);
        let gone: Vec<_> = self.members.iter().filter_map(gone).collect();
        gone.into_iter().for_each(|key| self.leave(key, true));
        while let Some((until, offset)) = self.timers.first().copied().filter(|(until, _)| *until <= now) {
            match self.undone.get_mut(&offset).map(|undone| undone.phase) {
                Some(Phase::With { .. }) => self.give_back(offset, None, true),
                Some(Phase::Later { .. }) => {
                    self.timers.remove(&(until, offset));
                    self.undone.get_mut(&offset).expect("just seen").phase = Phase::Ready;
                    self.make_ready(offset);
                }
                Some(Phase::Ready) | None => drop(self.timers.remove(&(until, offset))),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(until, _)| *until);
        let cuts = self.members.values().filter_map(|member| member.cut);
        timer.into_iter().chain(cuts).min()
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.dirty |= self.state.paused != paused;
        self.state.paused = paused;
    }

    /// Begins anew at this offset. What members have does not count any more.
    pub(crate) fn reset(&mut self, offset: u64) {
        for member in self.members.values_mut() {
            (member.in_flight, member.bytes) = (BTreeSet::new(), 0);
        }
        (self.undone, self.ready, self.keys, self.timers) = Default::default();
        (self.bytes, self.read_next, self.halted) = (0, offset, None);
        self.era = self.era.wrapping_add(1);
        self.done_before.clear();
        self.dirty = true;
    }

    /// What it was to read next is not there: it waits to be reset.
    pub(crate) fn halt(&mut self, why: String) {
        self.halted = Some(why);
    }

    /// Whether nothing is left below this offset, and beyond it.
    pub(crate) fn is_past(&self, offset: u64) -> bool {
        self.undone.keys().next().copied().unwrap_or(self.read_next) > offset
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The last cursor was not stored.
    pub(crate) fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// Where it is, to be stored.
    pub(crate) fn cursor(&mut self) -> (Cursor, GroupState) {
        self.dirty = false;
        let mut cursor =
            Cursor { offset: self.undone.keys().next().copied().unwrap_or(self.read_next), ..Cursor::default() };
        let mut undone = self.undone.keys().copied();
        let mut last = undone.next();
        let between = std::iter::from_fn(|| {
            let from = last? + 1;
            last = undone.next();
            Some((from, last.unwrap_or(self.read_next)))
        });
        let before = self.done_before.iter().map(|(start, end)| ((*start).max(self.read_next), *end));
        for (start, end) in between.chain(before).filter(|(start, end)| start < end) {
            match cursor.above.last_mut() {
                Some((_, last)) if *last >= start => *last = end.max(*last),
                None if start <= cursor.offset => cursor.offset = cursor.offset.max(end),
                _ => cursor.above.push((start, end)),
            }
        }
        (cursor, self.state.clone())
    }

    pub(crate) fn info(&self, group: &str, end: u64) -> GroupInfo {
        let phases = |wanted: fn(&Undone) -> bool| self.undone.values().filter(|undone| wanted(undone)).count() as u64;
        let done_before: u64 = self.done_before.iter().map(|(start, stop)| stop - (*start).max(self.read_next)).sum();
        GroupInfo {
            group: group.to_owned(),
            settings: self.state.settings.clone(),
            offset: self.undone.keys().next().copied().unwrap_or(self.read_next),
            lag: self.undone.len() as u64 + end.saturating_sub(self.read_next).saturating_sub(done_before),
            members: self.members.len() as u64,
            in_flight: phases(|undone| matches!(undone.phase, Phase::With { .. })),
            redelivering: phases(|undone| undone.attempts > 0 && !matches!(undone.phase, Phase::With { .. })),
            paused: self.state.paused,
            given_up: self.state.given_up,
            given_up_last: self.state.given_up_last.iter().copied().collect(),
            halted: self.halted.clone(),
        }
    }
}

/// The longest time that anything waits.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests;
