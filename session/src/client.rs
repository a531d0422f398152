//! The client's session: calls and one-way records over a connection that comes back by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use sinew_auth::PublicKey;
use sinew_transport_api::{ConnectOptions, Endpoint, Lane, Registry, Security};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::backoff::Backoff;
use crate::calls::Calls;
use crate::carry::now;
use crate::cbor::{from_cbor, to_cbor};
use crate::executor::Executor;
use crate::hello::{CallHead, Failure, verb};
use crate::limits::SessionLimits;
use crate::outbox::{Outbox, Position};
use crate::record::{CRITICAL, HEADER_BYTES, Header, SESSION};
use crate::service::Consumer;
use crate::{Error, Result, driver};

/// The most services a session can carry.
pub(crate) const SERVICES_MAX: usize = 16;

/// How a session connects and behaves.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The transports to choose from by scheme.
    pub registry: Registry,
    /// Identity, server key, timeout, limits of the transport.
    pub connect: ConnectOptions,
    /// What this client calls itself in the server's log. Default: empty.
    pub client: String,
    /// Limits of the session.
    pub limits: SessionLimits,
    /// Waits between attempts to reconnect.
    pub backoff: Backoff,
    /// Where it runs.
    pub executor: Executor,
}

impl SessionOptions {
    /// All linked transports and the defaults. `server_key` may be in the endpoint instead.
    ///
    /// # Errors
    /// When two linked transports claim one scheme.
    pub fn new(security: Security, server_key: Option<PublicKey>) -> Result<Self> {
        Ok(Self {
            registry: Registry::linked()?,
            connect: ConnectOptions::new(security, server_key),
            client: String::new(),
            limits: SessionLimits::default(),
            backoff: Backoff::default(),
            executor: Executor::default(),
        })
    }
}

/// Whether the session is connected.
#[derive(Clone, Debug)]
pub enum State {
    /// Work is being sent.
    Connected,
    /// The connection was cut; work is buffered while the session tries again.
    Reconnecting,
    /// It is over.
    Ended(Error),
}

/// One-way records that did not make it, since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Surely lost in a cut: the server lived on and has counted.
    pub lost: u64,
    /// Sent before the server restarted, and not known to have arrived: at most so many are lost.
    pub unknown: u64,
}

/// A client's session. Cheap to clone; the last clone dropped ends it after what is in the outbox has been sent.
/// [`close`](Self::close) also confirms that it arrived.
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

/// What is asked of the server.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Which service.
    pub service: u8,
    /// What is asked.
    pub verb: u8,
    /// A number from [`Session::number`], for a call that opens a stream; `None` takes a fresh one.
    pub number: Option<u32>,
    /// What the call is ordered with: a subject, queue, bucket or stream. Calls of one key arrive in order.
    pub key: &'a [u8],
    /// The request in CBOR.
    pub body: Vec<u8>,
    /// How long the caller waits.
    pub deadline: Duration,
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its body. It shares a receive buffer: copy what is kept for long.
    pub body: Bytes,
}

impl Reply {
    /// The body as CBOR.
    ///
    /// # Errors
    /// `Protocol` if the server sent something else.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        from_cbor(&self.body).map_err(|error| Error::Protocol { peer: "the server".into(), why: error.to_string() })
    }
}

pub(crate) enum Waiter {
    Caller(oneshot::Sender<Result<Reply>>),
    Callback(Box<dyn FnOnce(Result<Reply>) + Send>),
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiter")
    }
}

impl Waiter {
    pub(crate) fn settle(self, result: Result<Reply>) {
        match self {
            // A caller that has gone does not want to know.
            Self::Caller(caller) => drop(caller.send(result)),
            Self::Callback(callback) => callback(result),
        }
    }
}

/// What the handles and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: SessionOptions,
    pub(crate) outbox: Outbox,
    pub(crate) data_lanes: u8,
    pub(crate) calls: Mutex<Calls<Waiter>>,
    pub(crate) deadlines: Notify,
    pub(crate) consumers: [OnceLock<Arc<dyn Consumer>>; SERVICES_MAX],
    pub(crate) state: watch::Sender<State>,
    pub(crate) losses: Mutex<(Losses, Losses)>,
    /// What both ends take.
    pub(crate) record_bytes_max: AtomicUsize,
    pub(crate) closing: watch::Sender<bool>,
    /// Flushes at one time, well below what the server keeps.
    pub(crate) flushes: Semaphore,
}

/// Ends the session when the last handle is gone.
#[derive(Debug)]
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.say_goodbye();
    }
}

