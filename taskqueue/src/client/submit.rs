//! Submitting tasks: with how they are to be done, until it is known that they were accepted.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Error as SessionError, Request, ResourceName};

use super::handle::TaskHandle;
use super::wait::Wait;
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

    /// Submits it and waits for its result.
    ///
    /// # Errors
    /// `NotDone` with how it ended where it was not done, `NoWorkers` where nobody could do it, and as awaiting it and its
    /// handle. Dropping the future cancels the task, unless it is detached.
    pub async fn run(self) -> Result<Bytes> {
        self.send(true).await?.result().await
    }

    /// Sends it until the answer is known, which may come with the outcome where that is what is waited for.
    async fn send(self, patient: bool) -> Result<TaskHandle> {
        let Self { queue, payload, options, required, task } = self;
        let (tasks, name) = (&queue.tasks, &queue.name);
        let session = &tasks.session;
        session.room().await?;
        let task = task.unwrap_or_else(|| tasks.shared.task());
        let wait = Wait::new(session.number()?, name.clone(), task, true);
        let mut head = SubmitHead { queue: name.as_str(), task, required, again: None, patient, options };
        let handle = TaskHandle::begin(tasks, &wait);
        loop {
            let (encoded, epoch) = (head.encode(), session.epoch());
            let pieces: [&[u8]; 1] = [&encoded];
            let request = Request::new(SERVICE, verb::SUBMIT, name.as_str().as_bytes(), payload.clone(), FOR_EVER);
            let seen = wait.clone();
            let request = Request { number: Some(wait.number), head: Some(&pieces), ..request };
            match session.call_seen(request, move |reply| seen.accept(reply)).await {
                // It may be accepted already, so only the answer will do.
                Err(SessionError::OutcomeUnknown) => drop(head.again.get_or_insert(epoch)),
                Err(SessionError::Disconnected { .. }) if head.again.is_some() => connected(session).await?,
                reply => return handle.begun(reply),
            }
        }
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
        Box::pin(self.send(false))
    }
}

impl TaskHandle {
    /// What came of asking for it.
    fn begun(self, reply: sinew_session::Result<sinew_session::Reply>) -> Result<Self> {
        let read = reply.map_err(error_of).and_then(|reply| {
            AcceptedHead::read(&reply.head).map(drop).ok_or_else(|| unreadable("its answer to a task"))
        });
        match read {
            Ok(()) => Ok(self),
            Err(error) => {
                // There is nothing to give up, where the server has answered.
                if !matches!(error, Error::Session(_)) {
                    self.forget();
                }
                Err(error)
            }
        }
    }
}
