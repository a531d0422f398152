//! The server: listeners of any transports, and behind them every service of this build.

use std::future::poll_fn;
#[cfg(any(feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use sinew_auth::{Admit, AdmitEveryone, Authorize, AuthorizeEverything, Identity, PublicKey};
#[cfg(feature = "bus")]
use sinew_bus::{Broker, BusLimits};
#[cfg(feature = "eventsource")]
use sinew_eventsource::{Engine, LogLimits, MemoryEngine};
#[cfg(feature = "kvstore")]
use sinew_kvstore::KvLimits;
use sinew_session::{Executor, SessionLimits};
#[cfg(feature = "taskqueue")]
use sinew_taskqueue::TaskLimits;
use sinew_transport_api::{Endpoint, Limits, ListenOptions, Registry, Security};

use crate::{Client, Error, Home, Result, linked};

#[cfg(all(feature = "bus", feature = "kvstore"))]
mod copies;
#[cfg(any(feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
mod data;
mod private;
use private::{Door, Owner};

/// A running server. Dropping it cuts every connection; [`drain`](Self::drain) ends in order.
#[derive(Debug)]
pub struct Server {
    inner: sinew_session::Server,
    urls: Vec<Endpoint>,
    door: Option<Door>,
    #[cfg(feature = "eventsource")]
    log: Option<Arc<dyn Engine>>,
    #[cfg(feature = "kvstore")]
    kv: Option<Arc<dyn sinew_kvstore::Engine>>,
    #[cfg(feature = "taskqueue")]
    tasks: Arc<dyn sinew_taskqueue::Engine>,
}

impl Server {
    /// A server without a listener yet.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where it listens, in the order of the builder, with the ports that were chosen and, where it is secured, its
    /// key: what a client connects to.
    pub fn urls(&self) -> &[Endpoint] {
        &self.urls
    }

    /// The key it proves; `None` in plaintext.
    pub fn key(&self) -> Option<PublicKey> {
        self.urls.first().and_then(Endpoint::key)
    }

    /// A client of this server within its process, which may do everything. Only where the builder was told
    /// [`own_clients`](ServerBuilder::own_clients).
    ///
    /// # Errors
    /// `NoOwnClients` where it was not; `Session`.
    pub async fn own_client(&self) -> Result<Client> {
        match &self.door {
            Some(door) => door.client().await,
            None => Err(Error::NoOwnClients),
        }
    }

    /// Connections at this moment.
    pub fn connections(&self) -> usize {
        self.inner.connections()
    }

    /// Stops accepting, tells every client to come back later, sends what waits for them and closes, within
    /// [`SessionLimits::drain_timeout`]; then closes what is stored, so that the next start is quick.
    ///
    /// # Errors
    /// `Log`, `Kv`, `Tasks` where something could not be stored to the end. Everything is closed all the same.
    pub async fn drain(self) -> Result<()> {
        self.inner.drain().await;
        #[cfg(feature = "eventsource")]
        let log = match self.log {
            Some(log) => log.close().await.map_err(Error::from),
            None => Ok(()),
        };
        #[cfg(not(feature = "eventsource"))]
        let log = Ok(());
        #[cfg(feature = "kvstore")]
        let kv = match self.kv {
            Some(kv) => kv.close().await.map_err(Error::from),
            None => Ok(()),
        };
        #[cfg(not(feature = "kvstore"))]
        let kv = Ok(());
        #[cfg(feature = "taskqueue")]
        let tasks = self.tasks.close().await.map_err(Error::from);
        #[cfg(not(feature = "taskqueue"))]
        let tasks = Ok(());
        log.and(kv).and(tasks)
    }