impl Shared {
    pub(crate) fn calls(&self) -> MutexGuard<'_, Calls<Waiter>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn losses(&self) -> MutexGuard<'_, (Losses, Losses)> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn consumer(&self, code: u8) -> Option<&Arc<dyn Consumer>> {
        self.consumers.get(usize::from(code))?.get()
    }

    pub(crate) fn consumers(&self) -> impl Iterator<Item = &Arc<dyn Consumer>> {
        self.consumers.iter().filter_map(OnceLock::get)
    }

    /// Packs a goodbye behind everything, on all lanes, and lets nothing more in. The driver ends once it is sent.
    fn say_goodbye(&self) {
        let header = Header { service: SESSION, verb: verb::GOODBYE, flags: 0, call: 0 };
        self.outbox.pack().push_on_all(header, &Bytes::copy_from_slice(&[self.data_lanes + 1]));
        self.outbox.close();
        self.closing.send_replace(true);
    }

    /// Tells the server that nobody waits for this call any more, behind its request: on the same lane.
    pub(crate) fn cancel(&self, number: u32, position: Option<Position>) {
        let header = Header { service: SESSION, verb: verb::CANCEL, flags: 0, call: number };
        let lane = position.map_or(Lane::CONTROL, Position::lane);
        self.outbox.pack().push(lane, header, &[], &Bytes::new());
    }

    /// Enters a call and packs its request, so that a cut cannot fall in between.
    fn begin(
        &self,
        number: u32,
        deadline: Duration,
        waiter: Waiter,
        pack: impl FnOnce(&Outbox) -> Position,
    ) -> Result<()> {
        let mut calls = self.calls();
        // Whoever ends the session closes the outbox first and then settles the calls there are, under this lock.
        if self.outbox.pack().is_closed() {
            return Err(self.end());
        }
        let deadline = after(now_or_std(), deadline);
        let first = calls.next_deadline().is_none_or(|next| deadline < next);
        if !calls.enter(number, deadline, waiter) {
            return Err(Error::Calls { max: self.options.limits.calls_max });
        }
        let position = pack(&self.outbox);
        calls.packed(number, position);
        drop(calls);
        if first {
            self.deadlines.notify_one();
        }
        Ok(())
    }

    /// Why nothing can be sent any more.
    fn end(&self) -> Error {
        match &*self.state.borrow() {
            State::Ended(error) => error.clone(),
            State::Connected | State::Reconnecting => Error::Closed,
        }
    }

    fn number(&self) -> Result<u32> {
        self.calls().number().ok_or(Error::Calls { max: u32::MAX as usize })
    }
}

/// The runtime's clock where there is one (so that tests can turn it), else the system's: callers need no runtime.
fn now_or_std() -> std::time::Instant {
    if tokio::runtime::Handle::try_current().is_ok() { now() } else { std::time::Instant::now() }
}

/// The longest wait there is: what is longer never ends for anybody, and must not overflow the clock.
const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The time of a deadline, whatever the caller asks for.
fn after(now: std::time::Instant, wait: Duration) -> std::time::Instant {
    now + wait.min(WAIT_MAX)
}

impl Session {
    /// The first handle. Dropping it ends the session, also when nobody has got it yet.
    pub(crate) fn first(shared: Arc<Shared>) -> Self {
        Self { _guard: Arc::new(Guard(shared.clone())), shared }
    }

    /// Connects and says hello. After that it reconnects by itself.
    ///
    /// # Errors
    /// `Transport` if the server cannot be reached or does not admit us, `Refused` if it does not go on.
    pub async fn connect(endpoint: &Endpoint, options: SessionOptions) -> Result<Self> {
        let (ready, started) = oneshot::channel();
        let executor = options.executor;
        executor.start("sinew-session", driver::run(endpoint.clone(), options, ready), || ())?;
        started.await.map_err(|_| Error::Closed)?
    }

    /// Puts a service's client on this session.
    ///
    /// # Errors
    /// `Mounted` if there is one already.
    pub fn mount(&self, code: u8, consumer: Arc<dyn Consumer>) -> Result<()> {
        let place = self.shared.consumers.get(usize::from(code)).ok_or(Error::Mounted { code })?;
        place.set(consumer).map_err(|_| Error::Mounted { code })
    }

    /// The outbox, for one-way records of a service. Ask [`Packer::has_room`](crate::Packer::has_room) first, and wait
    /// with [`room`](Self::room).
    pub fn outbox(&self) -> &Outbox {
        &self.shared.outbox
    }

