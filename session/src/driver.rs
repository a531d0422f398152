//! Keeps a client's session connected: connects, says hello, restores, carries, and starts again after a cut.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sinew_transport_api::{Block, Connection, Endpoint, Error as TransportError, Lane};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::{sleep, sleep_until, timeout};

use crate::calls::Calls;
use crate::carry::{End, Handler, Pulse, carry, close, now};
use crate::cbor::{from_cbor, to_cbor};
use crate::client::Session;
use crate::hello::{Hello, LANE_HASH_FNV1A, PROTOCOL_MAX, PROTOCOL_MIN, Refusal, SessionId, Welcome, verb};
use crate::inbound::Inbound;
use crate::limits::{DATA_LANES_MAX, SessionLimits};
use crate::options::SessionOptions;
use crate::outbox::Outbox;
use crate::record::{CRITICAL, Header, REPLY, Run, SESSION, encode};
use crate::request::{Waiter, outcome};
use crate::restore::{Restore, Restoring};
use crate::server::SOFTWARE;
use crate::sessions::FLUSHES_MAX;
use crate::shared::{Losses, Shared, State};
use crate::writer::Writer;
use crate::{Error, Result};

/// A connection on which both ends have agreed.
struct Established {
    connection: Connection,
    welcome: Welcome,
}

/// The first connection decides whether there is a session at all; `ready` tells.
pub(crate) async fn run(endpoint: Endpoint, options: SessionOptions, ready: oneshot::Sender<Result<Session>>) {
    let first = match establish(&endpoint, &options, None).await {
        Ok(first) => first,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let limits = &options.limits;
    let data_lanes = first.welcome.lanes;
    let shared = Arc::new(Shared {
        outbox: Outbox::new(data_lanes, limits.outbox_bytes_max, options.connect.limits.block_bytes_max),
        data_lanes,
        calls: Mutex::new(Calls::new(limits.calls_max)),
        deadlines: Notify::new(),
        consumers: Default::default(),
        state: watch::Sender::new(State::Connected),
        losses: Mutex::default(),
        record_bytes_max: AtomicUsize::new(record_bytes_max(limits, &first.welcome)),
        epoch: AtomicU64::new(first.welcome.epoch),
        closing: watch::Sender::new(false),
        flushes: Semaphore::new(FLUSHES_MAX / 4),
        runtime: Handle::current(),
        turning: Mutex::default(),
        endpoint,
        options,
    });
    // Where nobody waits for it any more, the handle is dropped, and with that the session ends in order.
    drop(ready.send(Ok(Session::first(shared.clone()))));
    let error = tokio::select! {
        biased;
        error = Driver::new(shared.clone(), &first.welcome).drive(first) => error,
        () = expire(&shared) => unreachable!("deadlines are watched for ever"),
        () = overdue(&shared) => Error::Closed,
    };
    finish(&shared, error);
}

/// The largest record that both ends take.
fn record_bytes_max(limits: &SessionLimits, welcome: &Welcome) -> usize {
    limits.record_bytes_max.min(usize::try_from(welcome.record_bytes_max).unwrap_or(usize::MAX))
}

/// Waits until the session was closed here, and then until the time that closing may take is over: a server that
/// does not read must not keep it for ever.
async fn overdue(shared: &Shared) {
    let mut closing = shared.closing.subscribe();
    let _ = closing.wait_for(|closing| *closing).await;
    sleep(shared.options.limits.drain_timeout).await;
}

/// Settles the calls whose deadline has passed, connected or not.
async fn expire(shared: &Shared) {
    loop {
        let next = shared.calls().next_deadline();
        match next {
            None => shared.deadlines.notified().await,
            Some(at) => tokio::select! {
                biased;
                () = sleep_until(at.into()) => {}
                () = shared.deadlines.notified() => {}
            },
        }
        loop {
            let expired = shared.calls().expired(now());
            let Some((number, taken)) = expired else { break };
            taken.waiter.settle(Err(Error::Timeout { what: "the server's answer", after: Duration::ZERO }));
            shared.cancel(number, taken.position);
        }
    }
}

fn finish(shared: &Shared, error: Error) {
    tracing::debug!(endpoint = %shared.endpoint, %error, "session ended");
    shared.outbox.abandon();
    shared.state.send_replace(State::Ended(error.clone()));
    let waiting = shared.calls().drain();
    waiting.into_iter().for_each(|waiter| waiter.settle(Err(error.clone())));
    shared.consumers().for_each(|consumer| consumer.ended(&error));
}

/// Connects under the first of the server's keys that it proves; the error is that of the last one tried.
async fn connect(endpoint: &Endpoint, options: &SessionOptions) -> Result<Connection> {
    let mut connect = options.connect.clone();
    let mut more = options.server_keys_more.iter();
    loop {
        let error = match options.registry.connect(endpoint, &connect).await {
            Err(error @ TransportError::WrongServerKey { .. }) => error,
            connected => return Ok(connected?),
        };
        connect.server_key = Some(*more.next().ok_or(error)?);
    }
}

/// Connects and says hello.
async fn establish(endpoint: &Endpoint, options: &SessionOptions, resume: Option<SessionId>) -> Result<Established> {
    let mut connection = connect(endpoint, options).await?;
    let hello = Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        features: 0,
        software: SOFTWARE.into(),
        client: options.client.clone(),
        services: Vec::new(),
        lanes: connection.sender.data_lanes_preferred().clamp(1, DATA_LANES_MAX),
        lane_hash: LANE_HASH_FNV1A,
        space: String::new(),
        resume,
    };
    let header = Header { service: SESSION, verb: verb::HELLO, flags: CRITICAL, call: 0 };
    let mut block = Block::from(encode(header, &[], &to_cbor(&hello)));
    connection.sender.try_send(Lane::CONTROL, &mut block)?;
    let answer = timeout(options.limits.hello_timeout, connection.receiver.recv()).await;
    let timed_out = || Error::Timeout { what: "the server's welcome", after: options.limits.hello_timeout };
    let protocol = |why: String| Error::Protocol { peer: connection.peer.address.clone(), why };
    let (_, block) =
        answer.map_err(|_| timed_out())??.ok_or_else(|| protocol("it closed instead of answering the hello".into()))?;
    let record = Run::parse(&block).ok().and_then(|mut run| run.next());
    let record = record.ok_or_else(|| protocol("its answer to the hello is no record".into()))?;
    match (record.header.service, record.header.verb) {
        (SESSION, verb::WELCOME) => {
            let welcome: Welcome = from_cbor(record.body()).map_err(|error| protocol(error.to_string()))?;
            if !(1..=hello.lanes).contains(&welcome.lanes) {
                return Err(protocol(format!("it agreed to {} lanes of {}", welcome.lanes, hello.lanes)));
            }
            connection.sender.open_lanes(welcome.lanes + 1)?;
            Ok(Established { connection, welcome })
        }
        (SESSION, verb::REFUSAL) => {
            Err(from_cbor(record.body()).map_or_else(|error| protocol(error.to_string()), Error::Refused))
        }
        _ => Err(protocol("its answer to the hello is neither welcome nor refusal".into())),
    }
}

