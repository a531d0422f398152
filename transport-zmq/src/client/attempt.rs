//! From `connect` to the moment when both sides have admitted each other, and what a failure on the way means.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sinew_auth::{Identity, PeerKey, PublicKey, Refusal};
use sinew_transport_api::{ConnectOptions, Connection, Endpoint, Error, Peer, Security};
use tokio::time::{sleep, timeout};

use super::Owner;
use super::probe::{self, Mechanism};
use crate::address::{Kind, targets};
use crate::connection::connection;
use crate::frames::{Code, Frame, Refuse, Terms};
use crate::link::{Doorbell, Link, terms};
use crate::message::Message;
use crate::monitor::{CONNECTING, Event, Monitored};
use crate::options::{set_curve_client, set_dealer, set_shared};
use crate::socket::{Sent, Socket};

/// A server that does not have the key we pinned breaks the handshake off, and so does one that is being stopped. Only
/// what happens so many times in a row is taken for a wrong key.
const INTERRUPTIONS_MAX: u32 = 3;
/// The time between them.
const INTERRUPTION_PAUSE: Duration = Duration::from_millis(30);

/// Connects to `endpoint`, trying each of its addresses.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    kind: Kind,
    options: &ConnectOptions,
) -> sinew_transport_api::Result<Connection> {
    let keys = Keys::of(endpoint, options)?;
    let attempt = Attempt { endpoint, kind, options, keys };
    let late = |_| Error::Timeout {
        endpoint: endpoint.to_string(),
        what: "finish the handshake",
        after_ms: options.connect_timeout.as_millis() as u64,
    };
    timeout(options.connect_timeout, attempt.run()).await.map_err(late)?
}

/// What a secured client proves and expects.
struct Keys {
    identity: Arc<Identity>,
    server: PublicKey,
}

impl Keys {
    /// `None` for plaintext.
    fn of(endpoint: &Endpoint, options: &ConnectOptions) -> sinew_transport_api::Result<Option<Self>> {
        let Security::Identity(identity) = &options.security else { return Ok(None) };
        let fail = |why: &str| Error::Security { endpoint: endpoint.to_string(), why: why.to_owned() };
        let server = match (options.server_key, endpoint.key()) {
            (Some(given), Some(pinned)) if given != pinned => {
                return Err(fail("the key in the endpoint is another than the one in the options; leave one out"));
            }
            (given, pinned) => given
                .or(pinned)
                .ok_or_else(|| fail("the server's key is not known; put it before the host: `zmq://KEY@host:port`"))?,
        };
        Ok(Some(Self { identity: Arc::clone(identity), server }))
    }
}

struct Attempt<'a> {
    endpoint: &'a Endpoint,
    kind: Kind,
    options: &'a ConnectOptions,
    keys: Option<Keys>,
}

/// Why one try came to nothing.
enum Failure {
    Final(Error),
    /// The peer broke the handshake off.
    Interrupted,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        Self::Final(Error::Io { what: "opening a ZeroMQ connection".to_owned(), cause })
    }
}

