//! The seam between the service and what keeps queues: the broker calls [`Engine`] and [`Queue`], nothing else.
//!
//! A queue is told things by [`Queue::tell`], which does not wait, and speaks through an [`Outlet`], in order, each thing once
//! what it tells of has the level that the queue promises. What can be seen of it is answered from memory, at once.

mod backup;
mod codec;
mod folder;
mod host;
mod journal_engine;
mod recovery;
mod rounds;
mod stored_queue;
#[cfg(test)]
mod tests;
mod upkeep;
mod verify;
mod words;

use host::Host;
pub use host::TaskEngineOptions;
pub use journal_engine::JournalEngine;
use words::{explain, storage, storage_of};

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sinew_session::ResourceName;

use crate::{
    BackedUp, Effect, Error, Explanation, Input, Level, Listed, ProgressSink, QueueConfig, QueueInfo, Result, TaskId,
    TaskInfo, Verified, WorkerInfo,
};

/// Queues by name.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Makes a queue, durably. One that is there with the same configuration is left as it is.
    ///
    /// # Errors
    /// `QueueExists` where it is configured otherwise; `Limit`, `Config`, `Storage`.
    async fn create(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo>;
    /// Changes a queue's configuration.
    ///
    /// # Errors
    /// `UnknownQueue`, `Config`, `Storage`.
    async fn alter(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo>;
    /// Removes a queue with its tasks. Who waits for one of them hears `Ended`.
    ///
    /// # Errors
    /// `UnknownQueue`, `Storage`.
    async fn delete(&self, name: &ResourceName) -> Result<()>;
    /// Names in order, those behind `after`, at most `max`.
    ///
    /// # Errors
    /// `Storage`.
    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>>;
    /// The queue of this name. Cheap once it is open.
    ///
    /// # Errors
    /// `UnknownQueue`; `Storage` where it cannot be opened.
    async fn queue(&self, name: &ResourceName) -> Result<Arc<dyn Queue>>;

    /// Reads everything that a queue has stored and checks it; changes nothing. Damage is in the result and no error.
    /// Dropping the future ends it.
    ///
    /// # Errors
    /// `UnknownQueue`; `Storage` for what cannot be read at all; `Unsupported` for a queue in memory.
    async fn verify(&self, name: &ResourceName, progress: ProgressSink) -> Result<Verified> {
        let _ = progress;
        self.queue(name).await?;
        Err(Error::Unsupported { queue: name.to_string(), what: "verify" })
    }

    /// Copies a queue as it is at one moment to `target`, a directory of the server's machine that is empty or not there.
    /// Tasks come and go meanwhile. Dropping the future ends it; what was copied by then is no backup.
    ///
    /// # Errors
    /// `UnknownQueue`; `Backup` where something is there already; `NoSpace`, `Storage`; `Unsupported` for a queue in memory.
    async fn backup(&self, name: &ResourceName, target: &Path, progress: ProgressSink) -> Result<BackedUp> {
        let _ = (target, progress);
        self.queue(name).await?;
        Err(Error::Unsupported { queue: name.to_string(), what: "backup" })
    }

    /// Makes a queue from what [`backup`](Self::backup) wrote to `source`, a directory of the server's machine. It begins to
    /// live as behind a restart. Dropping the future ends it, and there is no queue then.
    ///
    /// # Errors
    /// `QueueExists`: a queue is never overwritten; `Backup` for a directory that holds none; `Config`, `NoSpace`, `Storage`;
    /// `Unsupported` by an engine that has nothing on disk.
    async fn restore(&self, name: &ResourceName, source: &Path, progress: ProgressSink) -> Result<QueueInfo> {
        let _ = (source, progress);
        Err(Error::Unsupported { queue: name.to_string(), what: "restore" })
    }

    /// Waits for the first failure after which nothing more can be acknowledged: the server must end, and a restart finds out
    /// what is on disk. For ever, where all is well.
    async fn failed(&self) -> Error {
        std::future::pending().await
    }

    /// Ends every queue in order: what waits is stored and let out, files are closed.
    ///
    /// # Errors
    /// The first failure, once all is closed.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Who hears what a queue says.
pub trait Outlet: Send + Sync + Debug {
    /// What it says, in order. Called from any thread, never by two at a time for one queue; must not wait, and must not call
    /// the queue.
    fn let_out(&self, queue: &ResourceName, effects: Vec<Effect>);

    /// The queue was deleted, or its server stops: nothing more comes.
    fn ended(&self, queue: &ResourceName, why: &Error);
}

/// One queue.
#[async_trait]
pub trait Queue: Send + Sync + Debug {
    /// Its name.
    fn name(&self) -> &ResourceName;

    /// What its acknowledgements mean.
    fn level(&self) -> Level;

    /// Who hears what it says from now on. Until somebody does, what it says is lost: nobody has asked. The queue keeps it, so it
    /// must not own the engine.
    fn listen(&self, outlet: Arc<dyn Outlet>);

    /// Tells it things, in this order. Does not wait; what comes of it the outlet hears, perhaps before this returns. One of
    /// a queue that has ended is answered with `Ended`, where an answer is due.
    fn tell(&self, inputs: Vec<Input>);

    /// Whether it has ended.
    fn has_ended(&self) -> bool;

    /// What it has and how it is configured.
    fn info(&self) -> QueueInfo;

    /// Tasks, those behind the place `after` in the list, at most `max`.
    fn tasks(&self, listed: Listed, after: Option<u64>, max: usize) -> Vec<TaskInfo>;

    /// One task, and why it waits.
    ///
    /// # Errors
    /// `UnknownTask`.
    fn explain(&self, task: TaskId) -> Result<Explanation>;

    /// The payload of a task that has not ended, or of a dead letter.
    ///
    /// # Errors
    /// `UnknownTask`.
    fn payload(&self, task: TaskId) -> Result<bytes::Bytes>;

    /// Workers in the order of their ids, those behind `after`, at most `max`.
    fn workers(&self, after: Option<crate::WorkerId>, max: usize) -> Vec<WorkerInfo>;
}
