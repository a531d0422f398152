//! The rules of one bucket: what a round of writes is to become. No IO and no clock; the engine stores what was judged and
//! then tells whether that worked.
//!
//! 1. Writes are judged one after the other, against what is acknowledged and what this round has accepted so far.
//! 2. Nothing of a round is answered before the round is stored: an answer may reveal what is pending.
//! 3. [`commit`](Table::commit) keeps all of a round, [`discard`](Table::discard) nothing.
//! 4. A key is gone at its deadline. Whoever meets one whose expiry is not written yet writes it first, so that each
//!    change of a key is in the log, in order.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    BucketConfig, Change, Condition, Error, Expected, Key, Level, Operation, OperationId, Removal, Result, Write,
    Written,
};

mod check;
mod expiry;
mod operations;
mod span;
mod stored;
pub(crate) use check::{check_config, check_write};
pub(crate) use expiry::Expiry;
pub use operations::{OPERATIONS_REMEMBERED_FOR, OPERATIONS_REMEMBERED_MAX, OPERATIONS_REMEMBERED_PER_CLIENT};
pub(crate) use operations::{Operations, Remembered};
pub(crate) use span::Span;
pub(crate) use stored::{Deadline, Live, Now, Stored, Value};

/// Bytes of a number of 64 bits in decimal, with its sign.
const COUNTER_BYTES_MAX: usize = 20;

/// What is known of a key outside of the round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    /// As it is acknowledged; `None` where nothing is kept of it.
    pub(crate) stored: Option<Stored>,
    /// Its deadline is past.
    pub(crate) is_due: bool,
}

/// What a write is to become.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// It is stored with this round, and answered so.
    Store(Written),
    /// There is nothing to store; it is answered so once the round is stored.
    Answer(Result<Written>),
}

/// One change of a round, or an action that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// 0 for an action that changes nothing.
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) change: Change,
    /// The value of a counter, which is told in the answer.
    pub(crate) counter: Option<i64>,
}

/// The actions of one write, in order; or expiries, which nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: Option<OperationId>,
    pub(crate) records: Vec<Record>,
}

/// What there is of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) keys: u64,
    /// Of keys and newest values.
    pub(crate) bytes: u64,
}

/// How far the bucket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Of the last change.
    pub(crate) revision: u64,
    /// Log time of the last change.
    pub(crate) timestamp: u64,
    pub(crate) counts: Counts,
}

/// The rules of one bucket, and where it stands.
#[derive(Debug)]
pub(crate) struct Table {
    bucket: String,
    config: BucketConfig,
    position: Position,
    operations: Operations,
    round: Round,
}

/// What is judged and not stored yet.
#[derive(Debug, Default)]
struct Round {
    position: Position,
    /// Keys that it has looked at.
    keys: HashMap<Key, Kept>,
    groups: Vec<Group>,
    answers: HashMap<OperationId, Remembered>,
}

/// A key that a round has looked at.
#[derive(Debug)]
struct Kept {
    /// As it is acknowledged.
    before: Option<Stored>,
    /// As it is within the round.
    now: Option<Stored>,
    is_changed: bool,
}

/// What a round changed.
#[derive(Debug)]
pub(crate) struct Changes {
    /// In order.
    pub(crate) groups: Vec<Group>,
    /// The keys, in no order.
    pub(crate) keys: Vec<ChangedKey>,
}

/// A key that a round changed.
#[derive(Debug)]
pub(crate) struct ChangedKey {
    pub(crate) key: Key,
    pub(crate) before: Option<Stored>,
    pub(crate) after: Option<Stored>,
}

/// What an action does.
struct Effect {
    change: Option<Change>,
    counter: Option<i64>,
    deadline: Option<Deadline>,
}

impl Table {
    /// As it is stored.
    pub(crate) fn new(bucket: String, config: BucketConfig, position: Position, operations: Operations) -> Self {
        let round = Round { position, ..Round::default() };
        Self { bucket, config, position, operations, round }
    }

