//! The bytes of a bucket's journal: what a round changed, group by group. `docs/STORAGE.md`, "A bucket".

use bytes::{Buf, Bytes};

use crate::table::{Group, Record};
use crate::{Change, Key, OPERATIONS_MAX, OperationId, Removal};

/// A batch of changes.
pub(super) const KIND_CHANGES: u16 = 1;

/// A group has an operation id.
const HAS_ID: u8 = 1;

const NOTHING: u8 = 0;
const PUT: u8 = 1;
const DELETED: u8 = 2;
const PURGED: u8 = 3;
const EXPIRED: u8 = 4;
const KIND: u8 = 0x0f;
/// A put has a deadline.
const EXPIRES: u8 = 0x10;
/// A put is a counter's, whose value the answer tells.
const COUNTER: u8 = 0x20;

/// A number, seven bits a byte, the lowest first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads what the encoders of this folder wrote; `Err` says what does not hold.
pub(super) struct Reading(pub(super) Bytes);

type Read<T> = Result<T, &'static str>;

impl Reading {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        if self.0.is_empty() { Err("it is cut short") } else { Ok(self.0.get_u8()) }
    }

    pub(super) fn u64(&mut self) -> Read<u64> {
        if self.0.len() < 8 { Err("it is cut short") } else { Ok(self.0.get_u64_le()) }
    }

    pub(super) fn number(&mut self) -> Read<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err("a number has more than 64 bits");
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number has more than 64 bits")
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self) -> Read<Bytes> {
        let length = self.number()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.0.len() => Ok(self.0.split_to(length)),
            _ => Err("it is cut short"),
        }
    }
}

/// Puts a group behind the others of a batch whose first offset is `base`.
pub(super) fn put_group(bytes: &mut Vec<u8>, base: u64, group: &Group) {
    bytes.push(if group.id.is_some() { HAS_ID } else { 0 });
    put_number(bytes, group.records.len() as u64);
    if let Some(id) = group.id {
        bytes.extend_from_slice(&id.client.to_le_bytes());
        put_number(bytes, id.sequence);
    }
    for record in &group.records {
        put_record(bytes, base, record);
    }
}

fn put_record(bytes: &mut Vec<u8>, base: u64, record: &Record) {
    if record.revision == 0 {
        return bytes.push(NOTHING);
    }
    let kind = match &record.change {
        Change::Put { expires, .. } => {
            let counter = if record.counter.is_some() { COUNTER } else { 0 };
            PUT | counter | if expires.is_some() { EXPIRES } else { 0 }
        }
        Change::Gone(Removal::Deleted) => DELETED,
        Change::Gone(Removal::Purged) => PURGED,
        Change::Gone(Removal::Expired) => EXPIRED,
    };
    bytes.push(kind);
    // The offset is the revision less one.
    put_number(bytes, record.revision - 1 - base);
    put_number(bytes, record.key.as_bytes().len() as u64);
    bytes.extend_from_slice(record.key.as_bytes());
    if let Change::Put { value, created, expires } = &record.change {
        put_number(bytes, record.revision - created);
        bytes.extend(expires.iter().flat_map(|expires| expires.to_le_bytes()));
        put_number(bytes, value.len() as u64);
        bytes.extend_from_slice(value);
    }
}

/// The groups of a batch; keys and values are slices of it. `Err` says what does not hold.
pub(super) fn groups(body: Bytes, base: u64) -> Read<Vec<Group>> {
    let (mut reading, mut groups) = (Reading(body), Vec::new());
    let mut least = 0;
    while !reading.is_empty() {
        let flags = reading.byte()?;
        if flags & !HAS_ID != 0 {
            return Err("a group has flags that this version does not know");
        }
        let count = usize::try_from(reading.number()?).unwrap_or(usize::MAX);
        if count > OPERATIONS_MAX.max(reading.0.len()) {
            return Err("it is cut short");
        }
        let id = match flags & HAS_ID {
            0 => None,
            _ => Some(OperationId { client: reading.u64()?, sequence: reading.number()? }),
        };
        let mut records = Vec::with_capacity(count.min(OPERATIONS_MAX));
        for _ in 0..count {
            records.push(record(&mut reading, base, &mut least)?);
        }
        groups.push(Group { id, records });
    }
    Ok(groups)
}

fn record(reading: &mut Reading, base: u64, least: &mut u64) -> Read<Record> {
    let kind = reading.byte()?;
    if kind == NOTHING {
        // Which key it was about is nobody's concern any more.
        return Ok(nothing());
    }
    if kind & !(KIND | EXPIRES | COUNTER) != 0 || (kind & KIND != PUT && kind & !KIND != 0) {
        return Err("a change has flags that this version does not know");
    }
    let delta = reading.number()?;
    let revision = base.checked_add(delta).and_then(|offset| offset.checked_add(1)).ok_or("a revision is too large")?;
    if revision <= *least {
        return Err("revisions do not rise");
    }
    *least = revision;
    let key = Key::try_from(reading.bytes()?).map_err(|_| "a key is none")?;
    let (change, counter) = match kind & KIND {
        PUT => put(reading, kind, revision)?,
        DELETED => (Change::Gone(Removal::Deleted), None),
        PURGED => (Change::Gone(Removal::Purged), None),
        EXPIRED => (Change::Gone(Removal::Expired), None),
        _ => return Err("a change is of a kind that this version does not know"),
    };
    Ok(Record { revision, key, change, counter })
}

