//! The queue of one lane: small records packed into one buffer, large bodies beside it, cut into blocks.
//!
//! Plain state: no lock, no waiting. `outbox.rs` puts a lock around all lanes of a connection.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use sinew_transport_api::Block;

use crate::hello::verb::FRAGMENT;
use crate::limits::{BATCH_BYTES, FRAGMENT_BYTES, SHARED_BODY_BYTES};
use crate::planted::is_planted;
use crate::reassembly::{FRAGMENT_HEAD_BYTES, fragment_head};
use crate::record::{HEADER_BYTES, Header, LAST, SESSION, readdress};

/// The first packing buffer of a lane; it doubles while it is filled, up to [`BATCH_BYTES`], so that an idle
/// connection costs little.
const PACK_BYTES_FIRST: usize = 2 * 1024;

/// A block ready to be sent, with what it carries.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) block: Block,
    /// Records that end in this block.
    pub(crate) records: u32,
    /// One-way records among them.
    pub(crate) one_way: u32,
    /// It begins in the middle of a fragmented record.
    continues: bool,
}

/// How block sizes follow from the transport's limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    batch: usize,
    fragment: usize,
}

impl Sizes {
    pub(crate) fn new(block_bytes_max: usize) -> Self {
        let room = block_bytes_max.saturating_sub(HEADER_BYTES + FRAGMENT_HEAD_BYTES).max(1);
        Self { batch: BATCH_BYTES.min(block_bytes_max), fragment: FRAGMENT_BYTES.min(room) }
    }
}

#[derive(Debug)]
pub(crate) struct LaneQueue {
    sealed: VecDeque<Sealed>,
    building: Sealed,
    pack: BytesMut,
    pack_bytes: usize,
    /// Records pushed and taken since the beginning.
    pub(crate) pushed: u64,
    pub(crate) taken: u64,
}

impl Default for LaneQueue {
    fn default() -> Self {
        Self {
            sealed: VecDeque::new(),
            building: Sealed::default(),
            pack: BytesMut::new(),
            pack_bytes: PACK_BYTES_FIRST / 2,
            pushed: 0,
            taken: 0,
        }
    }
}

impl LaneQueue {
    /// Packs one record; gives the bytes it takes in blocks. The head comes in pieces, so that nobody has to join them first.
    #[inline]
    pub(crate) fn push(&mut self, sizes: Sizes, header: Header, head: &[&[u8]], body: &Bytes) -> usize {
        let head_bytes: usize = head.iter().map(|piece| piece.len()).sum();
        let size = HEADER_BYTES + head_bytes + body.len();
        if size > sizes.fragment {
            let mut front = BytesMut::with_capacity(HEADER_BYTES + head_bytes);
            front.extend_from_slice(&header.encode(head_bytes, size));
            head.iter().for_each(|piece| front.extend_from_slice(piece));
            return self.push_fragments(sizes, header.is_one_way(), &[front.freeze(), body.clone()], size);
        }
        let shared = body.len() >= SHARED_BODY_BYTES;
        let packed = if shared { size - body.len() } else { size };
        self.make_room(sizes, size, packed);
        self.pack.extend_from_slice(&header.encode(head_bytes, size));
        head.iter().for_each(|piece| self.pack.extend_from_slice(piece));
        if shared {
            let front = self.pack.split().freeze();
            self.building.block.push(front);
            self.building.block.push(body.clone());
        } else {
            self.pack.extend_from_slice(body);
        }
        self.count(header.is_one_way());
        size
    }

    /// Packs a record that is encoded already, under another verb and call: one copy of its bytes, or for a large one
    /// none but of its header. `raw` must be a whole record; `shared` gives a shared view of it where wanted. Gives the
    /// bytes it takes in blocks.
    #[inline]
    pub(crate) fn push_readdressed(
        &mut self,
        sizes: Sizes,
        raw: &[u8],
        verb: u8,
        call: u32,
        shared: impl FnOnce() -> Bytes,
    ) -> usize {
        if raw.len() >= SHARED_BODY_BYTES || raw.len() > sizes.fragment {
            return self.push_readdressed_large(sizes, shared(), verb, call);
        }
        self.make_room(sizes, raw.len(), raw.len());
        let at = self.pack.len();
        self.pack.extend_from_slice(raw);
        readdress(&mut self.pack[at..], verb, 0, call);
        self.count(false);
        raw.len()
    }