    /// Begins a round at this time, in nanoseconds since 1970. Log time does not go back.
    pub(crate) fn begin(&mut self, wall: u64) {
        self.round.position = self.position;
        self.round.position.timestamp = self.position.timestamp.max(wall);
    }

    /// What a write is to become; its sizes are checked already. `find` looks a key up, once for each round.
    pub(crate) fn judge(
        &mut self,
        write: &Write,
        now: Now,
        level: Level,
        find: &mut dyn FnMut(&Key) -> Result<Looked>,
    ) -> Judgement {
        match self.try_judge(write, now, level, find) {
            Ok(judgement) => judgement,
            Err(error) => Judgement::Answer(Err(error)),
        }
    }

    fn try_judge(
        &mut self,
        write: &Write,
        now: Now,
        level: Level,
        find: &mut dyn FnMut(&Key) -> Result<Looked>,
    ) -> Result<Judgement> {
        if let Some(id) = write.id {
            let known = self.round.answers.get(&id).or_else(|| self.operations.find(id));
            if let Some(known) = known {
                return Ok(Judgement::Answer(Ok(known.written(level, true))));
            }
            if self.operations.is_too_old(id) {
                let why = "so many writes of this client came after it that it is not known any more whether it was \
                           done before; read what is there";
                return Err(Error::Invalid { bucket: self.bucket.clone(), why: why.into() });
            }
        }
        let keys = write.conditions.iter().map(|condition| &condition.key);
        for key in keys.chain(write.actions.iter().map(|action| &action.key)) {
            self.look(key, find)?;
        }
        for condition in &write.conditions {
            self.check(condition)?;
        }
        let mut effects = Vec::with_capacity(write.actions.len());
        for action in &write.actions {
            effects.push(self.effect(&action.key, &action.operation, now)?);
        }
        self.check_limits(write, &effects)?;
        Ok(self.accept(write, effects, level))
    }

    /// Writes the expiry of a key, where it is due and not changed by this round.
    ///
    /// # Errors
    /// As `find`.
    pub(crate) fn expire(&mut self, key: &Key, find: &mut dyn FnMut(&Key) -> Result<Looked>) -> Result<()> {
        self.look(key, find)
    }

    /// Sees to it that a key stands in the round, alive or gone.
    fn look(&mut self, key: &Key, find: &mut dyn FnMut(&Key) -> Result<Looked>) -> Result<()> {
        if self.round.keys.contains_key(key) {
            return Ok(());
        }
        let Looked { stored, is_due } = find(key)?;
        let is_alive = stored.as_ref().is_some_and(|stored| stored.live.is_some());
        let kept = Kept { before: stored.clone(), now: stored, is_changed: false };
        self.round.keys.insert(key.to_owned_bytes(), kept);
        if is_alive && is_due {
            let change = Change::Gone(Removal::Expired);
            let record = self.apply(key, change, None, None);
            self.round.groups.push(Group { id: None, records: vec![record] });
        }
        Ok(())
    }

    fn live(&self, key: &Key) -> Option<(&Stored, &Live)> {
        let stored = self.round.keys.get(key)?.now.as_ref()?;
        Some((stored, stored.live.as_ref()?))
    }

    fn check(&self, condition: &Condition) -> Result<()> {
        let Condition { key, expected } = condition;
        let revision = self.live(key).map_or(0, |(stored, _)| stored.revision);
        let holds = match *expected {
            Expected::Absent => revision == 0,
            Expected::Present => revision != 0,
            Expected::Revision(wanted) => revision == wanted && wanted != 0,
        };
        if holds {
            return Ok(());
        }
        Err(Error::Conflict {
            bucket: self.bucket.clone(),
            key: key.to_string(),
            found: match revision {
                0 => format!("`{key}` is not there"),
                _ => format!("`{key}` has revision {revision}"),
            },
            expected: match expected {
                Expected::Absent => "its absence".into(),
                Expected::Present => "a value".into(),
                Expected::Revision(revision) => format!("revision {revision}"),
            },
            revision,
        })
    }

