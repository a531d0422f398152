//! The socket options, each with its reason.

use std::io;
use std::time::Duration;

use sinew_transport_api::Limits;

use crate::frames::{BLOCK_HEADER, CONTROL_BYTES_MAX};
use crate::socket::{Socket, ZMQ_IN_BATCH_SIZE, ZMQ_OUT_BATCH_SIZE, ZMQ_ROUTER_NOTIFY, ZMQ_ZAP_ENFORCE_DOMAIN};

/// Seconds of silence before the system asks whether the other machine is still there, between two questions, and how
/// many may go unanswered. A backstop for a network that went silent: liveness proper is the session's.
///
/// ZMTP's own heartbeat is off: in libzmq 4.3.5 its timer goes on when a connection has failed while its input was
/// stopped, and then aborts the process (`stream_engine_base.cpp`, "Assertion failed: !_io_error").
const KEEPALIVE: [(u32, i32); 4] = [
    (zmq_sys::ZMQ_TCP_KEEPALIVE, 1),
    (zmq_sys::ZMQ_TCP_KEEPALIVE_IDLE, 10),
    (zmq_sys::ZMQ_TCP_KEEPALIVE_INTVL, 5),
    (zmq_sys::ZMQ_TCP_KEEPALIVE_CNT, 3),
];
/// What libzmq reads and writes at once: measured to help from 16 KiB blocks on.
const BATCH_BYTES: i32 = 64 * 1024;
/// Messages to one peer that libzmq holds. Their bytes are bounded by the window, which counts them until the peer's
/// application has read them; the mark bounds our answers to a peer that sends and does not read. A mark of a few
/// messages would stop the sender every few messages.
const MARK: i32 = 1_000;
/// What CURVE adds to a message (ZeroMQ RFC 26, "MESSAGE"): name 8, nonce 8, authenticator 16, flags 1.
const CURVE_OVERHEAD: usize = 33;

/// Both kinds of socket.
pub(crate) fn set_shared(socket: &Socket, limits: &Limits, handshake: Duration) -> io::Result<()> {
    socket.set(zmq_sys::ZMQ_SNDHWM, MARK)?;
    // No mark inward: the window is the bound there. At a mark libzmq stops reading the connection, and then loses the
    // notice that the peer went, or aborts the process when a PING is what comes next (see `KEEPALIVE`).
    socket.set(zmq_sys::ZMQ_RCVHWM, 0)?;
    let largest = (limits.block_bytes_max + BLOCK_HEADER).max(CONTROL_BYTES_MAX) + CURVE_OVERHEAD;
    socket.set_bytes(zmq_sys::ZMQ_MAXMSGSIZE, &(largest as i64).to_ne_bytes())?;
    socket.set(zmq_sys::ZMQ_HANDSHAKE_IVL, milliseconds(handshake))?;
    KEEPALIVE.iter().try_for_each(|(option, value)| socket.set(*option, *value))?;
    socket.set(zmq_sys::ZMQ_IPV6, 1)?;
    socket.set(ZMQ_IN_BATCH_SIZE, BATCH_BYTES)?;
    socket.set(ZMQ_OUT_BATCH_SIZE, BATCH_BYTES)
}

/// A client: one DEALER is one connection, which is never made again by itself.
pub(crate) fn set_dealer(socket: &Socket) -> io::Result<()> {
    socket.set(zmq_sys::ZMQ_RECONNECT_IVL, -1)?;
    socket.set(zmq_sys::ZMQ_IMMEDIATE, 1)
}

/// A server: told of each peer that comes and goes, and of each message that cannot be delivered.
pub(crate) fn set_router(socket: &Socket) -> io::Result<()> {
    const CONNECT_AND_DISCONNECT: i32 = 3;
    socket.set(zmq_sys::ZMQ_ROUTER_MANDATORY, 1)?;
    socket.set(zmq_sys::ZMQ_ROUTER_HANDOVER, 0)?;
    socket.set(zmq_sys::ZMQ_BACKLOG, 1024)?;
    socket.set(ZMQ_ROUTER_NOTIFY, CONNECT_AND_DISCONNECT)
}

/// CURVE at a server. Without the enforced domain libzmq admits whoever comes when no ZAP handler answers.
pub(crate) fn set_curve_server(socket: &Socket, secret: &[u8; 32], domain: &str) -> io::Result<()> {
    socket.set(zmq_sys::ZMQ_CURVE_SERVER, 1)?;
    socket.set_bytes(zmq_sys::ZMQ_CURVE_SECRETKEY, secret)?;
    set_domain(socket, domain)
}

/// A ZAP domain. Also without CURVE: with one, libzmq speaks to nobody below ZMTP 3.
pub(crate) fn set_domain(socket: &Socket, domain: &str) -> io::Result<()> {
    socket.set_bytes(zmq_sys::ZMQ_ZAP_DOMAIN, domain.as_bytes())?;
    socket.set(ZMQ_ZAP_ENFORCE_DOMAIN, 1)
}

/// CURVE at a client.
pub(crate) fn set_curve_client(
    socket: &Socket,
    public: &[u8; 32],
    secret: &[u8; 32],
    server: &[u8; 32],
) -> io::Result<()> {
    socket.set_bytes(zmq_sys::ZMQ_CURVE_SERVERKEY, server)?;
    socket.set_bytes(zmq_sys::ZMQ_CURVE_PUBLICKEY, public)?;
    socket.set_bytes(zmq_sys::ZMQ_CURVE_SECRETKEY, secret)
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1)
}
