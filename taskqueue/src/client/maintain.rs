//! What takes long: verify, back up, restore, at the server.

use serde::de::DeserializeOwned;
use sinew_session::to_cbor;

use super::TaskQueue;
use crate::protocol::{Maintain, MaintainAct, SERVICE, error_of, verb};
use crate::{BackedUp, ProgressSink, QueueInfo, Result, Verified};

impl TaskQueue {
    /// Reads everything that the queue has stored and checks it; changes nothing. Damage is in the result and no error.
    /// Tasks come and go meanwhile.
    ///
    /// # Errors
    /// `UnknownQueue`, `Denied`, `Storage`; `Unsupported` for one in memory; `Session`.
    pub async fn verify(&self, progress: ProgressSink) -> Result<Verified> {
        self.maintain(MaintainAct::Verify, progress).await
    }

    /// Copies the queue as it is at one moment to a directory of the server's machine, named from the root, which must be
    /// empty or not there: its configuration, tasks, outcomes and dead letters. Everything that was accepted before the call
    /// is in it. Needs to be permitted to manage the server as well.
    ///
    /// # Errors
    /// `UnknownQueue`, `Denied`, `Backup`, `NoSpace`, `Storage`; `Unsupported` for one in memory; `Session`.
    pub async fn backup(&self, target: &str, progress: ProgressSink) -> Result<BackedUp> {
        self.maintain(MaintainAct::Backup(target.to_owned()), progress).await
    }

    /// Makes the queue from a backup of any queue in a directory of the server's machine, named from the root. It begins to
    /// live as behind a restart of its server: attempts that ran when the copy was made are their workers' for a lease, and
    /// lost then. Needs to be permitted to manage the server as well.
    ///
    /// # Errors
    /// `QueueExists`: a queue is never overwritten; `Denied`, `Backup`, `Config`, `NoSpace`, `Storage`; `Unsupported` by a
    /// server that has its queues in memory; `Session`.
    pub async fn restore(&self, source: &str, progress: ProgressSink) -> Result<QueueInfo> {
        self.maintain(MaintainAct::Restore(source.to_owned()), progress).await
    }

    async fn maintain<A: DeserializeOwned>(&self, act: MaintainAct, progress: ProgressSink) -> Result<A> {
        let (tasks, body) = (&self.tasks, to_cbor(&Maintain { queue: self.name.to_string(), act }));
        let (asks, key) = ((SERVICE, verb::MAINTAIN), self.name.as_str().as_bytes());
        let reply = tasks.shared.long_calls.call(&tasks.session, asks, key, body, progress).await;
        Ok(reply.map_err(error_of)?.read()?)
    }
}
