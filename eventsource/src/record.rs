//! Events as bytes: the same in a segment, in an append and in what a reader gets, so that nobody on the way packs anew.
//!
//! A batch body is records one after the other, little endian:
//!
//! ```text
//! 0   u32  length of all that follows this field
//! 4   u32  offset, counted from the batch's first
//! 8   u8   flags: 1 has a subject, 2 has a key, 4 is a tombstone
//! 9   u8   0
//! 10  u16  bytes of the subject
//! 12  u16  bytes of the key
//! 14  u16  bytes of the headers
//! 16       subject, key, headers, payload
//! ```

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use sinew_session::{Headers, Subject};

use crate::{Event, KEY_BYTES_MAX, NewEvent};

/// Bytes before the subject of a record.
pub const RECORD_HEAD_BYTES: usize = 16;

const SUBJECT: u8 = 1;
const KEY: u8 = 2;
const TOMBSTONE: u8 = 4;

/// Why bytes are no batch of events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {record} of a batch, at byte {at}, does not hold together: {why}")]
pub struct MalformedBatch {
    /// Which record, from 0.
    pub record: usize,
    /// Where it begins.
    pub at: usize,
    /// What is wrong with it.
    pub why: Cow<'static, str>,
}

/// Packs events into a batch body.
#[derive(Debug, Default)]
pub struct EventBatchBuilder {
    bytes: BytesMut,
    count: u32,
    span: u32,
    largest: u32,
}

impl EventBatchBuilder {
    /// Adds an event; its payload is copied.
    ///
    /// # Errors
    /// For a key above [`KEY_BYTES_MAX`] and a payload that makes the record 4 GiB; nothing is added then.
    pub fn push(&mut self, event: &NewEvent) -> Result<(), MalformedBatch> {
        self.push_at(self.count, event)
    }

    /// Adds an event at this distance from the batch's first offset, for batches with gaps.
    ///
    /// # Errors
    /// As [`push`](Self::push), and for a distance that does not rise.
    pub fn push_at(&mut self, delta: u32, event: &NewEvent) -> Result<(), MalformedBatch> {
        let subject = event.subject.as_ref().map_or(&[][..], |subject| subject.as_bytes());
        let key = event.key.as_deref().unwrap_or_default();
        let headers = event.headers.as_bytes();
        let fault = |why: Cow<'static, str>| MalformedBatch { record: self.count as usize, at: self.bytes.len(), why };
        if delta < self.span || delta == u32::MAX {
            return Err(fault("its offset does not rise".into()));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(fault(format!("its key has {} bytes and may have {KEY_BYTES_MAX}", key.len()).into()));
        }
        let length = RECORD_HEAD_BYTES - 4 + subject.len() + key.len() + headers.len() + event.payload.len();
        let length = u32::try_from(length).map_err(|_| fault("it has 4 GiB or more".into()))?;
        let flags = [(event.subject.is_some(), SUBJECT), (event.key.is_some(), KEY), (event.tombstone, TOMBSTONE)];
        self.bytes.reserve(4 + length as usize);
        self.bytes.put_u32_le(length);
        self.bytes.put_u32_le(delta);
        self.bytes.put_u8(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        self.bytes.put_u8(0);
        self.bytes.put_u16_le(subject.len() as u16);
        self.bytes.put_u16_le(key.len() as u16);
        self.bytes.put_u16_le(headers.len() as u16);
        for part in [subject, key, headers, &event.payload] {
            self.bytes.put_slice(part);
        }
        self.count += 1;
        self.span = delta + 1;
        self.largest = self.largest.max(length.saturating_add(4));
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Events so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch.
    pub fn finish(self) -> EventBatch {
        EventBatch { body: self.bytes.freeze(), count: self.count, span: self.span, largest: self.largest }
    }
}

/// A batch body that has been checked: whole records, each within it. A clone shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBatch {
    body: Bytes,
    count: u32,
    span: u32,
    largest: u32,
}

impl EventBatch {
    /// Checks bytes from outside: one walk over the records' heads, no allocation.
    ///
    /// # Errors
    /// Which record does not hold together. Deltas must rise.
    pub fn parse(body: Bytes) -> Result<Self, MalformedBatch> {
        let (mut at, mut count, mut span, mut largest) = (0, 0_u32, 0, 0);
        while at < body.len() {
            let fault = |why: &'static str| MalformedBatch { record: count as usize, at, why: why.into() };
            let head = Head::read(&body[at..]).map_err(fault)?;
            if head.delta < span || head.delta == u32::MAX {
                return Err(fault("its offset does not rise"));
            }
            if head.has_subject && !Subject::is_valid(&body[at + RECORD_HEAD_BYTES..][..head.subject]) {
                return Err(fault("its subject is none"));
            }
            (span, at, count, largest) = (head.delta + 1, at + head.size, count + 1, largest.max(head.size));
        }
        Ok(Self { body, count, span, largest: u32::try_from(largest).unwrap_or(u32::MAX) })
    }