    /// Waits for the first failure of the storage after which nothing more can be acknowledged: end the server then, and
    /// start it again to find out what is on disk. For ever, where all is well.
    pub async fn failed(&self) -> Error {
        let log = async {
            #[cfg(feature = "eventsource")]
            if let Some(log) = &self.log {
                return log.failed().await.into();
            }
            std::future::pending().await
        };
        let kv = async {
            #[cfg(feature = "kvstore")]
            if let Some(kv) = &self.kv {
                return kv.failed().await.into();
            }
            std::future::pending().await
        };
        let tasks = async {
            #[cfg(feature = "taskqueue")]
            return self.tasks.failed().await.into();
            #[cfg(not(feature = "taskqueue"))]
            std::future::pending().await
        };
        first(first(log, kv), tasks).await
    }

    /// Cuts every connection at once, as a crash would, and waits until the addresses are free.
    pub async fn abort(self) {
        self.inner.abort().await;
    }
}

/// Whichever comes first.
async fn first(one: impl Future<Output = Error>, other: impl Future<Output = Error>) -> Error {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Pending => other.as_mut().poll(cx),
        ready => ready,
    })
    .await
}

/// What a server is to be, before it starts.
#[derive(Debug, Default)]
pub struct ServerBuilder {
    listen: Vec<String>,
    proof: Proof,
    admit: Option<Arc<dyn Admit>>,
    authorize: Option<Arc<dyn Authorize>>,
    home: Option<Home>,
    limits: Limits,
    session_limits: SessionLimits,
    executor: Executor,
    registry: Option<Registry>,
    own_clients: bool,
    #[cfg(feature = "bus")]
    bus_limits: BusLimits,
    #[cfg(any(feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
    data: Option<PathBuf>,
    #[cfg(feature = "eventsource")]
    log: Option<Arc<dyn Engine>>,
    #[cfg(feature = "eventsource")]
    log_limits: LogLimits,
    #[cfg(feature = "kvstore")]
    kv: Option<Arc<dyn sinew_kvstore::Engine>>,
    #[cfg(feature = "kvstore")]
    kv_limits: KvLimits,
    #[cfg(feature = "taskqueue")]
    tasks: Option<Arc<dyn sinew_taskqueue::Engine>>,
    #[cfg(feature = "taskqueue")]
    task_limits: TaskLimits,
}

/// How the server proves who it is.
#[derive(Debug, Default)]
enum Proof {
    #[default]
    Home,
    Identity(Arc<Identity>),
    Plaintext,
}

/// Who decides who comes in, and what they may do.
struct Judges {
    admit: Arc<dyn Admit>,
    authorize: Arc<dyn Authorize>,
}

impl ServerBuilder {
    /// Listens at `url`. Any number of listeners, of any transports, share the services. Port 0 picks a free one.
    pub fn listen(mut self, url: impl Into<String>) -> Self {
        self.listen.push(url.into());
        self
    }