/// How long a client waits for the end of the connection after the server's goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

struct Driver {
    shared: Arc<Shared>,
    session: SessionId,
    epoch: u64,
    /// One-way records taken by the writer when the server's count for this session began.
    base: u64,
    /// What the server has told of lost ones for this session already.
    lost: u64,
    /// What the last heartbeat said that the server has taken in.
    heard: Arc<AtomicU64>,
}

impl Driver {
    fn new(shared: Arc<Shared>, welcome: &Welcome) -> Self {
        Self { shared, session: welcome.session, epoch: welcome.epoch, base: 0, lost: 0, heard: Arc::default() }
    }

    /// Carries, and connects again after each cut, until the session is over.
    async fn drive(mut self, mut established: Established) -> Error {
        loop {
            let error = match self.carry(&mut established).await {
                End::Sent => {
                    close(&mut established.connection).await;
                    return Error::Closed;
                }
                End::PeerClosed => Error::Protocol {
                    peer: established.connection.peer.address.clone(),
                    why: "it closed without a goodbye".into(),
                },
                End::Failed(error) => error,
            };
            if let Error::Refused(_) = error {
                // The server closes in order and waits until it knows that we have read everything.
                let receiver = &mut established.connection.receiver;
                let rest = async { while let Ok(Some(_)) = receiver.recv().await {} };
                let _ = timeout(GOODBYE_TIMEOUT, rest).await;
            }
            drop(established);
            if is_final(&error) {
                return error;
            }
            tracing::info!(endpoint = %self.shared.endpoint, %error, "connection cut, reconnecting");
            self.shared.state.send_replace(State::Reconnecting);
            self.shared.consumers().for_each(|consumer| consumer.disconnected());
            match self.reconnect().await {
                Ok(next) => established = next,
                Err(error) => return error,
            }
        }
    }

