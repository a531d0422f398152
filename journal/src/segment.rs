//! A segment: one file of batches. Its header's bytes are in `docs/STORAGE.md`, "Segment"; here is also what the writer
//! and the readers of a running journal share about it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::BatchHeader;
use crate::files::File;
use crate::index::{IndexBuilder, Summary};

/// Bytes before the first batch.
pub(crate) const HEADER_BYTES: u64 = 64;
const MAGIC: [u8; 8] = *b"SINEWSEG";
/// The version of segments.
pub(crate) const VERSION: u32 = 1;

/// What a segment's file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Random; in every batch too.
    pub(crate) id: u64,
    /// Its first offset, which is its name.
    pub(crate) first: u64,
    /// For one that a rewrite made: the first offset behind those that it stands for. Else 0.
    pub(crate) covers: u64,
    /// Log time when it was begun; 0 for the journal's first.
    pub(crate) created: u64,
}

/// What is wrong with a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Damaged,
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.covers.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.created.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let bytes: &[u8; HEADER_BYTES as usize] = bytes.try_into().map_err(|_| HeaderFault::Damaged)?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if bytes[..8] != MAGIC || u32_at(60) != crc32c::crc32c(&bytes[..60]) {
            return Err(HeaderFault::Damaged);
        }
        match u32_at(8) {
            VERSION => Ok(Self { id: u64_at(16), first: u64_at(24), covers: u64_at(32), created: u64_at(40) }),
            found => Err(HeaderFault::Version(found)),
        }
    }
}

/// The file of the segment that begins with this offset.
pub(crate) fn file_name(first: u64) -> String {
    format!("{first:020}.segment")
}

/// The offset in a segment's file name.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// What a running journal knows of one of its segments.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) id: u64,
    pub(crate) first: u64,
    /// Whether each batch must begin where the one before ends: not after a rewrite, and not with a damaged header.
    pub(crate) is_gapless: bool,
    state: Mutex<State>,
}

/// What changes: while it is written to, and once when it is sealed.
#[derive(Debug)]
pub(crate) struct State {
    /// What readers may see.
    pub(crate) summary: Summary,
    /// The index as far as it is; `None` once sealed, when it is in a file.
    pub(crate) builder: Option<IndexBuilder>,
    /// Kept open while it is written to.
    pub(crate) file: Option<Arc<dyn File>>,
    pub(crate) is_sealed: bool,
}

impl Segment {
    /// A sealed one.
    pub(crate) fn sealed(path: PathBuf, header: &SegmentHeader, is_gapless: bool, summary: Summary) -> Self {
        let state = Mutex::new(State { summary, builder: None, file: None, is_sealed: true });
        Self { path, id: header.id, first: header.first, is_gapless, state }
    }

    /// The one that is written to.
    pub(crate) fn active(
        path: PathBuf,
        header: &SegmentHeader,
        is_gapless: bool,
        builder: IndexBuilder,
        file: Arc<dyn File>,
    ) -> Self {
        let summary = *builder.summary();
        let state = Mutex::new(State { summary, builder: Some(builder), file: Some(file), is_sealed: false });
        Self { path, id: header.id, first: header.first, is_gapless, state }
    }

    /// Held for a few instructions only.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it can be left half done: a panic while it is held is a bug elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn summary(&self) -> Summary {
        self.state().summary
    }

    /// Shows readers what was committed.
    pub(crate) fn publish(&self, batches: impl Iterator<Item = BatchHeader>) {
        let mut state = self.state();
        let builder = state.builder.as_mut().expect("only the segment that is written to grows");
        batches.for_each(|header| builder.push(&header));
        state.summary = *builder.summary();
    }

    /// The file of its index.
    pub(crate) fn index_path(&self) -> PathBuf {
        index_path(&self.path)
    }
}

/// The index's file of a segment's file.
pub(crate) fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension("index")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_no_bit_of_it_may_change() {
        let header = SegmentHeader { id: 0x0123_4567_89ab_cdef, first: 7, covers: 9, created: 11 };
        let good = header.encode();
        assert_eq!(SegmentHeader::decode(&good), Ok(header));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), Err(HeaderFault::Damaged));
        }
        assert_eq!(SegmentHeader::decode(&good[1..]), Err(HeaderFault::Damaged));
    }

    #[test]
    fn names_are_offsets() {
        assert_eq!(parse_name(&file_name(u64::MAX)), Some(u64::MAX));
        assert_eq!(parse_name(&file_name(0)), Some(0));
        for other in
            ["0.segment", "00000000000000000000.index", "+0000000000000000000.segment", "99999999999999999999.segment"]
        {
            assert_eq!(parse_name(other), None);
        }
    }
}
