//! Working on a queue: joining it, taking tasks, reporting what became of them.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::sync::Arc;

use bytes::Bytes;
use sinew_session::{Error as SessionError, ResourceName};

use crate::{Error, Result, TaskQueue, WorkerId};

mod desk;
mod job;
mod lease;
mod reports;
mod run;
mod stop;
pub(crate) use desk::Desk;
pub use job::Job;
pub(crate) use run::panicked;
pub use stop::WorkerStop;

/// What a worker is to be, before it joins.
#[derive(Clone, Debug)]
#[must_use = "a worker joins once it is run"]
pub struct WorkerBuilder {
    queue: TaskQueue,
    wish: Wish,
    stop: WorkerStop,
}

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) concurrency: u32,
    pub(crate) tags: Vec<String>,
    pub(crate) name: String,
}

/// What a worker tells of a task that it could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// What failed, in a word that programs can tell apart. At most 256 bytes.
    pub code: String,
    /// What failed, for people. What is beyond 16 KiB is cut.
    pub message: String,
    /// What else there is to say, for programs.
    pub details: Bytes,
    /// Another attempt would fail as well.
    pub is_final: bool,
}

impl TaskError {
    /// A failure after which another attempt may succeed.
    pub fn new(code: impl Into<String>, message: impl Display) -> Self {
        Self { code: code.into(), message: message.to_string(), details: Bytes::new(), is_final: false }
    }

    /// There is no use in another attempt.
    #[must_use]
    pub fn for_good(self) -> Self {
        Self { is_final: true, ..self }
    }

    /// With something for programs.
    #[must_use]
    pub fn with_details(self, details: impl Into<Bytes>) -> Self {
        Self { details: details.into(), ..self }
    }
}

impl WorkerBuilder {
    pub(crate) fn new(queue: &TaskQueue) -> Self {
        let wish = Wish { concurrency: 1, tags: Vec::new(), name: String::new() };
        Self { queue: queue.clone(), wish, stop: WorkerStop::default() }
    }

    /// Tasks that it works on at one time. Default 1. The server's limit bounds it.
    pub fn concurrency(mut self, tasks: u32) -> Self {
        self.wish.concurrency = tasks.max(1);
        self
    }

    /// What it can do: tasks that need one of these come to it.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.wish.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// What it calls itself, for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.wish.name = name.into();
        self
    }

    /// What stops it once it [runs](Self::run).
    pub fn stop_handle(&self) -> WorkerStop {
        self.stop.clone()
    }

    /// Joins, for whoever takes tasks one by one. Resolves when the server has registered it. One round trip. It comes back by
    /// itself after a cut, and after a lease that was lost.
    ///
    /// # Errors
    /// `Invalid`, `Full`, `UnknownQueue`, `Denied`, `Limit`; `Session` if the server cannot be asked.
    pub async fn join(self) -> Result<Worker> {
        let desk = desk::join(&self.queue, self.wish).await?;
        Ok(Worker { desk, stop: self.stop, _queue: self.queue })
    }

    /// Joins and gives each task to `handler`, on a tokio task of its own, until it is told to [stop](Self::stop_handle). A
    /// handler that panics is a failure with the code `panicked`. Dropping the future stops the handlers and hands back what
    /// has not ended.
    ///
    /// # Errors
    /// As [`join`](Self::join) and [`Worker::end`].
    pub async fn run<H, F, R>(self, handler: H) -> Result<()>
    where
        H: Fn(Job) -> F,
        F: Future<Output = Result<R, TaskError>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        self.join().await?.run(handler).await
    }
}

/// A worker that has joined. Dropping it hands back what it has and leaves.
#[derive(Debug)]
pub struct Worker {
    desk: Arc<Desk>,
    stop: WorkerStop,
    /// It keeps its session.
    _queue: TaskQueue,
}

impl Worker {
    /// Its id, which every outcome names that it is the cause of.
    pub fn id(&self) -> WorkerId {
        self.desk.worker
    }

    /// The queue that it works on.
    pub fn queue(&self) -> &ResourceName {
        &self.desk.queue
    }

    /// The next task, when there is one; `None` once it is over, then [`end`](Self::end) says why. Cancel-safe. It is handed
    /// back if it is dropped without a word.
    pub async fn next(&mut self) -> Option<Job> {
        poll_fn(|cx| self.desk.poll_next(cx)).await
    }

    /// Takes no more tasks; those that were assigned already and not taken are handed back.
    pub fn drain(&self) {
        self.desk.drain();
    }

    /// Waits until everything that was reported is known to the server. Cancel-safe.
    ///
    /// # Errors
    /// Why it is not: the worker's [`end`](Self::end).
    pub async fn flush(&self) -> Result<()> {
        self.desk.flush().await
    }

    /// Reports that came too late to count: the task was cancelled, or another's by then.
    pub fn late(&self) -> u64 {
        self.desk.late()
    }

    /// Why nothing more comes: `Replaced`, `Denied`, `Ended`, or the session's end. `None` while it goes on.
    pub fn end(&self) -> Option<Error> {
        self.desk.ended()
    }

    /// Takes no more, waits until what it has taken has ended, and leaves.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); it has left all the same, or the session is over.
    pub async fn leave(self) -> Result<()> {
        self.drain();
        let finished = async {
            self.desk.idle().await?;
            self.desk.flush().await
        };
        let finished = finished.await;
        match self.desk.leave_surely().await {
            // The server has let it go, or will when nobody renews its lease.
            Ok(()) | Err(Error::Session(SessionError::OutcomeUnknown)) => finished,
            Err(error) => finished.and(Err(error)),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // First, or what is handed back could come again at once.
        self.drain();
        self.desk.hand_all_back();
        self.desk.leave();
    }
}
