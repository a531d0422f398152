//! Where a scenario runs: which transports, secured or not, and on which network.

use std::sync::Arc;
use std::time::Duration;

use sinew_auth::{Admit, Authorize, AuthorizeEverything, Identity};
use sinew_bus::{Broker, Bus, BusLimits};
use sinew_eventsource::{Engine, Log, LogLimits, MemoryEngine};
use sinew_kvstore::{Kv, KvLimits};
use sinew_session::{
    Entropy, Executor, Result, Server, ServerBuilder, Service, Session, SessionLimits, SessionOptions,
};
use sinew_taskqueue::{TaskLimits, Tasks};
use sinew_transport_api::auth::AdmitEveryone;
use sinew_transport_api::{ConnectOptions, Connection, Endpoint, Limits, ListenOptions, Registry, Security};

use crate::net::Net;

/// Every wait of a test ends after this, far above what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for `future` at most [`PATIENCE`].
///
/// # Panics
/// If it takes longer.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} took more than {PATIENCE:?}"))
}

/// Transports, security and limits of a test.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The transports to choose from.
    pub registry: Registry,
    /// Where the server listens; port 0 is chosen at its first start.
    pub endpoints: Vec<Endpoint>,
    /// The server's identity and the client's; `None` for plaintext.
    pub identities: Option<(Arc<Identity>, Arc<Identity>)>,
    /// The session's limits, at both ends.
    pub limits: SessionLimits,
    /// `Limits::close_timeout` of the connections, at both ends.
    pub close_timeout: Duration,
    /// `Limits::queue_bytes_max` of the connections, at both ends.
    pub queue_bytes_max: usize,
    /// Where both run.
    pub executor: Executor,
    /// Where both have their random numbers from. Default: the operating system.
    pub entropy: Entropy,
    /// Whom the server lets in. Default: everyone.
    pub admit: Arc<dyn Admit>,
    /// What it lets them do. Default: everything.
    pub authorize: Arc<dyn Authorize>,
}

impl Setup {
    /// Listens at these URLs of these transports, in plaintext, on the test's own runtime.
    ///
    /// # Panics
    /// If one is no URL.
    pub fn plaintext(registry: Registry, urls: &[&str]) -> Self {
        let endpoints = urls.iter().map(|url| url.parse().expect("a URL of this test")).collect();
        let Limits { close_timeout, queue_bytes_max, .. } = Limits::default();
        let (admit, authorize) = (Arc::new(AdmitEveryone), Arc::new(AuthorizeEverything));
        Self {
            registry,
            endpoints,
            identities: None,
            limits: SessionLimits::default(),
            close_timeout,
            queue_bytes_max,
            executor: Executor::Current,
            entropy: Entropy::default(),
            admit,
            authorize,
        }
    }

    /// The same secured, under fresh keys.
    ///
    /// # Panics
    /// If one is no URL.
    pub fn secured(registry: Registry, urls: &[&str]) -> Self {
        let identity = || Arc::new(Identity::generate());
        Self { identities: Some((identity(), identity())), ..Self::plaintext(registry, urls) }
    }

    /// Listens at these URLs of the transports that are linked into the test, each server and session on a thread of
    /// its own.
    ///
    /// # Panics
    /// If one is no URL.
    pub fn linked(urls: &[&str], secured: bool) -> Self {
        let registry = Registry::linked().expect("one transport for each scheme");
        let make = if secured { Self::secured } else { Self::plaintext };
        Self { executor: Executor::Thread, ..make(registry, urls) }
    }

    /// In memory, in plaintext, on a network of its own.
    pub fn on(net: &Net, url: &str) -> Self {
        Self::plaintext(net.registry(), &[url])
    }

    /// How to listen.
    pub fn listen_options(&self) -> ListenOptions {
        let security = self.identities.as_ref().map(|(server, _)| Security::Identity(server.clone()));
        let mut options = ListenOptions::new(security.unwrap_or(Security::Plaintext), self.admit.clone());
        options.limits.close_timeout = self.close_timeout;
        options.limits.queue_bytes_max = self.queue_bytes_max;
        options
    }

    /// How to connect.
    pub fn connect_options(&self) -> ConnectOptions {
        let mut options = match &self.identities {
            None => ConnectOptions::new(Security::Plaintext, None),
            Some((server, client)) => {
                ConnectOptions::new(Security::Identity(client.clone()), Some(server.public_key()))
            }
        };
        options.limits.close_timeout = self.close_timeout;
        options.limits.queue_bytes_max = self.queue_bytes_max;
        options
    }

    /// How a session connects.
    ///
    /// # Panics
    /// If two linked transports claim one scheme.
    pub fn session_options(&self) -> SessionOptions {
        let mut options = SessionOptions::new(Security::Plaintext, None).expect("the linked transports");
        options.registry = self.registry.clone();
        options.connect = self.connect_options();
        options.limits = self.limits.clone();
        options.executor = self.executor;
        options.entropy = self.entropy.clone();
        options
    }

