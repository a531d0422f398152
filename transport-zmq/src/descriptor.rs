//! A descriptor of libzmq's, held by one of our own, so that it stays the same connection whatever libzmq does.
#![allow(unsafe_code, reason = "libzmq's descriptors are bare numbers")]

use std::net::{Shutdown, SocketAddr, TcpStream};
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

/// Where the peer of a connection is. A Unix socket's peer has no address, nor one that is gone.
pub(crate) fn peer_address(number: RawFd) -> Option<SocketAddr> {
    let address = Held::of(number)?.0.peer_addr().ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_accepted_peer_is_somewhere_and_a_unix_socket_nowhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(peer_address(accepted.as_raw_fd()), Some(client.local_addr().unwrap()));
        let (near, _far) = UnixStream::pair().unwrap();
        assert_eq!(peer_address(near.as_raw_fd()), None);
        assert_eq!(peer_address(-1), None);
    }
}
