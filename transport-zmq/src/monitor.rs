//! What happens to a socket's connections, as libzmq's monitor tells it: the only place where a refused handshake shows.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use crate::context::unique;
use crate::descriptor::peer_address;
use crate::message::Message;
use crate::socket::{Socket, Watched};

/// A socket with its monitor.
///
/// **Invariant:** the monitor is told to stop before its reader goes. libzmq's threads wait for a monitor that nobody
/// reads, and with them every connection of the process.
pub(crate) struct Monitored {
    pub(crate) watched: Watched,
    pub(crate) monitor: Monitor,
}

/// Receives the events of one socket.
pub(crate) struct Monitor {
    watched: Watched,
}

/// What the monitor tells, as far as we ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A listener took a connection: its descriptor, and where the peer is.
    Accepted(RawFd, Option<SocketAddr>),
    /// Nobody took the connection.
    NotConnected,
    /// The handshake of ZMTP, and of CURVE where there is one, is done.
    Ready,
    /// The peer was refused, with ZAP's status code.
    NotAdmitted(u32),
    /// The connection ended while the handshake went on.
    Interrupted,
    /// The two sides do not want the same security mechanism.
    OtherMechanism,
    /// A key did not fit.
    WrongKey,
    /// What came was no ZMTP.
    NoZmtp,
    /// The connection ended; its descriptor is about to be closed.
    Disconnected(RawFd),
}

/// Events about handshakes that failed.
const FAILURES: u32 = zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
/// What a listener wants to know.
pub(crate) const LISTENING: u32 =
    FAILURES | zmq_sys::ZMQ_EVENT_ACCEPTED | zmq_sys::ZMQ_EVENT_DISCONNECTED | zmq_sys::ZMQ_EVENT_CLOSED;
/// Events from `connect` to the end of the handshake.
pub(crate) const CONNECTING: u32 =
    FAILURES | zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED | zmq_sys::ZMQ_EVENT_CLOSED | zmq_sys::ZMQ_EVENT_DISCONNECTED;

impl Monitored {
    /// Watches `socket`, which must not be bound or connected yet.
    pub(crate) fn new(socket: Socket, events: u32) -> io::Result<Self> {
        let address = format!("inproc://sinew-monitor-{}", unique());
        socket.monitor(&address, events)?;
        let pair = Socket::open(zmq_sys::ZMQ_PAIR)?;
        // No mark: libzmq's threads wait for a monitor that is full, too.
        pair.set(zmq_sys::ZMQ_RCVHWM, 0)?;
        pair.connect(&address)?;
        Ok(Self { watched: Watched::new(socket)?, monitor: Monitor { watched: Watched::new(pair)? } })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.watched.socket
    }

    /// Waits until libzmq has something to say: a signal on the socket, or an event. Call it only after
    /// [`Socket::events`] said that there is nothing to do. Cancel-safe.
    pub(crate) async fn told(&mut self) -> io::Result<Option<Event>> {
        tokio::select! {
            signalled = self.watched.signalled() => signalled.map(|()| None),
            event = self.monitor.next() => event.map(Some),
        }
    }
}

impl Drop for Monitored {
    fn drop(&mut self) {
        self.watched.socket.stop_monitor();
    }
}

impl Monitor {
    /// The next event, if there is one.
    pub(crate) fn take(&mut self) -> io::Result<Option<Event>> {
        let (mut head, mut rest) = (Message::new(), Message::new());
        while self.watched.socket.receive(&mut head)? {
            let mut more = head.has_more();
            while more && self.watched.socket.receive(&mut rest)? {
                more = rest.has_more();
            }
            if let Some(event) = parse(head.bytes()) {
                return Ok(Some(match event {
                    Event::Accepted(descriptor, _) => Event::Accepted(descriptor, peer_address(descriptor)),
                    other => other,
                }));
            }
        }
        Ok(None)
    }

    /// Waits for the next event. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            if !self.watched.socket.events()?.readable {
                self.watched.signalled().await?;
            }
        }
    }
}

/// zmq_socket_monitor(3): a number of 16 bits and a value of 32, in the machine's order. Where an accepted peer is, it does
/// not tell.
fn parse(head: &[u8]) -> Option<Event> {
    let (number, value) = head.split_at_checked(2)?;
    let event = u32::from(u16::from_ne_bytes(number.try_into().ok()?));
    let value = u32::from_ne_bytes(value.try_into().ok()?);
    Some(match event {
        zmq_sys::ZMQ_EVENT_ACCEPTED => Event::Accepted(value as RawFd, None),
        zmq_sys::ZMQ_EVENT_CLOSED => Event::NotConnected,
        zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED => Event::Ready,
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH => Event::NotAdmitted(value),
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL => Event::Interrupted,
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL => match value {
            zmq_sys::ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH => Event::OtherMechanism,
            zmq_sys::ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC => Event::WrongKey,
            _ => Event::NoZmtp,
        },
        zmq_sys::ZMQ_EVENT_DISCONNECTED => Event::Disconnected(value as RawFd),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u16, value: u32) -> Option<Event> {
        parse(&[&number.to_ne_bytes()[..], &value.to_ne_bytes()].concat())
    }

    #[test]
    fn events_are_read_and_the_rest_is_skipped() {
        assert_eq!(event(0x4000, 400), Some(Event::NotAdmitted(400)));
        assert_eq!(event(0x2000, 0x1100_0002), Some(Event::OtherMechanism));
        assert_eq!(event(0x2000, 7), Some(Event::NoZmtp));
        assert_eq!(event(0x0020, 12), Some(Event::Accepted(12, None)));
        assert_eq!(event(0x0200, 12), Some(Event::Disconnected(12)));
        assert_eq!(event(0x0008, 7), None);
        assert_eq!(parse(&[1]), None);
        assert_eq!(parse(&[1, 0, 0]), None);
    }
}
