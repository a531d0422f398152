//! The `mem` transport: connections within one process, for embedding, tests and simulations.
//!
//! `mem://name` is looked up in a table of the process. There is no thread and no task behind it: a block goes from
//! `try_send` into a bounded queue and from there to `recv`, and who waits is woken by the other end. It keeps to
//! tokio's clock, paused or not. Identities are exchanged as in any transport, but nothing needs to be encrypted.

mod connection;
mod faults;
mod link;
mod place;

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use sinew_auth::{Candidate, Claim, PeerKey, PublicKey, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

pub use self::faults::{FaultControl, Faults};

use self::connection::connection;
use self::link::Link;
use self::place::{Door, Names, Place};
use crate::{
    Capabilities, ConnectOptions, Connection, Endpoint, EndpointError, Error, Lane, ListenOptions, Listener, Peer,
    Result, Security, Transport,
};

/// The scheme.
const SCHEME: &str = "mem";

/// The transport. Each value has a namespace of its own; [`Mem::shared`] is the process's, which [`crate::Registry`]
/// finds under `mem://`. Clones share theirs.
#[derive(Clone, Debug, Default)]
pub struct Mem {
    names: Arc<Names>,
}

impl Mem {
    /// The one namespace of this process.
    pub fn shared() -> Self {
        static SHARED: LazyLock<Mem> = LazyLock::new(Mem::default);
        SHARED.clone()
    }

    /// Bad weather for the connections under `name`, those there are and those to come.
    pub fn faults(&self, name: &str) -> FaultControl {
        FaultControl { place: self.names.place(name) }
    }
}

#[async_trait]
impl Transport for Mem {
    fn capabilities(&self) -> Capabilities {
        Capabilities { independent_lanes: true, secure: true, remote: false, lanes_max: Lane::COUNT_MAX }
    }

    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        let place = self.names.place(&name(endpoint)?);
        if let (Some(pinned), Security::Identity(identity)) = (endpoint.key(), &options.security)
            && pinned != identity.public_key()
        {
            let why = "the key in the endpoint is not this listener's own; leave it out".to_owned();
            return Err(Error::Security { endpoint: endpoint.to_string(), why });
        }
        let (arrivals, queue) = mpsc::channel(options.limits.pending_max.clamp(1, Semaphore::MAX_PERMITS));
        let connections = Arc::new(Semaphore::new(options.limits.connections_max.min(Semaphore::MAX_PERMITS)));
        if !place.open(Arc::new(Door { options: options.clone(), connections, arrivals })) {
            return Err(Error::AddressInUse { endpoint: endpoint.to_string() });
        }
        Ok(Box::new(MemListener { endpoint: endpoint.clone(), place: Some(place), queue }))
    }

    /// The handshake is done here, by the side that connects, in one go; the only wait is for a place in the
    /// listener's queue. So a dropped future has either done nothing or is done.
    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        let expected = expected_key(endpoint, options)?;
        let unreachable = || Error::Unreachable { endpoint: endpoint.to_string(), cause: None };
        let place = self.names.find(&name(endpoint)?).ok_or_else(unreachable)?;
        let door = place.door().ok_or_else(unreachable)?;
        let arrival = match timeout(options.connect_timeout, door.arrivals.reserve()).await {
            Ok(arrival) => arrival.map_err(|_closed| unreachable())?,
            Err(_elapsed) => {
                let after_ms = options.connect_timeout.as_millis() as u64;
                return Err(Error::Timeout { endpoint: endpoint.to_string(), what: "answer", after_ms });
            }
        };
        match admit(endpoint, &door.options, options, expected) {
            Ok(keys) => {
                let max = door.options.limits.connections_max;
                let limit = |_| Error::Limit { endpoint: endpoint.to_string(), what: "connections_max", max };
                let permit = Arc::clone(&door.connections).try_acquire_owned().map_err(limit)?;
                let [ours, theirs] = join(&place, options, &door.options, keys, permit);
                arrival.send(Ok(theirs));
                Ok(ours)
            }
            Err(failure) => {
                let Failure { here, at_listener } = *failure;
                if let Some(error) = at_listener {
                    arrival.send(Err(error));
                }
                Err(here)
            }
        }
    }
}

/// The name that an endpoint means: its host and its path.
fn name(endpoint: &Endpoint) -> Result<String> {
    let no = |why| Error::Endpoint(EndpointError::Part { url: endpoint.to_string(), why });
    if endpoint.port().is_some() {
        return Err(no("a name within the process has no port"));
    }
    if let Some((name, value)) = endpoint.queries().next() {
        let (scheme, option) = (SCHEME.to_owned(), format!("{name}={value}"));
        return Err(Error::Endpoint(EndpointError::Option { scheme, option, known: "none" }));
    }
    Ok(format!("{}{}", endpoint.host(), endpoint.path()))
}