    /// Waits until the outbox has room. Cancel-safe.
    ///
    /// # Errors
    /// `Disconnected` if the session is not connected and the buffer is used up, or why the session has ended.
    pub async fn room(&self) -> Result<()> {
        let mut state = self.shared.state.subscribe();
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                State::Ended(error) => return Err(error),
                _ if self.shared.outbox.pack().is_closed() => return Err(Error::Closed),
                _ if self.shared.outbox.pack().has_room() => return Ok(()),
                State::Reconnecting => {
                    let bytes = self.shared.outbox.bytes();
                    return Err(Error::Disconnected { endpoint: self.shared.endpoint.to_string(), bytes });
                }
                State::Connected => {}
            }
            tokio::select! {
                () = self.shared.outbox.room() => {}
                _ = state.changed() => {}
            }
        }
    }

    /// The largest record in bytes, header included: our own limit or the server's, whichever is less.
    pub fn record_bytes_max(&self) -> usize {
        self.shared.record_bytes_max.load(Ordering::Relaxed)
    }

    /// A fresh number, for a call that opens a stream.
    ///
    /// # Errors
    /// `Calls` once 2³² − 1 numbers are used up.
    pub fn number(&self) -> Result<u32> {
        self.shared.number()
    }

    /// Asks the server and waits for its answer. One round trip. Dropping the future cancels the call.
    ///
    /// # Errors
    /// `Failed` with the server's answer, `Timeout` after the deadline, `OutcomeUnknown` if the connection was cut in
    /// between, `Calls` at the limit, `RecordSize`, and those of [`room`](Self::room).
    pub async fn call(&self, request: Request<'_>) -> Result<Reply> {
        let (caller, reply) = oneshot::channel();
        self.call_waiter(request, Waiter::Caller(caller), reply).await
    }

    /// As [`call`](Self::call), and shows the outcome to `seen` on the session's thread, where it arrives: before
    /// anything that comes after it, a cut included. Not called if the caller has gone by then.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_seen(
        &self,
        request: Request<'_>,
        seen: impl FnOnce(&Result<Reply>) + Send + 'static,
    ) -> Result<Reply> {
        let (caller, reply) = oneshot::channel();
        let tell = move |result| {
            seen(&result);
            drop(caller.send(result));
        };
        self.call_waiter(request, Waiter::Callback(Box::new(tell)), reply).await
    }

    async fn call_waiter(
        &self,
        request: Request<'_>,
        waiter: Waiter,
        reply: oneshot::Receiver<Result<Reply>>,
    ) -> Result<Reply> {
        self.room().await?;
        let number = request.number.map_or_else(|| self.number(), Ok)?;
        let head = call_head(&request);
        let (bytes, max) = (HEADER_BYTES + head.len() + request.body.len(), self.record_bytes_max());
        if bytes > max {
            return Err(Error::RecordSize { bytes, max });
        }
        let deadline = request.deadline;
        self.shared.begin(number, deadline, waiter, |outbox| pack_call(outbox, number, &head, request))?;
        Pending { shared: &self.shared, number, reply, deadline, done: false }.await
    }

    /// Asks the server without waiting, whatever the outbox holds. `done` is run with the outcome, on the session's
    /// thread or here if the call cannot be made.
    pub fn cast(&self, request: Request<'_>, done: impl FnOnce(Result<Reply>) + Send + 'static) {
        let number = match request.number.map_or_else(|| self.number(), Ok) {
            Ok(number) => number,
            Err(error) => return done(Err(error)),
        };
        let head = call_head(&request);
        let waiter = Waiter::Callback(Box::new(done));
        // Where it cannot begin, the waiter is dropped with the call.
        let _ = self.shared.begin(number, request.deadline, waiter, |outbox| pack_call(outbox, number, &head, request));
    }

    /// Waits until the server has taken in everything that was packed before, on all lanes. One round trip.
    ///
    /// # Errors
    /// `Lost` if one-way records were lost since the last flush (told once), `Timeout`, or why the session has ended.
    pub async fn flush(&self, deadline: Duration) -> Result<()> {
        let end = after(now_or_std(), deadline);
        // Each holder of a permit goes at its own deadline.
        let _permit = self.shared.flushes.acquire().await.map_err(|_| Error::Closed)?;
        loop {
            let left = end.saturating_duration_since(now_or_std());
            let number = self.number()?;
            let (caller, reply) = oneshot::channel();
            self.shared.begin(number, left, Waiter::Caller(caller), |outbox| self.pack_flush(outbox, number))?;
            match (Pending { shared: &self.shared, number, reply, deadline, done: false }.await) {
                Err(Error::OutcomeUnknown) if left > Duration::ZERO => {}
                result => return result.and_then(|_| self.tell_losses()),
            }
        }
    }

    fn pack_flush(&self, outbox: &Outbox, number: u32) -> Position {
        let lanes = self.shared.data_lanes + 1;
        let header = Header { service: SESSION, verb: verb::FLUSH, flags: CRITICAL, call: number };
        outbox.pack().push_on_all(header, &Bytes::copy_from_slice(&[lanes]));
        // A flush that is cut is asked again, wherever its records stood.
        Position::always_taken()
    }

    fn tell_losses(&self) -> Result<()> {
        let mut losses = self.shared.losses();
        let (total, told) = *losses;
        losses.1 = total;
        let (lost, unknown) = (total.lost - told.lost, total.unknown - told.unknown);
        if lost + unknown == 0 { Ok(()) } else { Err(Error::Lost { lost, unknown }) }
    }

    /// One-way records that did not make it, since the session began.
    pub fn losses(&self) -> Losses {
        self.shared.losses().0
    }

    /// Whether the session is connected, and a way to be told of changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Flushes, says goodbye and ends the session, within `drain_timeout`. Other clones of the handle get `Closed`.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the session is ended all the same.
    pub async fn close(&self) -> Result<()> {
        let flushed = self.flush(self.shared.options.limits.drain_timeout).await;
        self.shared.say_goodbye();
        let mut state = self.shared.state.subscribe();
        // The driver bounds this wait by the transport's close timeout and its own.
        let _ = state.wait_for(|state| matches!(state, State::Ended(_))).await;
        match flushed {
            Err(Error::Closed) => Ok(()),
            flushed => flushed,
        }
    }
}

