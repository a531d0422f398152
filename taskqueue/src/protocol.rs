//! What is said about queues: verbs, who may ask what, requests and answers in CBOR. Byte by byte in `docs/WIRE.md`.
//!
//! Heads of what is said for each task are in `protocol/heads.rs`, how a task ended in `protocol/endings.rs`; what a refusal
//! says, so that a client has the engine's own error, in `protocol/failure.rs`.

use serde::{Deserialize, Serialize};
use sinew_session::Operation;
pub(crate) use sinew_session::bad_request;

use crate::{Listed, QueueConfig, TaskId, TaskInfo, WorkerId, WorkerInfo};

mod failure;
pub(crate) use failure::{error_of, failure_of};
mod heads;
pub(crate) use heads::{
    AcceptedHead, AssignHead, DeadAct, DeadHead, JoinHead, ReportHead, SubmitHead, WaitHead, attempt_head, held_body,
    joined_head, number_head, queue_head, read_attempt, read_held, read_joined, read_number, read_queue, read_recall,
    read_task, read_tasks, recall_head, report_of, task_head, tasks_body,
};
mod endings;
pub(crate) use endings::{ending_head, read_ending};
#[cfg(test)]
mod tests;

/// The task queue's code in record headers.
pub const SERVICE: u8 = 2;

/// The longest a call that only asks waits for its answer, in seconds: a disk that is busy with something else answers
/// within it.
pub(crate) const CALL_SECONDS: u64 = 30;
/// Bytes of one word of progress.
pub(crate) const PROGRESS_BYTES_MAX: usize = 64 * 1024;

/// Verbs of the task queue.
pub(crate) mod verb {
    /// Client, a call: a new task. Head: a submit head. Body: the payload. Answered with an accepted head.
    pub(crate) const SUBMIT: u8 = 1;
    /// Client, a call: to hear of a task that is there. Head: queue, task. Answered with an accepted head.
    pub(crate) const ATTACH: u8 = 2;
    /// Client, a call: the task goes on without this wait. Head: a wait head.
    pub(crate) const DETACH: u8 = 3;
    /// Client, a call: nobody waits under this number any more; the task ends unless it is detached. Head: a wait head.
    pub(crate) const ABANDON: u8 = 4;
    /// Client, on a wait: outcomes that it has. Head: queue. Body: tasks.
    pub(crate) const RELEASE: u8 = 5;
    /// Client, a call: a task is to end. Head: queue, task. Answered with whether it had ended before (u8).
    pub(crate) const CANCEL: u8 = 6;
    /// Server, on a wait: the task has ended. Head: an ending head. Body: the result, or details.
    pub(crate) const ENDED: u8 = 7;
    /// Server, on a wait: how far the task is. Worker, on a membership: the same, with the attempt as head.
    pub(crate) const PROGRESS: u8 = 8;
    /// Server, on a wait: nothing more is told of it. Body: a failure.
    pub(crate) const FAILED: u8 = 9;
    /// Worker, a call: comes, or comes back. Head: a join head. Body: attempts that it has. Answered with the lease in
    /// nanoseconds (u64) and the credit (u32).
    pub(crate) const JOIN: u8 = 10;
    /// Server, on a membership: an attempt. Head: an assign head. Body: the payload.
    pub(crate) const ASSIGN: u8 = 11;
    /// Server, on a membership: an attempt is the worker's no longer. Head: task, attempt (u32), why (u8).
    pub(crate) const RECALL: u8 = 12;
    /// Server, on a membership: it is over. Body: a failure.
    pub(crate) const DISMISSED: u8 = 13;
    /// Worker, on a membership: it is there.
    pub(crate) const RENEW: u8 = 14;
    /// Worker, on a membership: it takes no more.
    pub(crate) const DRAIN: u8 = 15;
    /// Worker, a call: it leaves. Head: the membership (u32).
    pub(crate) const LEAVE: u8 = 16;
    /// Worker, a call: what became of an attempt. Head: a report head. Body: the result, or details. Answered with whether it
    /// came too late (u8).
    pub(crate) const REPORT: u8 = 17;
    /// Client, a call: makes, changes, removes, shows a queue.
    pub(crate) const QUEUE: u8 = 18;
    /// Client, a call: names of queues.
    pub(crate) const LIST: u8 = 19;
    /// Client, a call: tasks, workers, why a task waits.
    pub(crate) const LOOK: u8 = 20;
    /// Client, a call: what a task is. Head: queue, task. Answered with the payload as body.
    pub(crate) const PAYLOAD: u8 = 21;
    /// Client, a call: tries a dead letter again, or drops it. Head: a dead head.
    pub(crate) const DEAD: u8 = 22;
    /// Client, a call: verify, back up, restore.
    pub(crate) const MAINTAIN: u8 = 23;
    /// Server, on a maintenance call: how far it is. Head: done (u64), total (u64).
    pub(crate) const HOW_FAR: u8 = 24;
}