    /// Starts a server with these services, and keeps the ports it has chosen for the next start.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn serve(&mut self, services: Vec<Arc<dyn Service>>) -> Server {
        let mut builder = ServerBuilder::new(self.registry.clone())
            .limits(self.limits.clone())
            .executor(self.executor)
            .entropy(self.entropy.clone())
            .authorize(self.authorize.clone());
        for endpoint in &self.endpoints {
            builder = builder.listen(endpoint.clone(), self.listen_options());
        }
        builder = services.into_iter().fold(builder, ServerBuilder::service);
        let server = soon("starting the server", builder.start()).await.expect("the server starts");
        self.endpoints = server.endpoints().to_vec();
        server
    }

    /// The same server, seen by a client with an identity of its own.
    ///
    /// # Panics
    /// In plaintext.
    pub fn seen_by(&self, client: Identity) -> Self {
        let (server, _) = self.identities.clone().expect("a secured setup");
        Self { identities: Some((server, Arc::new(client))), ..self.clone() }
    }

    /// Starts a server with a bus.
    pub async fn serve_bus(&mut self) -> Server {
        self.serve_bus_with(BusLimits::default()).await
    }

    /// Starts a server with a bus of these limits.
    pub async fn serve_bus_with(&mut self, limits: BusLimits) -> Server {
        self.serve(vec![Arc::new(Broker::new(limits))]).await
    }

    /// A session to endpoint number `index`.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub async fn try_session(&self, index: usize) -> Result<Session> {
        soon("connecting", Session::connect(&self.endpoints[index], self.session_options())).await
    }

    /// A session to the first endpoint.
    ///
    /// # Panics
    /// If it does not connect.
    pub async fn session(&self) -> Session {
        self.try_session(0).await.expect("the server is there")
    }

    /// A bus client; clients take the endpoints in turn.
    ///
    /// # Panics
    /// If it does not connect.
    pub async fn bus(&self, number: usize) -> Bus {
        let session = self.try_session(number % self.endpoints.len()).await.expect("the server is there");
        Bus::new(&session).expect("the first on its session")
    }

    /// Starts a server with an event log in memory.
    pub async fn serve_log(&mut self) -> Server {
        self.serve_log_on(Arc::new(MemoryEngine::default()), LogLimits::default()).await
    }

    /// Starts a server with an event log on this engine.
    pub async fn serve_log_on(&mut self, engine: Arc<dyn Engine>, limits: LogLimits) -> Server {
        self.serve(vec![Arc::new(sinew_eventsource::Broker::new(engine, limits))]).await
    }

    /// A client of the event log; clients take the endpoints in turn.
    ///
    /// # Panics
    /// If it does not connect.
    pub async fn log(&self, number: usize) -> Log {
        let session = self.try_session(number % self.endpoints.len()).await.expect("the server is there");
        Log::new(&session).expect("the first on its session")
    }

    /// Starts a server with a key-value store in memory.
    pub async fn serve_kv(&mut self) -> Server {
        self.serve_kv_on(Arc::new(sinew_kvstore::MemoryEngine::default()), KvLimits::default()).await
    }

    /// Starts a server with a key-value store on this engine.
    pub async fn serve_kv_on(&mut self, engine: Arc<dyn sinew_kvstore::Engine>, limits: KvLimits) -> Server {
        self.serve(vec![Arc::new(sinew_kvstore::Broker::new(engine, limits))]).await
    }

    /// A client of the key-value store; clients take the endpoints in turn.
    ///
    /// # Panics
    /// If it does not connect.
    pub async fn kv(&self, number: usize) -> Kv {
        let session = self.try_session(number % self.endpoints.len()).await.expect("the server is there");
        Kv::new(&session).expect("the first on its session")
    }

    /// Starts a server with a task queue in memory.
    pub async fn serve_tasks(&mut self) -> Server {
        self.serve_tasks_on(Arc::new(sinew_taskqueue::MemoryEngine::default()), TaskLimits::default()).await
    }

    /// Starts a server with a task queue on this engine.
    pub async fn serve_tasks_on(&mut self, engine: Arc<dyn sinew_taskqueue::Engine>, limits: TaskLimits) -> Server {
        self.serve(vec![Arc::new(sinew_taskqueue::Broker::new(engine, limits))]).await
    }

    /// A client of the task queue; clients take the endpoints in turn.
    ///
    /// # Panics
    /// If it does not connect.
    pub async fn tasks(&self, number: usize) -> Tasks {
        let session = self.try_session(number % self.endpoints.len()).await.expect("the server is there");
        Tasks::new(&session).expect("the first on its session")
    }

    /// A bare connection to endpoint number `index`, below the session.
    ///
    /// # Panics
    /// If it does not connect.
    pub async fn raw(&self, index: usize) -> Connection {
        self.try_raw(index).await.expect("the server is there")
    }

    /// A bare connection to endpoint number `index`, if it comes about.
    ///
    /// # Errors
    /// As [`Registry::connect`].
    pub async fn try_raw(&self, index: usize) -> sinew_transport_api::Result<Connection> {
        let options = self.connect_options();
        soon("connecting", self.registry.connect(&self.endpoints[index], &options)).await
    }
}