fn put(reading: &mut Reading, kind: u8, revision: u64) -> Read<(Change, Option<i64>)> {
    let created = reading.number()?;
    let created =
        revision.checked_sub(created).filter(|created| *created > 0).ok_or("a key is older than the bucket")?;
    let expires = if kind & EXPIRES == 0 { None } else { Some(reading.u64()?) };
    let value = reading.bytes()?;
    let counter = match kind & COUNTER {
        0 => None,
        _ => {
            let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
            Some(number.ok_or("a counter is no number")?)
        }
    };
    Ok((Change::Put { value, created, expires }, counter))
}

/// The value that a revision put, without a look at the rest; `None` where the batch has none.
pub(super) fn value(body: Bytes, base: u64, revision: u64) -> Read<Option<Bytes>> {
    let mut reading = Reading(body);
    while !reading.is_empty() {
        let (flags, count) = (reading.byte()?, reading.number()?);
        if flags & HAS_ID != 0 {
            reading.u64()?;
            reading.number()?;
        }
        for _ in 0..count {
            let kind = reading.byte()?;
            if kind == NOTHING {
                continue;
            }
            let is_meant = base.saturating_add(reading.number()?) == revision - 1;
            reading.bytes()?;
            if kind & KIND != PUT {
                continue;
            }
            reading.number()?;
            if kind & EXPIRES != 0 {
                reading.u64()?;
            }
            let value = reading.bytes()?;
            if is_meant {
                return Ok(Some(value));
            }
        }
    }
    Ok(None)
}

/// An action that changed nothing.
pub(super) fn nothing() -> Record {
    let key = Key::try_from("-").expect("a key");
    Record { revision: 0, key, change: Change::Gone(Removal::Deleted), counter: None }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use sinew_journal::Dice;

    /// Groups of random changes from this offset on.
    pub(crate) fn some_groups(dice: &mut Dice, base: u64) -> Vec<Group> {
        let mut revision = base;
        let mut record = |dice: &mut Dice| {
            if dice.below(6) == 0 {
                return nothing();
            }
            revision += 1 + dice.below(3) as u64;
            let key = Key::try_from(["a", "b.c", "a.long.one"][dice.below(3)]).expect("a key");
            let created = 1 + dice.next() % revision;
            let expires = dice.percent(30).then(|| dice.next());
            let (change, counter) = match dice.below(6) {
                0 => (Change::Gone(Removal::Deleted), None),
                1 => (Change::Gone(Removal::Purged), None),
                2 => (Change::Gone(Removal::Expired), None),
                3 => (Change::Put { value: "-12".into(), created, expires }, Some(-12)),
                _ => (Change::Put { value: vec![7; dice.below(300)].into(), created, expires }, None),
            };
            Record { revision, key, change, counter }
        };
        let group = |dice: &mut Dice| {
            let id =
                dice.percent(50).then(|| OperationId { client: dice.next(), sequence: dice.next() >> dice.below(64) });
            Group { id, records: (0..=dice.below(4)).map(|_| record(dice)).collect() }
        };
        let mut group = group;
        (0..=dice.below(3)).map(|_| group(dice)).collect()
    }

    #[test]
    fn groups_come_back_and_nothing_else_is_read() {
        let mut dice = Dice::new(1);
        for _ in 0..2_000 {
            let base = dice.next() >> (1 + dice.below(63));
            let groups = some_groups(&mut dice, base);
            let mut bytes = Vec::new();
            groups.iter().for_each(|group| put_group(&mut bytes, base, group));
            assert_eq!(super::groups(bytes.clone().into(), base), Ok(groups.clone()));
            for record in groups.iter().flat_map(|group| &group.records).filter(|record| record.revision > 0) {
                let expected = match &record.change {
                    Change::Put { value, .. } => Some(value.clone()),
                    Change::Gone(_) => None,
                };
                assert_eq!(value(bytes.clone().into(), base, record.revision), Ok(expected));
            }
            for length in 0..bytes.len().min(40) {
                if let Ok(read) = super::groups(bytes[..length].to_vec().into(), base) {
                    assert!(groups.starts_with(&read));
                }
            }
            // Whatever it is, it is read or refused.
            let at = dice.below(bytes.len());
            bytes[at] = dice.next() as u8;
            let _ = super::groups(bytes.into(), base);
        }
    }

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, u64::MAX);
        assert_eq!(Reading(bytes.clone().into()).number(), Ok(u64::MAX));
        bytes[9] = 2;
        assert!(Reading(bytes.into()).number().is_err());
        assert!(Reading(vec![0xff; 20].into()).number().is_err());
    }
}
