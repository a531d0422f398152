//! The server: listens on any number of endpoints, says welcome, and carries each connection to the services.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_auth::{Authorize, AuthorizeEverything};
use sinew_transport_api::{Block, Connection, Endpoint, Lane, Limits, ListenOptions, Listener, Peer, Registry, Sender};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::access::{Access, revoked};
use crate::carry::{End, Pulse, carry, close, now};
use crate::cbor::{from_cbor, to_cbor};
use crate::entropy::Entropy;
use crate::executor::Executor;
use crate::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN, Refusal, SessionId, Welcome, verb};
use crate::inbound::Inbound;
use crate::limits::{CBOR_BYTES_MAX, DATA_LANES_MAX, SessionLimits};
use crate::outbox::Outbox;
use crate::record::{CRITICAL, HEADER_BYTES, Header, Run, SESSION, encode};
use crate::service::{Link, Service};
use crate::sessions::{ServerSession, Sessions, let_go};
use crate::writer::Writer;
use crate::{Error, Result};

mod handler;
mod judge;
use handler::ServerHandler;

/// What this build calls itself in hello and welcome.
pub(crate) const SOFTWARE: &str = concat!("sinew/", env!("CARGO_PKG_VERSION"));

/// The pause after an error of a listener that concerns no single peer (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a server is to be, before it starts.
#[derive(Debug)]
pub struct ServerBuilder {
    registry: Registry,
    listen: Vec<(Endpoint, ListenOptions)>,
    services: Vec<Arc<dyn Service>>,
    limits: SessionLimits,
    executor: Executor,
    authorize: Arc<dyn Authorize>,
    entropy: Entropy,
}

