//! Writes as they travel: a put of one key, and any write with its conditions and actions. Fixed, little endian; values are
//! not copied. Every write carries its operation id.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sinew_session::{take_u8, take_u16, take_u64};

use super::frames::{KeyHead, bucket_head, key_head, read_bucket_head};
use crate::{
    Action, Condition, Error, Expected, Key, Level, OPERATIONS_MAX, Operation, OperationId, Result, Write, Written,
};

/// Bits in a put head.
mod flag {
    pub(super) const TIME_TO_LIVE: u8 = 1;
    pub(super) const ABSENT: u8 = 2;
    pub(super) const PRESENT: u8 = 4;
    pub(super) const REVISION: u8 = 8;
}

/// What goes with a write beside its conditions and actions: required level (u8, 0: any), client (u64), sequence (u64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteHead {
    pub(crate) required: Option<Level>,
    pub(crate) id: OperationId,
}

impl WriteHead {
    fn encode(&self, head: &mut Vec<u8>) {
        head.push(self.required.map_or(0, Level::code));
        head.extend_from_slice(&self.id.client.to_le_bytes());
        head.extend_from_slice(&self.id.sequence.to_le_bytes());
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let level = take_u8(rest)?;
        let required = if level == 0 { None } else { Some(Level::from_code(level)?) };
        let id = OperationId { client: take_u64(rest)?, sequence: take_u64(rest)? };
        Some(Self { required, id })
    }

    /// The head of any write: bucket, and this.
    pub(crate) fn whole(&self, bucket: &str) -> Vec<u8> {
        let mut head = Vec::with_capacity(32 + bucket.len());
        bucket_head(bucket, &mut head);
        self.encode(&mut head);
        head
    }
}

/// A put of one key, but for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PutHead<'a> {
    pub(crate) place: KeyHead<'a>,
    pub(crate) write: WriteHead,
    pub(crate) expected: Option<Expected>,
    pub(crate) time_to_live: Option<Duration>,
}

/// The head of a put: key head, flags (u8), what goes with a write, and as the flags say time to live in nanoseconds (u64)
/// and the expected revision (u64).
pub(crate) fn put_head(
    bucket: &str,
    key: &Key,
    write: &WriteHead,
    expected: Option<Expected>,
    time_to_live: Option<Duration>,
) -> Vec<u8> {
    let mut head = Vec::with_capacity(64 + bucket.len() + key.as_bytes().len());
    key_head(bucket, key, &mut head);
    let condition = match expected {
        None => 0,
        Some(Expected::Absent) => flag::ABSENT,
        Some(Expected::Present) => flag::PRESENT,
        Some(Expected::Revision(_)) => flag::REVISION,
    };
    head.push(condition | if time_to_live.is_some() { flag::TIME_TO_LIVE } else { 0 });
    write.encode(&mut head);
    head.extend(time_to_live.iter().flat_map(|life| nanos(*life).to_le_bytes()));
    if let Some(Expected::Revision(revision)) = expected {
        head.extend_from_slice(&revision.to_le_bytes());
    }
    head
}

/// And back. `None` where it does not hold together.
pub(crate) fn read_put(head: &[u8]) -> Option<PutHead<'_>> {
    let place = KeyHead::read(head)?;
    let mut rest = place.tail;
    let rest = &mut rest;
    let flags = take_u8(rest)?;
    let write = WriteHead::read(rest)?;
    let time_to_live = if flags & flag::TIME_TO_LIVE != 0 { Some(Duration::from_nanos(take_u64(rest)?)) } else { None };
    let expected = match flags & (flag::ABSENT | flag::PRESENT | flag::REVISION) {
        0 => None,
        flag::ABSENT => Some(Expected::Absent),
        flag::PRESENT => Some(Expected::Present),
        flag::REVISION => Some(Expected::Revision(take_u64(rest)?)),
        _ => return None,
    };
    Some(PutHead { place, write, expected, time_to_live })
}

/// As many nanoseconds as there can be: 584 years.
fn nanos(life: Duration) -> u64 {
    u64::try_from(life.as_nanos()).unwrap_or(u64::MAX)
}

/// The body of a write: counts of conditions and actions (u16 each), then each of them: key length (u8), key, kind (u8).
/// A condition's kind is 0 absent, 1 present, 2 revision (u64); an action's 0 put, 1 put with a time to live (u64), both with
/// the length of the value (u32) and the value, 2 delete, 3 purge, 4 add (i64).
pub(crate) fn write_body(write: &Write) -> Bytes {
    let keys = write.conditions.iter().map(|each| &each.key).chain(write.actions.iter().map(|each| &each.key));
    let values = write.actions.iter().map(|each| match &each.operation {
        Operation::Put { value, .. } => value.len() + 12,
        _ => 8,
    });
    let size = 4 + keys.map(|key| key.as_bytes().len() + 10).sum::<usize>() + values.sum::<usize>();
    let mut body = BytesMut::with_capacity(size);
    body.put_u16_le(write.conditions.len() as u16);
    body.put_u16_le(write.actions.len() as u16);
    for Condition { key, expected } in &write.conditions {
        put_key(key, &mut body);
        match expected {
            Expected::Absent => body.put_u8(0),
            Expected::Present => body.put_u8(1),
            Expected::Revision(revision) => {
                body.put_u8(2);
                body.put_u64_le(*revision);
            }
        }
    }
    for Action { key, operation } in &write.actions {
        put_key(key, &mut body);
        match operation {
            Operation::Put { value, time_to_live } => {
                body.put_u8(u8::from(time_to_live.is_some()));
                time_to_live.iter().for_each(|life| body.put_u64_le(nanos(*life)));
                body.put_u32_le(value.len() as u32);
                body.put_slice(value);
            }
            Operation::Delete => body.put_u8(2),
            Operation::Purge => body.put_u8(3),
            Operation::Add(by) => {
                body.put_u8(4);
                body.put_i64_le(*by);
            }
        }
    }
    body.freeze()
}

