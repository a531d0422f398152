//! The task queue itself and its queues, for callers that wait.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{ResourceName, block_on};

use crate::blocking::{TaskHandle, WorkerBuilder};
use crate::{
    BackedUp, Backoff, Explanation, Level, Listed, Outcome, ProgressSink, QueueConfig, QueueInfo, Result, TaskId,
    TaskOptions, TaskPage, Verified, WorkerId, WorkerPage,
};

/// The task queue. Cheap to clone.
///
/// ```
/// use std::thread;
/// use sinew_taskqueue::{TaskError, blocking};
///
/// # let (_server, tasks) = sinew_testkit::memory::tasks_of_its_own();
/// let queue = blocking::Tasks::new(tasks).queue(&"shout".parse()?);
/// let worker = queue.worker().join()?; // registered when this returns
/// let stop = worker.stop_handle();
/// let working = thread::spawn(move || {
///     worker.run(|job| Ok::<_, TaskError>(String::from_utf8_lossy(job.payload()).to_uppercase()))
/// });
/// assert_eq!(&queue.run("hello")?[..], b"HELLO");
/// stop.stop();
/// working.join().expect("no panic")?;
/// # Ok::<(), sinew_taskqueue::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tasks {
    inner: crate::Tasks,
}

impl Tasks {
    /// The same task queue, for callers that wait. Its session must run on a thread of its own, as it does by default.
    pub fn new(inner: crate::Tasks) -> Self {
        Self { inner }
    }

    /// The same task queue, for callers that await.
    pub fn inner(&self) -> &crate::Tasks {
        &self.inner
    }

    /// As [`Tasks::queue`](crate::Tasks::queue).
    pub fn queue(&self, name: &ResourceName) -> TaskQueue {
        TaskQueue { inner: self.inner.queue(name) }
    }

    /// As [`Tasks::list`](crate::Tasks::list).
    ///
    /// # Errors
    /// As [`Tasks::list`](crate::Tasks::list).
    pub fn list(&self) -> Result<Vec<ResourceName>> {
        block_on(self.inner.list())?
    }

    /// As [`Tasks::close`](crate::Tasks::close).
    ///
    /// # Errors
    /// As [`Tasks::close`](crate::Tasks::close).
    pub fn close(&self) -> Result<()> {
        block_on(self.inner.close())?
    }
}

/// A queue, by its name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskQueue {
    inner: crate::TaskQueue,
}

/// The same calls as those of the queue that is awaited.
macro_rules! calls {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {
        impl TaskQueue {
            $(
                #[doc = concat!("As [`TaskQueue::", stringify!($name), "`](crate::TaskQueue::", stringify!($name), ").")]
                ///
                /// # Errors
                #[doc = concat!("As [`TaskQueue::", stringify!($name), "`](crate::TaskQueue::", stringify!($name), ").")]
                pub fn $name(&self $(, $argument: $kind)*) -> Result<$answer> {
                    block_on(self.inner.$name($($argument),*))?
                }
            )+
        }
    };
}

calls! {
    run(payload: impl Into<Bytes>) -> Bytes;
    fetch(task: TaskId) -> Outcome;
    make(config: &QueueConfig) -> QueueInfo;
    alter(config: &QueueConfig) -> QueueInfo;
    remove() -> ();
    info() -> QueueInfo;
    cancel(task: TaskId) -> bool;
    retry_dead(task: TaskId) -> TaskId;
    drop_dead(task: TaskId) -> ();
    tasks_page(listed: Listed, after: Option<u64>) -> TaskPage;
    workers_page(after: Option<WorkerId>) -> WorkerPage;
    explain(task: TaskId) -> Explanation;
    payload(task: TaskId) -> Bytes;
    verify(progress: ProgressSink) -> Verified;
    backup(target: &str, progress: ProgressSink) -> BackedUp;
    restore(source: &str, progress: ProgressSink) -> QueueInfo;
}