    fn push_readdressed_large(&mut self, sizes: Sizes, raw: Bytes, verb: u8, call: u32) -> usize {
        let mut front: [u8; HEADER_BYTES] = raw[..HEADER_BYTES].try_into().expect("a whole record");
        readdress(&mut front, verb, 0, call);
        let rest = raw.slice(HEADER_BYTES..);
        if raw.len() > sizes.fragment {
            return self.push_fragments(sizes, false, &[Bytes::copy_from_slice(&front), rest], raw.len());
        }
        self.make_room(sizes, raw.len(), HEADER_BYTES);
        self.pack.extend_from_slice(&front);
        let front = self.pack.split().freeze();
        self.building.block.push(front);
        self.building.block.push(rest);
        self.count(false);
        raw.len()
    }

    /// The next block; seals what is being packed when nothing else waits.
    pub(crate) fn take(&mut self) -> Option<Sealed> {
        let sealed = match self.sealed.pop_front() {
            Some(sealed) => sealed,
            None => {
                self.seal();
                self.sealed.pop_front()?
            }
        };
        self.taken += u64::from(sealed.records);
        Some(sealed)
    }

    /// Takes back a block that was not sent.
    pub(crate) fn put_back(&mut self, sealed: Sealed) {
        self.taken -= u64::from(sealed.records);
        if is_planted("order swapped") {
            self.seal();
            self.sealed.push_back(sealed);
        } else {
            self.sealed.push_front(sealed);
        }
    }

    /// A bug on purpose: the same block again, as if it had not been sent.
    pub(crate) fn put_back_copy(&mut self, sealed: &Sealed) {
        let Sealed { ref block, records, one_way, continues } = *sealed;
        self.pushed += u64::from(records);
        self.sealed.push_front(Sealed { block: block.clone(), records, one_way, continues });
    }

    /// After a cut: drops the rest of a record whose first fragments are gone. Gives the bytes and the one-way records
    /// dropped.
    pub(crate) fn drop_torn(&mut self) -> (usize, u32) {
        let (mut bytes, mut one_way) = (0, 0);
        while self.sealed.front().is_some_and(|sealed| sealed.continues) {
            let torn = self.sealed.pop_front().expect("there is one");
            bytes += torn.block.len();
            one_way += torn.one_way;
            self.taken += u64::from(torn.records);
        }
        (bytes, one_way)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.building.block.is_empty() && self.pack.is_empty()
    }

    /// Gives the packing buffer back to the allocator when nothing is in it.
    pub(crate) fn trim(&mut self) {
        if self.is_empty() {
            self.pack = BytesMut::new();
            self.pack_bytes = PACK_BYTES_FIRST / 2;
            self.sealed.shrink_to_fit();
        }
    }

    #[inline]
    fn count(&mut self, one_way: bool) {
        self.building.records += 1;
        self.building.one_way += u32::from(one_way);
        self.pushed += 1;
    }

    /// Makes sure that a record of `size` bytes, `packed` of them in the buffer, fits the block being built.
    #[inline]
    fn make_room(&mut self, sizes: Sizes, size: usize, packed: usize) {
        let held = self.building.block.len() + self.pack.len();
        if held > 0 && held + size > sizes.batch {
            self.seal();
        }
        if self.pack.capacity() - self.pack.len() < packed {
            self.seal();
            self.pack_bytes = (self.pack_bytes * 2).min(BATCH_BYTES);
            self.pack = BytesMut::with_capacity(self.pack_bytes.max(packed));
        }
    }

    fn seal(&mut self) {
        if !self.pack.is_empty() {
            let front = self.pack.split().freeze();
            self.building.block.push(front);
        }
        if !self.building.block.is_empty() {
            self.sealed.push_back(std::mem::take(&mut self.building));
        }
    }