/// The key that the server must prove, if the connection is to be secured.
fn expected_key(endpoint: &Endpoint, options: &ConnectOptions) -> Result<Option<PublicKey>> {
    let no = |why: &str| Err(Error::Security { endpoint: endpoint.to_string(), why: why.to_owned() });
    match (&options.security, endpoint.key(), options.server_key) {
        (Security::Plaintext, None, None) => Ok(None),
        (Security::Plaintext, ..) => no("a server key is given, but no identity to connect with; give one"),
        (Security::Identity(_), None, None) => no("the server's key is not known; pin it as `mem://KEY@name`"),
        (Security::Identity(_), Some(one), Some(other)) if one != other => {
            no("the key in the endpoint and the one in the options differ; leave one out")
        }
        (Security::Identity(_), one, other) => Ok(one.or(other)),
    }
}

/// The peer's key as the client and as the listener know it.
struct Keys {
    server: Option<PeerKey>,
    client: Option<PeerKey>,
}

/// A connection that does not come about, as both ends are told.
struct Failure {
    here: Error,
    at_listener: Option<Error>,
}

/// The handshake: who is who, and may the client come in?
fn admit(
    endpoint: &Endpoint,
    listen: &ListenOptions,
    connect: &ConnectOptions,
    expected: Option<PublicKey>,
) -> std::result::Result<Keys, Box<Failure>> {
    let endpoint = || endpoint.to_string();
    let both = |error: &dyn Fn() -> Error| Box::new(Failure { here: error(), at_listener: Some(error()) });
    let mismatch = |why: String| both(&|| Error::SecurityMismatch { endpoint: endpoint(), why: why.clone() });
    let (claim, server) = match (&connect.security, &listen.security) {
        (Security::Plaintext, Security::Plaintext) => (Claim::Anonymous, None),
        (Security::Identity(client), Security::Identity(server)) => {
            let (expected, found) = (expected.expect("checked before"), server.public_key());
            if expected != found {
                let (expected, found) = (expected.fingerprint(), Some(found.fingerprint()));
                let here = Error::WrongServerKey { endpoint: endpoint(), expected, found };
                return Err(Box::new(Failure { here, at_listener: None }));
            }
            (Claim::Ed25519(client.public_key()), Some(PeerKey::Ed25519(found)))
        }
        (Security::Plaintext, Security::Identity(server)) => {
            let server = server.public_key().fingerprint();
            return Err(mismatch(format!("the listener ({server}) is secured; connect with an identity and its key")));
        }
        (Security::Identity(client), Security::Plaintext) => {
            let client = client.public_key().fingerprint();
            let why = format!("the client ({client}) is secured, the listener is plaintext; give it an identity");
            return Err(mismatch(why));
        }
    };
    let refused = |refusal: Refusal| both(&|| Error::Refused { endpoint: endpoint(), refusal: refusal.clone() });
    let client = listen.admit.admit(&Candidate { claim, address: None, scheme: SCHEME }).map_err(refused)?;
    Ok(Keys { server, client })
}

/// Both ends of a new connection.
fn join(
    place: &Arc<Place>,
    connect: &ConnectOptions,
    listen: &ListenOptions,
    keys: Keys,
    permit: OwnedSemaphorePermit,
) -> [Connection; 2] {
    let limits = [&connect.limits, &listen.limits];
    let link = place.link(|number, faults, stalled| Link::new(place, number, faults, stalled, limits));
    let peer = |key| Peer { key, scheme: SCHEME.to_owned(), address: link.address() };
    [
        connection(&link, 0, peer(keys.server), connect.limits.close_timeout, None),
        connection(&link, 1, peer(keys.client), listen.limits.close_timeout, Some(permit)),
    ]
}

#[derive(Debug)]
struct MemListener {
    endpoint: Endpoint,
    /// `None` once closed.
    place: Option<Arc<Place>>,
    queue: mpsc::Receiver<Result<Connection>>,
}

impl MemListener {
    fn shut(&mut self) {
        if let Some(place) = self.place.take() {
            place.shut();
            self.queue.close();
            while self.queue.try_recv().is_ok() {}
        }
    }
}

#[async_trait]
impl Listener for MemListener {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn accept(&mut self) -> Result<Connection> {
        self.queue.recv().await.unwrap_or(Err(Error::Closed))
    }

    async fn close(&mut self) -> Result<()> {
        self.shut();
        Ok(())
    }
}

impl Drop for MemListener {
    fn drop(&mut self) {
        self.shut();
    }
}
