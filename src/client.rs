//! The client: one connection that carries every service, and comes back by itself after a cut.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sinew_auth::{Identity, PublicKey};
#[cfg(feature = "bus")]
use sinew_bus::Bus;
#[cfg(feature = "eventsource")]
use sinew_eventsource::Log;
#[cfg(feature = "kvstore")]
use sinew_kvstore::Kv;
use sinew_session::{Backoff, Executor, Session, SessionLimits, SessionOptions, State};
#[cfg(feature = "taskqueue")]
use sinew_taskqueue::Tasks;
use sinew_transport_api::{ConnectOptions, Endpoint, Limits, Registry, Security};

use crate::{Error, Home, Result, linked};

/// A connected client. Cheap to clone; the last clone dropped ends the session after what is waiting has been sent, and
/// [`close`](Self::close) also confirms that it arrived.
#[derive(Clone, Debug)]
pub struct Client {
    session: Session,
    endpoint: Endpoint,
    #[cfg(feature = "bus")]
    bus: Bus,
    #[cfg(feature = "eventsource")]
    log: Log,
    #[cfg(feature = "kvstore")]
    kv: Kv,
    #[cfg(feature = "taskqueue")]
    tasks: Tasks,
}

/// Connects to `url` with the keys of this account: its client key, and the server's key from the URL, from
/// `known_servers` or, for a server on this machine, from the [`Home`] directory.
///
/// # Errors
/// As [`ClientBuilder::connect`].
pub async fn connect(url: impl Into<String>) -> Result<Client> {
    Client::builder(url).connect().await
}

impl Client {
    /// A client for the server at `url`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(Some(url.into()))
    }

    /// A client for the server that runs for this account on this machine, wherever it listens.
    pub fn local() -> ClientBuilder {
        ClientBuilder::new(None)
    }

    /// The bus. Clone it to keep it.
    #[cfg(feature = "bus")]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The event log. Clone it to keep it. A server that offers none says so at the first call.
    #[cfg(feature = "eventsource")]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The key-value store. Clone it to keep it. A server that offers none says so at the first call.
    #[cfg(feature = "kvstore")]
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// The task queue. Clone it to keep it. A server that offers none says so at the first call.
    #[cfg(feature = "taskqueue")]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The session that carries everything.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The server it is connected to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it is connected at this moment, or over.
    pub fn state(&self) -> State {
        self.session.state().borrow().clone()
    }

    /// Waits until the server has taken in everything sent before. One round trip; at most `deadline`.
    ///
    /// # Errors
    /// `Session` with `Lost` if something was lost in a cut since the last flush, `Timeout`, or why the session ended.
    pub async fn flush(&self, deadline: Duration) -> Result<()> {
        Ok(self.session.flush(deadline).await?)
    }

    /// Flushes and ends the session, for all clones: nothing sent before is lost.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); it is ended all the same.
    pub async fn close(&self) -> Result<()> {
        Ok(self.session.close().await?)
    }
}

/// What a client is to be, before it connects.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    url: Option<String>,
    proof: Proof,
    server_key: Option<PublicKey>,
    home: Option<Home>,
    name: String,
    connect_timeout: Option<Duration>,
    limits: Limits,
    session_limits: SessionLimits,
    backoff: Backoff,
    executor: Executor,
    registry: Option<Registry>,
}

/// How the client proves who it is.
#[derive(Clone, Debug)]
enum Proof {
    Home,
    File(PathBuf),
    Identity(Arc<Identity>),
    Plaintext,
}

impl ClientBuilder {
    fn new(url: Option<String>) -> Self {
        Self {
            url,
            proof: Proof::Home,
            server_key: None,
            home: None,
            name: String::new(),
            connect_timeout: None,
            limits: Limits::default(),
            session_limits: SessionLimits::default(),
            backoff: Backoff::default(),
            executor: Executor::default(),
            registry: None,
        }
    }

