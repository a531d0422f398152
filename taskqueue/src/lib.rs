//! The task queue: each task to exactly one worker, in turn, with its result to who submitted it.
//!
//! ```
//! use std::time::Duration;
//! use sinew_taskqueue::{Job, TaskError};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let (_server, tasks) = sinew_testkit::memory::tasks().await;
//! let thumbnails = tasks.queue(&"thumbnails".parse()?);
//!
//! // A worker says what it can do and how much at one time. It renews its lease by itself, comes back after cuts, and
//! // reports until the server knows it.
//! let worker = thumbnails.worker().concurrency(2).tags(["gpu"]);
//! let stop = worker.stop_handle();
//! tokio::spawn(worker.run(|job: Job| async move {
//!     job.progress("half of it");
//!     let (width, height): (u32, u32) = job.value()?;
//!     if width * height == 0 {
//!         return Err(TaskError::new("empty", "there is nothing to see").for_good());
//!     }
//!     Ok(format!("{} pixels", width * height))
//! }));
//!
//! // A task is waited for, asked how far it is, cancelled, or detached and fetched later.
//! let small = thumbnails.submit_value(&(16_u32, 9_u32))?.tags(["gpu"]).queueing().deadline(Duration::from_secs(60));
//! let mut handle = small.await?;
//! assert_eq!(handle.next_progress().await.as_deref(), Some(&b"half of it"[..]));
//! assert_eq!(&handle.result().await?[..], b"144 pixels");
//!
//! let empty = thumbnails.submit_value(&(0_u32, 9_u32))?.tags(["gpu"]).run().await;
//! assert!(empty.unwrap_err().to_string().contains("failed at attempt 1 with `empty`: there is nothing to see"));
//! stop.stop().await?;
//! # Ok(())
//! # }
//! # sinew_testkit::memory::run(example());
//! ```
//!
//! What a queue does is in the rules of `scheduler.rs`, which know neither time nor network; where its tasks are kept is the
//! [`Engine`]'s; what is said between client and server is in `protocol.rs`.

pub use sinew_session::{Level, Progress, ProgressSink};
mod config;
pub use config::{LEASE_MAX, LEASE_MIN, PAYLOAD_BYTES_MAX, QueueConfig, QueueLimits, RPC_QUEUE_PREFIX};
mod id;
pub use id::{IdError, TaskId, WorkerId};
mod moment;
pub use moment::Moment;
mod options;
pub use options::{ATTEMPTS_MAX, Backoff, IDEMPOTENCY_KEY_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX, TaskOptions};
mod outcome;
pub use outcome::{Ending, Outcome};
mod error;
pub use error::{Error, Result};
mod info;
pub use info::{BackedUp, Counts, Explanation, Listed, QueueInfo, Reason, TaskInfo, TaskState, Verified, WorkerInfo};
mod scheduler;
pub use scheduler::{Answer, Asker, Attempt, Effect, Input, Recalled, Report, Spec, WorkerSpec};
mod engine;
pub use engine::{Engine, JournalEngine, Outlet, Queue, TaskEngineOptions};
mod clock;
mod memory;
mod shell;
pub use memory::MemoryEngine;
mod protocol;
pub use protocol::SERVICE;
mod broker;
pub use broker::{Broker, TaskLimits};
mod client;
pub use client::{Submission, TaskHandle, TaskPage, TaskProgress, TaskQueue, Tasks, WorkerPage};
mod worker;
pub use worker::{Job, TaskError, Worker, WorkerBuilder, WorkerStop};
pub mod blocking;
mod planted;
#[cfg(feature = "rpc")]
pub mod rpc;
#[cfg(test)]
mod simulation;
