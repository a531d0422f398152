//! A batch: what is written, checked and read as one. Its bytes are in `docs/STORAGE.md`, "Batch".

use bytes::Bytes;

use crate::error::{Error, Result};

/// Bytes of the body of one batch.
pub const BATCH_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 80;
/// What a header begins with; not zero, since zeros mark the end.
pub(crate) const MAGIC: [u8; 4] = [0x9e, b'S', b'J', b'B'];

/// What stands before a batch's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchHeader {
    /// Bytes of the body.
    pub body_bytes: u32,
    /// CRC32C of the body.
    pub body_crc: u32,
    /// The batch's first offset.
    pub base_offset: u64,
    /// How many offsets it takes; none for one that only the owner reads.
    pub span: u32,
    /// Records in it.
    pub records: u32,
    /// Log time: nanoseconds since 1970, never less than that of the batch before.
    pub timestamp: u64,
    /// Who made it; the owner's meaning.
    pub producer_id: u64,
    /// Which life of the producer; the owner's meaning.
    pub producer_epoch: u32,
    /// What it is; the owner's meaning.
    pub kind: u16,
    /// How the body is compressed; the owner's meaning.
    pub codec: u16,
    /// Its number among the producer's; the owner's meaning.
    pub sequence: u64,
    /// The segment that it was written to, so that what a file held before is not taken for its contents.
    pub segment_id: u64,
    /// Everything before this byte of the segment was on disk when the batch was written.
    pub synced: u64,
}

impl BatchHeader {
    /// The first offset behind it.
    pub fn next_offset(&self) -> u64 {
        self.base_offset.saturating_add(self.span.into())
    }

    /// Bytes of header and body.
    pub(crate) fn bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// For byte `position` of its segment, which the checksum is about too: a batch that stands elsewhere than where it was
    /// written is none.
    pub(crate) fn encode(&self, position: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &self.body_bytes.to_le_bytes());
        put(12, &self.body_crc.to_le_bytes());
        put(16, &self.base_offset.to_le_bytes());
        put(24, &self.span.to_le_bytes());
        put(28, &self.records.to_le_bytes());
        put(32, &self.timestamp.to_le_bytes());
        put(40, &self.producer_id.to_le_bytes());
        put(48, &self.producer_epoch.to_le_bytes());
        put(52, &self.kind.to_le_bytes());
        put(54, &self.codec.to_le_bytes());
        put(56, &self.sequence.to_le_bytes());
        put(64, &self.segment_id.to_le_bytes());
        put(72, &self.synced.to_le_bytes());
        let crc = header_crc(&bytes, position);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` for what is no header of this place, or a changed one.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES], position: u64) -> Option<Self> {
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"));
        if bytes[..4] != MAGIC || u32_at(4) != header_crc(bytes, position) {
            return None;
        }
        Some(Self {
            body_bytes: u32_at(8),
            body_crc: u32_at(12),
            base_offset: u64_at(16),
            span: u32_at(24),
            records: u32_at(28),
            timestamp: u64_at(32),
            producer_id: u64_at(40),
            producer_epoch: u32_at(48),
            kind: u16_at(52),
            codec: u16_at(54),
            sequence: u64_at(56),
            segment_id: u64_at(64),
            synced: u64_at(72),
        })
    }
}

fn header_crc(bytes: &[u8; HEADER_BYTES], position: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[8..]), &position.to_le_bytes())
}

/// A batch that is ready to be committed: its body is checked and its checksum made, on the thread that made it, so that
/// the commit has only headers to fill in.
#[derive(Clone, Debug)]
pub struct PreparedBatch {
    pub(crate) header: BatchHeader,
    pub(crate) body: Bytes,
}

impl PreparedBatch {
    /// A batch of `records` records that takes `span` offsets (none for what only the owner reads). Costs one pass over
    /// the body.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`BATCH_BODY_BYTES_MAX`].
    pub fn new(body: impl Into<Bytes>, records: u32, span: u32) -> Result<Self> {
        let body = body.into();
        if body.len() > BATCH_BODY_BYTES_MAX {
            let (bytes, max) = (body.len() as u64, BATCH_BODY_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "a batch", bytes, max });
        }
        let (body_bytes, body_crc) = (body.len() as u32, crc32c::crc32c(&body));
        Ok(Self { header: BatchHeader { body_bytes, body_crc, span, records, ..BatchHeader::default() }, body })
    }

    /// Says what it is.
    #[must_use]
    pub fn kind(mut self, kind: u16) -> Self {
        self.header.kind = kind;
        self
    }

    /// Says how the body is compressed.
    #[must_use]
    pub fn codec(mut self, codec: u16) -> Self {
        self.header.codec = codec;
        self
    }

    /// Says who made it, in which life, and its number among that one's.
    #[must_use]
    pub fn producer(mut self, id: u64, epoch: u32, sequence: u64) -> Self {
        (self.header.producer_id, self.header.producer_epoch, self.header.sequence) = (id, epoch, sequence);
        self
    }

    /// Its header; offset, time and segment are filled in by the commit.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Its body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes that it takes in a segment.
    pub fn bytes(&self) -> u64 {
        self.header.bytes()
    }
}

/// A batch as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchView {
    /// Its header.
    pub header: BatchHeader,
    /// Its body, a slice of the read buffer (up to 1 MiB): copy what is kept for long.
    pub body: Bytes,
    /// First offset of the segment that it stands in.
    pub segment: u64,
    /// Byte of that segment's file where its header begins.
    pub position: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_comes_back_and_no_bit_of_it_may_change(
            fields in any::<(u32, u32, u64, u32, u32, u64)>(),
            more in any::<(u64, u32, u16, u16, u64, u64, u64)>(),
            position in any::<u64>(),
            bit in 0..HEADER_BYTES * 8,
        ) {
            let (body_bytes, body_crc, base_offset, span, records, timestamp) = fields;
            let (producer_id, producer_epoch, kind, codec, sequence, segment_id, synced) = more;
            let header = BatchHeader {
                body_bytes, body_crc, base_offset, span, records, timestamp,
                producer_id, producer_epoch, kind, codec, sequence, segment_id, synced,
            };
            let mut bytes = header.encode(position);
            prop_assert_eq!(BatchHeader::decode(&bytes, position), Some(header));
            prop_assert_eq!(BatchHeader::decode(&bytes, position ^ 8), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(BatchHeader::decode(&bytes, position), None);
        }
    }

    #[test]
    fn zeros_are_no_batch() {
        assert_eq!(BatchHeader::decode(&[0; HEADER_BYTES], 64), None);
    }

    #[test]
    fn a_body_above_the_limit_is_refused() {
        let body = vec![0; BATCH_BODY_BYTES_MAX + 1];
        let refused = PreparedBatch::new(body, 1, 1).expect_err("one byte too many");
        assert!(matches!(refused, Error::TooLarge { .. }));
    }
}