    async fn carry(&mut self, established: &mut Established) -> End {
        let Established { connection, welcome } = established;
        let handler = ClientHandler {
            shared: &self.shared,
            inbound: Mutex::new(Inbound::new(&self.shared.options.limits)),
            heard: &self.heard,
            peer: connection.peer.address.clone(),
            lanes: welcome.lanes + 1,
            goodbyes: AtomicU8::new(0),
        };
        let agreed = record_bytes_max(&self.shared.options.limits, welcome);
        self.shared.record_bytes_max.store(agreed, Ordering::Relaxed);
        self.shared.epoch.store(welcome.epoch, Ordering::Relaxed);
        let pulse = Pulse {
            heartbeat: self.shared.options.limits.heartbeat.min(Duration::from_millis(welcome.heartbeat_ms.max(10))),
            lost_after: self.shared.options.limits.lost_after,
            peer: connection.peer.address.clone(),
        };
        let mut writer = Writer::new(welcome.lanes);
        let outbox = &self.shared.outbox;
        let end = match self.restore(connection, welcome, &pulse, &handler).await {
            Some(end) => end,
            None => {
                self.shared.state.send_replace(State::Connected);
                carry(&mut *connection.sender, &mut *connection.receiver, outbox, &mut writer, &pulse, &handler).await
            }
        };
        writer.put_back(outbox);
        outbox.after_cut();
        let unknown = self.shared.calls().cut(|position| outbox.is_taken(position));
        unknown.into_iter().for_each(|waiter| waiter.settle(Err(Error::OutcomeUnknown)));
        end
    }

    /// Lets the services ask for what has to stand, and carries only that until all of it is answered.
    async fn restore(
        &self,
        connection: &mut Connection,
        welcome: &Welcome,
        pulse: &Pulse,
        handler: &dyn Handler,
    ) -> Option<End> {
        let block_bytes_max = self.shared.options.connect.limits.block_bytes_max;
        let outbox = Outbox::new(welcome.lanes, usize::MAX, block_bytes_max);
        let pending = Arc::new(watch::Sender::new(Restoring::default()));
        let mut numbers = Vec::new();
        for consumer in self.shared.consumers() {
            let resumed = welcome.one_way_received.is_some();
            let (shared, outbox, pending) = (&*self.shared, &outbox, &pending);
            consumer.restore(&mut Restore { shared, outbox, resumed, pending, numbers: &mut numbers });
        }
        let mut writer = Writer::new(welcome.lanes);
        let mut settled = pending.subscribe();
        let end = tokio::select! {
            biased;
            end = carry(&mut *connection.sender, &mut *connection.receiver, &outbox, &mut writer, pulse, handler) => Some(end),
            restored = settled.wait_for(|restoring| restoring.calls == 0 || restoring.late) => {
                let late = restored.is_ok_and(|restoring| restoring.late);
                let what = "the server's answer to what was restored";
                late.then_some(End::Failed(Error::Timeout { what, after: pulse.lost_after }))
            }
        };
        for number in numbers {
            let left = self.shared.calls().take(number);
            left.into_iter().for_each(|taken| taken.waiter.settle(Err(Error::OutcomeUnknown)));
        }
        end
    }

    async fn reconnect(&mut self) -> Result<Established> {
        let mut closing = self.shared.closing.subscribe();
        let mut attempt = 0;
        loop {
            // Without random numbers clients come back together: slower, not wrong.
            let random = self.shared.options.entropy.try_bits().map_or(u32::MAX / 2, |bits| bits as u32);
            let wait = self.shared.options.backoff.wait(attempt, random);
            tokio::select! {
                biased;
                () = sleep(wait) => {}
                _ = closing.wait_for(|closing| *closing) => return Err(Error::Closed),
            }
            let result = tokio::select! {
                biased;
                result = establish(&self.shared.endpoint, &self.shared.options, Some(self.session)) => result,
                _ = closing.wait_for(|closing| *closing) => return Err(Error::Closed),
            };
            match result {
                Ok(established) => {
                    self.count_losses(&established.welcome);
                    return Ok(established);
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => tracing::debug!(endpoint = %self.shared.endpoint, %error, attempt, "reconnect failed"),
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// Compares what we sent with what the server says it got.
    fn count_losses(&mut self, welcome: &Welcome) {
        let taken = self.shared.outbox.one_way_taken();
        let mut new = Losses::default();
        match welcome.one_way_received {
            Some(received) => {
                let lost = (taken - self.base).saturating_sub(received);
                new.lost = lost.saturating_sub(self.lost);
                self.lost = lost;
            }
            None => {
                let known = self.heard.load(Ordering::Relaxed).saturating_add(self.lost);
                new.unknown = (taken - self.base).saturating_sub(known);
                (self.base, self.lost) = (taken, 0);
            }
        }
        self.heard.store(welcome.one_way_received.unwrap_or(0), Ordering::Relaxed);
        if new != Losses::default() {
            tracing::warn!(endpoint = %self.shared.endpoint, lost = new.lost, unknown = new.unknown, "messages lost in a cut");
        }
        if self.epoch != welcome.epoch {
            tracing::info!(endpoint = %self.shared.endpoint, "the server has restarted");
        }
        (self.session, self.epoch) = (welcome.session, welcome.epoch);
        let mut losses = self.shared.losses();
        losses.0.lost += new.lost;
        losses.0.unknown += new.unknown;
    }
}

/// Whether trying again cannot help until somebody changes something.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Transport(error) => matches!(
            **error,
            TransportError::Refused { .. }
                | TransportError::WrongServerKey { .. }
                | TransportError::SecurityMismatch { .. }
                | TransportError::Security { .. }
                | TransportError::Endpoint(_)
                | TransportError::UnknownScheme { .. }
        ),
        Error::Refused(refusal) => !refusal.retry,
        Error::Closed | Error::Thread { .. } => true,
        _ => false,
    }
}

struct ClientHandler<'a> {
    shared: &'a Shared,
    inbound: Mutex<Inbound>,
    heard: &'a AtomicU64,
    peer: String,
    /// How many the connection has, control included.
    lanes: u8,
    /// Lanes on which the server has said goodbye.
    goodbyes: AtomicU8,
}

