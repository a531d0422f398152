//! Heads and frames of what is read: fixed, little endian, taken apart without an allocation. An unknown tail of a head is
//! skipped.

use bytes::{BufMut, Bytes, BytesMut};
use sinew_session::{take_u8, take_u16, take_u32, take_u64};

use crate::{Change, Entry, Key, Removal, Result, Revision};

/// Bytes of an entry's head.
pub(crate) const ENTRY_BYTES: usize = 32;
/// Bytes of a change's head.
const CHANGE_BYTES: usize = 33;
/// In a change's kind: it is an entry of the snapshot.
const OF_SNAPSHOT: u8 = 0x80;

/// Where a key is: bucket length (u8), key length (u8), bucket, a dot, key. The text as a whole is what the policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHead<'a> {
    pub(crate) bucket: &'a str,
    /// The key, where it lies in the head.
    pub(crate) key: (usize, usize),
    /// `bucket.key`.
    pub(crate) name: &'a str,
    /// What comes behind it.
    pub(crate) tail: &'a [u8],
}

impl<'a> KeyHead<'a> {
    /// Takes a head apart. `None` where it does not hold together; whether the names are names is not looked at.
    #[inline]
    pub(crate) fn read(head: &'a [u8]) -> Option<Self> {
        let (bucket, key) = (usize::from(*head.first()?), usize::from(*head.get(1)?));
        let (start, end) = (2 + bucket + 1, 2 + bucket + 1 + key);
        let name = std::str::from_utf8(head.get(2..end)?).ok()?;
        if name.as_bytes().get(bucket) != Some(&b'.') {
            return None;
        }
        Some(Self { bucket: name.get(..bucket)?, key: (start, end), name, tail: &head[end..] })
    }
}

/// The head of a get.
pub(crate) fn key_head(bucket: &str, key: &Key, head: &mut Vec<u8>) {
    head.reserve(3 + bucket.len() + key.as_bytes().len());
    head.extend_from_slice(&[bucket.len() as u8, key.as_bytes().len() as u8]);
    head.extend_from_slice(bucket.as_bytes());
    head.push(b'.');
    head.extend_from_slice(key.as_bytes());
}

/// A bucket in a head: length (u8) and name.
pub(crate) fn bucket_head(bucket: &str, head: &mut Vec<u8>) {
    head.push(bucket.len() as u8);
    head.extend_from_slice(bucket.as_bytes());
}

/// And back, with what comes behind it.
pub(crate) fn read_bucket_head(head: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = head.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

/// The head of a get of several keys: bucket, count (u16).
pub(crate) fn many_head(bucket: &str, count: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(bucket.len() + 3);
    bucket_head(bucket, &mut head);
    head.extend_from_slice(&(count as u16).to_le_bytes());
    head
}

/// And back.
pub(crate) fn read_many_head(head: &[u8]) -> Option<(&str, usize)> {
    let (bucket, mut rest) = read_bucket_head(head)?;
    Some((bucket, usize::from(take_u16(&mut rest)?)))
}

/// Keys, each with its length (u8).
pub(crate) fn keys_body(keys: &[Key]) -> Bytes {
    let mut body = BytesMut::with_capacity(keys.iter().map(|key| 1 + key.as_bytes().len()).sum());
    for key in keys {
        body.put_u8(key.as_bytes().len() as u8);
        body.put_slice(key.as_bytes());
    }
    body.freeze()
}

/// And back; `None` where the body does not hold together, an error where one is no key.
pub(crate) fn read_keys(body: &Bytes, count: usize) -> Option<Result<Vec<Key>>> {
    let (mut keys, mut at) = (Vec::with_capacity(count.min(body.len())), 0);
    for _ in 0..count {
        let length = usize::from(*body.get(at)?);
        let end = at + 1 + length;
        body.get(at + 1..end)?;
        match Key::try_from(body.slice(at + 1..end)) {
            Ok(key) => keys.push(key),
            Err(error) => return Some(Err(error)),
        }
        at = end;
    }
    (at == body.len()).then_some(Ok(keys))
}

/// What stands before a value: revision (u64, 0: there is none), created (u64), timestamp (u64), expires (u64, 0: never).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryHead {
    pub(crate) revision: u64,
    pub(crate) created: u64,
    pub(crate) timestamp: u64,
    pub(crate) expires: Option<u64>,
}

