//! Message bodies: eight bytes that say which message it is, then filling. Making one costs every system the same.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// The smallest body: its word.
pub(crate) const WORD_BYTES: usize = 8;
/// From here on buffers are used again, since making and clearing fresh ones would be most of what is measured.
const REUSED_FROM: usize = 4096;
/// Buffers kept; twice the cap of outstanding bytes holds more than can be on their way.
const REUSED_BYTES_MAX: usize = 32 << 20;
/// Small bodies share chunks of this size.
const CHUNK_BYTES: usize = 64 * 1024;
const FILLING: u8 = 0x5a;

/// What a body's first eight bytes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
    /// The message of this number; each publisher counts from 0.
    Counted(u64),
    /// Sent until every subscriber has heard one; nobody counts it.
    Probe,
    /// The last message; so many counted ones came before it.
    End(u64),
}

const PROBE: u64 = 1 << 62;
const END: u64 = 1 << 63;

impl Word {
    fn encode(self) -> u64 {
        match self {
            Self::Counted(number) => number,
            Self::Probe => PROBE,
            Self::End(count) => END | count,
        }
    }

    /// Of a body; `None` if it is none of ours.
    pub(crate) fn of(body: &[u8]) -> Option<Self> {
        let word = u64::from_le_bytes(*body.first_chunk::<WORD_BYTES>()?);
        Some(match word {
            _ if word & END != 0 => Self::End(word & !END),
            _ if word & PROBE != 0 => Self::Probe,
            number => Self::Counted(number),
        })
    }
}

/// Makes bodies of one size.
#[derive(Debug)]
pub(crate) struct Payloads {
    size: usize,
    chunk: BytesMut,
    reused: VecDeque<Bytes>,
}

impl Payloads {
    /// Bodies of `size` bytes, at least [`WORD_BYTES`].
    pub(crate) fn new(size: usize) -> Self {
        Self { size: size.max(WORD_BYTES), chunk: BytesMut::new(), reused: VecDeque::new() }
    }

    /// A body that says `word`.
    pub(crate) fn next(&mut self, word: Word) -> Bytes {
        if self.size >= REUSED_FROM { self.large(word) } else { self.small(word) }
    }

    fn small(&mut self, word: Word) -> Bytes {
        if self.chunk.capacity() < self.size {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        self.chunk.put_u64_le(word.encode());
        self.chunk.put_bytes(FILLING, self.size - WORD_BYTES);
        self.chunk.split().freeze()
    }

    fn large(&mut self, word: Word) -> Bytes {
        let mut buffer = self.buffer();
        buffer[..WORD_BYTES].copy_from_slice(&word.encode().to_le_bytes());
        let body = buffer.freeze();
        if self.reused.len() * self.size < REUSED_BYTES_MAX {
            self.reused.push_back(body.clone());
        }
        body
    }

    /// The oldest if nobody holds it any more, else a fresh one.
    fn buffer(&mut self) -> BytesMut {
        match self.reused.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(buffer)) => return buffer,
            Some(Err(held)) => self.reused.push_back(held),
            None => {}
        }
        BytesMut::from(&vec![FILLING; self.size][..])
    }
}

#[cfg(test)]
mod tests {
    use super::{Payloads, Word};

    #[track_caller]
    fn check(size: usize, word: Word) {
        let body = Payloads::new(size).next(word);
        assert_eq!((body.len(), Word::of(&body)), (size, Some(word)));
    }

    #[test]
    fn a_body_says_its_word_whatever_its_size() {
        for size in [8, 16, 128, 16 * 1024, 1 << 20] {
            [Word::Counted(7), Word::Probe, Word::End(9)].into_iter().for_each(|word| check(size, word));
        }
        assert_eq!(Word::of(b"short"), None);
    }

    #[test]
    fn a_large_buffer_is_used_again_only_when_nobody_holds_it() {
        let mut payloads = Payloads::new(8192);
        let first = payloads.next(Word::Counted(0));
        let second = payloads.next(Word::Counted(1));
        assert_eq!(Word::of(&first), Some(Word::Counted(0)));
        let place = first.as_ptr();
        drop(first);
        // The second stands in front of nobody: the first is the oldest that may be free.
        let bodies: Vec<_> = (2..4).map(|number| payloads.next(Word::Counted(number))).collect();
        assert!(bodies.iter().any(|body| body.as_ptr() == place));
        assert_eq!(Word::of(&second), Some(Word::Counted(1)));
    }
}

/// Which numbers below a count have come, each once. Appends that are under way together are stored in an order that nobody
/// promises, so only that is asked.
#[derive(Debug)]
pub(crate) struct Numbers {
    seen: Vec<bool>,
    left: u64,
}

impl Numbers {
    pub(crate) fn below(count: u64) -> Self {
        Self { seen: vec![false; count as usize], left: count }
    }

    /// Takes one; says what is wrong with it if it is none of them, or came before.
    pub(crate) fn take(&mut self, word: Option<Word>) -> Result<(), String> {
        let Some(Word::Counted(number)) = word else { return Err(format!("{word:?} is no event of ours")) };
        match self.seen.get_mut(number as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(format!("event {number} is there twice")),
            None => return Err(format!("event {number} of {} was never appended", self.seen.len())),
        }
        self.left -= 1;
        Ok(())
    }

    /// How many have not come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }
}