    /// What an action does to a key, as if it was alone.
    fn effect(&self, key: &Key, operation: &Operation, now: Now) -> Result<Effect> {
        let live = self.live(key);
        let gone = |removal| {
            let change = live.map(|_| Change::Gone(removal));
            Ok(Effect { change, counter: None, deadline: None })
        };
        match operation {
            Operation::Delete => gone(Removal::Deleted),
            Operation::Purge => {
                // Of a key that is gone already, the history that is left of it goes.
                let is_kept = self.round.keys.get(key).is_some_and(|kept| kept.now.is_some());
                let change = is_kept.then_some(Change::Gone(Removal::Purged));
                Ok(Effect { change, counter: None, deadline: None })
            }
            Operation::Put { value, time_to_live } => {
                let deadline = self.deadline(*time_to_live, now);
                let value = Bytes::copy_from_slice(value);
                Ok(Effect { change: Some(self.put(live, value, deadline)), counter: None, deadline })
            }
            Operation::Add(delta) => {
                let deadline = live.map_or_else(|| self.deadline(None, now), |(_, live)| live.expires);
                let sum = self.sum(key, live.map(|(_, live)| &live.value), *delta)?;
                let change = self.put(live, sum.to_string().into(), deadline);
                Ok(Effect { change: Some(change), counter: Some(sum), deadline })
            }
        }
    }

    /// `created` 0 stands for the change's own revision.
    fn put(&self, live: Option<(&Stored, &Live)>, value: Bytes, deadline: Option<Deadline>) -> Change {
        let created = live.map_or(0, |(_, live)| live.created);
        Change::Put { value, created, expires: deadline.map(|deadline| deadline.wall) }
    }

    fn deadline(&self, time_to_live: Option<Duration>, now: Now) -> Option<Deadline> {
        let nanoseconds = u64::try_from(time_to_live.or(self.config.time_to_live)?.as_nanos()).ok()?;
        // What lies beyond the end of time is for ever.
        let (wall, steady) = (now.wall.checked_add(nanoseconds)?, now.steady.checked_add(nanoseconds)?);
        Some(Deadline { wall, steady })
    }