impl EntryHead {
    pub(crate) fn of(entry: Option<&Entry>) -> Self {
        entry.map_or_else(Self::default, |entry| Self {
            revision: entry.revision,
            created: entry.created,
            timestamp: entry.timestamp,
            expires: entry.expires,
        })
    }

    pub(crate) fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut head = [0; ENTRY_BYTES];
        head[..8].copy_from_slice(&self.revision.to_le_bytes());
        head[8..16].copy_from_slice(&self.created.to_le_bytes());
        head[16..24].copy_from_slice(&self.timestamp.to_le_bytes());
        head[24..].copy_from_slice(&self.expires.unwrap_or(0).to_le_bytes());
        head
    }

    pub(crate) fn read(mut head: &[u8]) -> Option<Self> {
        let head = &mut head;
        let (revision, created) = (take_u64(head)?, take_u64(head)?);
        let (timestamp, expires) = (take_u64(head)?, take_u64(head)?);
        Some(Self { revision, created, timestamp, expires: Some(expires).filter(|expires| *expires > 0) })
    }

    /// The entry of this key, if there is one.
    pub(crate) fn entry(self, key: Key, value: Bytes) -> Option<Entry> {
        let Self { revision, created, timestamp, expires } = self;
        (revision > 0).then_some(Entry { key, value, revision, created, timestamp, expires })
    }
}

/// An entry, or that there is none, as one of several: its head, the length of its value (u32), the value.
pub(crate) fn value_frame(entry: Option<&Entry>, page: &mut BytesMut) {
    page.put_slice(&EntryHead::of(entry).encode());
    let value = entry.map_or(&[][..], |entry| &entry.value);
    page.put_u32_le(value.len() as u32);
    page.put_slice(value);
}

/// Parts it off.
pub(crate) fn take_value(page: &mut Bytes) -> Option<(EntryHead, Bytes)> {
    let head = EntryHead::read(page)?;
    Some((head, take_bytes(page, ENTRY_BYTES)?))
}

/// Parts off `behind` bytes, a length (u32) and so many bytes; gives these.
fn take_bytes(page: &mut Bytes, behind: usize) -> Option<Bytes> {
    let length = take_u32(&mut page.get(behind..)?)? as usize;
    let start = behind + 4;
    let end = start.checked_add(length).filter(|end| *end <= page.len())?;
    let bytes = page.slice(start..end);
    *page = page.slice(end..);
    Some(bytes)
}

/// An entry on a page: key length (u8), key, and the frame of its value.
pub(crate) fn entry_frame(entry: &Entry, page: &mut BytesMut) {
    page.put_u8(entry.key.as_bytes().len() as u8);
    page.put_slice(entry.key.as_bytes());
    value_frame(Some(entry), page);
}

/// Parts it off; `None` where it does not hold together.
pub(crate) fn take_entry(page: &mut Bytes) -> Option<Entry> {
    let end = 1 + usize::from(*page.first()?);
    page.get(1..end)?;
    let key = Key::try_from(page.slice(1..end)).ok()?;
    *page = page.slice(end..);
    let (head, value) = take_value(page)?;
    head.entry(key, value)
}

/// The head of a page: the bucket's revision (u64), more (u8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageHead {
    pub(crate) revision: u64,
    pub(crate) more: bool,
}

impl PageHead {
    pub(crate) fn encode(self) -> [u8; 9] {
        let mut head = [0; 9];
        head[..8].copy_from_slice(&self.revision.to_le_bytes());
        head[8] = u8::from(self.more);
        head
    }

    pub(crate) fn read(mut head: &[u8]) -> Option<Self> {
        Some(Self { revision: take_u64(&mut head)?, more: take_u8(&mut head)? != 0 })
    }
}

/// How far a watch is: everything up to `revision` was told; while the snapshot is told, for the keys up to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    pub(crate) revision: u64,
    /// There is no more now.
    pub(crate) caught_up: bool,
    /// The snapshot is complete: from here on there are changes alone.
    pub(crate) whole: bool,
    /// Up to which key the snapshot was told; empty: as before.
    pub(crate) after: &'a str,
}