fn put_key(key: &Key, body: &mut BytesMut) {
    body.put_u8(key.as_bytes().len() as u8);
    body.put_slice(key.as_bytes());
}

/// A write taken apart: its bucket, and what it is. `None` where it does not hold together, an error where it breaks a rule.
pub(crate) fn read_write<'a>(head: &'a [u8], body: &Bytes) -> Option<Result<(&'a str, Option<Level>, Write)>> {
    let (bucket, mut rest) = read_bucket_head(head)?;
    let WriteHead { required, id } = WriteHead::read(&mut rest)?;
    let mut reader = Reader { body, at: 0 };
    let (conditions, actions) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    if conditions + actions > OPERATIONS_MAX {
        return Some(Err(too_many(bucket, conditions + actions)));
    }
    let mut write = Write { id: Some(id), ..Write::default() };
    for _ in 0..conditions {
        let key = match reader.key()? {
            Ok(key) => key,
            Err(error) => return Some(Err(error)),
        };
        let expected = match reader.u8()? {
            0 => Expected::Absent,
            1 => Expected::Present,
            2 => Expected::Revision(reader.u64()?),
            _ => return None,
        };
        write.conditions.push(Condition { key, expected });
    }
    for _ in 0..actions {
        let key = match reader.key()? {
            Ok(key) => key,
            Err(error) => return Some(Err(error)),
        };
        let operation = match reader.u8()? {
            0 => Operation::Put { time_to_live: None, value: reader.value()? },
            1 => Operation::Put { time_to_live: Some(Duration::from_nanos(reader.u64()?)), value: reader.value()? },
            2 => Operation::Delete,
            3 => Operation::Purge,
            4 => Operation::Add(reader.u64()?.cast_signed()),
            _ => return None,
        };
        write.actions.push(Action { key, operation });
    }
    (reader.at == body.len()).then_some(Ok((bucket, required, write)))
}

/// A write of more operations than one may have.
pub(crate) fn too_many(bucket: &str, parts: usize) -> Error {
    let why = format!("it has {parts} conditions and actions, and may have {OPERATIONS_MAX}; split it");
    Error::Invalid { bucket: bucket.to_owned(), why: why.into() }
}

/// Walks over the body of a write.
struct Reader<'a> {
    body: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        &self.body[self.at..]
    }

    fn u8(&mut self) -> Option<u8> {
        let number = take_u8(&mut self.rest())?;
        self.at += 1;
        Some(number)
    }

    fn u16(&mut self) -> Option<u16> {
        let number = take_u16(&mut self.rest())?;
        self.at += 2;
        Some(number)
    }

    fn u64(&mut self) -> Option<u64> {
        let number = take_u64(&mut self.rest())?;
        self.at += 8;
        Some(number)
    }

    fn slice(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.body.len())?;
        let slice = self.body.slice(self.at..end);
        self.at = end;
        Some(slice)
    }

    fn key(&mut self) -> Option<Result<Key>> {
        let length = usize::from(self.u8()?);
        self.slice(length).map(Key::try_from)
    }

    fn value(&mut self) -> Option<Bytes> {
        let length: [u8; 4] = *self.rest().first_chunk()?;
        self.at += 4;
        self.slice(u32::from_le_bytes(length) as usize)
    }
}

/// The head of an answer to a write: timestamp (u64), level (u8), duplicate (u8), counts of revisions and counters (u16
/// each), then these (u64 and i64).
pub(crate) fn written_head(written: &Written, head: &mut Vec<u8>) {
    head.clear();
    head.extend_from_slice(&written.timestamp.to_le_bytes());
    head.extend_from_slice(&[written.level.code(), u8::from(written.duplicate)]);
    head.extend_from_slice(&(written.revisions.len() as u16).to_le_bytes());
    head.extend_from_slice(&(written.counters.len() as u16).to_le_bytes());
    head.extend(written.revisions.iter().flat_map(|revision| revision.to_le_bytes()));
    head.extend(written.counters.iter().flat_map(|counter| counter.to_le_bytes()));
}

/// And back.
pub(crate) fn read_written(mut head: &[u8]) -> Option<Written> {
    let rest = &mut head;
    let (timestamp, level, duplicate) = (take_u64(rest)?, Level::from_code(take_u8(rest)?)?, take_u8(rest)? != 0);
    let (revisions, counters) = (usize::from(take_u16(rest)?), usize::from(take_u16(rest)?));
    let revisions = (0..revisions).map(|_| take_u64(rest)).collect::<Option<_>>()?;
    let counters = (0..counters).map(|_| take_u64(rest).map(u64::cast_signed)).collect::<Option<_>>()?;
    Some(Written { revisions, counters, timestamp, level, duplicate })
}
