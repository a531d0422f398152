//! Records: what the session packs into blocks. A fixed header of 16 bytes, a head, a body.
//!
//! ```text
//! 0        4       5    6     7    8       12       14     16
//! | length | service | verb | flags | 0 | call | head length | 0 | head … | body … |
//! ```
//! Little endian; `length` counts the whole record, header included. `docs/WIRE.md` has the golden vectors.

use bytes::{Bytes, BytesMut};

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 16;

/// The record's verb or service must be understood: a receiver that does not know it refuses instead of skipping.
pub const CRITICAL: u8 = 0x01;
/// The record answers the call whose number it carries.
pub const REPLY: u8 = 0x02;
/// The answer is a failure: the body is a [`Failure`](crate::Failure) in CBOR.
pub const FAILURE: u8 = 0x04;
/// The last fragment of a record.
pub(crate) const LAST: u8 = 0x08;

/// The service of the session itself.
pub(crate) const SESSION: u8 = 0;

/// A record's fixed part, without its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Which service.
    pub service: u8,
    /// What is said, in that service's numbering.
    pub verb: u8,
    /// [`CRITICAL`], [`REPLY`], [`FAILURE`].
    pub flags: u8,
    /// The call or stream it belongs to; 0 for a one-way record, which both ends count.
    pub call: u32,
}

impl Header {
    /// Whether both ends count it as one-way: a service's record that belongs to no call, such as a publish.
    pub(crate) fn is_one_way(self) -> bool {
        self.call == 0 && self.service != SESSION
    }

    /// The 16 bytes. The caller has checked the sizes.
    pub(crate) fn encode(self, head_bytes: usize, record_bytes: usize) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&(record_bytes as u32).to_le_bytes());
        out[4] = self.service;
        out[5] = self.verb;
        out[6] = self.flags;
        out[8..12].copy_from_slice(&self.call.to_le_bytes());
        out[12..14].copy_from_slice(&(head_bytes as u16).to_le_bytes());
        out
    }
}

/// Makes a deliver out of a publish and the like: overwrites verb, flags and call of an encoded record in place.
pub(crate) fn readdress(record: &mut [u8], verb: u8, flags: u8, call: u32) {
    record[5] = verb;
    record[6] = flags;
    record[8..12].copy_from_slice(&call.to_le_bytes());
}

/// A record within a received block. Parsed in place; nothing is copied until asked for.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    block: &'a Bytes,
    start: usize,
    end: usize,
    head_end: usize,
    /// The fixed part.
    pub header: Header,
}

impl<'a> Record<'a> {
    /// The service's head.
    pub fn head(&self) -> &'a [u8] {
        &self.block[self.start + HEADER_BYTES..self.head_end]
    }

    /// The body, lent.
    pub fn body(&self) -> &'a [u8] {
        &self.block[self.head_end..self.end]
    }

    /// The body, sharing the block's memory. It keeps the whole block alive: copy what is kept for long.
    pub fn body_shared(&self) -> Bytes {
        self.block.slice(self.head_end..self.end)
    }

    /// A part of the head, sharing the block's memory.
    ///
    /// # Panics
    /// If the range is not within the head.
    pub fn head_shared(&self, range: std::ops::Range<usize>) -> Bytes {
        assert!(self.start + HEADER_BYTES + range.end <= self.head_end, "a part of the head");
        self.block.slice(self.start + HEADER_BYTES + range.start..self.start + HEADER_BYTES + range.end)
    }

    /// The whole record as it stands in the block.
    pub fn raw(&self) -> &'a [u8] {
        &self.block[self.start..self.end]
    }

    /// The whole record, sharing the block's memory.
    pub fn shared(&self) -> Bytes {
        self.block.slice(self.start..self.end)
    }

    /// Bytes of the whole record.
    pub fn size(&self) -> usize {
        self.end - self.start
    }

    /// This record as a run of its own.
    pub fn as_run(&self) -> Run<'a> {
        Run { block: self.block, at: self.start, end: self.end }
    }
}

