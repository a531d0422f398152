//! Puts fragmented records together again: one record at a time for each lane, memory bounded by what has arrived.
//!
//! A fragment is a record of the session with verb `FRAGMENT`; its head is the total size (u32) and this fragment's
//! offset (u32), its body a piece of the whole record. Fragments of one lane follow one another.

use bytes::{Bytes, BytesMut};
use sinew_transport_api::Lane;

use crate::record::{HEADER_BYTES, LAST, Record};

/// Bytes of a fragment's head.
pub(crate) const FRAGMENT_HEAD_BYTES: usize = 8;

/// The head of the fragment at `offset` of a record of `total` bytes.
pub(crate) fn fragment_head(total: usize, offset: usize) -> [u8; FRAGMENT_HEAD_BYTES] {
    let mut head = [0; FRAGMENT_HEAD_BYTES];
    head[..4].copy_from_slice(&(total as u32).to_le_bytes());
    head[4..].copy_from_slice(&(offset as u32).to_le_bytes());
    head
}

/// Records being put together.
#[derive(Debug)]
pub(crate) struct Reassembly {
    lanes: Vec<BytesMut>,
    record_bytes_max: usize,
    bytes_max: usize,
    bytes: usize,
}

impl Reassembly {
    pub(crate) fn new(record_bytes_max: usize, bytes_max: usize) -> Self {
        Self { lanes: Vec::new(), record_bytes_max, bytes_max, bytes: 0 }
    }

    /// Takes a fragment; gives the whole record with the last one.
    pub(crate) fn add(&mut self, lane: Lane, fragment: &Record<'_>) -> Result<Option<Bytes>, BadFragment> {
        let head: &[u8; FRAGMENT_HEAD_BYTES] = fragment
            .head()
            .get(..FRAGMENT_HEAD_BYTES)
            .and_then(|head| head.try_into().ok())
            .ok_or(BadFragment::Head)?;
        let total = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let offset = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let last = fragment.header.flags & LAST != 0;
        let piece = fragment.body();
        if total > self.record_bytes_max || total < HEADER_BYTES {
            return Err(BadFragment::Size { bytes: total, max: self.record_bytes_max });
        }
        let index = usize::from(lane.0);
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, BytesMut::new);
        }
        let partial = &mut self.lanes[index];
        if offset != partial.len()
            || piece.is_empty()
            || offset + piece.len() > total
            || last != (offset + piece.len() == total)
        {
            return Err(BadFragment::Order);
        }
        if self.bytes + piece.len() > self.bytes_max {
            return Err(BadFragment::Memory { max: self.bytes_max });
        }
        partial.extend_from_slice(piece);
        self.bytes += piece.len();
        if !last {
            return Ok(None);
        }
        self.bytes -= partial.len();
        Ok(Some(std::mem::take(partial).freeze()))
    }
}

/// A fragment that does not fit. The connection is ended: the sender is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFragment {
    #[error("a fragment's head is shorter than 8 bytes")]
    Head,
    #[error("a fragmented record of {bytes} bytes; the limit is {max}")]
    Size { bytes: usize, max: usize },
    #[error("a fragment that does not continue the one before")]
    Order,
    #[error("more than {max} bytes of fragments at one time")]
    Memory { max: usize },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::verb::FRAGMENT;
    use crate::record::{Header, Run, SESSION, encode};

    fn add(
        reassembly: &mut Reassembly,
        lane: u8,
        total: usize,
        offset: usize,
        piece: &[u8],
        last: bool,
    ) -> Result<Option<Bytes>, BadFragment> {
        let flags = if last { LAST } else { 0 };
        let bytes =
            encode(Header { service: SESSION, verb: FRAGMENT, flags, call: 0 }, &fragment_head(total, offset), piece);
        reassembly.add(Lane(lane), &Run::parse(&bytes).unwrap().next().unwrap())
    }

    #[test]
    fn pieces_of_two_lanes_do_not_mix() {
        let mut r = Reassembly::new(100, 100);
        assert_eq!(add(&mut r, 1, 20, 0, &[1; 12], false), Ok(None));
        assert_eq!(add(&mut r, 2, 18, 0, &[2; 9], false), Ok(None));
        assert_eq!(add(&mut r, 1, 20, 12, &[1; 8], true), Ok(Some(Bytes::from(vec![1; 20]))));
        assert_eq!(add(&mut r, 2, 18, 9, &[2; 9], true), Ok(Some(Bytes::from(vec![2; 18]))));
        assert_eq!(r.bytes, 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut r = Reassembly::new(100, 50);
        assert_eq!(add(&mut r, 1, 101, 0, &[1; 10], false), Err(BadFragment::Size { bytes: 101, max: 100 }));
        assert_eq!(add(&mut r, 1, 20, 3, &[1; 10], false), Err(BadFragment::Order));
        assert_eq!(add(&mut r, 1, 20, 0, &[1; 10], true), Err(BadFragment::Order));
        assert_eq!(add(&mut r, 1, 20, 0, &[1; 21], false), Err(BadFragment::Order));
        assert_eq!(add(&mut r, 1, 100, 0, &[1; 51], false), Err(BadFragment::Memory { max: 50 }));
        assert_eq!(add(&mut r, 1, 20, 0, &[], false), Err(BadFragment::Order));
    }
}
