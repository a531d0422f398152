//! A task as who submitted it has it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use sinew_session::{Error as SessionError, ResourceName};

use super::wait::Wait;
use super::{CALL, Tasks};
use crate::protocol::{WaitHead, task_head, verb};
use crate::{Error, Level, Outcome, Result, TaskId};

/// A task that a queue has accepted. Await it for its outcome; by reference, so that it can be asked about afterwards.
///
/// Dropping it before the task has ended cancels the task, unless it was submitted `detached`, came from
/// [`attach`](crate::TaskQueue::attach), or others wait for it too. After a cut it goes on waiting by itself.
#[derive(Debug)]
#[must_use = "dropping it cancels the task"]
pub struct TaskHandle {
    tasks: Tasks,
    wait: Arc<Wait>,
}

impl TaskHandle {
    /// One that waits from now on.
    pub(super) fn begin(tasks: &Tasks, wait: &Arc<Wait>) -> Self {
        tasks.shared.enter(wait);
        Self { tasks: tasks.clone(), wait: wait.clone() }
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Waits no more, and nobody need be told.
    pub(super) fn forget(self) {
        self.tasks.shared.forget(&self.wait);
    }

    /// The task's id. Another than was submitted, where the idempotency key was known.
    pub fn id(&self) -> TaskId {
        self.wait.task()
    }

    /// The queue that it is in.
    pub fn queue(&self) -> &ResourceName {
        &self.wait.queue
    }

    /// What its acceptance means.
    pub fn level(&self) -> Level {
        self.wait.level()
    }

    /// Whether the queue had it before: its answer was lost in a cut, or its idempotency key was known.
    pub fn is_duplicate(&self) -> bool {
        self.wait.is_duplicate()
    }

    /// How it ends, when it does. Cancel-safe, and the same each time.
    ///
    /// # Errors
    /// `OutcomeUnknown` where the server has restarted and had it in memory alone; `Denied` where it is not permitted any
    /// more; `Limit` where its outcome could not be sent, and can be fetched; `Ended` where the queue was deleted; `Session`
    /// once the session is over.
    pub async fn outcome(&mut self) -> Result<Outcome> {
        poll_fn(|cx| self.wait.poll_outcome(cx)).await
    }

    /// Its result, when it is done.
    ///
    /// # Errors
    /// `NotDone` with how it ended where it was not done, `NoWorkers` where nobody could do it, and as
    /// [`outcome`](Self::outcome).
    pub async fn result(mut self) -> Result<Bytes> {
        let outcome = self.outcome().await?;
        outcome.done(&self.wait.queue, self.id())
    }

    /// The next word of progress; `None` once it has ended. At most 64 wait, then the oldest is dropped; after a cut some may
    /// be missing. Cancel-safe.
    pub async fn next_progress(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.wait.poll_progress(cx)).await
    }

    /// The same as a stream of its own. There is one reader at a time.
    pub fn progress(&self) -> TaskProgress {
        TaskProgress { wait: self.wait.clone() }
    }

    /// Ends it: its outcome becomes `Cancelled`, and its worker is told. Gives whether it had ended before, and is as it was.
    /// One round trip.
    ///
    /// # Errors
    /// `UnknownTask` where it had ended and is not kept any more; `Session` if the server cannot be asked.
    pub async fn cancel(&self) -> Result<bool> {
        cancel(&self.tasks, &self.wait.queue, self.id()).await
    }

    /// Lets it go on by itself: its outcome can be [fetched](crate::TaskQueue::fetch) by its id for an hour after it has ended,
    /// or as long as `result_kept` says. One round trip.
    ///
    /// # Errors
    /// `UnknownTask` where it had ended and its outcome is here, as [`outcome`](Self::outcome) would have given it; `Session`
    /// if the server cannot be asked. It is dropped then.
    pub async fn detach(self) -> Result<TaskId> {
        self.wait.keep();
        let task = self.id();
        loop {
            let head = WaitHead { queue: self.wait.queue.as_str(), task, number: self.wait.number }.encode();
            match self.tasks.ask_head(verb::DETACH, &self.wait.queue, &head, Bytes::new(), CALL).await {
                // It waits again by then.
                Err(Error::Session(SessionError::OutcomeUnknown)) => {}
                reply => {
                    reply?;
                    self.forget();
                    return Ok(task);
                }
            }
        }
    }
}

impl Future for TaskHandle {
    type Output = Result<Outcome>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Outcome>> {
        self.wait.poll_outcome(cx)
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        if !self.wait.has_ended() {
            self.tasks.shared.abandon(&self.tasks.session, &self.wait);
        }
    }
}

/// Ends a task.
pub(super) async fn cancel(tasks: &Tasks, queue: &ResourceName, task: TaskId) -> Result<bool> {
    let head = task_head(queue.as_str(), task);
    let reply = tasks.ask_head_surely(verb::CANCEL, queue, &head).await?;
    Ok(reply.head.first().is_some_and(|had_ended| *had_ended != 0))
}

/// What a task tells of how far it is, as a stream. It does not keep the task.
#[derive(Debug)]
pub struct TaskProgress {
    wait: Arc<Wait>,
}

impl Stream for TaskProgress {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.wait.poll_progress(cx)
    }
}
