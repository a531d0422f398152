//! The task queue at the client: what a session is told and asked. Submitting, looking and managing are in `client/`, working
//! in `worker.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{
    Consumer, Error as SessionError, Header, LongCalls, Reply, Request, ResourceName, Restore, Run, Session, State,
    Streams, WeakSession, from_value, to_cbor,
};

use crate::protocol::{CALL_SECONDS, SERVICE, error_of, queue_head, tasks_body, verb};
use crate::worker::Desk;
use crate::{Error, Result, TaskId, WorkerId};

mod administer;
mod handle;
mod inspect;
mod maintain;
mod queue;
mod submit;
mod typed;
mod wait;
pub use handle::{TaskHandle, TaskProgress};
pub use inspect::{TaskPage, WorkerPage};
pub use queue::TaskQueue;
pub use submit::Submission;
pub(crate) use typed::decoded;
pub(crate) use wait::failure;
use wait::{Abandonments, Wait};

pub(crate) const CALL: Duration = Duration::from_secs(CALL_SECONDS);
/// What is answered once it is done waits as long as it takes: a server that is gone is noticed by the session.
pub(crate) const FOR_EVER: Duration = Duration::MAX;

/// The task queue, on a session. Cheap to clone.
///
/// ```
/// use sinew_taskqueue::{Job, TaskError};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, tasks) = sinew_testkit::memory::tasks().await;
/// let queue = tasks.queue(&"shout".parse()?);
/// let worker = queue.worker().concurrency(4);
/// let stop = worker.stop_handle();
/// let working = tokio::spawn(worker.run(|job: Job| async move {
///     let text = std::str::from_utf8(job.payload()).map_err(|error| TaskError::new("no-text", error))?;
///     Ok::<_, TaskError>(text.to_uppercase())
/// }));
///
/// // Goes to one worker, in turn, and comes back with its result.
/// let loud = queue.submit("hello").queueing().run().await?;
/// assert_eq!(&loud[..], b"HELLO");
///
/// stop.stop().await?; // finishes what it has, takes nothing more, and leaves
/// working.await??;
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
pub struct Tasks {
    pub(crate) session: Session,
    pub(crate) shared: Arc<Shared>,
}

impl Tasks {
    /// Puts the task queue on `session`.
    ///
    /// # Errors
    /// `Session(Mounted)` if it is there already: clone that one.
    pub fn new(session: &Session) -> Result<Self> {
        let shared = Arc::new(Shared {
            session: session.downgrade(),
            origin: session.random(),
            given: AtomicU64::new(0),
            waits: Arc::default(),
            abandoned: Arc::default(),
            desks: Arc::default(),
            long_calls: LongCalls::default(),
        });
        session.mount(SERVICE, shared.clone())?;
        Ok(Self { session: session.clone(), shared })
    }

    /// The session it is on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// A queue by its name. Asks nobody: whether it is there the first call on it tells.
    pub fn queue(&self, name: &ResourceName) -> TaskQueue {
        TaskQueue { tasks: self.clone(), name: name.clone() }
    }

    /// Waits for what was sent before and ends the session, for all clones. Tasks that are waited for are cancelled, unless
    /// they are detached; workers leave.
    ///
    /// # Errors
    /// `Session`; it is ended all the same.
    pub async fn close(&self) -> Result<()> {
        Ok(self.session.close().await?)
    }

    /// Asks once, with a head of its own.
    pub(crate) async fn ask_head(
        &self,
        verb: u8,
        queue: &ResourceName,
        head: &[u8],
        body: Bytes,
        wait: Duration,
    ) -> Result<Reply> {
        let pieces = [head];
        let request =
            Request { head: Some(&pieces), ..Request::new(SERVICE, verb, queue.as_str().as_bytes(), body, wait) };
        self.session.call(request).await.map_err(error_of)
    }

    /// Asks until the answer is known: for what may be done twice without harm.
    pub(crate) async fn ask_head_surely(&self, verb: u8, queue: &ResourceName, head: &[u8]) -> Result<Reply> {
        loop {
            match self.ask_head(verb, queue, head, Bytes::new(), CALL).await {
                Err(Error::Session(SessionError::OutcomeUnknown)) => {}
                answer => return answer,
            }
        }
    }