impl TaskQueue {
    /// The same queue, for callers that await.
    pub fn inner(&self) -> &crate::TaskQueue {
        &self.inner
    }

    /// Its name.
    pub fn name(&self) -> &ResourceName {
        self.inner.name()
    }

    /// As [`TaskQueue::submit`](crate::TaskQueue::submit).
    pub fn submit(&self, payload: impl Into<Bytes>) -> Submission {
        Submission { inner: self.inner.submit(payload) }
    }

    /// As [`TaskQueue::submit_value`](crate::TaskQueue::submit_value).
    ///
    /// # Errors
    /// As [`TaskQueue::submit_value`](crate::TaskQueue::submit_value).
    pub fn submit_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Submission> {
        Ok(Submission { inner: self.inner.submit_value(value)? })
    }

    /// As [`TaskQueue::run_value`](crate::TaskQueue::run_value).
    ///
    /// # Errors
    /// As [`TaskQueue::run_value`](crate::TaskQueue::run_value).
    pub fn run_value<T: Serialize + ?Sized, R: DeserializeOwned>(&self, value: &T) -> Result<R> {
        block_on(self.inner.run_value(value))?
    }

    /// As [`TaskQueue::attach`](crate::TaskQueue::attach).
    ///
    /// # Errors
    /// As [`TaskQueue::attach`](crate::TaskQueue::attach).
    pub fn attach(&self, task: TaskId) -> Result<TaskHandle> {
        Ok(TaskHandle::new(block_on(self.inner.attach(task))??))
    }

    /// A worker for it, to be told more about and then joined.
    pub fn worker(&self) -> WorkerBuilder {
        WorkerBuilder::new(self.inner.worker())
    }
}

/// A task that is to be submitted: [`send`](Self::send) does it, or [`run`](Self::run).
#[derive(Clone, Debug)]
#[must_use = "a task is submitted by `send` or `run`"]
pub struct Submission {
    inner: crate::Submission,
}

/// The same options as those of the submission that is awaited.
macro_rules! options {
    ($($name:ident($($argument:ident: $kind:ty),*);)+) => {
        impl Submission {
            $(
                #[doc = concat!("As [`Submission::", stringify!($name), "`](crate::Submission::", stringify!($name), ").")]
                pub fn $name(self $(, $argument: $kind)*) -> Self {
                    Self { inner: self.inner.$name($($argument),*) }
                }
            )+
        }
    };
}

options! {
    options(options: TaskOptions);
    tags(tags: impl IntoIterator<Item = impl Into<String>>);
    priority(priority: u8);
    delay(delay: Duration);
    deadline(deadline: Duration);
    attempts(attempts_max: u32);
    backoff(backoff: Backoff);
    stall_timeout(timeout: Duration);
    queueing();
    detached();
    result_kept(kept: Duration);
    idempotency_key(key: impl Into<String>);
    dead_letter(kept: bool);
    required(level: Level);
    id(task: TaskId);
}

impl Submission {
    /// Submits it. Returns once the queue has accepted it, as [`Submission`](crate::Submission) resolves.
    ///
    /// # Errors
    /// As awaiting a [`Submission`](crate::Submission).
    pub fn send(self) -> Result<TaskHandle> {
        let submitted = block_on(async { self.inner.await })?;
        Ok(TaskHandle::new(submitted?))
    }

    /// As [`Submission::run`](crate::Submission::run).
    ///
    /// # Errors
    /// As [`Submission::run`](crate::Submission::run).
    pub fn run(self) -> Result<Bytes> {
        block_on(self.inner.run())?
    }

    /// As [`Submission::run_value`](crate::Submission::run_value).
    ///
    /// # Errors
    /// As [`Submission::run_value`](crate::Submission::run_value).
    pub fn run_value<R: DeserializeOwned>(self) -> Result<R> {
        block_on(self.inner.run_value())?
    }
}