impl Attempt<'_> {
    async fn run(&self) -> sinew_transport_api::Result<Connection> {
        let mut last = None;
        for target in targets(self.endpoint, self.kind).await? {
            match self.try_until_certain(&target).await {
                Err(error @ Error::Unreachable { .. }) => last = Some(error),
                result => return result,
            }
        }
        Err(last.unwrap_or_else(|| self.unreachable(None)))
    }

    async fn try_until_certain(&self, target: &str) -> sinew_transport_api::Result<Connection> {
        for _ in 0..INTERRUPTIONS_MAX {
            match self.try_once(target).await {
                Ok(connection) => return Ok(connection),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Interrupted) => {}
            }
            // Who hangs up in the middle of a handshake does not say why; what it greets with tells much.
            match (probe::mechanism(target).await, &self.keys) {
                (Err(cause), _) => return Err(self.unreachable(Some(cause))),
                (Ok(Mechanism::Curve), None) | (Ok(Mechanism::Null), Some(_)) => {
                    return Err(self.mismatch(self.keys.as_ref()));
                }
                (Ok(_), _) => sleep(INTERRUPTION_PAUSE).await,
            }
        }
        Err(match &self.keys {
            Some(keys) => self.wrong_key(keys),
            None => self.unreachable(Some(io::ErrorKind::ConnectionAborted.into())),
        })
    }

    async fn try_once(&self, target: &str) -> Result<Connection, Failure> {
        let socket = Socket::open(zmq_sys::ZMQ_DEALER)?;
        set_shared(&socket, &self.options.limits, self.options.connect_timeout)?;
        set_dealer(&socket)?;
        if let Some(keys) = &self.keys {
            let ours = keys.identity.curve_keys();
            set_curve_client(&socket, &ours.public, &ours.secret, &keys.server.to_curve())?;
        }
        let mut dealer = Monitored::new(socket, CONNECTING)?;
        dealer.socket().connect(target)?;
        match dealer.monitor.next().await? {
            Event::Ready => {}
            event => return Err(self.failure(event)),
        }
        let ours = terms(&self.options.limits, self.keys.is_some());
        self.say_hello(&mut dealer, ours).await?;
        let theirs = self.hear_answer(&mut dealer).await?;
        Ok(self.start(dealer, ours, theirs, target))
    }

    fn start(&self, dealer: Monitored, ours: Terms, theirs: Terms, target: &str) -> Connection {
        let address = target.split_once("://").map_or(target, |(_, address)| address).to_owned();
        let limits = &self.options.limits;
        let doorbell = Arc::new(Doorbell::default());
        let link = Link::new(limits, ours, theirs, address.clone(), Arc::clone(&doorbell), 0);
        let key = self.keys.as_ref().map(|keys| PeerKey::Ed25519(keys.server));
        let peer = Peer { key, scheme: self.kind.scheme().to_owned(), address };
        let connection = connection(&link, peer, limits.close_timeout);
        let owner = Owner { dealer, link, doorbell, out: Default::default(), parked: None };
        tokio::spawn(owner.run());
        connection
    }

    async fn say_hello(&self, dealer: &mut Monitored, terms: Terms) -> Result<(), Failure> {
        let mut hello = Message::copied(&Frame::Hello(terms).encode());
        while !matches!(dealer.socket().send(&mut hello)?, Sent::Done) {
            if !dealer.socket().events()?.writable && matches!(dealer.told().await?, Some(Event::Disconnected(_))) {
                return Err(self.hung_up());
            }
        }
        Ok(())
    }

    async fn hear_answer(&self, dealer: &mut Monitored) -> Result<Terms, Failure> {
        let mut message = Message::new();
        while !dealer.socket().receive(&mut message)? {
            if dealer.socket().events()?.readable || !matches!(dealer.told().await?, Some(Event::Disconnected(_))) {
                continue;
            }
            if !dealer.socket().receive(&mut message)? {
                return Err(self.hung_up());
            }
            break;
        }
        let broken = |why: &str| Error::Protocol { peer: self.endpoint.to_string(), why: why.to_owned() };
        if message.has_more() {
            return Err(broken("it answered with a message of several parts").into());
        }
        match Frame::parse(message.bytes()).map_err(broken)? {
            Frame::Accept(terms) if terms.encrypted == self.keys.is_some() => Ok(terms),
            Frame::Refuse(refuse) => Err(self.refused(refuse).into()),
            Frame::Abort => Err(self.unreachable(None).into()),
            _ => Err(broken("it answered our hello with something else").into()),
        }
    }

    /// What an event before the end of the handshake means.
    fn failure(&self, event: Event) -> Failure {
        Failure::Final(match (event, &self.keys) {
            (Event::Interrupted, _) => return Failure::Interrupted,
            (Event::NotAdmitted(_), Some(keys)) => self.not_admitted(unknown_key(keys)),
            (Event::NotAdmitted(_), None) => self.not_admitted(Refusal::Anonymous),
            (Event::WrongKey, Some(keys)) => self.wrong_key(keys),
            (Event::OtherMechanism | Event::WrongKey, keys) => self.mismatch(keys.as_ref()),
            (Event::NoZmtp, _) => Error::Protocol {
                peer: self.endpoint.to_string(),
                why: "it does not speak ZeroMQ; check the port".to_owned(),
            },
            (Event::NotConnected | Event::Disconnected(_) | Event::Ready | Event::Accepted(..), _) => {
                self.unreachable(None)
            }
        })
    }

    fn refused(&self, refuse: Refuse) -> Error {
        let endpoint = self.endpoint.to_string();
        let address = refuse.text.parse().ok();
        match (refuse.code, &self.keys, address) {
            (Code::Connections, ..) => Error::Limit { endpoint, what: "connections_max", max: refuse.max as usize },
            (Code::Pending, ..) => Error::Limit { endpoint, what: "pending_max", max: refuse.max as usize },
            (Code::Closed, ..) => self.unreachable(None),
            (Code::Protocol, ..) => Error::Protocol { peer: endpoint, why: refuse.text },
            (Code::Address, _, Some(address)) => self.not_admitted(Refusal::Address { address }),
            (Code::Admission | Code::Address, Some(keys), _) => self.not_admitted(unknown_key(keys)),
            (Code::Anonymous | Code::Admission | Code::Address, ..) => self.not_admitted(Refusal::Anonymous),
        }
    }

    fn not_admitted(&self, refusal: Refusal) -> Error {
        Error::Refused { endpoint: self.endpoint.to_string(), refusal }
    }

    fn wrong_key(&self, keys: &Keys) -> Error {
        let expected = keys.server.fingerprint();
        Error::WrongServerKey { endpoint: self.endpoint.to_string(), expected, found: None }
    }

    fn mismatch(&self, keys: Option<&Keys>) -> Error {
        let why = match keys {
            Some(keys) => format!(
                "this side encrypts, under key {}, and the server is plaintext; start the server with an identity, or \
                 connect in plaintext if everybody on the way may read and change what is sent",
                keys.identity.public_key().fingerprint()
            ),
            None => "this side is plaintext and the server encrypts; connect with an identity and the server's key: \
                     `zmq://KEY@host:port`"
                .to_owned(),
        };
        Error::SecurityMismatch { endpoint: self.endpoint.to_string(), why }
    }

    /// The server went after the handshake and before it answered.
    fn hung_up(&self) -> Failure {
        Failure::Final(self.unreachable(Some(io::ErrorKind::ConnectionAborted.into())))
    }

    fn unreachable(&self, cause: Option<io::Error>) -> Error {
        Error::Unreachable { endpoint: self.endpoint.to_string(), cause }
    }
}

fn unknown_key(keys: &Keys) -> Refusal {
    Refusal::UnknownKey { fingerprint: keys.identity.public_key().fingerprint() }
}