    fn sum(&self, key: &Key, value: Option<&Value>, delta: i64) -> Result<i64> {
        let refused = |why| Error::NotACounter { bucket: self.bucket.clone(), key: key.to_string(), why };
        let number = match value {
            None => Some(0),
            // What is longer is no number, whatever it would be without its zeros: the value need not be read to tell.
            Some(Value::Here(bytes)) if bytes.len() <= COUNTER_BYTES_MAX => {
                std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok())
            }
            Some(_) => None,
        };
        let number: i64 = number.ok_or_else(|| refused("its value is no whole number of 64 bits".into()))?;
        number.checked_add(delta).ok_or_else(|| refused(format!("{number} and {delta} are beyond 64 bits").into()))
    }

    fn check_limits(&self, write: &Write, effects: &[Effect]) -> Result<()> {
        let (mut keys, mut bytes) = (0_i64, 0_i64);
        for (action, effect) in write.actions.iter().zip(effects) {
            let Some(change) = &effect.change else { continue };
            let before = self.live(&action.key).map(|(_, live)| live.bytes(&action.key));
            let after = match change {
                Change::Put { value, .. } => Some((action.key.as_bytes().len() + value.len()) as u64),
                Change::Gone(_) => None,
            };
            keys += i64::from(after.is_some()) - i64::from(before.is_some());
            bytes += after.unwrap_or(0) as i64 - before.unwrap_or(0) as i64;
        }
        let (limits, now) = (&self.config.limits, self.round.position.counts);
        let is_above = |max: Option<u64>, now: u64, more: i64| {
            max.filter(|max| more > 0 && now.saturating_add_signed(more) > *max)
        };
        let full = |what: &'static str, max| Err(Error::Full { bucket: self.bucket.clone(), what: what.into(), max });
        if let Some(max) = is_above(limits.keys_max, now.keys, keys) {
            return full("`keys_max`", max);
        }
        if let Some(max) = is_above(limits.bytes_max, now.bytes, bytes) {
            return full("`bytes_max`", max);
        }
        Ok(())
    }

    fn accept(&mut self, write: &Write, effects: Vec<Effect>, level: Level) -> Judgement {
        let before = self.round.position.revision;
        let records = write.actions.iter().zip(effects).map(|(action, effect)| match effect.change {
            Some(change) => self.apply(&action.key, change, effect.counter, effect.deadline),
            None => Record {
                revision: 0,
                key: action.key.to_owned_bytes(),
                change: Change::Gone(Removal::Deleted),
                counter: None,
            },
        });
        let records: Vec<_> = records.collect();
        let remembered = Remembered::new(&records, self.round.position.timestamp);
        let written = remembered.written(level, false);
        if self.round.position.revision == before {
            return Judgement::Answer(Ok(written));
        }
        if let Some(id) = write.id {
            self.round.answers.insert(id, remembered);
        }
        self.round.groups.push(Group { id: write.id, records });
        Judgement::Store(written)
    }

    /// Gives a change its revision, and changes the key in the round.
    fn apply(&mut self, key: &Key, change: Change, counter: Option<i64>, deadline: Option<Deadline>) -> Record {
        let position = &mut self.round.position;
        position.revision += 1;
        let (revision, timestamp) = (position.revision, position.timestamp);
        let change = match change {
            Change::Put { value, created: 0, expires } => Change::Put { value, created: revision, expires },
            other => other,
        };
        let (key, mut kept) = self.round.keys.remove_entry(key).expect("it was looked up before it is changed");
        let after = Stored::after(kept.now.as_ref(), revision, timestamp, &change, deadline, self.config.history);
        position.counts.replace(&key, kept.now.as_ref(), after.as_ref());
        (kept.now, kept.is_changed) = (after, true);
        self.round.keys.insert(key.clone(), kept);
        Record { revision, key, change, counter }
    }

    /// What the round is to store so far.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.round.groups
    }

    /// Where the bucket stands once the round is stored.
    pub(crate) fn pending(&self) -> Position {
        self.round.position
    }

    /// The round is stored.
    pub(crate) fn commit(&mut self) -> Changes {
        let round = std::mem::take(&mut self.round);
        // What changes nothing leaves no trace, not even its time.
        if !round.groups.is_empty() {
            self.position = round.position;
        }
        for group in &round.groups {
            if let Some(id) = group.id
                && let Some(answer) = round.answers.get(&id)
            {
                self.operations.remember(id, answer.clone());
            }
        }
        let changed = round.keys.into_iter().filter(|(_, kept)| kept.is_changed);
        let keys = changed.map(|(key, Kept { before, now, .. })| ChangedKey { key, before, after: now });
        Changes { groups: round.groups, keys: keys.collect() }
    }

    /// The round is not stored.
    pub(crate) fn discard(&mut self) {
        self.round = Round::default();
    }

    /// Where the bucket stands.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn operations(&self) -> &Operations {
        &self.operations
    }

    pub(crate) fn config(&self) -> &BucketConfig {
        &self.config
    }

    /// Another configuration, between rounds.
    pub(crate) fn configure(&mut self, config: BucketConfig) {
        self.config = config;
    }
}

impl Counts {
    /// A key is now so, and was so before.
    pub(crate) fn replace(&mut self, key: &Key, before: Option<&Stored>, after: Option<&Stored>) {
        let live = |stored: Option<&Stored>| stored.and_then(|stored| stored.live.as_ref()).map(|live| live.bytes(key));
        if let Some(bytes) = live(before) {
            (self.keys, self.bytes) = (self.keys.saturating_sub(1), self.bytes.saturating_sub(bytes));
        }
        if let Some(bytes) = live(after) {
            (self.keys, self.bytes) = (self.keys + 1, self.bytes + bytes);
        }
    }
}

#[cfg(test)]
mod tests;