/// What a call of a client does, and to which queue: what the policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    /// It needs this permission.
    Needs(Operation, &'a str),
    /// It needs that, and to manage the server: it reads or writes directories of the server's machine.
    NeedsServerToo(Operation, &'a str),
    /// It needs `task.manage`; `task.submit` is enough for a task that the peer has submitted.
    Owner(&'a str),
    /// It concerns what the same session was permitted before, or shows only what the session may see.
    Own,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks<'a> {
    Submit(&'a str),
    Attach(&'a str),
    Cancel(&'a str),
    Detach,
    Abandon,
    Release,
    Join(&'a str),
    Renew,
    Drain,
    Leave,
    Report,
    Progress,
    Create(&'a str),
    Alter(&'a str),
    Delete(&'a str),
    Info(&'a str),
    Tasks(&'a str),
    Explain(&'a str),
    Workers(&'a str),
    Payload(&'a str),
    RetryDead(&'a str),
    DropDead(&'a str),
    Verify(&'a str),
    Backup(&'a str),
    Restore(&'a str),
    List,
}

/// The one place where a request meets its permission.
pub(crate) fn access(asks: Asks<'_>) -> Access<'_> {
    match asks {
        Asks::Submit(queue) => Access::Needs(Operation::TaskSubmit, queue),
        Asks::Attach(queue) | Asks::Cancel(queue) => Access::Owner(queue),
        Asks::Join(queue) => Access::Needs(Operation::TaskWork, queue),
        Asks::Info(queue) | Asks::Tasks(queue) | Asks::Explain(queue) | Asks::Workers(queue) | Asks::Payload(queue) => {
            Access::Needs(Operation::TaskInspect, queue)
        }
        Asks::Create(queue)
        | Asks::Alter(queue)
        | Asks::Delete(queue)
        | Asks::RetryDead(queue)
        | Asks::DropDead(queue)
        | Asks::Verify(queue) => Access::Needs(Operation::TaskManage, queue),
        Asks::Backup(queue) | Asks::Restore(queue) => Access::NeedsServerToo(Operation::TaskManage, queue),
        Asks::Detach
        | Asks::Abandon
        | Asks::Release
        | Asks::Renew
        | Asks::Drain
        | Asks::Leave
        | Asks::Report
        | Asks::Progress
        | Asks::List => Access::Own,
    }
}

/// The part of the server that backups belong to.
pub(crate) const SERVER_PART: &str = "task";

/// What a worker says of itself as it joins, beside what stands in the head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
}

/// Asks about one queue; answered with its [`QueueInfo`](crate::QueueInfo), or nothing by a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueAsk {
    pub(crate) queue: String,
    pub(crate) act: QueueAct,
}

/// What is to be done with a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QueueAct {
    Create(QueueConfig),
    Alter(QueueConfig),
    Delete,
    Info,
}

/// Asks for names of queues behind this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

/// Names that the peer may see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    pub(crate) names: Vec<String>,
    /// Where to go on; there is no more without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

/// Looks into a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) queue: String,
    pub(crate) at: LookAt,
}

/// At what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LookAt {
    /// Tasks, those behind this place; answered with a [`TaskPage`].
    Tasks(Listed, Option<u64>),
    /// Workers, those behind this one; answered with a [`WorkerPage`].
    Workers(Option<WorkerId>),
    /// Why a task waits; answered with an [`Explanation`](crate::Explanation).
    Explain(TaskId),
}

/// Some tasks in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskPage {
    pub(crate) tasks: Vec<TaskInfo>,
    pub(crate) more: bool,
}

/// Some workers in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerPage {
    pub(crate) workers: Vec<WorkerInfo>,
    pub(crate) more: bool,
}

/// Asks for something that takes long; answered with what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Maintain {
    pub(crate) queue: String,
    pub(crate) act: MaintainAct,
}

/// What takes long. Directories are of the server's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MaintainAct {
    Verify,
    Backup(String),
    Restore(String),
}
