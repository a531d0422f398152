//! Who becomes a connection: limits, hello, and the question to `Admit` where CURVE has not asked it already.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sinew_auth::{Admit, Candidate, Claim, PeerKey, PublicKey, Refusal};
use sinew_transport_api::{Endpoint, Error, Limits, ListenOptions, Peer, Security};
use tokio::time::Instant;

use super::Router;
use crate::address::{Kind, peer_address};
use crate::connection::connection;
use crate::curve::Door;
use crate::frames::{Code, Frame, Refuse, Terms, VERSION};
use crate::link::{Link, Outgoing, terms};
use crate::message::{Message, PEER_ADDRESS, USER_ID};
use crate::monitor::Event;

/// What a router goes by.
pub(crate) struct Rules {
    pub(super) endpoint: Endpoint,
    /// Where libzmq says it is bound.
    pub(super) bound: String,
    kind: Kind,
    /// Our key, where connections are encrypted.
    key: Option<PublicKey>,
    admit: Arc<dyn Admit>,
    limits: Limits,
    /// Kept for as long as the socket is bound.
    _door: Door,
}

impl Rules {
    pub(crate) fn new(options: &ListenOptions, endpoint: Endpoint, kind: Kind, door: Door, bound: String) -> Self {
        let key = match &options.security {
            Security::Identity(identity) => Some(identity.public_key()),
            Security::Plaintext => None,
        };
        let (admit, limits) = (Arc::clone(&options.admit), options.limits.clone());
        Self { endpoint, bound, kind, key, admit, limits, _door: door }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes a Unix socket's file away, which libzmq leaves behind; before the socket is closed, so that the file is ours.
    pub(super) fn remove_file(&self) {
        if self.kind == Kind::Ipc {
            // One that somebody has removed already is as good.
            let _ = std::fs::remove_file(self.endpoint.path());
        }
    }

    /// What a handshake that failed means to the one who listens. Refused keys are told by the ZAP handler, which knows
    /// them; that somebody hung up is not worth a word, also where it did because of what we greeted it with.
    pub(super) fn explain(&self, event: Event) -> Option<Error> {
        let (endpoint, peer) = (self.endpoint.to_string(), format!("a peer of {}", self.endpoint));
        match (event, self.key) {
            (Event::OtherMechanism, Some(key)) => {
                let why = format!(
                    "a peer without encryption was turned away; it needs an identity and this server's key, whose \
                     fingerprint is {}",
                    key.fingerprint()
                );
                Some(Error::SecurityMismatch { endpoint, why })
            }
            (Event::OtherMechanism, None) => {
                let why = "a peer that encrypts was turned away; start this listener with an identity".to_owned();
                Some(Error::SecurityMismatch { endpoint, why })
            }
            (Event::WrongKey, _) => {
                let why = "its handshake was made for another server's key".to_owned();
                Some(Error::Protocol { peer, why })
            }
            (Event::NoZmtp, _) => Some(Error::Protocol { peer, why: "it does not speak ZeroMQ".to_owned() }),
            _ => None,
        }
    }

    /// Asks whether a plaintext peer may come in. A CURVE peer was admitted by the ZAP handler, under the key in
    /// `User-Id`, before a message of it came here.
    fn admit(&self, message: &Message, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, No> {
        if self.key.is_none() {
            return self.admit.admit(candidate).map_err(No::admission);
        }
        match message.property(USER_ID).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                let broken = |_| No::because(Code::Protocol, 0, "the key it was admitted under cannot be read");
                text.parse().map(Some).map_err(broken)
            }
        }
    }
}

/// A refusal: what the peer is told, and what `accept` is told where it is one of admission.
struct No {
    word: Refuse,
    refusal: Option<Refusal>,
}

impl No {
    fn because(code: Code, max: usize, text: &str) -> Self {
        Self { word: Refuse::new(code, max, text), refusal: None }
    }

    fn admission(refusal: Refusal) -> Self {
        let word = match &refusal {
            Refusal::Anonymous => Refuse::new(Code::Anonymous, 0, ""),
            Refusal::Address { address } => Refuse::new(Code::Address, 0, address.to_string()),
            other => Refuse::new(Code::Admission, 0, other.to_string()),
        };
        Self { word, refusal: Some(refusal) }
    }
}

impl Router {
    /// libzmq says that a peer came.
    pub(super) fn knocked(&mut self, id: &[u8]) {
        let timeout = self.rules.limits.handshake_timeout.min(Duration::from_secs(86_400));
        self.peers.insert(id, Instant::now() + timeout);
    }

    /// Its hello did not come.
    pub(super) fn too_late(&mut self, slot: usize) {
        self.porch.report(Error::Timeout {
            endpoint: format!("a peer of {}", self.rules.endpoint),
            what: "say hello",
            after_ms: self.rules.limits.handshake_timeout.as_millis() as u64,
        });
        self.dismiss(slot, Frame::Refuse(Refuse::new(Code::Protocol, 0, "no hello came in time")));
    }

    /// Its hello came.
    pub(super) fn admit(&mut self, slot: usize, theirs: Terms, message: &Message) {
        let (told, ip) = peer_address(message.property(PEER_ADDRESS).as_deref(), &self.rules.endpoint);
        // With the port, where it is sure.
        let known = self.peers[slot].wire.and_then(|wire| self.wires.address(wire));
        let address = known.map_or(told, |known| known.to_string());
        match self.judge(theirs, message, ip) {
            Ok(key) => self.let_in(slot, theirs, Peer { key, scheme: self.rules.kind.scheme().to_owned(), address }),
            Err(No { word, refusal }) => {
                if let Some(refusal) = refusal {
                    self.porch.report(Error::Refused { endpoint: address, refusal });
                }
                self.dismiss(slot, Frame::Refuse(word));
            }
        }
    }

    fn judge(&self, theirs: Terms, message: &Message, address: Option<IpAddr>) -> Result<Option<PeerKey>, No> {
        let max = self.rules.limits.connections_max;
        let no = |code, max, text| Err(No::because(code, max, text));
        if theirs.version != VERSION {
            return no(Code::Protocol, 0, "the two sides speak different versions of the transport; update the older");
        }
        if theirs.encrypted != self.rules.key.is_some() {
            return no(Code::Protocol, 0, "the hello does not fit the connection's security");
        }
        if self.porch.is_closed() {
            return no(Code::Closed, 0, "");
        }
        if self.peers.live() >= max {
            return no(Code::Connections, max, "");
        }
        let candidate = Candidate { claim: Claim::Anonymous, address, scheme: self.rules.kind.scheme() };
        self.rules.admit(message, &candidate)
    }

    fn let_in(&mut self, slot: usize, theirs: Terms, peer: Peer) {
        let limits = &self.rules.limits;
        let ours = terms(limits, self.rules.key.is_some());
        let doorbell = Arc::clone(&self.doorbell);
        let link = Link::new(limits, ours, theirs, peer.address.clone(), doorbell, slot);
        let connection = connection(&link, peer, limits.close_timeout);
        self.peers.go_live(slot, link);
        self.peers[slot].out.push_back(Outgoing::Control(Frame::Accept(ours)));
        self.wanting.push(slot);
        self.porch.offer(connection);
    }
}
