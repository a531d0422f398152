//! A libzmq message: made from a block, read without a copy where that pays.
#![allow(
    unsafe_code,
    reason = "the `zmq` crate's message is dropped by its send; this one is kept when it has to wait"
)]

use std::ffi::CStr;
use std::fmt;

use bytes::Bytes;
use sinew_transport_api::{Block, Lane};
use zmq_sys::zmq_msg_t;

use crate::frames::{BLOCK_HEADER, block_kind};

/// Below this a received block is copied out of libzmq's buffer: those buffers are 64 KiB and shared, so that a small
/// block that is kept would pin all of it.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// An owned message.
pub(crate) struct Message(zmq_msg_t);

// SAFETY: a message is memory with an atomic reference count; libzmq lets any thread use it, one at a time.
unsafe impl Send for Message {}

impl Message {
    /// An empty one, to receive into.
    pub(crate) fn new() -> Self {
        let mut raw = zmq_msg_t::default();
        // SAFETY: `raw` is memory of the right size; this cannot fail.
        unsafe { zmq_sys::zmq_msg_init(&mut raw) };
        Self(raw)
    }

    /// One with these bytes, copied.
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self::joined(bytes.len(), [bytes].into_iter())
    }

    /// A block on `lane`: its header and its chunks, copied once.
    pub(crate) fn block(lane: Lane, block: &Block) -> Self {
        let header = [block_kind(lane)];
        let parts = std::iter::once(&header[..]).chain(block.chunks().iter().map(|chunk| &chunk[..]));
        Self::joined(BLOCK_HEADER + block.len(), parts)
    }

    /// `parts` one after the other; they have `size` bytes in all.
    fn joined<'a>(size: usize, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut raw = zmq_msg_t::default();
        // SAFETY: `raw` is memory of the right size.
        let code = unsafe { zmq_sys::zmq_msg_init_size(&mut raw, size) };
        assert_eq!(code, 0, "out of memory for a message of {size} bytes");
        let mut message = Self(raw);
        // SAFETY: it is an initialised message.
        let data = unsafe { zmq_sys::zmq_msg_data(&mut message.0) }.cast::<u8>();
        let mut filled = 0;
        for part in parts {
            assert!(part.len() <= size - filled, "the parts are longer than was said");
            // SAFETY: libzmq gave `size` bytes at `data`, of which `filled` are written; the part fits in the rest and
            // is not in them.
            unsafe { data.add(filled).copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            filled += part.len();
        }
        assert_eq!(filled, size, "the parts are shorter than was said");
        message
    }

    pub(crate) fn raw(&mut self) -> *mut zmq_msg_t {
        &mut self.0
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: data and size belong together and live as long as the message; `zmq_msg_data` does not write.
        unsafe {
            let size = zmq_sys::zmq_msg_size(&self.0);
            if size == 0 {
                return &[];
            }
            let data = zmq_sys::zmq_msg_data((&raw const self.0).cast_mut());
            std::slice::from_raw_parts(data.cast::<u8>(), size)
        }
    }

    /// Whether another part of the same message follows.
    pub(crate) fn has_more(&self) -> bool {
        // SAFETY: it is an initialised message.
        unsafe { zmq_sys::zmq_msg_more(&self.0) == 1 }
    }

    /// A property of the connection that it came by, such as `User-Id`. Cut to 255 characters.
    pub(crate) fn property(&self, name: &CStr) -> Option<String> {
        // SAFETY: the text, where there is one, lives as long as the message.
        unsafe {
            let text = zmq_sys::zmq_msg_gets(&self.0, name.as_ptr());
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().chars().take(255).collect())
        }
    }

    /// The block in it, without its header: copied when small, else the message's own memory.
    pub(crate) fn into_block(self) -> Bytes {
        if self.bytes().len() <= COPY_BYTES_MAX {
            return Bytes::copy_from_slice(&self.bytes()[BLOCK_HEADER..]);
        }
        Bytes::from_owner(self).slice(BLOCK_HEADER..)
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it is an initialised message, closed once.
        unsafe { zmq_sys::zmq_msg_close(&mut self.0) };
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes)", self.bytes().len())
    }
}

/// The name of a property, for [`Message::property`].
pub(crate) const USER_ID: &CStr = c"User-Id";
/// The name of a property, for [`Message::property`].
pub(crate) const PEER_ADDRESS: &CStr = c"Peer-Address";
/// The name of a property, for [`Message::property`]: the connection's descriptor, as a number.
pub(crate) const DESCRIPTOR: &CStr = c"__fd";
