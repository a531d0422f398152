//! A worker that gives each task to a handler, on a tokio task of its own.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use tokio::task::{Id, JoinError, JoinSet};

use super::{Desk, Job, TaskError, Worker};
use crate::Result;

/// What is told of a handler that panicked.
const PANICKED: &str = "panicked";

impl Worker {
    /// Gives each task to `handler`, until it is told to stop. As [`WorkerBuilder::run`](crate::WorkerBuilder::run).
    ///
    /// # Errors
    /// As [`end`](Self::end).
    pub async fn run<H, F, R>(mut self, handler: H) -> Result<()>
    where
        H: Fn(Job) -> F,
        F: Future<Output = Result<R, TaskError>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        let mut over = Over { stop: self.stop.clone(), result: Ok(()) };
        over.result = self.work(handler).await;
        let left = self.leave().await;
        if over.result.is_ok() {
            over.result = left;
        }
        over.result.clone()
    }

    async fn work<H, F, R>(&mut self, handler: H) -> Result<()>
    where
        H: Fn(Job) -> F,
        F: Future<Output = Result<R, TaskError>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        let mut running = Running::new(&self.desk);
        let stop = self.stop.clone();
        let told = stop.is_told();
        tokio::pin!(told);
        loop {
            // What was recalled goes on until its handler has heard so, and holds its place as long.
            let has_place = running.jobs.len() < self.desk.concurrency();
            tokio::select! {
                biased;
                () = &mut told => break,
                Some(ended) = running.set.join_next_with_id() => running.ended(ended),
                job = self.next(), if has_place => match job {
                    Some(job) => running.start(job.clone(), handler(job)),
                    None => return self.end().map_or(Ok(()), Err),
                },
            }
        }
        self.drain();
        while let Some(ended) = running.set.join_next_with_id().await {
            running.ended(ended);
        }
        Ok(())
    }
}

/// Tells how it ended whoever waits for that, also where its future is dropped.
struct Over {
    stop: super::WorkerStop,
    result: Result<()>,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.stop.over(self.result.clone());
    }
}

/// Handlers at work. Dropping it stops them, and hands their tasks back.
struct Running<R> {
    desk: Arc<Desk>,
    set: JoinSet<Result<R, TaskError>>,
    jobs: HashMap<Id, Job>,
}

impl<R> Drop for Running<R> {
    fn drop(&mut self) {
        // First, or what is handed back could come again at once.
        self.desk.drain();
    }
}

impl<R: Into<Bytes> + Send + 'static> Running<R> {
    fn new(desk: &Arc<Desk>) -> Self {
        Self { desk: desk.clone(), set: JoinSet::new(), jobs: HashMap::new() }
    }

    fn start(&mut self, job: Job, handler: impl Future<Output = Result<R, TaskError>> + Send + 'static) {
        let task = self.set.spawn(handler);
        self.jobs.insert(task.id(), job);
    }

    fn ended(&mut self, ended: Result<(Id, Result<R, TaskError>), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(job) = self.jobs.remove(&id) else { return };
        match ended {
            Ok((_, Ok(result))) => job.done_in_turn(result),
            Ok((_, Err(error))) => job.fail(error),
            Err(error) if error.is_panic() => job.fail(panicked(&*error.into_panic())),
            // Its runtime ends.
            Err(_) => job.hand_back(),
        }
    }
}

/// A handler that panicked, as a failure.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> TaskError {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
    TaskError::new(PANICKED, said.unwrap_or_else(|| "the handler panicked".to_owned()))
}
