//! The rows of the table on disk: for each key its newest change, and how far the table is. `docs/STORAGE.md`, "A bucket".
//!
//! A value of more than [`INLINE_BYTES_MAX`] stays in the journal, where the row's revision finds it: the table stays small,
//! nothing is stored twice, and no value is too large for it.

use bytes::Bytes;

use super::codec::{Reading, put_number};
use crate::table::{Counts, Deadline, Live, Stored, Value};

/// Bytes of a value that stands in its row.
pub(super) const INLINE_BYTES_MAX: usize = 64;

/// There is a value: the key is there.
const LIVE: u8 = 1;
/// It has a deadline.
const EXPIRES: u8 = 2;
/// The value stands here.
const HERE: u8 = 4;

/// A row's bytes.
pub(super) fn encode(stored: &Stored) -> Vec<u8> {
    let mut flags = 0;
    if let Some(live) = &stored.live {
        flags |= LIVE | if live.expires.is_some() { EXPIRES } else { 0 };
        flags |= if here(live).is_some() { HERE } else { 0 };
    }
    let mut bytes = vec![flags];
    put_number(&mut bytes, stored.revision);
    bytes.extend_from_slice(&stored.timestamp.to_le_bytes());
    if let Some(live) = &stored.live {
        put_number(&mut bytes, stored.revision - live.created);
        bytes.extend(live.expires.iter().flat_map(|deadline| deadline.wall.to_le_bytes()));
        put_number(&mut bytes, live.value.bytes());
        bytes.extend(here(live).into_iter().flatten());
    }
    let mut newer = stored.revision;
    for earlier in stored.earlier.iter().rev() {
        put_number(&mut bytes, newer - earlier);
        newer = *earlier;
    }
    bytes
}

fn here(live: &Live) -> Option<&Bytes> {
    match &live.value {
        Value::Here(value) if value.len() <= INLINE_BYTES_MAX => Some(value),
        _ => None,
    }
}

/// A row as it was read. `Err` says what does not hold.
pub(super) fn decode(bytes: Bytes) -> Result<Stored, &'static str> {
    let mut reading = Reading(bytes);
    let flags = reading.byte()?;
    if flags & !(LIVE | EXPIRES | HERE) != 0 {
        return Err("a row has flags that this version does not know");
    }
    let (revision, timestamp) = (reading.number()?, reading.u64()?);
    let live = if flags & LIVE == 0 { None } else { Some(live(&mut reading, flags, revision)?) };
    let (mut earlier, mut newer) = (Vec::new(), revision);
    while !reading.is_empty() {
        let behind = reading.number()?;
        newer = newer.checked_sub(behind).filter(|_| behind > 0).ok_or("revisions of a row do not fall")?;
        earlier.push(newer);
    }
    earlier.reverse();
    Ok(Stored { revision, timestamp, live, earlier })
}

fn live(reading: &mut Reading, flags: u8, revision: u64) -> Result<Live, &'static str> {
    let created = revision.checked_sub(reading.number()?).ok_or("a key is older than the bucket")?;
    // What it is by the steady clock is known to who reads it.
    let expires = if flags & EXPIRES == 0 { None } else { Some(Deadline { wall: reading.u64()?, steady: u64::MAX }) };
    let value = match flags & HERE {
        0 => Value::Journal(u32::try_from(reading.number()?).map_err(|_| "a value is too large")?),
        _ => Value::Here(reading.bytes()?),
    };
    Ok(Live { created, expires, value })
}

/// What the table says of itself: written with each of its batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Of which life of the bucket it is: a bucket that is made again under the same name has another number.
    pub(super) incarnation: u64,
    /// Every change up to this revision is in it.
    pub(super) revision: u64,
    /// What is in it.
    pub(super) counts: Counts,
    /// How many of its keys have a deadline.
    pub(super) expiring: u64,
}

/// Bytes of a [`Meta`].
const META_BYTES: usize = 41;
const VERSION: u8 = 1;

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let fields = [self.incarnation, self.revision, self.counts.keys, self.counts.bytes, self.expiring];
        [VERSION].into_iter().chain(fields.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    /// `None` for what is none, or of another version: the table is made again then.
    pub(super) fn decode(bytes: Bytes) -> Option<Self> {
        if bytes.len() != META_BYTES || bytes[0] != VERSION {
            return None;
        }
        let mut reading = Reading(bytes.slice(1..));
        let mut next = || reading.u64().ok();
        let (incarnation, revision, keys, bytes, expiring) = (next()?, next()?, next()?, next()?, next()?);
        Some(Self { incarnation, revision, counts: Counts { keys, bytes }, expiring })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_journal::Dice;

    #[test]
    fn rows_come_back_with_small_values_and_where_large_ones_are() {
        let mut dice = Dice::new(1);
        for _ in 0..2_000 {
            let revision = 1_000 + (dice.next() >> (10 + dice.below(50)));
            let length = [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 5_000][dice.below(5)];
            let live = Live {
                created: revision - dice.below(1_000) as u64,
                expires: dice.percent(50).then(|| Deadline { wall: dice.next(), steady: u64::MAX }),
                value: Value::Here(vec![dice.next() as u8; length].into()),
            };
            let live = dice.percent(80).then_some(live);
            let earlier: Vec<_> = (0..dice.below(5) as u64).map(|at| revision - 900 + at * 7).collect();
            let mut stored = Stored { revision, timestamp: dice.next(), live, earlier };
            let bytes = encode(&stored);
            assert!(bytes.len() <= 32 + INLINE_BYTES_MAX + 10 * stored.earlier.len());
            if let Some(live) = &mut stored.live
                && length > INLINE_BYTES_MAX
            {
                live.value = Value::Journal(length as u32);
            }
            assert_eq!(decode(bytes.clone().into()), Ok(stored));
            let at = dice.below(bytes.len());
            let mut other = bytes.clone();
            other[at] = dice.next() as u8;
            let _ = decode(other.into());
            let _ = decode(bytes[..at].to_vec().into());
        }
    }

    #[test]
    fn a_meta_comes_back_or_is_none() {
        let meta = Meta { incarnation: 7, revision: 9, counts: Counts { keys: 3, bytes: 11 }, expiring: 2 };
        let bytes = meta.encode();
        assert_eq!(Meta::decode(bytes.clone().into()), Some(meta));
        assert_eq!(Meta::decode(bytes[1..].to_vec().into()), None);
        assert_eq!(Meta::decode([vec![9], bytes[1..].to_vec()].concat().into()), None);
    }
}
