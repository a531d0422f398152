//! The task queue: each task to exactly one worker, in turn, with its result to who submitted it.

pub use sinew_session::Level;
mod config;
pub use config::{LEASE_MAX, LEASE_MIN, PAYLOAD_BYTES_MAX, QueueConfig, QueueLimits};
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
pub use info::{Counts, Explanation, Listed, QueueInfo, Reason, TaskInfo, TaskState, WorkerInfo};
#[allow(dead_code, reason = "the engine on disk, which comes next, stands on all of it")]
mod scheduler;
pub use scheduler::{Answer, Asker, Attempt, Effect, Input, Recalled, Report, Spec, WorkerSpec};
mod engine;
pub use engine::{Engine, Outlet, Queue};
mod clock;
mod memory;
#[allow(dead_code, reason = "the engine on disk, which comes next, stands on all of it")]
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
#[allow(dead_code, reason = "the tests of the rules, which come next, plant them")]
mod planted;
#[cfg(feature = "rpc")]
pub mod rpc;
