//! A libzmq socket that one task owns, and how that task waits for it.
//!
//! The rules, each of which was paid for: register the descriptor for reading only; after "would block" read
//! `ZMQ_EVENTS`, since any call may have taken the signal; the order is events, wait, events, clear, and again.
#![allow(unsafe_code, reason = "options and calls that the `zmq` crate lacks")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::context::context;
use crate::message::Message;

/// Options that only newer declarations know; the numbers are those of `zmq.h` of libzmq 4.3.5 (draft).
pub(crate) const ZMQ_ZAP_ENFORCE_DOMAIN: u32 = 93;
pub(crate) const ZMQ_ROUTER_NOTIFY: u32 = 97;
pub(crate) const ZMQ_IN_BATCH_SIZE: u32 = 101;
pub(crate) const ZMQ_OUT_BATCH_SIZE: u32 = 102;

/// A socket, without the runtime.
pub(crate) struct Socket(*mut c_void);

// SAFETY: a socket may move from thread to thread with a full fence between (zmq_socket(3), "Thread safety"), as a move
// of this owner is; it is not `Sync`.
unsafe impl Send for Socket {}

/// What became of a message that was to be sent.
pub(crate) enum Sent {
    /// libzmq has it.
    Done,
    /// No room: the message is as it was.
    Full,
    /// There is no such peer any more: the message is as it was.
    NoPeer,
}

