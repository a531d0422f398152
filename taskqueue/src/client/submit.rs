//! Submitting tasks: with how they are to be done, until it is known that they were accepted.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Error as SessionError, Request, ResourceName, Session};

use super::handle::TaskHandle;
use super::wait::{Heard, Wait};
use super::{FOR_EVER, TaskQueue, connected, unreadable};
use crate::protocol::{AcceptedHead, SERVICE, SubmitHead, error_of, task_head, verb};
use crate::{Backoff, Error, Level, Outcome, Result, TaskId, TaskOptions};

/// A task that is to be submitted: awaited, it is, and gives a [`TaskHandle`]. Nothing happens before.
#[derive(Clone, Debug)]
#[must_use = "a task is submitted once this is awaited"]
pub struct Submission {
    queue: TaskQueue,
    payload: Bytes,
    options: TaskOptions,
    required: Option<Level>,
    task: Option<TaskId>,
}

impl TaskQueue {
    /// A task for this queue. Await it for a [`TaskHandle`], or [`run`](Submission::run) it for its result.
    pub fn submit(&self, payload: impl Into<Bytes>) -> Submission {
        let (queue, payload, options) = (self.clone(), payload.into(), TaskOptions::default());
        Submission { queue, payload, options, required: None, task: None }
    }

    /// Submits a task and waits for its result. Two round trips, one of which is the worker's.
    ///
    /// # Errors
    /// As [`Submission::run`].
    pub async fn run(&self, payload: impl Into<Bytes>) -> Result<Bytes> {
        self.submit(payload).run().await
    }

    /// Waits for a task that was submitted before, here or elsewhere. Dropping the handle changes nothing for the task.
    ///
    /// # Errors
    /// `UnknownTask` where it was never there, or its outcome is not kept any more; `NotYours`, `UnknownQueue`, `Denied`;
    /// `Session` if the server cannot be asked.
    pub async fn attach(&self, task: TaskId) -> Result<TaskHandle> {
        let session = &self.tasks.session;
        session.room().await?;
        let wait = Wait::new(session.number()?, self.name.clone(), task, false);
        let head = task_head(self.name.as_str(), task);
        let handle = TaskHandle::begin(&self.tasks, &wait);
        loop {
            let pieces: [&[u8]; 1] = [&head];
            let request = Request::new(SERVICE, verb::ATTACH, self.name.as_str().as_bytes(), Bytes::new(), FOR_EVER);
            let seen = wait.clone();
            let request = Request { number: Some(wait.number), head: Some(&pieces), ..request };
            match session.call_seen(request, move |reply| seen.accept(reply)).await {
                Err(SessionError::OutcomeUnknown) => {}
                reply => return handle.begun(reply),
            }
        }
    }

    /// Waits until a task that was submitted before has ended, and tells how.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub async fn fetch(&self, task: TaskId) -> Result<Outcome> {
        self.attach(task).await?.await
    }
}

impl Submission {
    /// How it is to be done, all at once.
    pub fn options(mut self, options: TaskOptions) -> Self {
        self.options = options;
        self
    }

    /// Only a worker with all of these tags gets it.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.options.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Higher ones go first. Default 100.
    pub fn priority(mut self, priority: u8) -> Self {
        self.options.priority = priority;
        self
    }

