//! Workers, for callers that wait: tasks one by one, on as many threads as the caller has.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{block_on, block_on_for};
use tokio::sync::watch;

use crate::worker::panicked;
use crate::{Error, Job, Result, TaskError, WorkerId};

/// What a worker is to be, before it joins.
#[derive(Clone, Debug)]
#[must_use = "a worker joins by `join`"]
pub struct WorkerBuilder {
    inner: crate::WorkerBuilder,
}

impl WorkerBuilder {
    pub(super) fn new(inner: crate::WorkerBuilder) -> Self {
        Self { inner }
    }

    /// As [`WorkerBuilder::concurrency`](crate::WorkerBuilder::concurrency): tasks that it has at one time, while
    /// [`Worker::run`] works on them one by one.
    pub fn concurrency(self, tasks: u32) -> Self {
        Self { inner: self.inner.concurrency(tasks) }
    }

    /// As [`WorkerBuilder::tags`](crate::WorkerBuilder::tags).
    pub fn tags(self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { inner: self.inner.tags(tags) }
    }

    /// As [`WorkerBuilder::name`](crate::WorkerBuilder::name).
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { inner: self.inner.name(name) }
    }

    /// As [`WorkerBuilder::join`](crate::WorkerBuilder::join).
    ///
    /// # Errors
    /// As [`WorkerBuilder::join`](crate::WorkerBuilder::join).
    pub fn join(self) -> Result<Worker> {
        Ok(Worker { inner: block_on(self.inner.join())??, stop: Stop { told: Arc::new(watch::Sender::new(false)) } })
    }
}

/// Stops a worker that [runs](Worker::run), from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop {
    told: Arc<watch::Sender<bool>>,
}

impl Stop {
    /// The worker finishes the task that it is at, hands back what it has not begun, and leaves. Does not wait: its `run`
    /// returns then.
    pub fn stop(&self) {
        self.told.send_replace(true);
    }

    /// Waits until somebody wants it to stop.
    async fn is_told(&self) {
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }
}

/// A worker that has joined. Dropping it hands back what it has and leaves.
#[derive(Debug)]
pub struct Worker {
    inner: crate::Worker,
    stop: Stop,
}

impl Worker {
    /// As [`Worker::id`](crate::Worker::id).
    pub fn id(&self) -> WorkerId {
        self.inner.id()
    }

    /// What stops it once it [runs](Self::run).
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// As [`Worker::next`](crate::Worker::next).
    ///
    /// # Errors
    /// `Session(InsideRuntime)`.
    pub fn next_job(&mut self) -> Result<Option<Job>> {
        Ok(block_on(self.inner.next())?)
    }

    /// The next task, if it comes within `timeout`; `None` if none does.
    ///
    /// # Errors
    /// Why nothing more comes; `Session(InsideRuntime)`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Job>> {
        match block_on_for(self.inner.next(), timeout)? {
            Some(None) => Err(self.inner.end().unwrap_or(Error::Session(sinew_session::Error::Closed))),
            came => Ok(came.flatten()),
        }
    }

    /// Does tasks one by one on this thread, until it is told to [stop](Self::stop_handle). A handler that panics is a failure
    /// with the code `panicked`.
    ///
    /// # Errors
    /// As [`Worker::end`](crate::Worker::end); `Session(InsideRuntime)`.
    pub fn run<R: Into<Bytes>>(mut self, mut handler: impl FnMut(Job) -> Result<R, TaskError>) -> Result<()> {
        let stop = self.stop.clone();
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    () = stop.is_told() => None,
                    next = self.inner.next() => Some(next),
                }
            };
            match block_on(next)? {
                None => return block_on(self.inner.leave())?,
                Some(None) => return self.inner.end().map_or(Ok(()), Err),
                Some(Some(job)) => match catch_unwind(AssertUnwindSafe(|| handler(job.clone()))) {
                    Ok(Ok(result)) => job.done(result),
                    Ok(Err(error)) => job.fail(error),
                    Err(panic) => job.fail(panicked(&*panic)),
                },
            }
        }
    }

    /// As [`Worker::drain`](crate::Worker::drain).
    pub fn drain(&self) {
        self.inner.drain();
    }

    /// As [`Worker::flush`](crate::Worker::flush).
    ///
    /// # Errors
    /// As [`Worker::flush`](crate::Worker::flush).
    pub fn flush(&self) -> Result<()> {
        block_on(self.inner.flush())?
    }

    /// As [`Worker::leave`](crate::Worker::leave).
    ///
    /// # Errors
    /// As [`Worker::leave`](crate::Worker::leave).
    pub fn leave(self) -> Result<()> {
        block_on(self.inner.leave())?
    }
}