/// What can be done now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Socket {
    /// A new one that is neither bound nor connected.
    pub(crate) fn open(kind: u32) -> io::Result<Self> {
        // SAFETY: the context lives as long as the process.
        let raw = unsafe { zmq_sys::zmq_socket(context()?.0, kind as c_int) };
        if raw.is_null() {
            return Err(last_error());
        }
        let socket = Self(raw);
        socket.set(zmq_sys::ZMQ_LINGER, 0)?;
        Ok(socket)
    }

    /// Sets an option that is an `int`.
    pub(crate) fn set(&self, option: u32, value: i32) -> io::Result<()> {
        self.set_bytes(option, &value.to_ne_bytes())
    }

    /// Sets an option from its bytes.
    pub(crate) fn set_bytes(&self, option: u32, value: &[u8]) -> io::Result<()> {
        // SAFETY: the socket is open; libzmq copies `value`.
        check(unsafe { zmq_sys::zmq_setsockopt(self.0, option as c_int, value.as_ptr().cast(), value.len()) })
    }

    pub(crate) fn bind(&self, address: &str) -> io::Result<()> {
        self.at(address, zmq_sys::zmq_bind)
    }

    pub(crate) fn unbind(&self, address: &str) -> io::Result<()> {
        self.at(address, zmq_sys::zmq_unbind)
    }

    pub(crate) fn connect(&self, address: &str) -> io::Result<()> {
        self.at(address, zmq_sys::zmq_connect)
    }

    fn at(&self, address: &str, act: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int) -> io::Result<()> {
        let address = CString::new(address).map_err(io::Error::other)?;
        // SAFETY: the socket is open; `act` is one of the three above, which copy the address.
        check(unsafe { act(self.0, address.as_ptr()) })
    }

    /// Reads an option into `value`; gives how many bytes of it were written.
    fn get(&self, option: u32, value: &mut [u8]) -> io::Result<usize> {
        let mut size = value.len();
        // SAFETY: the socket is open; libzmq writes at most `size` bytes.
        check(unsafe { zmq_sys::zmq_getsockopt(self.0, option as c_int, value.as_mut_ptr().cast(), &mut size) })?;
        Ok(size)
    }

    fn get_int(&self, option: u32) -> io::Result<c_int> {
        let mut value = [0; size_of::<c_int>()];
        self.get(option, &mut value)?;
        Ok(c_int::from_ne_bytes(value))
    }

    /// Where it is really bound.
    pub(crate) fn last_endpoint(&self) -> io::Result<String> {
        let mut text = [0; 512];
        let size = self.get(zmq_sys::ZMQ_LAST_ENDPOINT, &mut text)?;
        let text = CStr::from_bytes_until_nul(&text[..size]).map_err(io::Error::other)?;
        Ok(text.to_string_lossy().into_owned())
    }

    /// Sends `events` of this socket to a PAIR at `address` from now on. In the first version of their form: the second
    /// tells where peers are, but is a draft, and a program without our `zmq-sys` would not link.
    pub(crate) fn monitor(&self, address: &str, events: u32) -> io::Result<()> {
        let address = CString::new(address).map_err(io::Error::other)?;
        // SAFETY: the socket is open; libzmq copies the address.
        check(unsafe { zmq_sys::zmq_socket_monitor(self.0, address.as_ptr(), events as c_int) })
    }

    /// Ends what [`monitor`](Self::monitor) began.
    pub(crate) fn stop_monitor(&self) {
        // SAFETY: the socket is open; a null address means no monitor.
        unsafe { zmq_sys::zmq_socket_monitor(self.0, ptr::null(), 0) };
    }

    /// Reads what can be done, and takes in what libzmq's threads told this socket. A full ROUTER says `writable` while
    /// any of its peers has room.
    pub(crate) fn events(&self) -> io::Result<Events> {
        loop {
            match self.get_int(zmq_sys::ZMQ_EVENTS) {
                Ok(events) => {
                    let has = |bit: u32| events as u32 & bit != 0;
                    return Ok(Events { readable: has(zmq_sys::ZMQ_POLLIN), writable: has(zmq_sys::ZMQ_POLLOUT) });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives into `message`, without waiting; whether there was something.
    pub(crate) fn receive(&self, message: &mut Message) -> io::Result<bool> {
        self.receive_part(message, zmq_sys::ZMQ_DONTWAIT)
    }

    /// The same, waiting. Only for a thread of its own.
    pub(crate) fn receive_waiting(&self, message: &mut Message) -> io::Result<bool> {
        self.receive_part(message, 0)
    }

    fn receive_part(&self, message: &mut Message, flags: u32) -> io::Result<bool> {
        loop {
            // SAFETY: the socket is open and the message initialised; libzmq lets go of what was in it.
            let code = unsafe { zmq_sys::zmq_msg_recv(message.raw(), self.0, flags as c_int) };
            match zmq_code(code) {
                Ok(()) => return Ok(true),
                Err(zmq::Error::EAGAIN) => return Ok(false),
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(from_zmq(error)),
            }
        }
    }

    /// Sends a message of several parts, without waiting.
    pub(crate) fn send_parts(&self, parts: &[Vec<u8>]) -> io::Result<Sent> {
        for (index, part) in parts.iter().enumerate() {
            let flags = if index + 1 < parts.len() { zmq_sys::ZMQ_SNDMORE } else { 0 };
            match self.send_part(&mut Message::copied(part), flags)? {
                Sent::Done => {}
                refused => return Ok(refused),
            }
        }
        Ok(Sent::Done)
    }

    /// Sends `message`, without waiting; it is left empty when that is [`Sent::Done`].
    pub(crate) fn send(&self, message: &mut Message) -> io::Result<Sent> {
        self.send_part(message, 0)
    }

    /// The same to one peer of a ROUTER.
    pub(crate) fn send_to(&self, peer: &[u8], message: &mut Message) -> io::Result<Sent> {
        // Both parts or none: a ROUTER that takes the address takes the rest.
        match self.send_part(&mut Message::copied(peer), zmq_sys::ZMQ_SNDMORE)? {
            Sent::Done => self.send_part(message, 0),
            refused => Ok(refused),
        }
    }

    fn send_part(&self, message: &mut Message, flags: u32) -> io::Result<Sent> {
        let flags = (flags | zmq_sys::ZMQ_DONTWAIT) as c_int;
        loop {
            // SAFETY: the socket is open and the message initialised; unless it was sent libzmq leaves it alone.
            let code = unsafe { zmq_sys::zmq_msg_send(message.raw(), self.0, flags) };
            match zmq_code(code) {
                Ok(()) => return Ok(Sent::Done),
                Err(zmq::Error::EAGAIN) => return Ok(Sent::Full),
                Err(zmq::Error::EHOSTUNREACH) => return Ok(Sent::NoPeer),
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(from_zmq(error)),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: the socket is open, and not used after this.
        unsafe { zmq_sys::zmq_close(self.0) };
    }
}

/// A socket with its descriptor registered at the runtime. The registration goes before the socket does.
pub(crate) struct Watched {
    readiness: AsyncFd<Descriptor>,
    pub(crate) socket: Socket,
}

struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Watched {
    /// Must be called on a runtime with IO enabled.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        let descriptor = Descriptor(socket.get_int(zmq_sys::ZMQ_FD)?);
        // SAFETY: the descriptor belongs to the socket, which lives in the field after this one and so goes later.
        let readiness = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        Ok(Self { readiness: readiness.map_err(io::Error::from)?, socket })
    }

    /// Waits until libzmq's threads have told the socket something. Call it only after [`Socket::events`] said that
    /// there is nothing to do. Cancel-safe.
    pub(crate) async fn signalled(&mut self) -> io::Result<()> {
        let mut ready = self.readiness.readable().await?;
        self.socket.events()?;
        ready.clear_ready();
        Ok(())
    }
}

fn check(code: c_int) -> io::Result<()> {
    zmq_code(code).map_err(from_zmq)
}

fn zmq_code(code: c_int) -> Result<(), zmq::Error> {
    if code != -1 {
        return Ok(());
    }
    Err(last_code())
}

fn last_code() -> zmq::Error {
    // SAFETY: it reads the calling thread's error number.
    zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })
}

fn last_error() -> io::Error {
    from_zmq(last_code())
}

/// An error of libzmq as one of the operating system, where it is one.
fn from_zmq(error: zmq::Error) -> io::Error {
    let code = error.to_raw();
    if code < zmq_sys::ZMQ_HAUSNUMERO as i32 { io::Error::from_raw_os_error(code) } else { io::Error::other(error) }
}