/// Why dispatch stops: a rule was broken, or the server said goodbye.
pub(crate) enum Stop {
    Rule(String),
    End(Error),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Rule(why)
    }
}

impl ClientHandler<'_> {
    /// Replies go to those who wait for them. Callers come last: one that is woken at the first reply would find little to do,
    /// and sleep again.
    fn settle(&self, run: Run<'_>) {
        let replies: Vec<_> = {
            let mut calls = self.shared.calls();
            run.into_iter().filter_map(|record| Some((calls.take(record.header.call)?.waiter, record))).collect()
        };
        let mut callers = Vec::new();
        for (waiter, record) in replies {
            let result = outcome(&record);
            match waiter {
                Waiter::Callback(_) => waiter.settle(result),
                Waiter::Caller(_) => callers.push((waiter, result)),
            }
        }
        callers.into_iter().for_each(|(waiter, result)| waiter.settle(result));
    }

    fn dispatch(&self, run: Run<'_>) -> std::result::Result<(), Stop> {
        let first = run.first().expect("a run is not empty").header;
        if first.service == SESSION && first.flags & REPLY == 0 {
            return run.into_iter().try_for_each(|record| match record.header.verb {
                verb::HEARTBEAT => {
                    if let Ok(count) = record.body().try_into() {
                        self.heard.store(u64::from_le_bytes(count), Ordering::Relaxed);
                    }
                    Ok(())
                }
                // It comes behind everything, on each lane: what is still on its way on another one is not lost.
                verb::GOODBYE if self.goodbyes.fetch_add(1, Ordering::Relaxed) + 1 < self.lanes => Ok(()),
                verb::GOODBYE => Err(from_cbor::<Refusal>(record.body())
                    .map_or_else(|error| Stop::Rule(error.to_string()), |refusal| Stop::End(Error::Refused(refusal)))),
                verb if record.header.flags & CRITICAL != 0 => {
                    Err(Stop::Rule(format!("session verb {verb} is unknown here")))
                }
                _ => Ok(()),
            });
        }
        if first.flags & REPLY != 0 {
            self.settle(run);
            return Ok(());
        }
        match self.shared.consumer(first.service) {
            Some(consumer) => consumer.records(run),
            None if run.into_iter().any(|record| record.header.flags & CRITICAL != 0) => {
                return Err(Stop::Rule(format!("service {} is unknown here", first.service)));
            }
            None => {}
        }
        Ok(())
    }
}

impl Handler for ClientHandler<'_> {
    fn block(&self, lane: Lane, block: Bytes) -> Result<()> {
        let mut inbound = self.inbound.lock().expect("dispatch does not panic");
        inbound.accept(lane, &block, &mut |run| self.dispatch(run)).map_err(|stop| match stop {
            Stop::Rule(why) => Error::Protocol { peer: self.peer.clone(), why },
            Stop::End(error) => error,
        })
    }

    fn drained(&self) {}

    fn one_way_received(&self) -> u64 {
        0
    }

    /// What waits here was asked for by ourselves, and answers must come in whatever waits.
    fn unsent_bytes_max(&self) -> usize {
        usize::MAX
    }
}