    /// The bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How many events it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many offsets it takes: one more than the last delta.
    pub fn span(&self) -> u32 {
        self.span
    }

    /// Bytes of its largest event, head and key included.
    pub fn largest(&self) -> u32 {
        self.largest
    }

    /// The same with bytes of its own, for what is kept: it pins no receive buffer.
    pub(crate) fn detached(&self) -> Self {
        Self { body: Bytes::copy_from_slice(&self.body), ..self.clone() }
    }

    /// Each event's delta, key and whether it is a tombstone, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, Option<Bytes>, bool)> {
        self.records().map(|(delta, record)| {
            let head = Head::read(&record).expect("checked when the batch was parsed");
            let from = RECORD_HEAD_BYTES + head.subject;
            (delta, head.has_key.then(|| record.slice(from..from + head.key)), head.tombstone)
        })
    }

    /// The same without the events that `keep` does not want; it is given delta, key and whether it is a tombstone.
    /// Offsets stay. Copies what is kept where anything goes.
    pub(crate) fn retain(&self, mut keep: impl FnMut(u32, Option<&[u8]>, bool) -> bool) -> Self {
        let mut is_kept = |delta: u32, record: &Bytes| {
            let head = Head::read(record).expect("checked when the batch was parsed");
            let key = &record[RECORD_HEAD_BYTES + head.subject..][..head.key];
            keep(delta, head.has_key.then_some(key), head.tombstone)
        };
        let kept: Vec<_> = self.records().filter(|(delta, record)| is_kept(*delta, record)).collect();
        if kept.len() == self.count as usize {
            return self.clone();
        }
        let mut body = BytesMut::with_capacity(kept.iter().map(|(_, record)| record.len()).sum());
        kept.iter().for_each(|(_, record)| body.put_slice(record));
        Self {
            body: body.freeze(),
            count: kept.len() as u32,
            span: kept.last().map_or(0, |(delta, _)| delta + 1),
            largest: kept.iter().map(|(_, record)| record.len() as u32).max().unwrap_or(0),
        }
    }

    /// Each record's delta and its bytes, in order.
    pub fn records(&self) -> impl Iterator<Item = (u32, Bytes)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let head = Head::read(self.body.get(at..).filter(|rest| !rest.is_empty())?).ok()?;
            let record = self.body.slice(at..at + head.size);
            at += head.size;
            Some((head.delta, record))
        })
    }

    /// Each record as it lies in the body, in order; nothing is copied or counted up.
    pub(crate) fn views(&self) -> impl Iterator<Item = RecordView<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = self.body.get(at..).filter(|rest| !rest.is_empty())?;
            let head = Head::read(rest).ok()?;
            let (subject, key) = rest[RECORD_HEAD_BYTES..].split_at(head.subject);
            let view = RecordView {
                at,
                size: head.size,
                delta: head.delta,
                subject: head.has_subject.then_some(subject),
                key: head.has_key.then_some(&key[..head.key]),
            };
            at += head.size;
            Some(view)
        })
    }

    /// Neighbouring records as a batch of their own, which shares the bytes; deltas count from the same first offset.
    pub(crate) fn part(&self, bytes: std::ops::Range<usize>, count: u32, span: u32, largest: u32) -> Self {
        Self { body: self.body.slice(bytes), count, span, largest }
    }

    /// The same on bytes of its own, for what is kept for long.
    pub(crate) fn to_owned_bytes(&self) -> Self {
        Self { body: Bytes::copy_from_slice(&self.body), ..*self }
    }

    /// The events, with the batch's first offset and its time. Their bytes are shared.
    pub fn events(&self, first: u64, timestamp: u64) -> impl Iterator<Item = Event> {
        self.records().map(move |(delta, record)| Event {
            offset: first + u64::from(delta),
            timestamp,
            body: read_record(&record),
        })
    }
}

