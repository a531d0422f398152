//! Walking over the batches of a segment, each checked before it is believed, and finding the next good one behind a bad
//! one. What a bad one means is for the caller to say: `recovery.rs` for the end of the log, `reader.rs` for the rest.

use std::io;

use bytes::Bytes;

use crate::batch::{BatchHeader, HEADER_BYTES, MAGIC};
use crate::files::{File, read_full};

/// What is read at one time; FACTS say larger pieces give nothing.
pub(crate) const PIECE_BYTES: usize = 1024 * 1024;

/// What stands at a place.
#[derive(Debug)]
pub(crate) enum Step {
    /// A batch whose checksums hold; the walk now stands behind it.
    Batch(BatchHeader, Bytes),
    /// No batch, or a changed one; the walk stays before it.
    Bad,
    /// The end that was given.
    End,
}

/// A place in a segment.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    segment_id: u64,
    is_gapless: bool,
    /// Whether `next` is where the next batch must begin, rather than the least it may begin with.
    is_exact: bool,
    position: u64,
    next: u64,
    end: u64,
    piece_bytes: usize,
    buffer: Bytes,
    buffer_at: u64,
}

impl<'a> Walk<'a> {
    /// From byte `position`, where offset `next` is due, to byte `end`.
    pub(crate) fn new(
        file: &'a dyn File,
        segment_id: u64,
        is_gapless: bool,
        (position, next): (u64, u64),
        end: u64,
    ) -> Self {
        let (piece_bytes, buffer) = (PIECE_BYTES, Bytes::new());
        Self {
            file,
            segment_id,
            is_gapless,
            is_exact: is_gapless,
            position,
            next,
            end,
            piece_bytes,
            buffer,
            buffer_at: 0,
        }
    }

    /// Reads in pieces of so many bytes at most, where a batch is not larger.
    pub(crate) fn in_pieces(mut self, bytes: usize) -> Self {
        self.piece_bytes = bytes.clamp(HEADER_BYTES, PIECE_BYTES);
        self
    }

    /// Where the next batch begins, or the bad one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The offset that is due.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The end that was given.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Goes to another place.
    pub(crate) fn jump(&mut self, position: u64, next: u64) {
        (self.position, self.next, self.is_exact) = (position, next, self.is_gapless);
    }

    /// First byte behind the last one that is not zero, from here to the end.
    pub(crate) fn end_of_bytes(&self) -> io::Result<Option<u64>> {
        let (mut at, mut found) = (self.position, None);
        while at < self.end {
            let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
            let piece = read_piece(self.file, at, left.min(PIECE_BYTES))?;
            if piece.is_empty() {
                break;
            }
            found = piece.iter().rposition(|byte| *byte != 0).map(|last| at + last as u64 + 1).or(found);
            at += piece.len() as u64;
        }
        Ok(found)
    }

    /// The next batch.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if self.position >= self.end {
            return Ok(Step::End);
        }
        let Some(header) = self.header()? else { return Ok(Step::Bad) };
        let Some(at) = self.fetch(header.bytes() as usize)? else { return Ok(Step::Bad) };
        let body = at + HEADER_BYTES..at + header.bytes() as usize;
        if crc32c::crc32c(&self.buffer[body.clone()]) != header.body_crc {
            return Ok(Step::Bad);
        }
        self.position += header.bytes();
        self.next = header.next_offset();
        self.is_exact = self.is_gapless;
        Ok(Step::Batch(header, self.buffer.slice(body)))
    }

    /// The header here, if it is one of this segment that may stand here.
    fn header(&mut self) -> io::Result<Option<BatchHeader>> {
        let Some(at) = self.fetch(HEADER_BYTES)? else { return Ok(None) };
        let bytes = self.buffer[at..at + HEADER_BYTES].try_into().expect("as many bytes as a header");
        let fits = |header: &BatchHeader| {
            let is_due = if self.is_exact { header.base_offset == self.next } else { header.base_offset >= self.next };
            is_due && header.segment_id == self.segment_id && header.bytes() <= self.end - self.position
        };
        Ok(BatchHeader::decode(bytes, self.position).filter(fits))
    }

    /// Where in the buffer so many bytes from here are; `None` when the file has fewer.
    fn fetch(&mut self, count: usize) -> io::Result<Option<usize>> {
        if let Some(at) = self.position.checked_sub(self.buffer_at).map(|at| at as usize)
            && at + count <= self.buffer.len()
        {
            return Ok(Some(at));
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.buffer = read_piece(self.file, self.position, count.max(self.piece_bytes).min(left))?;
        self.buffer_at = self.position;
        Ok((count <= self.buffer.len()).then_some(0))
    }

    /// From a bad place to the next header of this segment that may stand behind it, whatever its body; `None` when there
    /// is none before the end, and the walk stays where it was.
    pub(crate) fn skip_bad(&mut self) -> io::Result<Option<BatchHeader>> {
        // Where the header holds and the body alone is bad, its length and offsets can be believed.
        let (mut from, least) = match self.header()? {
            Some(header) => (self.position + header.bytes(), header.next_offset()),
            None => (self.position + 1, self.next),
        };
        while from + HEADER_BYTES as u64 <= self.end {
            let left = usize::try_from(self.end - from).unwrap_or(usize::MAX);
            let piece = read_piece(self.file, from, left.min(PIECE_BYTES))?;
            if piece.len() < HEADER_BYTES {
                break;
            }
            for (at, window) in candidates(&piece) {
                let position = from + at as u64;
                let Some(header) = BatchHeader::decode(window, position) else { continue };
                let fits = header.bytes() <= self.end - position && header.base_offset >= least;
                if fits && header.segment_id == self.segment_id {
                    self.jump(position, header.base_offset);
                    return Ok(Some(header));
                }
            }
            from += (piece.len() - HEADER_BYTES + 1) as u64;
        }
        Ok(None)
    }
}

/// Places that begin as a header does.
fn candidates(piece: &[u8]) -> impl Iterator<Item = (usize, &[u8; HEADER_BYTES])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = piece.get(at..)?.iter().position(|byte| *byte == MAGIC[0]) {
            let place = at + found;
            at = place + 1;
            let window = piece.get(place..place + HEADER_BYTES)?;
            if window.starts_with(&MAGIC) {
                return Some((place, window.try_into().expect("as many bytes as a header")));
            }
        }
        None
    })
}

/// The id in the first batch header that holds, whichever segment it is of.
pub(crate) fn find_segment_id(file: &dyn File, from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut from = from;
    while from + HEADER_BYTES as u64 <= end {
        let left = usize::try_from(end - from).unwrap_or(usize::MAX);
        let piece = read_piece(file, from, left.min(PIECE_BYTES))?;
        if piece.len() < HEADER_BYTES {
            break;
        }
        let decode = |(at, window): (usize, &[u8; HEADER_BYTES])| BatchHeader::decode(window, from + at as u64);
        if let Some(header) = candidates(&piece).find_map(decode) {
            return Ok(Some(header.segment_id));
        }
        from += (piece.len() - HEADER_BYTES + 1) as u64;
    }
    Ok(None)
}

/// So many bytes, or fewer at the end of the file.
pub(crate) fn read_piece(file: &dyn File, position: u64, bytes: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; bytes];
    let count = read_full(file, &mut buffer, position)?;
    buffer.truncate(count);
    Ok(buffer.into())
}
