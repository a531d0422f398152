//! The client's session: calls and one-way records over a connection that comes back by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use sinew_transport_api::Endpoint;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::hello::verb;
use crate::options::SessionOptions;
use crate::outbox::{Outbox, Packer, Position};
use crate::record::{CRITICAL, HEADER_BYTES, Header, SESSION};
use crate::request::{Reply, Request, Waiter, call_head, pack_call};
use crate::service::Consumer;
use crate::shared::{Losses, Shared, State, after, now_or_std};
use crate::{Error, Result, driver};

/// A client's session. Cheap to clone; the last clone dropped ends it after what is in the outbox has been sent.
/// [`close`](Self::close) also confirms that it arrived.
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

/// Ends the session when the last handle is gone.
#[derive(Debug)]
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.say_goodbye();
    }
}

/// A handle that does not keep the session: for what is run when an answer comes.
#[derive(Clone, Debug)]
pub struct WeakSession {
    shared: Weak<Shared>,
    guard: Weak<Guard>,
}

impl WeakSession {
    /// The session, if anybody still has it.
    pub fn upgrade(&self) -> Option<Session> {
        Some(Session { shared: self.shared.upgrade()?, _guard: self.guard.upgrade()? })
    }
}

impl Session {
    /// A handle that does not keep the session.
    pub fn downgrade(&self) -> WeakSession {
        WeakSession { shared: Arc::downgrade(&self.shared), guard: Arc::downgrade(&self._guard) }
    }

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
        {
            // Almost always.
            let mut packer = self.shared.outbox.pack();
            if !packer.is_closed() && packer.has_room() {
                return Ok(());
            }
        }
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
                biased;
                () = self.shared.outbox.room() => {}
                _ = state.changed() => {}
            }
        }
    }

    /// The largest record in bytes, header included: our own limit or the server's, whichever is less.
    pub fn record_bytes_max(&self) -> usize {
        self.shared.record_bytes_max.load(Ordering::Relaxed)
    }

    /// The epoch of the server that it is connected to, or was last: another one after a restart.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Relaxed)
    }

    /// Runs a task of a service where the session runs, whatever thread asks for it: it needs no runtime of the caller's. It
    /// must not hold up the thread, and is dropped with the session's runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.shared.runtime.spawn(task).abort_handle()
    }

    /// 64 random bits from where the session has its own, fit for what nobody must guess. Costs a system call.
    ///
    /// # Panics
    /// If the operating system gives none.
    pub fn random(&self) -> u64 {
        self.shared.options.entropy.bits()
    }

    /// A fresh number, for a call that opens a stream.
    ///
    /// # Errors
    /// `Calls` once 2³² − 1 numbers are used up.
    pub fn number(&self) -> Result<u32> {
        self.shared.number()
    }

    /// Asks the server and waits for its answer. One round trip. Dropping the future cancels the call. Sent once the calling
    /// task gives way, so that what one task asks in one go travels in one block; outside a tokio runtime at once.
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
        self.check_size(&head, &request)?;
        let deadline = request.deadline;
        let begun = self
            .shared
            .begin(number, deadline, waiter, |outbox| pack_call(outbox.pack_quietly(), number, &head, request));
        begun.map_err(|(error, _)| error)?;
        // The caller waits from here on.
        self.shared.wake_in_turn();
        Pending { shared: &self.shared, number, reply, deadline, done: false }.await
    }

    /// Whether the server takes so large a record.
    fn check_size(&self, head: &[u8], request: &Request<'_>) -> Result<()> {
        let head_bytes = request.head.map_or(head.len(), |pieces| pieces.iter().map(|piece| piece.len()).sum());
        let (bytes, max) = (HEADER_BYTES + head_bytes + request.body.len(), self.record_bytes_max());
        if bytes > max { Err(Error::RecordSize { bytes, max }) } else { Ok(()) }
    }

    /// Opens a stream: asks for it under a fresh number, and where a cut swallows the answer under another one, until the
    /// answer is known. `begin` enters the stream under its number and gives its handle, which forgets it again when it is
    /// dropped, by a failure here or by the caller; the request; and what takes the answer, run where that arrives, so that
    /// a cut behind it finds the stream confirmed. One round trip.
    ///
    /// # Errors
    /// As [`call`](Self::call), but for `OutcomeUnknown`.
    pub async fn open_stream<'a, H, A, C>(&self, mut begin: impl FnMut(u32) -> (H, Request<'a>, C)) -> Result<H>
    where
        A: serde::de::DeserializeOwned,
        C: FnOnce(&A) + Send + 'static,
    {
        loop {
            let number = self.number()?;
            let (handle, request, confirm) = begin(number);
            let seen = move |reply: &Result<Reply>| {
                if let Ok(Ok(answer)) = reply.as_ref().map(Reply::read::<A>) {
                    confirm(&answer);
                }
            };
            match self.call_seen(Request { number: Some(number), ..request }, seen).await {
                // Cut in between: whether this one stands or not, it is given up.
                Err(Error::OutcomeUnknown) => drop(handle),
                reply => {
                    reply?.read::<A>()?;
                    return Ok(handle);
                }
            }
        }
    }

    /// Asks the server without waiting, whatever the outbox holds. `done` is run with the outcome, on the session's
    /// thread or here if the call cannot be made, with `RecordSize` where the server takes none so large.
    pub fn cast(&self, request: Request<'_>, done: impl FnOnce(Result<Reply>) + Send + 'static) {
        self.cast_by(Outbox::pack, request, done);
    }

    /// As [`cast`](Self::cast), and the request is sent once the calling task gives way: what it casts until then travels in
    /// one block. For a task that goes on being polled: from one that ends its runtime's turn for good it goes with whatever is
    /// sent next, a heartbeat at last. On a thread without a tokio runtime, at once.
    pub fn cast_in_turn(&self, request: Request<'_>, done: impl FnOnce(Result<Reply>) + Send + 'static) {
        self.cast_by(Outbox::pack_quietly, request, done);
        self.shared.wake_in_turn();
    }

    fn cast_by(
        &self,
        pack: impl Fn(&Outbox) -> Packer<'_>,
        request: Request<'_>,
        done: impl FnOnce(Result<Reply>) + Send + 'static,
    ) {
        let number = match request.number.map_or_else(|| self.number(), Ok) {
            Ok(number) => number,
            Err(error) => return done(Err(error)),
        };
        let head = call_head(&request);
        if let Err(error) = self.check_size(&head, &request) {
            return done(Err(error));
        }
        let waiter = Waiter::Callback(Box::new(done));
        let deadline = request.deadline;
        let begun =
            self.shared.begin(number, deadline, waiter, |outbox| pack_call(pack(outbox), number, &head, request));
        if let Err((error, waiter)) = begun {
            waiter.settle(Err(error));
        }
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
            let begun =
                self.shared.begin(number, left, Waiter::Caller(caller), |outbox| self.pack_flush(outbox, number));
            begun.map_err(|(error, _)| error)?;
            match (Pending { shared: &self.shared, number, reply, deadline, done: false }.await) {
                Err(Error::OutcomeUnknown) if left > Duration::ZERO => {}
                result => return result.and_then(|_| self.tell_losses()),
            }
        }
    }

    fn pack_flush(&self, outbox: &Outbox, number: u32) -> Position {
        let lanes = self.shared.data_lanes + 1;
        let header = Header { service: SESSION, verb: verb::FLUSH, flags: CRITICAL, call: number };
        let mut packer = outbox.pack();
        if packer.is_closed() {
            return Position::nowhere();
        }
        packer.push_on_all(header, &Bytes::copy_from_slice(&[lanes]));
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
