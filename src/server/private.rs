//! The server's own clients: they connect through a memory transport that nobody else has a handle on, and may do
//! everything.

use std::sync::Arc;

use sinew_auth::{AdmitEveryone, Authorize, Decision, Identity, Operation, PeerKey, Resource};
use sinew_session::Executor;
use sinew_transport_api::{Endpoint, ListenOptions, Mem, Registry, Security};

use crate::{Client, Result};

/// The scheme of the door. It stands in registries of this server alone.
const SCHEME: &str = "own";

/// Where own clients come in.
#[derive(Debug)]
pub(super) struct Door {
    server: Arc<Identity>,
    client: Arc<Identity>,
    registry: Registry,
    executor: Executor,
}

impl Door {
    /// A door that the server's registry knows as well.
    pub(super) fn new(served: &mut Registry, executor: Executor) -> Result<Self> {
        let (mem, mut registry) = (Arc::new(Mem::default()), Registry::default());
        for registry in [served, &mut registry] {
            registry.add(SCHEME, mem.clone()).map_err(sinew_session::Error::from)?;
        }
        let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
        Ok(Self { server, client, registry, executor })
    }

    /// The key of own clients.
    pub(super) fn key(&self) -> PeerKey {
        self.client.public_key().into()
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        format!("{SCHEME}://server").parse().expect("a URL")
    }

    pub(super) fn listen(&self) -> ListenOptions {
        // Nobody else reaches it.
        ListenOptions::new(Security::Identity(self.server.clone()), Arc::new(AdmitEveryone))
    }

    pub(super) async fn client(&self) -> Result<Client> {
        Client::builder(self.endpoint().to_string())
            .identity_shared(self.client.clone())
            .server_key(self.server.public_key())
            .registry(self.registry.clone())
            .executor(self.executor)
            .name("the server itself")
            .connect()
            .await
    }
}

/// What the server's rules say, but for its own clients, which may do everything.
#[derive(Debug)]
pub(super) struct Owner {
    key: PeerKey,
    rules: Arc<dyn Authorize>,
}

impl Owner {
    pub(super) fn new(key: PeerKey, rules: Arc<dyn Authorize>) -> Self {
        Self { key, rules }
    }
}

impl Authorize for Owner {
    fn decide(&self, who: Option<&PeerKey>, operation: Operation, resource: Resource<'_>) -> Decision {
        if who == Some(&self.key) {
            return Decision::Allowed { because: "it is the server itself".into() };
        }
        self.rules.decide(who, operation, resource)
    }

    fn permits_some(&self, who: Option<&PeerKey>, operation: Operation, pattern: &str) -> bool {
        who == Some(&self.key) || self.rules.permits_some(who, operation, pattern)
    }

    fn admits(&self, who: Option<&PeerKey>) -> bool {
        who == Some(&self.key) || self.rules.admits(who)
    }

    fn generation(&self) -> u64 {
        self.rules.generation()
    }

    fn refresh(&self) {
        self.rules.refresh();
    }

    fn name(&self, who: &PeerKey) -> Option<String> {
        if *who == self.key { Some("the server itself".into()) } else { self.rules.name(who) }
    }
}
