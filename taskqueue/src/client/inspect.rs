//! Looking into a queue: its tasks, its workers, why a task waits.

use bytes::Bytes;

use super::TaskQueue;
use crate::protocol::{self, Look, LookAt, task_head, verb};
use crate::{Explanation, Listed, Result, TaskId, TaskInfo, WorkerId, WorkerInfo};

/// Some tasks in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskInfo>,
    /// There may be more behind the last one.
    pub more: bool,
}

/// Some workers in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerPage {
    /// The workers.
    pub workers: Vec<WorkerInfo>,
    /// There may be more behind the last one.
    pub more: bool,
}

impl TaskQueue {
    async fn look<A: serde::de::DeserializeOwned>(&self, at: LookAt) -> Result<A> {
        self.tasks.ask_surely(verb::LOOK, &self.name, &Look { queue: self.name.to_string(), at }).await
    }

    /// Tasks, those behind the place `after`, which is the `sequence` of the last one seen. At most 1,000. One round trip.
    ///
    /// # Errors
    /// `UnknownQueue`, `Denied`; `Session` if the server cannot be asked.
    pub async fn tasks_page(&self, listed: Listed, after: Option<u64>) -> Result<TaskPage> {
        let protocol::TaskPage { tasks, more } = self.look(LookAt::Tasks(listed, after)).await?;
        Ok(TaskPage { tasks, more })
    }

    /// Workers in the order of their ids, those behind `after`. At most 1,000. One round trip.
    ///
    /// # Errors
    /// As [`tasks_page`](Self::tasks_page).
    pub async fn workers_page(&self, after: Option<WorkerId>) -> Result<WorkerPage> {
        let protocol::WorkerPage { workers, more } = self.look(LookAt::Workers(after)).await?;
        Ok(WorkerPage { workers, more })
    }

    /// One task: how it is, and why it waits.
    ///
    /// # Errors
    /// `UnknownTask`, and as [`tasks_page`](Self::tasks_page).
    pub async fn explain(&self, task: TaskId) -> Result<Explanation> {
        self.look(LookAt::Explain(task)).await
    }

    /// The payload of a task that has not ended, or of a dead letter.
    ///
    /// # Errors
    /// `UnknownTask`, and as [`tasks_page`](Self::tasks_page).
    pub async fn payload(&self, task: TaskId) -> Result<Bytes> {
        let head = task_head(self.name.as_str(), task);
        Ok(self.tasks.ask_head_surely(verb::PAYLOAD, &self.name, &head).await?.body)
    }
}
