//! Typed calls over a queue: services are defined with the service macro of `tarpc`, and served and called by its public
//! `Serve` and `Stub`. The program needs `tarpc` itself, with its feature `serde1`, since the macro names it.
//!
//! A service has a queue, `rpc-` and its name, in memory: a call is a task of it that does not wait for a server to come, so
//! that it fails at once where there is none. Several servers share the calls, round robin. The deadline of the call's context
//! goes with it, less the time that it has waited; dropping the call's future, or its deadline, cancels it at the server, where
//! the running future is dropped. What the service itself answers, its own errors among it, is typed by the service.
//!
//! One call has one answer. What is to be streamed goes by a subject of the bus, or by a stream of the event log, which the
//! answer names: they have what a stream of answers would need, a bound for slow readers above all.
//!
//! ```
//! use sinew_taskqueue::rpc;
//! use tarpc::{context, server::Serve};
//!
//! #[tarpc::service]
//! trait Calculator {
//!     async fn divide(by: i64, number: i64) -> Result<i64, String>;
//! }
//!
//! #[derive(Clone)]
//! struct Exact;
//!
//! impl Calculator for Exact {
//!     async fn divide(self, _: context::Context, by: i64, number: i64) -> Result<i64, String> {
//!         number.checked_div(by).ok_or_else(|| format!("{number} cannot be divided by {by}"))
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let (_server, tasks) = sinew_testkit::memory::tasks().await;
//! let name = "calculator".parse()?;
//! let server = rpc::server(&tasks, &name).await?;
//! let stop = server.stop_handle();
//! let server = server.join().await?; // calls come from here on
//! let serving = tokio::spawn(server.serve(|context, request| Exact.serve().serve(context, request)));
//!
//! let calculator = CalculatorClient::from(rpc::client(&tasks, &name)?);
//! assert_eq!(calculator.divide(context::current(), 3, 12).await?, Ok(4));
//! assert!(calculator.divide(context::current(), 0, 12).await?.is_err());
//! stop.stop().await?;
//! # serving.await??;
//! # Ok(())
//! # }
//! # sinew_testkit::memory::run(example());
//! ```

use sinew_session::ResourceName;

use crate::{RPC_QUEUE_PREFIX, Result, TaskQueue, Tasks};

mod client;
mod server;
pub use client::{RpcClient, client};
pub use server::{RpcServer, RpcServing, server};

/// The queue of a service.
///
/// # Errors
/// `Name` where the name is too long for that.
pub fn queue(tasks: &Tasks, service: &ResourceName) -> Result<TaskQueue> {
    Ok(tasks.queue(&format!("{RPC_QUEUE_PREFIX}{service}").parse()?))
}

/// What a call says: tarpc's request, with where its trace goes on.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Call<T> {
    #[serde(default)]
    trace: tarpc::trace::Context,
    request: T,
}

#[cfg(test)]
mod tests;