    fn push_fragments(&mut self, sizes: Sizes, one_way: bool, parts: &[Bytes], total: usize) -> usize {
        self.seal();
        self.pushed += 1;
        let (mut offset, mut bytes) = (0, 0);
        let (mut part, mut at) = (0, 0);
        while offset < total {
            let piece = sizes.fragment.min(total - offset);
            let last = offset + piece == total;
            let header = Header { service: SESSION, verb: FRAGMENT, flags: if last { LAST } else { 0 }, call: 0 };
            let mut front = BytesMut::with_capacity(HEADER_BYTES + FRAGMENT_HEAD_BYTES);
            front.extend_from_slice(&header.encode(FRAGMENT_HEAD_BYTES, HEADER_BYTES + FRAGMENT_HEAD_BYTES + piece));
            front.extend_from_slice(&fragment_head(total, offset));
            let mut block = Block::from(front.freeze());
            let mut left = piece;
            while left > 0 {
                let take = left.min(parts[part].len() - at);
                block.push(parts[part].slice(at..at + take));
                left -= take;
                at += take;
                if at == parts[part].len() {
                    (part, at) = (part + 1, 0);
                }
            }
            let (records, one_way) = if last { (1, u32::from(one_way)) } else { (0, 0) };
            bytes += block.len();
            self.sealed.push_back(Sealed { block, records, one_way, continues: offset > 0 });
            offset += piece;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reassembly::Reassembly;
    use crate::record::Run;
    use proptest::prelude::*;
    use sinew_transport_api::Lane;

    fn sizes() -> Sizes {
        Sizes::new(256 * 1024)
    }

    fn publish(call: u32) -> Header {
        Header { service: 1, verb: 1, flags: 0, call }
    }

    /// Takes every block out and gives all records as they would be dispatched.
    fn drain(queue: &mut LaneQueue, block_bytes_max: usize) -> Vec<(u8, u32, Vec<u8>, Vec<u8>)> {
        let mut reassembly = Reassembly::new(1 << 30, 1 << 30);
        let mut out = Vec::new();
        while let Some(sealed) = queue.take() {
            assert!(sealed.block.len() <= block_bytes_max, "block of {}", sealed.block.len());
            let bytes = sealed.block.into_bytes();
            for record in Run::parse(&bytes).unwrap() {
                if record.header.service == SESSION {
                    if let Some(whole) = reassembly.add(Lane(1), &record).unwrap() {
                        let record = Run::parse(&whole).unwrap().next().unwrap();
                        out.push((
                            record.header.verb,
                            record.header.call,
                            record.head().to_vec(),
                            record.body().to_vec(),
                        ));
                    }
                } else {
                    out.push((record.header.verb, record.header.call, record.head().to_vec(), record.body().to_vec()));
                }
            }
        }
        out
    }

    #[test]
    fn small_records_share_a_block() {
        let mut queue = LaneQueue::default();
        queue.push(sizes(), publish(0), &[b"a"], &Bytes::from_static(b"1"));
        queue.push(sizes(), publish(0), &[b"b"], &Bytes::from_static(b"2"));
        let sealed = queue.take().unwrap();
        assert_eq!((sealed.records, sealed.one_way, sealed.block.chunks().len()), (2, 2, 1));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let mut queue = LaneQueue::default();
        let body = Bytes::from(vec![5; SHARED_BODY_BYTES]);
        queue.push(sizes(), publish(0), &[b"a"], &body);
        let sealed = queue.take().unwrap();
        assert_eq!(sealed.block.chunks()[1].as_ptr(), body.as_ptr());
    }

    #[test]
    fn after_a_cut_the_rest_of_a_torn_record_is_dropped_and_counted() {
        let mut queue = LaneQueue::default();
        queue.push(sizes(), publish(0), &[b"a"], &Bytes::from(vec![1; 300_000]));
        queue.push(sizes(), publish(0), &[b"b"], &Bytes::new());
        queue.take().unwrap();
        assert_eq!(queue.drop_torn().1, 1);
        assert_eq!(drain(&mut queue, 256 * 1024), [(1, 0, b"b".to_vec(), vec![])]);
        assert_eq!(queue.pushed, queue.taken);
    }

    #[test]
    fn what_was_put_back_comes_first() {
        let mut queue = LaneQueue::default();
        queue.push(sizes(), publish(1), &[], &Bytes::new());
        let first = queue.take().unwrap();
        queue.push(sizes(), publish(2), &[], &Bytes::new());
        queue.put_back(first);
        assert_eq!(drain(&mut queue, 256 * 1024).iter().map(|r| r.1).collect::<Vec<_>>(), [1, 2]);
    }

    proptest! {
        #[test]
        fn everything_comes_out_in_order_whatever_the_sizes(
            block_bytes_max in 1_024usize..300_000,
            records in proptest::collection::vec((0usize..600, prop_oneof![0usize..100, 8_000usize..9_000, 100_000usize..400_000], any::<bool>()), 1..20),
        ) {
            let sizes = Sizes::new(block_bytes_max);
            let mut queue = LaneQueue::default();
            let mut expected = Vec::new();
            for (index, (head, body, readdressed)) in records.into_iter().enumerate() {
                let (head, body) = (vec![index as u8; head], Bytes::from(vec![index as u8; body]));
                let call = index as u32;
                if readdressed {
                    let raw = crate::record::encode(publish(0), &head, &body);
                    queue.push_readdressed(sizes, &raw, 7, call, || raw.clone());
                } else {
                    queue.push(sizes, publish(call), &[&head[..head.len() / 2], &head[head.len() / 2..]], &body);
                }
                expected.push((if readdressed { 7 } else { 1 }, call, head, body.to_vec()));
            }
            prop_assert_eq!(drain(&mut queue, block_bytes_max), expected);
            prop_assert_eq!(queue.pushed, queue.taken);
        }
    }
}
