//! The sparse index of a segment: where to begin reading for an offset or a time, and what a sealed segment holds.
//! Its bytes are in `docs/STORAGE.md`, "Index". It follows from the segment, so a lost or damaged one is made again.

use crate::batch::BatchHeader;

const MAGIC: [u8; 8] = *b"SINEWIDX";
const VERSION: u32 = 1;
/// Bytes before the entries.
pub(crate) const HEADER_BYTES: usize = 88;
const ENTRY_BYTES: usize = 16;

/// What a segment holds, as far as it is known to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// First byte behind the last batch.
    pub(crate) end: u64,
    /// First offset behind it.
    pub(crate) next: u64,
    /// Log time of its first batch; 0 without one.
    pub(crate) first_time: u64,
    /// Log time of its last batch; 0 without one.
    pub(crate) last_time: u64,
    pub(crate) records: u64,
}

/// Where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its offset, from the segment's first.
    pub(crate) offset: u32,
    /// Its byte.
    pub(crate) position: u32,
    /// Its log time, which is the largest up to here.
    pub(crate) time: u64,
}

/// An index that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) segment_id: u64,
    pub(crate) interval: u32,
    pub(crate) summary: Summary,
    pub(crate) entries: Vec<Entry>,
}

/// An index that grows with its segment.
#[derive(Debug)]
pub(crate) struct IndexBuilder {
    index: Index,
    first: u64,
}

impl IndexBuilder {
    /// Of an empty segment that begins with offset `first`; an entry for each `interval` bytes.
    pub(crate) fn new(segment_id: u64, first: u64, interval: u32) -> Self {
        let end = crate::segment::HEADER_BYTES;
        let summary = Summary { end, next: first, first_time: 0, last_time: 0, records: 0 };
        Self { index: Index { segment_id, interval, summary, entries: Vec::new() }, first }
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.index.summary
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.index.entries
    }

    /// The batch at the end.
    pub(crate) fn push(&mut self, header: &BatchHeader) {
        let Index { interval, summary, entries, .. } = &mut self.index;
        let is_first = entries.is_empty();
        let due = entries.last().is_none_or(|last| summary.end - u64::from(last.position) >= (*interval).into());
        // Both fit: a segment ends before its offsets or bytes leave 32 bits.
        let place = (u32::try_from(header.base_offset - self.first), u32::try_from(summary.end));
        if let (true, (Ok(offset), Ok(position))) = (due, place) {
            entries.push(Entry { offset, position, time: header.timestamp });
        }
        if is_first {
            summary.first_time = header.timestamp;
        }
        summary.last_time = header.timestamp;
        summary.records += u64::from(header.records);
        summary.next = header.next_offset();
        summary.end += header.bytes();
    }

    /// Goes on behind damaged bytes or offsets that are not there.
    pub(crate) fn skip_to(&mut self, end: u64, next: u64) {
        let summary = &mut self.index.summary;
        (summary.end, summary.next) = (summary.end.max(end), summary.next.max(next));
    }

    pub(crate) fn finish(self) -> Index {
        self.index
    }
}

impl Index {
    /// Where to begin reading for an offset of the segment that begins with `first`: byte, offset. Before an entry of just
    /// that offset, since batches that take no offsets may stand there, before the entry's too.
    pub(crate) fn before(entries: &[Entry], first: u64, offset: u64) -> (u64, u64) {
        let behind = entries.partition_point(|entry| first + u64::from(entry.offset) < offset);
        Self::place(entries, first, behind.checked_sub(1))
    }

    /// Where to begin reading for the first batch at a time or later.
    pub(crate) fn before_time(entries: &[Entry], first: u64, time: u64) -> (u64, u64) {
        let behind = entries.partition_point(|entry| entry.time < time);
        Self::place(entries, first, behind.checked_sub(1))
    }

    fn place(entries: &[Entry], first: u64, at: Option<usize>) -> (u64, u64) {
        at.and_then(|at| entries.get(at)).map_or((crate::segment::HEADER_BYTES, first), |entry| {
            (entry.position.into(), first + u64::from(entry.offset))
        })
    }

