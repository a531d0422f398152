//! The task queue for programs without an async runtime. Every call waits on the caller's thread; handles can be cloned and
//! used on several threads at once.
//!
//! Inside an async runtime every call fails with `Session(InsideRuntime)`, instead of holding it up or waiting for it
//! for ever.

mod handle;
pub use handle::TaskHandle;
mod queue;
pub use queue::{Submission, TaskQueue, Tasks};
mod worker;
pub use worker::{Stop, Worker, WorkerBuilder};