impl<'a> Mark<'a> {
    /// Revision (u64), flags (u8: 1 caught up, 2 the snapshot is complete). The key follows.
    pub(crate) fn encode(self) -> [u8; 9] {
        let mut head = [0; 9];
        head[..8].copy_from_slice(&self.revision.to_le_bytes());
        head[8] = u8::from(self.caught_up) | u8::from(self.whole) << 1;
        head
    }

    pub(crate) fn read(mut head: &'a [u8]) -> Option<Self> {
        let (revision, flags) = (take_u64(&mut head)?, take_u8(&mut head)?);
        let after = std::str::from_utf8(head).ok()?;
        Some(Self { revision, caught_up: flags & 1 != 0, whole: flags & 2 != 0, after })
    }
}

/// What a watch has consumed: bytes (u64), and of which standing (u32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) bytes: u64,
    pub(crate) standing: u32,
}

impl Grant {
    pub(crate) fn encode(self) -> [u8; 12] {
        let mut head = [0; 12];
        head[..8].copy_from_slice(&self.bytes.to_le_bytes());
        head[8..].copy_from_slice(&self.standing.to_le_bytes());
        head
    }

    pub(crate) fn read(mut head: &[u8]) -> Option<Self> {
        Some(Self { bytes: take_u64(&mut head)?, standing: take_u32(&mut head)? })
    }
}

/// The head of a change: revision (u64), timestamp (u64), kind (u8: 0 put, 1 deleted, 2 purged, 3 expired; 0x80 it is of the
/// snapshot), created (u64), expires (u64, 0: never). On a watch the key follows.
pub(crate) fn change_head(change: &Revision, of_snapshot: bool) -> [u8; CHANGE_BYTES] {
    let (kind, created, expires) = match &change.change {
        Change::Put { created, expires, .. } => (0, *created, expires.unwrap_or(0)),
        Change::Gone(Removal::Deleted) => (1, 0, 0),
        Change::Gone(Removal::Purged) => (2, 0, 0),
        Change::Gone(Removal::Expired) => (3, 0, 0),
    };
    let mut head = [0; CHANGE_BYTES];
    head[..8].copy_from_slice(&change.revision.to_le_bytes());
    head[8..16].copy_from_slice(&change.timestamp.to_le_bytes());
    head[16] = kind | if of_snapshot { OF_SNAPSHOT } else { 0 };
    head[17..25].copy_from_slice(&created.to_le_bytes());
    head[25..].copy_from_slice(&expires.to_le_bytes());
    head
}

/// And back, with what comes behind it; whether it is of the snapshot.
pub(crate) fn read_change(mut head: &[u8], key: Key, value: Bytes) -> Option<(Revision, bool)> {
    let rest = &mut head;
    let (revision, timestamp, kind) = (take_u64(rest)?, take_u64(rest)?, take_u8(rest)?);
    let (created, expires) = (take_u64(rest)?, take_u64(rest)?);
    let change = match kind & !OF_SNAPSHOT {
        0 => Change::Put { value, created, expires: Some(expires).filter(|expires| *expires > 0) },
        1 => Change::Gone(Removal::Deleted),
        2 => Change::Gone(Removal::Purged),
        3 => Change::Gone(Removal::Expired),
        _ => return None,
    };
    Some((Revision { key, revision, timestamp, change }, kind & OF_SNAPSHOT != 0))
}

/// Where the key begins in the head of a change on a watch.
pub(crate) const CHANGE_KEY_AT: usize = CHANGE_BYTES;

/// A change in a history: its head, the length of its value (u32), the value.
pub(crate) fn change_frame(change: &Revision, page: &mut BytesMut) {
    page.put_slice(&change_head(change, false));
    let value = match &change.change {
        Change::Put { value, .. } => &value[..],
        Change::Gone(_) => &[],
    };
    page.put_u32_le(value.len() as u32);
    page.put_slice(value);
}

/// Parts it off.
pub(crate) fn take_change(page: &mut Bytes, key: &Key) -> Option<Revision> {
    let head: [u8; CHANGE_BYTES] = *page.first_chunk()?;
    let value = take_bytes(page, CHANGE_BYTES)?;
    read_change(&head, key.clone(), value).map(|(change, _)| change)
}