    /// Not before so much time has passed.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options.delay = Some(delay);
        self
    }

    /// Not after so much time has passed: it ends, whether it waits or runs.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// How often it is begun at most when it fails or its worker is lost. Default 1.
    pub fn attempts(mut self, attempts_max: u32) -> Self {
        self.options.attempts_max = attempts_max;
        self
    }

    /// The pause before it is begun again after a failure.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// An attempt that tells no progress for so long is taken away from its worker.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.options.stall_timeout = Some(timeout);
        self
    }

    /// It waits for a worker to come where none is there that could do it.
    pub fn queueing(mut self) -> Self {
        self.options.queueing = true;
        self
    }

    /// It goes on when who submitted it goes away, or drops its handle.
    pub fn detached(mut self) -> Self {
        self.options.detached = true;
        self
    }

    /// How long its outcome can be fetched after it has ended.
    pub fn result_kept(mut self, kept: Duration) -> Self {
        self.options.result_kept = Some(kept);
        self
    }

    /// Whoever submits with the same key again gets this task, not another.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.options.idempotency_key = Some(key.into());
        self
    }

    /// Whether it is kept as a dead letter when all attempts have failed.
    pub fn dead_letter(mut self, kept: bool) -> Self {
        self.options.dead_letter = Some(kept);
        self
    }

    /// The least that its acceptance must mean; else it is not accepted.
    pub fn required(mut self, level: Level) -> Self {
        self.required = Some(level);
        self
    }

    /// The id that it is to have, for whoever must be able to submit it again after a crash of their own: one that is
    /// random. Default: a fresh one.
    pub fn id(mut self, task: TaskId) -> Self {
        self.task = Some(task);
        self
    }

    pub(super) fn queue_name(&self) -> &ResourceName {
        &self.queue.name
    }

    /// Submits it and waits for its result. Sent once the calling task gives way, so that what one task submits in one go
    /// travels in one block; outside a tokio runtime at once.
    ///
    /// # Errors
    /// `NotDone` with how it ended where it was not done, `NoWorkers` where nobody could do it, and as awaiting it and its
    /// handle. Dropping the future cancels the task, unless it is detached.
    pub async fn run(self) -> Result<Bytes> {
        let mut sending = self.begin(true).await?;
        loop {
            let head = sending.head();
            let (pieces, seen): ([&[u8]; 1], _) = ([&head], sending.wait.clone());
            sending.session().cast_in_turn(sending.request(&pieces), move |reply| seen.answered(reply));
            match poll_fn(|cx| sending.wait.poll_heard(cx)).await {
                Heard::Outcome(outcome) => return outcome?.done(&sending.wait.queue, sending.wait.task()),
                Heard::Unanswered(error) => sending = sending.unanswered(error).await?,
            }
        }
    }

    /// Sends it until the answer is known.
    async fn send(self) -> Result<TaskHandle> {
        let mut sending = self.begin(false).await?;
        loop {
            let head = sending.head();
            let (pieces, seen): ([&[u8]; 1], _) = ([&head], sending.wait.clone());
            let accept = move |reply: &sinew_session::Result<_>| seen.accept(reply);
            match sending.session().call_seen(sending.request(&pieces), accept).await {
                Ok(reply) => return sending.handle.begun(Ok(reply)),
                Err(error) => sending = sending.unanswered(error).await?,
            }
        }
    }

    async fn begin(self, patient: bool) -> Result<Sending> {
        let Self { queue: TaskQueue { tasks, name }, payload, options, required, task } = self;
        tasks.session.room().await?;
        let task = task.unwrap_or_else(|| tasks.shared.task());
        let wait = Wait::new(tasks.session.number()?, name, task, true);
        let handle = TaskHandle::begin(&tasks, &wait);
        Ok(Sending { wait, handle, payload, options, required, patient, epoch: 0, again: None })
    }
}

/// A task on its way to the server.
struct Sending {
    wait: Arc<Wait>,
    handle: TaskHandle,
    payload: Bytes,
    options: TaskOptions,
    required: Option<Level>,
    patient: bool,
    /// Of the server that it was sent to last.
    epoch: u64,
    /// It may have been sent before, to the server of this epoch.
    again: Option<u64>,
}

impl Sending {
    fn session(&self) -> &Session {
        &self.handle.tasks().session
    }

    /// The head of its request as it goes out now.
    fn head(&mut self) -> Vec<u8> {
        self.epoch = self.session().epoch();
        let Self { required, patient, again, .. } = *self;
        let (queue, task, options) = (self.wait.queue.as_str(), self.wait.task(), self.options.clone());
        SubmitHead { queue, task, required, again, patient, options }.encode()
    }

    fn request<'a>(&'a self, head: &'a [&'a [u8]]) -> Request<'a> {
        let key = self.wait.queue.as_str().as_bytes();
        let request = Request::new(SERVICE, verb::SUBMIT, key, self.payload.clone(), FOR_EVER);
        Request { number: Some(self.wait.number), head: Some(head), ..request }
    }

    /// It was not answered: it is sent again where that is right.
    async fn unanswered(mut self, error: SessionError) -> Result<Self> {
        match error {
            // It may be accepted already, so only the answer will do.
            SessionError::OutcomeUnknown => drop(self.again.get_or_insert(self.epoch)),
            SessionError::Disconnected { .. } if self.again.is_some() => connected(self.session()).await?,
            error => return Err(self.handle.refused(error)),
        }
        Ok(self)
    }
}

/// Resolves once the queue has accepted it: stored, as far as the queue promises.
///
/// Errors: `NoWorkers` where nobody is there that could do it and it is not `queueing`; `Full`, `TooLarge`, `Invalid`,
/// `TaskExists`, `LevelUnmet`, `UnknownQueue`, `Denied`, `NoSpace`, `Busy`: it was not accepted. `OutcomeUnknown` where the
/// server has restarted meanwhile and has the queue in memory alone; `Session`. Dropping the future cancels the task, unless it
/// is detached.
impl IntoFuture for Submission {
    type Output = Result<TaskHandle>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<TaskHandle>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl TaskHandle {
    /// What came of asking for it.
    fn begun(self, reply: sinew_session::Result<sinew_session::Reply>) -> Result<Self> {
        match reply {
            Ok(reply) if AcceptedHead::read(&reply.head).is_some() => Ok(self),
            Ok(_) => Err(unreadable("its answer to a task").into()),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// It is not waited for: why.
    fn refused(self, error: SessionError) -> Error {
        let error = error_of(error);
        // There is nothing to give up, where the server has answered.
        if !matches!(error, Error::Session(_)) {
            self.forget();
        }
        error
    }
}
