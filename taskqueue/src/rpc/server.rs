//! Serving.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{Level, ResourceName, to_value};
use tarpc::ServerError;
use tarpc::context::{self, Context};

use super::Call;
use crate::{Error, Job, QueueConfig, Result, TaskError, Tasks, Worker, WorkerBuilder, WorkerStop};

/// What is told of a call that could not be read, or an answer that could not be written.
pub(super) const UNREADABLE: &str = "unreadable";
/// What is told of a call that the service did not serve.
const SERVER: &str = "server";
/// Calls that a server works on at one time, unless told otherwise.
const CONCURRENCY: u32 = 64;
/// The longest that a call without a deadline of its own may say that it has: tarpc wants one.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 3_600);

/// Serves a service, once it is told how.
#[derive(Debug)]
#[must_use = "a server serves once `serve` is awaited"]
pub struct RpcServer {
    worker: WorkerBuilder,
}

/// A server of the service of this name. Makes the service's queue, in memory, if it is not there; who may not look whether it
/// is takes what joining finds or makes: a queue with the defaults, whose calls go to disk.
///
/// # Errors
/// `Name` where the name is too long; `Denied` without `task.manage` where the queue is not there; `Session`.
pub async fn server(tasks: &Tasks, service: &ResourceName) -> Result<RpcServer> {
    let queue = super::queue(tasks, service)?;
    match queue.info().await {
        Err(Error::UnknownQueue { .. }) => {
            let config = QueueConfig { level: Level::Memory, ..QueueConfig::default() };
            match queue.make(&config).await {
                // Another server was first, with a wish of its own.
                Ok(_) | Err(Error::QueueExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(_) | Err(Error::Denied { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(RpcServer { worker: queue.worker().concurrency(CONCURRENCY) })
}

impl RpcServer {
    /// How many calls it works on at one time. Default 64.
    pub fn concurrency(mut self, calls: u32) -> Self {
        self.worker = self.worker.concurrency(calls);
        self
    }

    /// What it calls itself in `sinew rpc list`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.worker = self.worker.name(name);
        self
    }

    /// What stops it: calls under way are finished.
    pub fn stop_handle(&self) -> WorkerStop {
        self.worker.stop_handle()
    }

    /// Joins, so that calls come from when this returns, without serving them yet.
    ///
    /// # Errors
    /// As [`WorkerBuilder::join`].
    pub async fn join(self) -> Result<RpcServing> {
        Ok(RpcServing { worker: self.worker.join().await? })
    }

    /// Joins and serves, until it is stopped: as [`RpcServing::serve`].
    ///
    /// # Errors
    /// As [`WorkerBuilder::run`].
    pub async fn serve<Req, Resp, S, F>(self, serve: S) -> Result<()>
    where
        Req: DeserializeOwned + Send + 'static,
        Resp: Serialize + Send + 'static,
        S: Fn(Context, Req) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Resp, ServerError>> + Send + 'static,
    {
        self.join().await?.serve(serve).await
    }
}

/// A server to which calls come.
#[derive(Debug)]
#[must_use = "a server serves once `serve` is awaited"]
pub struct RpcServing {
    worker: Worker,
}

impl RpcServing {
    /// Serves, until it is stopped. `serve` is given each call with its context: pass both on to tarpc's `Serve::serve` of your
    /// service. Each call is a task of the runtime that this is awaited in; one that is cancelled is dropped where it waits.
    ///
    /// # Errors
    /// As [`WorkerBuilder::run`].
    pub async fn serve<Req, Resp, S, F>(self, serve: S) -> Result<()>
    where
        Req: DeserializeOwned + Send + 'static,
        Resp: Serialize + Send + 'static,
        S: Fn(Context, Req) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Resp, ServerError>> + Send + 'static,
    {
        self.worker
            .run(move |job: Job| {
                let serve = serve.clone();
                async move {
                    let Call { trace, request } = job.value::<Call<Req>>().map_err(unreadable)?;
                    let mut context = context::current();
                    context.trace_context = trace;
                    context.deadline = job.deadline().unwrap_or_else(|| Instant::now() + NO_DEADLINE);
                    tokio::select! {
                        // Nobody waits for it any more.
                        why = job.cancelled() => Err(TaskError::new(SERVER, format!("{why:?}"))),
                        answer = serve(context, request) => {
                            let answer = answer.map_err(|error| TaskError::new(SERVER, error))?;
                            to_value(&answer).map(Bytes::from).map_err(|error| unreadable(error.why))
                        }
                    }
                }
            })
            .await
    }
}

fn unreadable(why: impl std::fmt::Display) -> TaskError {
    TaskError::new(UNREADABLE, why).for_good()
}