    /// Asks once in CBOR.
    pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        verb: u8,
        queue: &ResourceName,
        ask: &Q,
    ) -> Result<A> {
        let request = Request::new(SERVICE, verb, queue.as_str().as_bytes(), to_cbor(ask), CALL);
        let reply = self.session.call(request).await.map_err(error_of)?;
        from_value(&reply.body).map_err(|error| unreadable(&error.why).into())
    }

    /// The same until the answer is known.
    pub(crate) async fn ask_surely<Q: Serialize, A: DeserializeOwned>(
        &self,
        verb: u8,
        queue: &ResourceName,
        ask: &Q,
    ) -> Result<A> {
        loop {
            match self.ask(verb, queue, ask).await {
                Err(Error::Session(SessionError::OutcomeUnknown)) => {}
                answer => return answer,
            }
        }
    }
}

/// What all clones share.
#[derive(Debug)]
pub(crate) struct Shared {
    session: WeakSession,
    /// Drawn at random: what this client numbers nobody else numbers.
    origin: u64,
    given: AtomicU64,
    waits: Arc<Streams<Wait>>,
    abandoned: Arc<Abandonments>,
    pub(crate) desks: Arc<Streams<Desk>>,
    long_calls: LongCalls,
}

impl Shared {
    pub(crate) fn task(&self) -> TaskId {
        TaskId::of(self.origin, self.given.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn worker(&self) -> WorkerId {
        WorkerId::of(self.origin, self.given.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells the server that outcomes are here.
    fn release(&self, number: u32, queue: &ResourceName, tasks: &[TaskId]) {
        let Some(session) = self.session.upgrade() else { return };
        let mut head = Vec::with_capacity(1 + queue.as_str().len());
        queue_head(queue.as_str(), &mut head);
        let mut packer = session.outbox().pack();
        let lane = packer.lane(queue.as_str().as_bytes());
        let header = Header { service: SERVICE, verb: verb::RELEASE, flags: 0, call: number };
        packer.push(lane, header, &[&head], &tasks_body(tasks));
    }
}

impl Consumer for Shared {
    fn records(&self, run: Run<'_>) {
        let mut released: Vec<(u32, ResourceName, TaskId)> = Vec::new();
        // Woken once all is there: who is woken at the first record would find little to do, and sleep again.
        let mut wakers: Vec<Waker> = Vec::new();
        for record in run {
            let number = record.header.call;
            match record.header.verb {
                verb::ENDED | verb::FAILED => {
                    // Nothing comes behind it.
                    let wait = self.waits.lock().remove(&number);
                    if let Some(wait) = wait
                        && let Some(task) = wait.end_by(&record, &mut wakers)
                    {
                        released.push((number, wait.queue.clone(), task));
                    }
                }
                verb::PROGRESS => {
                    if let Some(wait) = self.waits.find(number) {
                        wait.progress(record.body_shared());
                    }
                }
                verb::ASSIGN | verb::RECALL | verb::DISMISSED => {
                    if let Some(desk) = self.desks.find(number) {
                        desk.receive(&record, &mut wakers);
                    }
                }
                verb::HOW_FAR => self.long_calls.told(&record),
                _ => {}
            }
        }
        for run in released.chunk_by(|(_, one, _), (_, other, _)| one == other) {
            let tasks: Vec<_> = run.iter().map(|(.., task)| *task).collect();
            self.release(run[0].0, &run[0].1, &tasks);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    fn restore(&self, restore: &mut Restore<'_>) {
        // First what workers have: what somebody waits for may be among it.
        self.desks.all().iter().for_each(|desk| desk.restore(restore));
        wait::restore(self, restore);
    }

    fn ended(&self, why: &SessionError) {
        let waits = std::mem::take(&mut *self.waits.lock());
        waits.values().for_each(|wait| wait.end(Err(why.clone().into())));
        self.abandoned.clear();
        self.desks.all().iter().for_each(|desk| desk.end(why.clone().into()));
    }
}

/// Waits until the session is connected again.
pub(crate) async fn connected(session: &Session) -> Result<()> {
    let mut state = session.state();
    let now = state.wait_for(|state| !matches!(state, State::Reconnecting)).await.map_err(|_| SessionError::Closed)?;
    match &*now {
        State::Ended(error) => Err(error.clone().into()),
        State::Connected | State::Reconnecting => Ok(()),
    }
}

/// What the server has sent does not hold together.
pub(crate) fn unreadable(what: &str) -> SessionError {
    let why = format!("what it said of a queue does not hold together: {what}");
    SessionError::Protocol { peer: "the server".into(), why }
}
