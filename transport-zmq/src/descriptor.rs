//! A descriptor of libzmq's, held by one of our own, so that it stays the same connection whatever libzmq does.
#![allow(unsafe_code, reason = "libzmq's descriptors are bare numbers")]

use std::net::{Shutdown, TcpStream};
use std::os::fd::{BorrowedFd, RawFd};

/// A second descriptor of a connection. While it lives the connection is not closed, so it is held for a moment only.
/// A Unix socket is ended by the same call.
pub(crate) struct Held(TcpStream);

impl Held {
    /// Of whatever the number stands for now; `None` if it is nothing, or if there are no more descriptors.
    pub(crate) fn of(number: RawFd) -> Option<Self> {
        if number < 0 {
            return None;
        }
        // SAFETY: the number is not -1 and is used for this one call. Should libzmq close it meanwhile, the call fails or
        // duplicates what has taken its place, which is closed again without having been used: whoever calls this asks
        // afterwards what it holds.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        borrowed.try_clone_to_owned().ok().map(|held| Self(held.into()))
    }

    /// Ends the connection in both directions: libzmq sees its peer leave.
    pub(crate) fn shut_down(&self) {
        // An error says that it has ended by itself.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