/// A record as it lies in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordView<'a> {
    /// Where it begins in the body.
    pub(crate) at: usize,
    /// Its bytes.
    pub(crate) size: usize,
    /// Its offset, counted from the batch's first.
    pub(crate) delta: u32,
    pub(crate) subject: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
}

struct Head {
    /// Of the whole record.
    size: usize,
    delta: u32,
    has_subject: bool,
    has_key: bool,
    tombstone: bool,
    subject: usize,
    key: usize,
    headers: usize,
}

impl Head {
    #[inline]
    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let head: &[u8; RECORD_HEAD_BYTES] = bytes.first_chunk().ok_or("it ends within its head")?;
        let u16_at = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (subject, key, headers) = (u16_at(10), u16_at(12), u16_at(14));
        let size = 4 + u32_at(0) as usize;
        if size > bytes.len() {
            return Err("it is longer than what is there");
        }
        if RECORD_HEAD_BYTES + subject + key + headers > size {
            return Err("its parts are longer than it is");
        }
        if key > KEY_BYTES_MAX {
            return Err("its key is too long");
        }
        let flags = head[8];
        let (has_subject, has_key) = (flags & SUBJECT != 0, flags & KEY != 0);
        if (!has_subject && subject > 0) || (!has_key && key > 0) {
            return Err("it has a length for a part that its flags deny");
        }
        Ok(Self {
            size,
            delta: u32_at(4),
            has_subject,
            has_key,
            tombstone: flags & TOMBSTONE != 0,
            subject,
            key,
            headers,
        })
    }
}

/// A record that was checked before.
fn read_record(record: &Bytes) -> NewEvent {
    let head = Head::read(record).expect("checked when the batch was parsed");
    let mut at = RECORD_HEAD_BYTES;
    let mut part = |length: usize| {
        at += length;
        record.slice(at - length..at)
    };
    let (subject, key, headers) = (part(head.subject), part(head.key), part(head.headers));
    NewEvent {
        subject: head.has_subject.then(|| Subject::try_from(subject).expect("checked when the batch was parsed")),
        key: head.has_key.then_some(key),
        headers: Headers::received(headers),
        payload: record.slice(at..),
        tombstone: head.tombstone,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events() -> Vec<NewEvent> {
        let headers = Headers::default().with("trace", "7").unwrap();
        vec![
            NewEvent::new("plain"),
            NewEvent::new("").key(""),
            NewEvent::new("all").subject(Subject::try_from("a.b").unwrap()).key("k").headers(headers),
            NewEvent::tombstone("k"),
        ]
    }

    #[test]
    fn events_come_back_as_they_were() {
        let mut builder = EventBatchBuilder::default();
        events().iter().for_each(|event| builder.push(event).unwrap());
        let batch = builder.finish();
        let read = EventBatch::parse(batch.body().clone()).unwrap();
        assert_eq!((read.count(), read.span()), (4, 4));
        let found: Vec<_> = read.events(10, 7).collect();
        assert_eq!(found.iter().map(|event| event.body.clone()).collect::<Vec<_>>(), events());
        assert_eq!(
            found.iter().map(|event| (event.offset, event.timestamp)).collect::<Vec<_>>(),
            [(10, 7), (11, 7), (12, 7), (13, 7)]
        );
    }

    #[test]
    fn a_cut_batch_names_the_record() {
        let mut builder = EventBatchBuilder::default();
        events().iter().for_each(|event| builder.push(event).unwrap());
        let whole = builder.finish().body().clone();
        let ends: Vec<usize> = EventBatch::parse(whole.clone())
            .unwrap()
            .records()
            .scan(0, |end, (_, record)| {
                *end += record.len();
                Some(*end)
            })
            .collect();
        for cut in 0..whole.len() {
            let parsed = EventBatch::parse(whole.slice(..cut));
            if cut == 0 || ends.contains(&cut) {
                assert!(parsed.is_ok(), "{cut}");
            } else {
                let record = ends.iter().filter(|end| **end <= cut).count();
                assert_eq!(parsed.unwrap_err().record, record, "{cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(batch) = EventBatch::parse(Bytes::from(bytes)) {
                prop_assert_eq!(batch.events(0, 0).count(), batch.count() as usize);
            }
        }
    }
}
