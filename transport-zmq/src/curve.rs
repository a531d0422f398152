//! Who is let in: the ZAP handler (ZeroMQ RFC 27) of the process, which asks each listener's own `Admit`.
//!
//! libzmq asks at a well-known address of the context. One thread answers there for all listeners; the ZAP domain, which
//! no two listeners share, says whose question it is. Nobody comes in by a question of nobody's domain.
//!
//! A plaintext listener has a domain too, though its peers are asked about only when their hello has come: libzmq then
//! turns ZMTP 1 and 2 away. Peers of those come without notice and without properties (an address, say), and their
//! going could not be told from the coming of another.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use sinew_auth::{Admit, ZapDecision, zap_decide};
use sinew_transport_api::{Error, Result};

use crate::address::Kind;
use crate::context::unique;
use crate::link::lock;
use crate::message::Message;
use crate::porch::Porch;
use crate::socket::Socket;

/// A listener's entry at the handler; gone when dropped.
pub(crate) struct Door {
    domain: String,
}

enum Keeper {
    Curve {
        admit: Arc<dyn Admit>,
        kind: Kind,
        porch: Arc<Porch>,
    },
    /// Lets everybody through to the hello.
    Plaintext,
}

static KEEPERS: Mutex<Option<HashMap<String, Arc<Keeper>>>> = Mutex::new(None);

impl Door {
    /// Opens one: questions about its [`domain`](Self::domain) go to `admit`, refusals are told at `porch`.
    pub(crate) fn open(admit: Arc<dyn Admit>, kind: Kind, porch: Arc<Porch>) -> Result<Self> {
        Self::kept_by(Keeper::Curve { admit, kind, porch })
    }

    /// Opens one for a listener without encryption, which asks by itself.
    pub(crate) fn open_plaintext() -> Result<Self> {
        Self::kept_by(Keeper::Plaintext)
    }

    fn kept_by(keeper: Keeper) -> Result<Self> {
        start_handler().map_err(|cause| Error::Io { what: "starting the ZAP handler".to_owned(), cause })?;
        let domain = format!("sinew-{}", unique());
        lock(&KEEPERS).get_or_insert_default().insert(domain.clone(), Arc::new(keeper));
        Ok(Self { domain })
    }

    /// What the listener's socket sets as its ZAP domain.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(keepers) = &mut *lock(&KEEPERS) {
            keepers.remove(&self.domain);
        }
    }
}

/// Binds the handler's address, once for each process, and starts its thread.
fn start_handler() -> io::Result<()> {
    static STARTED: Mutex<Option<u32>> = Mutex::new(None);
    let mut started = lock(&STARTED);
    if *started == Some(std::process::id()) {
        return Ok(());
    }
    let socket = Socket::open(zmq_sys::ZMQ_REP)?;
    socket.bind("inproc://zeromq.zap.01")?;
    thread::Builder::new().name("sinew-zap".to_owned()).spawn(move || answer_all(&socket))?;
    *started = Some(std::process::id());
    Ok(())
}

/// Ends only when libzmq fails, after which every handshake is refused.
fn answer_all(socket: &Socket) {
    let mut request = Vec::new();
    let mut part = Message::new();
    while socket.receive_waiting(&mut part).is_ok() {
        request.push(part.bytes().to_vec());
        if !part.has_more() {
            // Where the asking session has gone the answer has no taker.
            let _ = socket.send_parts(&answer(&request));
            request.clear();
        }
    }
}

/// RFC 27: the domain is the third frame.
fn answer(request: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut frames: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    let domain = frames.get(2).and_then(|domain| std::str::from_utf8(domain).ok()).unwrap_or_default();
    let keeper = lock(&KEEPERS).as_ref().and_then(|keepers| keepers.get(domain).cloned());
    let Some(keeper) = keeper else {
        // The listener went during the handshake. That says nothing about the peer: 300 breaks the handshake off, where
        // a refusal (400) would be final for it.
        return reply(&frames, "300", "the listener is closed");
    };
    let Keeper::Curve { admit, kind, porch } = &*keeper else {
        return let_through(&frames);
    };
    if *kind == Kind::Ipc {
        // libzmq gives a Unix socket's peer as `localhost`, which is no address.
        frames.get_mut(3).into_iter().for_each(|address| *address = b"");
    }
    let (reply, decision) = zap_decide(&frames, domain, kind.scheme(), &**admit);
    if let ZapDecision::Refused(refusal) = decision {
        let address = frames.get(3).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        let endpoint = if address.is_empty() { "a peer".to_owned() } else { address };
        porch.report(Error::Refused { endpoint, refusal });
    }
    reply
}

/// To a request of a plaintext listener.
fn let_through(request: &[&[u8]]) -> Vec<Vec<u8>> {
    match request.get(5) {
        Some(&b"NULL") => reply(request, "200", "OK"),
        _ => reply(request, "400", "this server is plaintext"),
    }
}

/// RFC 27, "ZAP Reply", without a key.
fn reply(request: &[&[u8]], status: &str, text: &str) -> Vec<Vec<u8>> {
    let id = request.get(1).copied().unwrap_or_default();
    vec![b"1.0".to_vec(), id.to_vec(), status.into(), text.into(), Vec::new(), Vec::new()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(domain: &str, mechanism: &str) -> Vec<Vec<u8>> {
        let frames = ["1.0", "7", domain, "127.0.0.1", "", mechanism];
        answer(&frames.map(|frame| frame.as_bytes().to_vec()))
    }

    #[test]
    fn a_plaintext_listener_lets_through_until_it_is_closed() {
        let door = Door::open_plaintext().unwrap();
        let domain = door.domain().to_owned();
        assert_eq!(ask(&domain, "NULL")[1..3], [b"7".to_vec(), b"200".to_vec()]);
        assert_eq!(ask(&domain, "PLAIN")[2], b"400");
        drop(door);
        // Not 400: whoever hears that does not come again.
        assert_eq!(ask(&domain, "NULL")[2], b"300");
        assert_eq!(ask(&domain, "CURVE")[2], b"300");
    }
}
