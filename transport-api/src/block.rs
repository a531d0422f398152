//! A block on its way out: a list of chunks, so that a large payload needs no copy.

use bytes::{Bytes, BytesMut};

/// A block to be sent: its bytes are those of its chunks, one after the other. No chunk is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    chunks: Vec<Bytes>,
    bytes: usize,
}

impl Block {
    /// Adds `chunk` at the end, without a copy. An empty one is left out.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// How many bytes it has in all.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether it has no byte. Such a block cannot be sent.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Its chunks in order.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Takes the chunks out and leaves it empty, as [`Sender::try_send`](crate::Sender::try_send) does on success.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Its chunks, given away.
    pub fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }

    /// The whole as one piece: free for a single chunk, one copy otherwise.
    pub fn into_bytes(mut self) -> Bytes {
        if self.chunks.len() == 1 {
            return self.chunks.pop().expect("there is one");
        }
        let mut whole = BytesMut::with_capacity(self.bytes);
        self.chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }
}

impl From<Bytes> for Block {
    fn from(chunk: Bytes) -> Self {
        let mut block = Self::default();
        block.push(chunk);
        block
    }
}