    /// Connects under this identity instead of the account's client key.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.proof = Proof::Identity(Arc::new(identity));
        self
    }

    /// The same under an identity that several have.
    pub(crate) fn identity_shared(mut self, identity: Arc<Identity>) -> Self {
        self.proof = Proof::Identity(identity);
        self
    }

    /// Connects under the identity in this file, which must exist.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.proof = Proof::File(path.into());
        self
    }

    /// Neither encrypts nor proves anything; the listener must have been told the same.
    pub fn plaintext(mut self) -> Self {
        self.proof = Proof::Plaintext;
        self
    }

    /// The key that the server must prove, where the URL does not name it.
    pub fn server_key(mut self, key: PublicKey) -> Self {
        self.server_key = Some(key);
        self
    }

    /// Another home directory than [`Home::open`] finds.
    pub fn home(mut self, home: Home) -> Self {
        self.home = Some(home);
        self
    }

    /// What this client calls itself in the server's log. Default: nothing.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long until the connection stands, handshake and admission included. Default 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Other limits of the transport than the default ones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Other limits of the session than the default ones.
    pub fn session_limits(mut self, limits: SessionLimits) -> Self {
        self.session_limits = limits;
        self
    }

    /// Other waits between attempts to reconnect.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Another place to run than a thread of its own.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// Other transports than those that are linked.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Connects and says hello. After that the session reconnects by itself.
    ///
    /// # Errors
    /// `Endpoint` and `FeatureOff` for a URL that cannot be used; `NoServerKey`, `NoServer` and `File` where keys or the
    /// local server are not found; `ServerKeyChanged` if the server proves none of the known ones; `Session` if it cannot
    /// be reached or does not let us in.
    pub async fn connect(mut self) -> Result<Client> {
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => Registry::linked().map_err(sinew_session::Error::from)?,
        };
        let endpoint = match self.url.take() {
            Some(url) => url.parse()?,
            None => self.local_endpoint(&registry)?,
        };
        linked::check(&registry, &endpoint)?;
        let (security, keys) = self.security(&endpoint)?;
        if keys.is_empty() && matches!(security, Security::Identity(_)) && endpoint.key().is_none() {
            return Err(self.no_server_key(&registry, &endpoint).await);
        }
        let mut keys = keys.into_iter();
        let mut options = SessionOptions::new(security, keys.next())?;
        options.server_keys_more = keys.collect();
        options.registry = registry;
        options.connect.limits = self.limits.clone();
        options.connect.connect_timeout = self.connect_timeout.unwrap_or(options.connect.connect_timeout);
        options.client = std::mem::take(&mut self.name);
        options.limits = self.session_limits.clone();
        options.backoff = self.backoff.clone();
        options.executor = self.executor;
        let session =
            Session::connect(&endpoint, options).await.map_err(|cause| self.connect_error(&endpoint, cause))?;
        Ok(Client {
            #[cfg(feature = "bus")]
            bus: Bus::new(&session)?,
            #[cfg(feature = "eventsource")]
            log: Log::new(&session)?,
            #[cfg(feature = "kvstore")]
            kv: Kv::new(&session)?,
            #[cfg(feature = "taskqueue")]
            tasks: Tasks::new(&session)?,
            session,
            endpoint,
        })
    }

    /// The same for a program without an async runtime: waits on this thread, and gives a client whose calls do. The
    /// session runs on a thread of its own, whatever [`executor`](Self::executor) was set.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); `Session(InsideRuntime)` inside an async runtime.
    #[cfg(any(feature = "bus", feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
    pub fn connect_blocking(mut self) -> Result<crate::blocking::Client> {
        self.executor = Executor::Thread;
        Ok(crate::blocking::Client::new(sinew_session::block_on(self.connect())??))
    }

    /// The first listener of the running server that fits: secured or not as we are, and of a scheme that is linked.
    fn local_endpoint(&mut self, registry: &Registry) -> Result<Endpoint> {
        let home = self.find_home()?;
        let listens = home.running()?;
        let secured = !matches!(self.proof, Proof::Plaintext);
        let fits = |endpoint: &&Endpoint| endpoint.key().is_some() == secured && registry.find(endpoint).is_ok();
        listens.iter().find(fits).cloned().ok_or_else(|| Error::NoFittingListener {
            home: home.path().into(),
            wanted: if secured { "secured" } else { "plaintext" },
            listens: listens.iter().map(Endpoint::to_string).collect(),
        })
    }

    /// How we prove ourselves, and the keys that the server may prove: the one that was given, or the known ones.
    fn security(&mut self, endpoint: &Endpoint) -> Result<(Security, Vec<PublicKey>)> {
        let identity = match self.proof.clone() {
            Proof::Plaintext => return Ok((Security::Plaintext, self.server_key.into_iter().collect())),
            Proof::Identity(identity) => identity,
            Proof::File(path) => Arc::new(Identity::read(path)?),
            Proof::Home => Arc::new(self.find_home()?.client_identity()?),
        };
        let keys = match (endpoint.key(), self.server_key) {
            (None, None) => self.known_server_keys(endpoint)?,
            (_, given) => given.into_iter().collect(),
        };
        Ok((Security::Identity(identity), keys))
    }

    /// From `known_servers`; of a server on this machine from the home directory.
    fn known_server_keys(&mut self, endpoint: &Endpoint) -> Result<Vec<PublicKey>> {
        let home = self.find_home()?;
        let known = home.known_server_keys(endpoint)?;
        if known.is_empty() && is_local(endpoint) { home.local_server_keys() } else { Ok(known) }
    }

    /// The server is not known: asks it who it is, under a key that nobody knows, and does not go on.
    async fn no_server_key(&self, registry: &Registry, endpoint: &Endpoint) -> Error {
        let nobody = || Identity::generate();
        let mut options = ConnectOptions::new(Security::Identity(Arc::new(nobody())), Some(nobody().public_key()));
        options.connect_timeout = self.connect_timeout.unwrap_or(options.connect_timeout);
        let found = match registry.connect(endpoint, &options).await {
            Err(sinew_transport_api::Error::WrongServerKey { found, .. }) => found,
            _ => None,
        };
        Error::NoServerKey { endpoint: endpoint.to_string(), found }
    }

    /// Where the key was not given but known, what to do about another one is ours to say.
    fn connect_error(&self, endpoint: &Endpoint, cause: sinew_session::Error) -> Error {
        let known = endpoint.key().is_none() && self.server_key.is_none();
        let is_wrong = matches!(&cause, sinew_session::Error::Transport(error)
            if matches!(**error, sinew_transport_api::Error::WrongServerKey { .. }));
        if known && is_wrong {
            Error::ServerKeyChanged { authority: endpoint.authority(), cause }
        } else {
            cause.into()
        }
    }

    fn find_home(&mut self) -> Result<Home> {
        match &self.home {
            Some(home) => Ok(home.clone()),
            None => Ok(self.home.insert(Home::open()?).clone()),
        }
    }
}

/// Whether only programs on this machine can be meant: a loopback address, or a path.
pub(crate) fn is_local(endpoint: &Endpoint) -> bool {
    let host = endpoint.host();
    host.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
