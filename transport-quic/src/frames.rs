//! The bytes on the streams. All streams are unidirectional; integers are little endian. Pure: no stream, no clock.
//!
//! ```text
//! stream  = number:u8 (lane | words)
//!           number 0..=31   a lane, opened at most once by each end:
//! lane    = block*             then the end of the stream, after a goodbye
//! block   = length:u32 bytes   length in 1..=block_bytes_max
//!           number 255      words, opened at most once by each end:
//! words   = word*              at most 1,024 bytes in all
//! word    = kind:u8 length:u8 payload
//!           kind 1  admitted   server to client, the first word; no payload
//!           kind 2  goodbye    lanes:u32 (bit n: lane n was used); these lanes end, nothing else follows
//!           kind 3  delivered  everything up to the peer's goodbye was given out; no payload
//!           another kind is skipped; a known kind's payload may grow at its end
//! ```

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use sinew_transport_api::{Block, Lane};

/// The number of the stream that carries words.
pub(crate) const WORDS: u8 = 255;

/// What an end may say in words in the life of a connection: more than fifty times what there is to say.
const WORDS_BYTES_MAX: usize = 1024;

/// The bytes of a block's length.
const LENGTH_BYTES: usize = 4;

/// A block's length and its first chunks are copied into one piece up to this size: below it, a copy costs less than
/// another entry in quinn's send queue.
const MERGE_BYTES_MAX: usize = 4 * 1024;

/// What is set aside for a block whose rest is still to come; more is added as it arrives, so that a length alone costs
/// its receiver little. One batch of the session.
const SET_ASIDE_BYTES: usize = 64 * 1024;

/// The first byte of a lane's stream.
pub(crate) fn lane_head(lane: Lane) -> Bytes {
    static NUMBERS: [u8; Lane::COUNT_MAX as usize] = {
        let mut numbers = [0; Lane::COUNT_MAX as usize];
        let mut lane = 0;
        while lane < Lane::COUNT_MAX {
            numbers[lane as usize] = lane;
            lane += 1;
        }
        numbers
    };
    let at = usize::from(lane.0);
    Bytes::from_static(&NUMBERS[at..=at])
}

/// A block as it goes on its stream. Costs one allocation, and a copy of what is merged with the length.
///
/// # Panics
/// If the block is 4 GiB or larger; the caller has checked its limit.
pub(crate) fn encode_block(block: Block, out: &mut VecDeque<Bytes>) {
    let length = u32::try_from(block.len()).expect("blocks are at most 16 MiB");
    let mut merged = 0;
    let mut size = LENGTH_BYTES;
    for chunk in block.chunks() {
        if size + chunk.len() > MERGE_BYTES_MAX {
            break;
        }
        size += chunk.len();
        merged += 1;
    }
    let mut head = BytesMut::with_capacity(size);
    head.extend_from_slice(&length.to_le_bytes());
    let mut chunks = block.into_chunks().into_iter();
    chunks.by_ref().take(merged).for_each(|chunk| head.extend_from_slice(&chunk));
    out.push_back(head.freeze());
    out.extend(chunks);
}

/// Takes a lane's bytes and gives its blocks.
#[derive(Debug)]
pub(crate) struct Assembler {
    block_bytes_max: usize,
    held: VecDeque<Bytes>,
    length: [u8; LENGTH_BYTES],
    length_read: usize,
    /// A block of which a part is here: its size and that part.
    partial: Option<(usize, BytesMut)>,
}

impl Assembler {
    pub(crate) fn new(block_bytes_max: usize) -> Self {
        Self { block_bytes_max, held: VecDeque::new(), length: [0; LENGTH_BYTES], length_read: 0, partial: None }
    }

    /// Adds what came next.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.held.push_back(bytes);
    }

    /// The next whole block: without a copy where it lies within one piece, else with one.
    ///
    /// # Errors
    /// The rule that was broken; nothing more may be read then.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let Some(piece) = self.held.front_mut() else { return Ok(None) };
            if piece.is_empty() {
                self.held.pop_front();
            } else if let Some((size, part)) = &mut self.partial {
                let count = piece.len().min(*size - part.len());
                part.extend_from_slice(&piece[..count]);
                piece.advance(count);
                if part.len() == *size {
                    return Ok(self.partial.take().map(|(_, part)| part.freeze()));
                }
            } else if self.length_read < LENGTH_BYTES {
                let count = piece.len().min(LENGTH_BYTES - self.length_read);
                piece.copy_to_slice(&mut self.length[self.length_read..self.length_read + count]);
                self.length_read += count;
                self.check_length()?;
            } else {
                let size = u32::from_le_bytes(self.length) as usize;
                self.length_read = 0;
                if piece.len() >= size {
                    return Ok(Some(piece.split_to(size)));
                }
                self.partial = Some((size, BytesMut::with_capacity(size.min(SET_ASIDE_BYTES))));
            }
        }
    }

    /// Whether nothing of a block is here: the stream may end.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_none() && self.length_read == 0 && self.held.iter().all(Bytes::is_empty)
    }

    fn check_length(&self) -> Result<(), String> {
        let max = self.block_bytes_max;
        match u32::from_le_bytes(self.length) as usize {
            _ if self.length_read < LENGTH_BYTES => Ok(()),
            0 => Err("it sent an empty block".to_owned()),
            size if size > max => Err(format!("it sent a block of {size} bytes, {max} are allowed")),
            _ => Ok(()),
        }
    }
}

/// What one end tells the other beside the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// You are let in.
    Admitted,
    /// These lanes, as bits, were used; they end, and that is all.
    Goodbye(u32),
    /// All that you sent up to your goodbye was given out.
    Delivered,
}

const ADMITTED: u8 = 1;
const GOODBYE: u8 = 2;
const DELIVERED: u8 = 3;

impl Word {
    pub(crate) fn encode(self) -> Bytes {
        match self {
            Self::Admitted => Bytes::from_static(&[ADMITTED, 0]),
            Self::Goodbye(lanes) => [&[GOODBYE, 4][..], &lanes.to_le_bytes()].concat().into(),
            Self::Delivered => Bytes::from_static(&[DELIVERED, 0]),
        }
    }

    /// `None` for a kind from a later version.
    fn decode(kind: u8, payload: &[u8]) -> Result<Option<Self>, String> {
        match (kind, payload.first_chunk()) {
            (ADMITTED, _) => Ok(Some(Self::Admitted)),
            (GOODBYE, Some(lanes)) => Ok(Some(Self::Goodbye(u32::from_le_bytes(*lanes)))),
            (GOODBYE, None) => Err("its goodbye is too short".to_owned()),
            (DELIVERED, _) => Ok(Some(Self::Delivered)),
            _ => Ok(None),
        }
    }
}

/// Takes the bytes of the words' stream and gives the words.
#[derive(Debug, Default)]
pub(crate) struct WordReader {
    bytes: Vec<u8>,
    at: usize,
}

impl WordReader {
    /// Adds what came next.
    ///
    /// # Errors
    /// If there is more than an end may say.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.bytes.len() + bytes.len() > WORDS_BYTES_MAX {
            return Err(format!("it said more than {WORDS_BYTES_MAX} bytes in words"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole word.
    ///
    /// # Errors
    /// The rule that was broken.
    pub(crate) fn take(&mut self) -> Result<Option<Word>, String> {
        while let [kind, length, rest @ ..] = &self.bytes[self.at..] {
            let Some(payload) = rest.get(..usize::from(*length)) else { break };
            let word = Word::decode(*kind, payload);
            self.at += 2 + payload.len();
            if let Some(word) = word? {
                return Ok(Some(word));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