    /// Bytes that it takes in memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Entry>()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        for entry in &self.entries {
            bytes.extend(entry.offset.to_le_bytes());
            bytes.extend(entry.position.to_le_bytes());
            bytes.extend(entry.time.to_le_bytes());
        }
        let entries_crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.interval.to_le_bytes());
        put(16, &self.segment_id.to_le_bytes());
        put(24, &self.summary.end.to_le_bytes());
        put(32, &self.summary.next.to_le_bytes());
        put(40, &self.summary.first_time.to_le_bytes());
        put(48, &self.summary.last_time.to_le_bytes());
        put(56, &self.summary.records.to_le_bytes());
        put(64, &(self.entries.len() as u64).to_le_bytes());
        put(72, &entries_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header alone, and how many entries follow with which CRC; `None` for a damaged or unknown one.
    pub(crate) fn decode_header(bytes: &[u8]) -> Option<(Self, u64, u32)> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let is_good = bytes[..8] == MAGIC && u32_at(HEADER_BYTES - 4) == crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        if !is_good || u32_at(8) != VERSION {
            return None;
        }
        let summary = Summary {
            end: u64_at(24),
            next: u64_at(32),
            first_time: u64_at(40),
            last_time: u64_at(48),
            records: u64_at(56),
        };
        let index = Self { segment_id: u64_at(16), interval: u32_at(12), summary, entries: Vec::new() };
        Some((index, u64_at(64), u32_at(72)))
    }

    /// `None` for one that was cut or changed.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut index, count, crc) = Self::decode_header(bytes)?;
        let entries = bytes.get(HEADER_BYTES..)?;
        if entries.len() as u64 != count.checked_mul(ENTRY_BYTES as u64)? || crc32c::crc32c(entries) != crc {
            return None;
        }
        index.entries = entries.chunks_exact(ENTRY_BYTES).map(Entry::decode).collect();
        Some(index)
    }
}

impl Entry {
    fn decode(bytes: &[u8]) -> Self {
        Self {
            offset: u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")),
            position: u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")),
            time: u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut builder = IndexBuilder::new(5, 100, 200);
        for offset in 0..10_u64 {
            let header = BatchHeader {
                base_offset: 100 + offset * 2,
                span: 2,
                records: 2,
                body_bytes: 20,
                timestamp: 1_000 + offset,
                ..BatchHeader::default()
            };
            builder.push(&header);
        }
        builder.finish()
    }

    #[test]
    fn it_leads_to_the_batch_or_before_it() {
        let index = index();
        let positions: Vec<_> = index.entries.iter().map(|entry| (entry.offset, entry.position)).collect();
        assert_eq!(positions, [(0, 64), (4, 264), (8, 464), (12, 664), (16, 864)]);
        assert_eq!(Index::before(&index.entries, 100, 100), (64, 100));
        assert_eq!(Index::before(&index.entries, 100, 107), (264, 104));
        assert_eq!(Index::before(&index.entries, 100, 108), (264, 104));
        assert_eq!(Index::before(&index.entries, 100, 109), (464, 108));
        assert_eq!(Index::before(&index.entries, 100, 1_000), (864, 116));
        assert_eq!(Index::before_time(&index.entries, 100, 0), (64, 100));
        assert_eq!(Index::before_time(&index.entries, 100, 1_002), (64, 100));
        assert_eq!(Index::before_time(&index.entries, 100, 1_003), (264, 104));
        assert_eq!(index.summary, Summary { end: 1_064, next: 120, first_time: 1_000, last_time: 1_009, records: 20 });
    }

    #[test]
    fn it_comes_back_and_no_bit_of_it_may_change() {
        let good = index().encode();
        assert_eq!(Index::decode(&good), Some(index()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Index::decode(&bad), None);
        }
        for length in 0..good.len() {
            assert_eq!(Index::decode(&good[..length]), None);
        }
    }
}
