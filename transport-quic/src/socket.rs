//! UDP sockets with room: at the system's default size loopback loses thousands of packets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// What is asked of the system for each direction. It may give less, and need not say so; that costs speed only.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A socket at `address`, with large buffers.
pub(crate) fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&address.into())?;
    for sized in [socket.set_recv_buffer_size(BUFFER_BYTES), socket.set_send_buffer_size(BUFFER_BYTES)] {
        if let Err(error) = sized {
            tracing::debug!(%error, "the socket keeps its smaller buffers");
        }
    }
    Ok(socket.into())
}

/// A socket at any free port, for a peer at `peer`.
pub(crate) fn unbound(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    bound(SocketAddr::new(any, 0))
}