impl ServerBuilder {
    /// A server with these transports, no listener and no service yet.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            listen: Vec::new(),
            services: Vec::new(),
            limits: SessionLimits::default(),
            executor: Executor::default(),
            authorize: Arc::new(AuthorizeEverything),
            entropy: Entropy::default(),
        }
    }

    /// Listens at `endpoint`. Any number of listeners, of any transports, share the services.
    pub fn listen(mut self, endpoint: Endpoint, options: ListenOptions) -> Self {
        self.listen.push((endpoint, options));
        self
    }

    /// Offers `service` to every session.
    pub fn service(mut self, service: Arc<dyn Service>) -> Self {
        self.services.push(service);
        self
    }

    /// Other limits than the default ones.
    pub fn limits(mut self, limits: SessionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Another place to run than a thread of its own.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// Asks `authorize` what each peer may do, and whether its key is still let in. Default: everything.
    ///
    /// It is asked for changes every 250 ms; within a second of one, sessions whose key is no longer admitted have ended.
    pub fn authorize(mut self, authorize: Arc<dyn Authorize>) -> Self {
        self.authorize = authorize;
        self
    }

    /// Another source of random numbers than the operating system.
    pub fn entropy(mut self, entropy: Entropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// Binds every endpoint and starts.
    ///
    /// # Errors
    /// `Transport` for the first endpoint that cannot be bound; nothing listens then.
    pub async fn start(self) -> Result<Server> {
        let (ready, started) = oneshot::channel();
        let (stop, stopped) = watch::channel(Phase::Run);
        let (ended, end) = watch::channel(false);
        let executor = self.executor;
        let core = Arc::new(Core {
            sessions: Mutex::new(Sessions::new(self.limits.resume_window, self.limits.resume_max)),
            links: Mutex::default(),
            entropy: self.entropy.clone(),
            next_link: AtomicU64::new(1),
            epoch: self.entropy.try_bits().map_err(|error| Error::Thread { why: error.to_string() })?,
            services: self.services,
            limits: self.limits,
            access: Arc::new(Access::new(self.authorize)),
            stop: stopped,
        });
        let running = run(core.clone(), self.registry, self.listen, ready);
        executor.start("sinew-server", running, move || {
            ended.send_replace(true);
        })?;
        let endpoints = started.await.map_err(|_| Error::Closed)??;
        Ok(Server { core, endpoints, stop, end })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Run,
    Drain,
    Abort,
}

/// A running server. Dropping it cuts every connection; [`drain`](Self::drain) ends in order.
#[derive(Debug)]
pub struct Server {
    core: Arc<Core>,
    endpoints: Vec<Endpoint>,
    stop: watch::Sender<Phase>,
    end: watch::Receiver<bool>,
}

impl Server {
    /// Where it listens, in the order of the builder, with the ports that were chosen.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Random for each start: what tells clients of a restart.
    pub fn epoch(&self) -> u64 {
        self.core.epoch
    }

    /// Connections at this moment.
    pub fn connections(&self) -> usize {
        self.core.links().len()
    }

    /// Sessions at this moment, those that were cut and are still remembered included.
    pub fn sessions(&self) -> usize {
        self.core.sessions().count()
    }

    /// Stops accepting, tells every client to come back later, sends what waits for them and closes, within
    /// `drain_timeout`.
    pub async fn drain(mut self) {
        self.stop.send_replace(Phase::Drain);
        let _ = self.end.wait_for(|ended| *ended).await;
    }

    /// Cuts every connection at once, as a crash would, and waits until the addresses are free.
    pub async fn abort(mut self) {
        self.stop.send_replace(Phase::Abort);
        let _ = self.end.wait_for(|ended| *ended).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_if_modified(|phase| {
            let running = *phase == Phase::Run;
            if running {
                *phase = Phase::Abort;
            }
            running
        });
    }
}

/// What all connections of a server share.
#[derive(Debug)]
struct Core {
    sessions: Mutex<Sessions>,
    links: Mutex<BTreeMap<u64, Arc<Link>>>,
    entropy: Entropy,
    next_link: AtomicU64,
    epoch: u64,
    services: Vec<Arc<dyn Service>>,
    limits: SessionLimits,
    access: Arc<Access>,
    stop: watch::Receiver<Phase>,
}

impl Core {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Phase::Run
    }
}

async fn run(
    core: Arc<Core>,
    registry: Registry,
    listen: Vec<(Endpoint, ListenOptions)>,
    ready: oneshot::Sender<Result<Vec<Endpoint>>>,
) {
    let policy = core.access.generation();
    let mut listeners = Vec::new();
    for (endpoint, options) in &listen {
        match registry.bind(endpoint, options).await {
            Ok(listener) => listeners.push((listener, options.limits.clone())),
            Err(error) => return drop(ready.send(Err(error.into()))),
        }
    }
    let endpoints = listeners.iter().map(|(listener, _)| listener.endpoint().clone()).collect();
    if ready.send(Ok(endpoints)).is_err() {
        return;
    }
    let mut accepting = JoinSet::new();
    for (listener, limits) in listeners {
        accepting.spawn(accept(core.clone(), listener, limits));
    }
    let all = async { while accepting.join_next().await.is_some() {} };
    tokio::select! {
        biased;
        () = all => {}
        () = forget(&core) => {}
        () = judge::watch(&core, policy) => {}
    }
}

/// How long the one that forgets sessions sleeps at least when there is none.
const FORGET_PAUSE: Duration = Duration::from_secs(1);

/// Forgets sessions whose resume window is over. Never ends.
async fn forget(core: &Core) {
    loop {
        let next = core.sessions().next_expiry();
        // A session cut meanwhile is remembered for longer than this pause anyway.
        let until = next.unwrap_or_else(|| now() + core.limits.resume_window.max(FORGET_PAUSE));
        sleep_until(until.into()).await;
        let gone = core.sessions().expire(now());
        let_go(gone);
    }
}

async fn accept(core: Arc<Core>, mut listener: Box<dyn Listener>, limits: Limits) {
    let mut stop = core.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // However many come, it stops when it is told, and lets go of those that have ended.
            biased;
            // A server that was dropped without a word stops as if aborted.
            () = reached(&mut stop, |phase| phase != Phase::Run) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(connection) => {
                    connections.spawn(serve(core.clone(), connection, limits.block_bytes_max));
                }
                Err(error) if error.is_about_one_peer() => {
                    core.access.refused(listener.endpoint(), &error);
                }
                Err(error) => {
                    tracing::error!(endpoint = %listener.endpoint(), %error, "listener failed, trying on");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    if let Err(error) = listener.close().await {
        tracing::warn!(endpoint = %listener.endpoint(), %error, "listener did not close in order");
    }
    let draining = *stop.borrow() == Phase::Drain;
    if draining {
        say_goodbye(&core);
        let all = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            _ = timeout(core.limits.drain_timeout, all) => {}
            () = reached(&mut stop, |phase| phase == Phase::Abort) => {}
        }
    }
    connections.shutdown().await;
    // Where connections hold the address, it is free only now that they have ended.
    if let Err(error) = listener.close().await {
        tracing::warn!(endpoint = %listener.endpoint(), %error, "listener did not free its address");
    }
}

/// Waits for a phase, or for the server's handle to be gone.
async fn reached(stop: &mut watch::Receiver<Phase>, wanted: impl Fn(Phase) -> bool) {
    let _ = stop.wait_for(|phase| wanted(*phase)).await;
}

fn say_goodbye(core: &Core) {
    let refusal = Refusal {
        reason: "the server is shutting down".into(),
        next: "it may be back soon; clients try again by themselves".into(),
        retry: true,
    };
    let header = Header { service: SESSION, verb: verb::GOODBYE, ..Header::default() };
    for link in core.links().values() {
        link.pack().push_on_all(header, &Bytes::from(to_cbor(&refusal)));
        link.outbox().close();
    }
}

/// One connection, from the hello to its end.
async fn serve(core: Arc<Core>, mut connection: Connection, block_bytes_max: usize) {
    let address = connection.peer.address.clone();
    let hello = match timeout(core.limits.hello_timeout, read_hello(&mut connection)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return tracing::warn!(peer = %address, %error, "no hello"),
        Err(_) => return tracing::warn!(peer = %address, after = ?core.limits.hello_timeout, "no hello in time"),
    };
    let lanes = hello.lanes.clamp(1, DATA_LANES_MAX);
    if let Some(refusal) = refuse(&core, &hello, &connection.peer) {
        core.access.refused(&address, &refusal);
        return send_refusal(&mut *connection.sender, &refusal).await;
    }
    let id = core.next_link.fetch_add(1, Ordering::Relaxed);
    let outbox = Outbox::new(lanes, core.limits.outbox_bytes_max, block_bytes_max);
    let known = hello.resume.and_then(|resume| core.sessions().find(resume, connection.peer.key));
    let returning = hello.resume.is_some() && known.is_none();
    let access = core.access.clone();
    let link = Arc::new(Link::new(id, connection.peer.clone(), hello.client, returning, core.epoch, outbox, access));
    let (session, received) = attach(&core, &link, known);
    core.links().insert(id, link.clone());
    if !core.access.admits(link.peer().key.as_ref()) {
        // The policy has changed since it was asked above.
        judge::revoke(&core, &session);
    }
    let end = tokio::select! {
        biased;
        end = welcome_and_carry(&core, &mut connection, &link, &session, received, lanes) => end,
        () = link.overdue(judge::GRACE) => End::Failed(Error::Refused(revoked(link.peer()))),
    };
    core.links().remove(&id);
    detach(&core, &session, &link, &end);
    core.access.ended(link.peer(), link.gate());
    tracing::info!(peer = %address, session = ?session.id, ?end, "connection ended");
    if matches!(end, End::Sent | End::PeerClosed | End::Failed(Error::Closed)) {
        let closing = close(&mut connection);
        if link.is_revoked() {
            let _ = timeout(judge::GRACE, closing).await;
        } else {
            closing.await;
        }
    }
}

async fn read_hello(connection: &mut Connection) -> Result<Hello> {
    let protocol = |why: &str| Error::Protocol { peer: connection.peer.address.clone(), why: why.into() };
    let Some((lane, block)) = connection.receiver.recv().await? else {
        return Err(protocol("it left without a hello"));
    };
    if lane != Lane::CONTROL || block.len() > HEADER_BYTES + CBOR_BYTES_MAX {
        return Err(protocol("its first block is no hello"));
    }
    let mut run = Run::parse(&block).map_err(|error| protocol(&error.to_string()))?;
    match (run.next(), run.next()) {
        (Some(record), None) if (record.header.service, record.header.verb) == (SESSION, verb::HELLO) => {
            from_cbor(record.body()).map_err(|error| protocol(&error.to_string()))
        }
        _ => Err(protocol("its first block is no hello")),
    }
}

fn refuse(core: &Core, hello: &Hello, peer: &Peer) -> Option<Refusal> {
    if !core.access.admits(peer.key.as_ref()) {
        return Some(revoked(peer));
    }
    if core.is_stopping() {
        return Some(Refusal {
            reason: "the server is shutting down".into(),
            next: "try again later".into(),
            retry: true,
        });
    }
    if hello.protocol_min > PROTOCOL_MAX || hello.protocol_max < PROTOCOL_MIN {
        let ours = format!("this server speaks protocol {PROTOCOL_MIN} to {PROTOCOL_MAX}");
        let theirs = format!("the client {} to {}", hello.protocol_min, hello.protocol_max);
        return Some(Refusal {
            reason: format!("{ours}, {theirs}"),
            next: "update the older of the two".into(),
            retry: false,
        });
    }
    if !hello.space.is_empty() {
        let reason = format!("there is no space `{}` here", hello.space.chars().take(64).collect::<String>());
        return Some(Refusal { reason, next: "connect without a space".into(), retry: false });
    }
    None
}

async fn send_refusal(sender: &mut dyn Sender, refusal: &Refusal) {
    let header = Header { service: SESSION, verb: verb::REFUSAL, flags: CRITICAL, call: 0 };
    let mut block = Block::from(encode(header, &[], &to_cbor(refusal)));
    if sender.try_send(Lane::CONTROL, &mut block).is_ok() {
        let _ = sender.close().await;
    }
}

/// Resumes the session that was cut, or makes a new one. Tells how many one-way records are known of the old one.
fn attach(core: &Core, link: &Arc<Link>, known: Option<Arc<ServerSession>>) -> (Arc<ServerSession>, Option<u64>) {
    if let Some(session) = known {
        let mut inner = session.lock();
        if !inner.is_over() {
            inner.resume(link.clone());
            let received = inner.one_way;
            drop(inner);
            return (session, Some(received));
        }
    }
    let attachments = core.services.iter().map(|service| (service.code(), service.open(link))).collect();
    (core.sessions().enter(SessionId::random(&core.entropy), link.peer().key, link.clone(), attachments), None)
}

async fn welcome_and_carry(
    core: &Core,
    connection: &mut Connection,
    link: &Arc<Link>,
    session: &Arc<ServerSession>,
    received: Option<u64>,
    lanes: u8,
) -> End {
    let welcome = Welcome {
        protocol: PROTOCOL_MAX,
        features: 0,
        software: SOFTWARE.into(),
        epoch: core.epoch,
        session: session.id,
        services: core.services.iter().map(|service| service.code()).collect(),
        lanes,
        record_bytes_max: core.limits.record_bytes_max as u64,
        heartbeat_ms: core.limits.heartbeat.as_millis() as u64,
        lost_after_ms: core.limits.lost_after.as_millis() as u64,
        acknowledgement: "memory".into(),
        one_way_received: received,
    };
    tracing::info!(target: "sinew::audit::connect", peer = %link.peer().address, who = core.access.who(link.peer()),
        client = link.client(), session = ?session.id, resumed = received.is_some(), "connected");
    let header = Header { service: SESSION, verb: verb::WELCOME, flags: CRITICAL, call: 0 };
    let mut block = Block::from(encode(header, &[], &to_cbor(&welcome)));
    let sent =
        connection.sender.try_send(Lane::CONTROL, &mut block).and_then(|_| connection.sender.open_lanes(lanes + 1));
    if let Err(error) = sent {
        return End::Failed(error.into());
    }
    let pulse = Pulse {
        heartbeat: core.limits.heartbeat,
        lost_after: core.limits.lost_after,
        peer: connection.peer.address.clone(),
    };
    let handler = ServerHandler {
        session: session.clone(),
        link: link.clone(),
        inbound: Mutex::new(Inbound::new(&core.limits)),
        unsent_bytes_max: core.limits.outbox_bytes_max.saturating_add(core.limits.record_bytes_max),
    };
    let mut writer = Writer::new(lanes);
    carry(&mut *connection.sender, &mut *connection.receiver, link.outbox(), &mut writer, &pulse, &handler).await
}

/// After the connection: the session is over if it ended in order, else it is remembered.
fn detach(core: &Core, session: &Arc<ServerSession>, link: &Arc<Link>, end: &End) {
    let mut inner = session.lock();
    if inner.link.id() != link.id() {
        return; // Resumed over another connection already.
    }
    inner.suspend();
    let over = inner.is_over();
    drop(inner);
    link.outbox().abandon();
    if over {
        return;
    }
    let gone = match end {
        End::Failed(Error::Closed) => core.sessions().remove(session.id).into_iter().collect(),
        _ => core.sessions().cut(session.id, now()),
    };
    let_go(gone); // Outside the lock: attachments clean up.
}
