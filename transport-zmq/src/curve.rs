//! Who is let in: the ZAP handler (ZeroMQ RFC 27) of the process, which asks each listener's own `Admit`.
//!
//! libzmq asks at a well-known address of the context. One thread answers there for all listeners; the ZAP domain, which
//! no two listeners share, says whose question it is. A question of nobody's domain is refused.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use sinew_auth::{Admit, ZapDecision, zap_decide};
use sinew_transport_api::{Error, Result};

use crate::address::Kind;
use crate::context::{context, unique};
use crate::link::lock;
use crate::porch::Porch;

/// A listener's entry at the handler; gone when dropped.
pub(crate) struct Door {
    domain: String,
}

struct Keeper {
    admit: Arc<dyn Admit>,
    kind: Kind,
    porch: Arc<Porch>,
}

static KEEPERS: Mutex<Option<HashMap<String, Arc<Keeper>>>> = Mutex::new(None);

impl Door {
    /// Opens one: questions about its [`domain`](Self::domain) go to `admit`, refusals are told at `porch`.
    pub(crate) fn open(admit: Arc<dyn Admit>, kind: Kind, porch: Arc<Porch>) -> Result<Self> {
        start_handler().map_err(|cause| Error::Io { what: "starting the ZAP handler".to_owned(), cause })?;
        let domain = format!("sinew-{}", unique());
        let keeper = Arc::new(Keeper { admit, kind, porch });
        lock(&KEEPERS).get_or_insert_default().insert(domain.clone(), keeper);
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
    let socket = context()?.socket(zmq::REP).map_err(io::Error::other)?;
    socket.set_linger(0).map_err(io::Error::other)?;
    socket.bind("inproc://zeromq.zap.01").map_err(io::Error::other)?;
    thread::Builder::new().name("sinew-zap".to_owned()).spawn(move || answer_all(&socket))?;
    *started = Some(std::process::id());
    Ok(())
}

fn answer_all(socket: &zmq::Socket) {
    loop {
        // Neither fails for good while the context lives, and that is as long as the process does.
        let Ok(request) = socket.recv_multipart(0) else { continue };
        let _ = socket.send_multipart(answer(&request), 0);
    }
}

/// RFC 27: the domain is the third frame.
fn answer(request: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut frames: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    let domain = frames.get(2).and_then(|domain| std::str::from_utf8(domain).ok()).unwrap_or_default();
    let keeper = lock(&KEEPERS).as_ref().and_then(|keepers| keepers.get(domain).cloned());
    let Some(keeper) = keeper else {
        // No listener: a domain that no request can name makes it a refusal.
        return zap_decide(&frames, "nobody's domain", "zmq", &Nobody).0;
    };
    if keeper.kind == Kind::Ipc {
        // libzmq gives a Unix socket's peer as `localhost`, which is no address.
        frames.get_mut(3).into_iter().for_each(|address| *address = b"");
    }
    let (reply, decision) = zap_decide(&frames, domain, keeper.kind.scheme(), &*keeper.admit);
    if let ZapDecision::Refused(refusal) = decision {
        let address = frames.get(3).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        let endpoint = if address.is_empty() { "a peer".to_owned() } else { address };
        keeper.porch.report(Error::Refused { endpoint, refusal });
    }
    reply
}

/// Admits nobody.
#[derive(Debug)]
struct Nobody;

impl Admit for Nobody {
    fn admit(
        &self,
        _: &sinew_auth::Candidate<'_>,
    ) -> std::result::Result<Option<sinew_auth::PeerKey>, sinew_auth::Refusal> {
        Err(sinew_auth::Refusal::Anonymous)
    }
}