/// Consecutive records of one block.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    block: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Run<'a> {
    /// All records of `block`.
    ///
    /// # Errors
    /// [`Malformed`] unless the block is a sequence of whole records; then none of them is given out.
    pub fn parse(block: &'a Bytes) -> Result<Self, Malformed> {
        let mut at = 0;
        while at < block.len() {
            let rest = block.len() - at;
            if rest < HEADER_BYTES {
                return Err(Malformed { at });
            }
            let length = read_u32(block, at) as usize;
            let head = read_u16(block, at + 12) as usize;
            if length > rest || length < HEADER_BYTES + head {
                return Err(Malformed { at });
            }
            at += length;
        }
        Ok(Self { block, at: 0, end: at })
    }

    /// The rest of `block` from the record at byte `at`, of a block that was parsed before. `None` at its end.
    ///
    /// # Panics
    /// May panic, or later when iterated, if `block` was not accepted by [`parse`](Self::parse) or no record begins at
    /// `at`.
    #[inline]
    pub fn resume(block: &'a Bytes, at: usize) -> Option<Self> {
        (at < block.len()).then_some(Self { block, at, end: block.len() })
    }

    /// Parts off the longest run at the front whose records `same` takes for one (it is given the first of the run and
    /// each next one); `None` when nothing is left.
    #[inline]
    pub fn split_run(&mut self, same: impl Fn(&Record<'a>, &Record<'a>) -> bool) -> Option<Self> {
        let start = self.at;
        let first = self.next()?;
        let mut rest = *self;
        while let Some(record) = rest.next() {
            if !same(&first, &record) {
                break;
            }
            *self = rest;
        }
        Some(Self { block: self.block, at: start, end: self.at })
    }

    /// The run's bytes, sharing the block's memory: what a reader on another thread parses again by [`Run::parse`].
    pub fn shared(&self) -> Bytes {
        self.block.slice(self.at..self.end)
    }

    /// The first record, without taking it.
    pub fn first(&self) -> Option<Record<'a>> {
        let mut copy = *self;
        copy.next()
    }

    /// Bytes of the whole run.
    pub fn size(&self) -> usize {
        self.end - self.at
    }
}

impl<'a> Iterator for Run<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.at >= self.end {
            return None;
        }
        let start = self.at;
        let raw: &[u8; HEADER_BYTES] = self.block[start..start + HEADER_BYTES].try_into().expect("sliced to size");
        let length = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]) as usize;
        let head_bytes = u16::from_le_bytes([raw[12], raw[13]]) as usize;
        let call = u32::from_le_bytes([raw[8], raw[9], raw[10], raw[11]]);
        self.at = start + length;
        Some(Record {
            block: self.block,
            start,
            end: self.at,
            head_end: start + HEADER_BYTES + head_bytes,
            header: Header { service: raw[4], verb: raw[5], flags: raw[6], call },
        })
    }
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

/// A block that is not a sequence of whole records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at byte {at} of the block does not hold together")]
pub struct Malformed {
    /// Where the first bad record begins.
    pub at: usize,
}

/// One record in a piece of its own, for hello, tests and golden vectors. The hot path packs into the outbox instead.
pub fn encode(header: Header, head: &[u8], body: &[u8]) -> Bytes {
    let size = HEADER_BYTES + head.len() + body.len();
    let mut out = BytesMut::with_capacity(size);
    out.extend_from_slice(&header.encode(head.len(), size));
    out.extend_from_slice(head);
    out.extend_from_slice(body);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(service: u8, call: u32) -> Header {
        Header { service, verb: 2, flags: CRITICAL, call }
    }

    fn block(records: &[(u8, u32, &[u8], &[u8])]) -> Bytes {
        let mut out = BytesMut::new();
        for (service, call, head, body) in records {
            out.extend_from_slice(&encode(header(*service, *call), head, body));
        }
        out.freeze()
    }

    #[test]
    fn records_come_back_as_they_were_packed() {
        let block = block(&[(1, 7, b"head", b"body"), (2, 0, b"", b""), (1, 8, b"h", b"")]);
        let seen: Vec<_> =
            Run::parse(&block).unwrap().map(|r| (r.header.service, r.header.call, r.head(), r.body())).collect();
        assert_eq!(seen, [(1, 7, &b"head"[..], &b"body"[..]), (2, 0, b"", b""), (1, 8, b"h", b"")]);
    }

    #[test]
    fn runs_split_where_the_service_changes() {
        let block = block(&[(1, 1, b"", b"a"), (1, 2, b"", b"b"), (2, 0, b"", b""), (1, 3, b"", b"")]);
        let mut rest = Run::parse(&block).unwrap();
        let mut counts = Vec::new();
        while let Some(run) = rest.split_run(|a, b| a.header.service == b.header.service) {
            counts.push(run.count());
        }
        assert_eq!(counts, [2, 1, 1]);
    }

    #[test]
    fn readdressing_changes_only_verb_flags_and_call() {
        let mut raw = encode(header(1, 0), b"subject", b"payload").to_vec();
        readdress(&mut raw, 9, 0, 77);
        let bytes = Bytes::from(raw);
        let record = Run::parse(&bytes).unwrap().next().unwrap();
        assert_eq!(record.header, Header { service: 1, verb: 9, flags: 0, call: 77 });
        assert_eq!((record.head(), record.body()), (&b"subject"[..], &b"payload"[..]));
    }

    #[test]
    fn a_block_cut_anywhere_is_refused_whole() {
        let block = block(&[(1, 7, b"head", b"body"), (2, 0, b"xy", b"z")]);
        let boundary = 16 + 8;
        for cut in 1..block.len() {
            assert_eq!(Run::parse(&block.slice(..cut)).is_ok(), cut == boundary, "cut at {cut}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            if let Ok(run) = Run::parse(&bytes) {
                prop_assert_eq!(run.map(|r| r.size()).sum::<usize>(), bytes.len());
            }
        }
    }
}