    /// Serves under this identity instead of the account's server key.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.proof = Proof::Identity(Arc::new(identity));
        self
    }

    /// Lets in whom `admit` says. Default: the keys in the home's allowlist and policy and of the account's own clients;
    /// in plaintext everyone.
    pub fn admit(mut self, admit: Arc<dyn Admit>) -> Self {
        self.admit = Some(admit);
        self
    }

    /// Lets peers do what `authorize` says. Default: what the home's policy says, where it also decides who is let in;
    /// else everything.
    pub fn authorize(mut self, authorize: Arc<dyn Authorize>) -> Self {
        self.authorize = Some(authorize);
        self
    }

    /// Neither encrypts nor asks for keys. Whoever can reach a listener can use it.
    pub fn plaintext(mut self) -> Self {
        self.proof = Proof::Plaintext;
        self
    }

    /// Another home directory than [`Home::open`] finds.
    pub fn home(mut self, home: Home) -> Self {
        self.home = Some(home);
        self
    }

    /// Lets the program itself connect with [`Server::own_client`], through memory that nobody else reaches and under a key
    /// that is made at each start: such a client may do everything, whatever the policy says.
    pub fn own_clients(mut self) -> Self {
        self.own_clients = true;
        self
    }

    /// Other limits of the transports than the default ones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Other limits of the sessions than the default ones.
    pub fn session_limits(mut self, limits: SessionLimits) -> Self {
        self.session_limits = limits;
        self
    }

    /// Other limits of the bus than the default ones.
    #[cfg(feature = "bus")]
    pub fn bus_limits(mut self, limits: BusLimits) -> Self {
        self.bus_limits = limits;
        self
    }

    /// Keeps what is to last in this directory, which is made where it is missing and which one server has at a time, and
    /// offers an event log, a key-value store and a task queue there, where they are given no engine of their own.
    #[cfg(any(feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    /// Offers an event log that is gone when the server ends: its acknowledgements have the level `memory`, and an append
    /// that requires more is refused. Without this, a data directory or an engine there is no event log.
    #[cfg(feature = "eventsource")]
    pub fn log_in_memory(self) -> Self {
        self.log_engine(Arc::new(MemoryEngine::default()))
    }

    /// Offers an event log on this engine.
    #[cfg(feature = "eventsource")]
    pub fn log_engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.log = Some(engine);
        self
    }

    /// Other limits of the event log than the default ones.
    #[cfg(feature = "eventsource")]
    pub fn log_limits(mut self, limits: LogLimits) -> Self {
        self.log_limits = limits;
        self
    }

    /// Offers a key-value store that is gone when the server ends: its acknowledgements have the level `memory`, and a write
    /// that requires more is refused. Without this, a data directory or an engine there is no key-value store.
    #[cfg(feature = "kvstore")]
    pub fn kv_in_memory(self) -> Self {
        self.kv_engine(Arc::new(sinew_kvstore::MemoryEngine::default()))
    }

    /// Offers a key-value store on this engine.
    #[cfg(feature = "kvstore")]
    pub fn kv_engine(mut self, engine: Arc<dyn sinew_kvstore::Engine>) -> Self {
        self.kv = Some(engine);
        self
    }

    /// Other limits of the key-value store than the default ones.
    #[cfg(feature = "kvstore")]
    pub fn kv_limits(mut self, limits: KvLimits) -> Self {
        self.kv_limits = limits;
        self
    }

    /// Offers a task queue on this engine. Default: one in the [data directory](Self::data); without that, one in memory, whose
    /// tasks are gone when the server ends and whose acceptances have the level `memory`.
    #[cfg(feature = "taskqueue")]
    pub fn task_engine(mut self, engine: Arc<dyn sinew_taskqueue::Engine>) -> Self {
        self.tasks = Some(engine);
        self
    }

    /// Other limits of the task queue than the default ones.
    #[cfg(feature = "taskqueue")]
    pub fn task_limits(mut self, limits: TaskLimits) -> Self {
        self.task_limits = limits;
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

    /// Binds every listener and starts.
    ///
    /// # Errors
    /// `NothingToListenOn`; `Endpoint` and `FeatureOff` for a URL that cannot be used; `File` where keys or the allowlist
    /// are not; `Data`, `Log` and `Kv` where the data directory cannot be used, or another server has it; `Session` for the
    /// first listener that cannot be bound. Nothing listens then.
    pub async fn start(mut self) -> Result<Server> {
        if self.listen.is_empty() {
            return Err(Error::NothingToListenOn);
        }
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => Registry::linked().map_err(sinew_session::Error::from)?,
        };
        let (security, Judges { admit, authorize }) = self.security()?;
        let key = match &security {
            Security::Identity(identity) => Some(identity.public_key()),
            Security::Plaintext => None,
        };
        let (mut served, mut authorize) = (registry.clone(), authorize);
        let door = if self.own_clients { Some(Door::new(&mut served, self.executor)?) } else { None };
        if let Some(door) = &door {
            authorize = Arc::new(Owner::new(door.key(), authorize));
        }
        let mut inner = sinew_session::ServerBuilder::new(served)
            .limits(self.session_limits)
            .executor(self.executor)
            .authorize(authorize);
        for url in &self.listen {
            let endpoint: Endpoint = url.parse()?;
            linked::check(&registry, &endpoint)?;
            let options =
                ListenOptions { limits: self.limits.clone(), ..ListenOptions::new(security.clone(), admit.clone()) };
            inner = inner.listen(endpoint, options);
        }
        if let Some(door) = &door {
            inner = inner.listen(door.endpoint(), door.listen());
        }
        #[cfg(any(feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
        if let Some(directory) = self.data.take() {
            let data = data::Data::open(&directory)?;
            #[cfg(feature = "eventsource")]
            if self.log.is_none() {
                self.log = Some(data.log()?);
            }
            #[cfg(feature = "kvstore")]
            if self.kv.is_none() {
                self.kv = Some(data.kv()?);
            }
            #[cfg(feature = "taskqueue")]
            if self.tasks.is_none() {
                self.tasks = Some(data.tasks()?);
            }
        }
        #[cfg(feature = "bus")]
        let bus = Arc::new(Broker::new(self.bus_limits));
        #[cfg(feature = "kvstore")]
        if let Some(engine) = &self.kv {
            #[cfg(feature = "bus")]
            let store = copies::store(&bus, engine.clone(), self.kv_limits);
            #[cfg(not(feature = "bus"))]
            let store = Arc::new(sinew_kvstore::Broker::new(engine.clone(), self.kv_limits));
            inner = inner.service(store);
        }
        #[cfg(feature = "bus")]
        {
            inner = inner.service(bus);
        }
        #[cfg(feature = "eventsource")]
        if let Some(engine) = &self.log {
            inner = inner.service(Arc::new(sinew_eventsource::Broker::new(engine.clone(), self.log_limits)));
        }
        #[cfg(feature = "taskqueue")]
        let tasks = self.tasks.unwrap_or_else(|| Arc::new(sinew_taskqueue::MemoryEngine::default()));
        #[cfg(feature = "taskqueue")]
        {
            inner = inner.service(Arc::new(sinew_taskqueue::Broker::new(tasks.clone(), self.task_limits)));
        }
        let inner = match inner.start().await {
            Ok(inner) => inner,
            Err(error) => {
                // What was opened is closed, so that another attempt finds the data directory free.
                #[cfg(feature = "eventsource")]
                if let Some(log) = self.log {
                    let _ = log.close().await;
                }
                #[cfg(feature = "kvstore")]
                if let Some(kv) = self.kv {
                    let _ = kv.close().await;
                }
                #[cfg(feature = "taskqueue")]
                let _ = tasks.close().await;
                return Err(error.into());
            }
        };
        let with_key = |endpoint: &Endpoint| key.map_or_else(|| endpoint.clone(), |key| endpoint.with_key(key));
        Ok(Server {
            // Without the door, which nobody else can use.
            urls: inner.endpoints().iter().take(self.listen.len()).map(with_key).collect(),
            inner,
            door,
            #[cfg(feature = "eventsource")]
            log: self.log,
            #[cfg(feature = "kvstore")]
            kv: self.kv,
            #[cfg(feature = "taskqueue")]
            tasks,
        })
    }

    fn security(&mut self) -> Result<(Security, Judges)> {
        let security = match &self.proof {
            Proof::Plaintext => Security::Plaintext,
            Proof::Identity(identity) => Security::Identity(identity.clone()),
            Proof::Home => Security::Identity(Arc::new(self.find_home()?.server_identity()?)),
        };
        let (admit, rules): (Arc<dyn Admit>, Arc<dyn Authorize>) = match (&self.admit, &security) {
            (Some(admit), _) => (admit.clone(), Arc::new(AuthorizeEverything)),
            (None, Security::Plaintext) => (Arc::new(AdmitEveryone), Arc::new(AuthorizeEverything)),
            (None, Security::Identity(_)) => {
                let policy = Arc::new(self.find_home()?.policy()?);
                (policy.clone(), policy)
            }
        };
        let authorize = self.authorize.clone().unwrap_or(rules);
        Ok((security, Judges { admit, authorize }))
    }

    fn find_home(&self) -> Result<Home> {
        self.home.clone().map_or_else(Home::open, Ok)
    }
}
