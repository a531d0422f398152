//! Calling.

use std::fmt;
use std::future::Future;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{ResourceName, Session};
use tarpc::client::RpcError;
use tarpc::client::stub::Stub;
use tarpc::context::Context;
use tarpc::{RequestName, ServerError};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Call;
use crate::client::decoded;
use crate::{Ending, Error, Outcome, Result, TaskQueue, Tasks};

/// Calls a service. Cheap to clone. A client of tarpc's service macro is made from it, by `CalculatorClient::from`.
///
/// A call fails with tarpc's `RpcError`:
/// - `Send`, with our [`Error`] in it: it did not get to a server. `NoWorkers` where there is none; `Denied`; `Session`.
/// - `DeadlineExceeded`: at the deadline of its context, whatever the connection does.
/// - `Server`: by kind, `ConnectionAborted` where the server was lost with the call, which may have been done or not,
///   `Interrupted` where somebody cancelled it, `InvalidData` where one end could not read what the other said, and `Other`
///   where serving it failed or panicked.
pub struct RpcClient<Req, Resp> {
    queue: TaskQueue,
    service: PhantomData<fn(Req) -> Resp>,
}

/// Calls the service of this name. Asks nobody: whether somebody serves it the first call tells.
///
/// # Errors
/// `Name` where the name is too long.
pub fn client<Req, Resp>(tasks: &Tasks, service: &ResourceName) -> Result<RpcClient<Req, Resp>> {
    Ok(RpcClient { queue: super::queue(tasks, service)?, service: PhantomData })
}

impl<Req, Resp> Clone for RpcClient<Req, Resp> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), service: PhantomData }
    }
}

impl<Req, Resp> fmt::Debug for RpcClient<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RpcClient").field(self.queue.name()).finish()
    }
}

impl<Req: RequestName + Serialize, Resp: DeserializeOwned> Stub for RpcClient<Req, Resp> {
    type Req = Req;
    type Resp = Resp;

    /// One task. Costs what a task in memory costs, and CBOR both ways.
    async fn call(&self, context: Context, request: Req) -> Result<Resp, RpcError> {
        let left = context.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RpcError::DeadlineExceeded);
        }
        let call = Call { trace: context.trace_context, request };
        let submission = self.queue.submit_value(&call).map_err(not_sent)?.deadline(left);
        let answer = async { submission.await?.outcome().await };
        match within(self.queue.tasks().session(), context.deadline, answer).await {
            None => Err(RpcError::DeadlineExceeded),
            Some(outcome) => read(&self.queue, outcome.map_err(not_sent)?),
        }
    }
}

fn not_sent(error: Error) -> RpcError {
    RpcError::Send(Box::new(error))
}

fn read<Resp: DeserializeOwned>(queue: &TaskQueue, outcome: Outcome) -> Result<Resp, RpcError> {
    let failed = |kind, detail: String| Err(RpcError::Server(ServerError::new(kind, detail)));
    match outcome.ending {
        Ending::Done { .. } => decoded(queue.name(), &outcome.body)
            .map_err(|error| RpcError::Server(ServerError::new(ErrorKind::InvalidData, error.to_string()))),
        Ending::Failed { code, message, .. } => {
            let kind = if code == super::server::UNREADABLE { ErrorKind::InvalidData } else { ErrorKind::Other };
            failed(kind, message)
        }
        Ending::WorkerLost { worker, .. } | Ending::Stalled { worker, .. } => {
            failed(ErrorKind::ConnectionAborted, format!("server {worker} was lost with the call; it may have done it"))
        }
        Ending::DeadlineExceeded { .. } => Err(RpcError::DeadlineExceeded),
        Ending::Cancelled { .. } => failed(ErrorKind::Interrupted, "the call was cancelled at the queue".into()),
        Ending::NoWorkers { .. } => {
            Err(not_sent(Error::NoWorkers { queue: queue.name().to_string(), tags: Vec::new() }))
        }
    }
}

/// What it gives, or nothing at the deadline. The time is watched where the session runs: the caller needs no runtime.
async fn within<T>(session: &Session, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let (told, mut over) = oneshot::channel::<()>();
    let _watching = Watching(session.spawn(async move {
        tokio::time::sleep_until(deadline.into()).await;
        let _ = told.send(());
    }));
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        // Where the session has ended nobody watches, and the work ends by itself.
        match pin!(&mut over).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    })
    .await
}

struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}