fn call_head(request: &Request<'_>) -> Vec<u8> {
    to_cbor(&CallHead { deadline_ms: request.deadline.min(WAIT_MAX).as_millis() as u64, operation: None })
}

fn pack_call(outbox: &Outbox, number: u32, head: &[u8], request: Request<'_>) -> Position {
    let header = Header { service: request.service, verb: request.verb, flags: CRITICAL, call: number };
    let mut packer = outbox.pack();
    let lane = packer.lane(request.key);
    packer.push_at(lane, header, &[head], &Bytes::from(request.body))
}

/// A call that waits for its reply.
struct Pending<'a> {
    shared: &'a Shared,
    number: u32,
    reply: oneshot::Receiver<Result<Reply>>,
    deadline: Duration,
    done: bool,
}

impl Future for Pending<'_> {
    type Output = Result<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(cx).map(|result| {
            self.done = true;
            match result.unwrap_or(Err(Error::Closed)) {
                Err(Error::Timeout { what, .. }) => Err(Error::Timeout { what, after: self.deadline }),
                result => result,
            }
        })
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let taken = self.shared.calls().take(self.number);
        if let Some(taken) = taken {
            self.shared.cancel(self.number, taken.position);
        }
    }
}

/// Asks, after a reconnect, for what has to stand before new work is sent.
#[derive(Debug)]
pub struct Restore<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) outbox: &'a Outbox,
    pub(crate) resumed: bool,
    pub(crate) pending: &'a Arc<watch::Sender<Restoring>>,
    pub(crate) numbers: &'a mut Vec<u32>,
}

impl Restore<'_> {
    /// Whether the server still knew the session, with its counts.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Makes a call; `done` is run on the session's thread with its outcome, `OutcomeUnknown` if the new connection is
    /// cut as well.
    pub fn call(&mut self, request: Request<'_>, done: impl FnOnce(Result<Reply>) + Send + 'static) {
        let pending = self.pending.clone();
        let number = match request.number.map_or_else(|| self.shared.number(), Ok) {
            Ok(number) => number,
            Err(error) => return done(Err(error)),
        };
        pending.send_modify(|restoring| restoring.calls += 1);
        let settle = move |result| {
            let late = matches!(result, Err(Error::Timeout { .. }));
            done(result);
            pending.send_modify(|restoring| {
                restoring.calls -= 1;
                restoring.late |= late;
            });
        };
        let deadline = after(now(), request.deadline);
        // Beyond the limit of calls too: those that wait behind the restore must not keep it from ending.
        self.shared.calls().enter_always(number, deadline, Waiter::Callback(Box::new(settle)));
        self.shared.deadlines.notify_one();
        self.numbers.push(number);
        pack_call(self.outbox, number, &call_head(&request), request);
    }
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restoring {
    /// Calls that were not answered yet.
    pub(crate) calls: usize,
    /// One was not answered in time: nobody knows what stands, so the connection must not be used.
    pub(crate) late: bool,
}

/// A reply's body as a result.
pub(crate) fn outcome(failed: bool, body: Bytes) -> Result<Reply> {
    if !failed {
        return Ok(Reply { body });
    }
    let failure = from_cbor::<Failure>(&body);
    Err(Error::Failed(failure.unwrap_or_else(|error| Failure { code: "unreadable".into(), reason: error.to_string() })))
}
