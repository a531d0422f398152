//! What can go wrong with a queue, named for what the caller can do about it.

use std::borrow::Cow;

use sinew_session::{Level, NameError};

use crate::{IdError, Outcome, TaskId, WorkerId};

/// A result of the task queue.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Cheap to clone: one failed commit concerns many callers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no name of a queue.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text is no id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// There is no such queue.
    #[error(
        "there is no queue `{queue}`; create it with `sinew task queue create {queue}`, or see `sinew task queue list`"
    )]
    UnknownQueue {
        /// Its name.
        queue: String,
    },
    /// The queue is there, and is another one.
    #[error("queue `{queue}` exists with another configuration; alter it, or choose another name")]
    QueueExists {
        /// Its name.
        queue: String,
    },
    /// A configuration that cannot be.
    #[error("`{field}` of queue `{queue}` cannot be {value}: {why}")]
    Config {
        /// The queue.
        queue: String,
        /// Which field.
        field: Cow<'static, str>,
        /// What it was to be.
        value: String,
        /// Why not, and what can be.
        why: String,
    },
    /// A task, a worker or a report that cannot be, whatever is in the queue.
    #[error("queue `{queue}` cannot take it: {why}")]
    Invalid {
        /// The queue.
        queue: String,
        /// What is wrong with it, and what can be.
        why: Cow<'static, str>,
    },
    /// A payload or a result above a limit.
    #[error("{what} of {bytes} bytes for queue `{queue}`; the limit is {max}: {advice}")]
    TooLarge {
        /// The queue.
        queue: String,
        /// A payload or a result.
        what: Cow<'static, str>,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
        /// What to do.
        advice: Cow<'static, str>,
    },
    /// The queue holds as much as it may.
    #[error(
        "queue `{queue}` is full: its limit of {max} {what} is reached; wait until some are done, or alter the queue"
    )]
    Full {
        /// The queue.
        queue: String,
        /// Of what.
        what: Cow<'static, str>,
        /// The limit.
        max: u64,
    },
    /// Nobody is there who could do it, and it was not to wait.
    #[error(
        "nobody works on queue `{queue}`{}; start a worker, or submit it so that it waits for one (`queueing`)",
        tagged(.tags)
    )]
    NoWorkers {
        /// The queue.
        queue: String,
        /// What a worker would have to be able to do.
        tags: Vec<String>,
    },
    /// There is no such task.
    #[error(
        "queue `{queue}` knows no task {task}: it was never there, or its outcome is not kept any more (`result_kept`)"
    )]
    UnknownTask {
        /// The queue.
        queue: String,
        /// Its id.
        task: TaskId,
    },
    /// There is no such dead letter.
    #[error("queue `{queue}` has no dead letter {task}; see `sinew task dead list {queue}`")]
    UnknownDeadLetter {
        /// The queue.
        queue: String,
        /// Its id.
        task: TaskId,
    },
    /// The id or the idempotency key is taken by something else.
    #[error("queue `{queue}` has another task with {what}; choose another one")]
    TaskExists {
        /// The queue.
        queue: String,
        /// This id, or this idempotency key.
        what: String,
    },
    /// The task is somebody else's.
    #[error("task {task} of queue `{queue}` was submitted by somebody else; that needs the permission `task.manage`")]
    NotYours {
        /// The queue.
        queue: String,
        /// Its id.
        task: TaskId,
    },
    /// The worker is none of the queue's.
    #[error("queue `{queue}` knows no worker {worker}: its lease is over, or the server has restarted; join again")]
    UnknownWorker {
        /// The queue.
        queue: String,
        /// Its id.
        worker: WorkerId,
    },
    /// The worker was not heard within its lease.
    #[error("worker {worker} was not heard within its lease: its tasks of queue `{queue}` are others' now; join again")]
    LeaseOver {
        /// The queue.
        queue: String,
        /// Its id.
        worker: WorkerId,
    },
    /// The same worker has joined over another connection.
    #[error("worker {worker} has joined queue `{queue}` over another connection")]
    Replaced {
        /// The queue.
        queue: String,
        /// Its id.
        worker: WorkerId,
    },
    /// The task has ended, and is not done.
    #[error("task {task} of queue `{queue}` is not done: {}", .outcome.ending)]
    NotDone {
        /// The queue.
        queue: String,
        /// Its id.
        task: TaskId,
        /// How it ended.
        outcome: Box<Outcome>,
    },
    /// It is not known what became of the task: the server has restarted and had it in memory alone.
    #[error(
        "what became of task {task} of queue `{queue}` is not known: the server has restarted, and had it in memory alone; a queue of level `fsynced` would know"
    )]
    OutcomeUnknown {
        /// The queue.
        queue: String,
        /// Its id.
        task: TaskId,
    },
    /// More waits to be stored than may wait, in this queue or in all of the server.
    #[error("queue `{queue}` takes no more at this moment, since {bytes} bytes wait to be stored; try again soon")]
    Busy {
        /// The queue that was asked.
        queue: String,
        /// Bytes waiting, in it or in all of them.
        bytes: usize,
    },
    /// The disk is full. What waits to be stored goes on by itself once there is room; nothing new is taken until then.
    #[error("no space left for queue `{queue}`; free some: it goes on by itself then")]
    NoSpace {
        /// The queue.
        queue: String,
    },
    /// The storage failed.
    #[error("queue `{queue}` cannot be used: {why}")]
    Storage {
        /// The queue.
        queue: String,
        /// What failed, on which file, and what to do.
        why: String,
    },
    /// A directory that holds no backup, or that none must be written to.
    #[error("{path} {why}")]
    Backup {
        /// The directory.
        path: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The queue is in memory alone.
    #[error(
        "queue `{queue}` is in memory alone: there is nothing on disk to {what}; a queue of level `fsynced` has it"
    )]
    Unsupported {
        /// The queue.
        queue: String,
        /// What was asked for.
        what: &'static str,
    },
    /// A limit of the server.
    #[error("the server's limit: {reason}")]
    Limit {
        /// Which one, and what to do.
        reason: String,
    },
    /// The policy of the server does not permit it.
    #[error("not permitted: {reason}")]
    Denied {
        /// Which rule says so, and what to do.
        reason: String,
    },
    /// The queue was deleted, or the server has stopped.
    #[error("queue `{queue}` has ended: it was deleted, or its server has stopped")]
    Ended {
        /// The queue.
        queue: String,
    },
    /// The queue does not promise what was required.
    #[error("queue `{queue}` promises that a task is {level}, and {required} was required; make another queue")]
    LevelUnmet {
        /// The queue.
        queue: String,
        /// What was required.
        required: Level,
        /// What it promises.
        level: Level,
    },
    /// A payload or a result is not of the type that it was read as.
    #[error("{bytes} bytes of queue `{queue}` are no {expected}: {why}; read them as bytes, or agree on the type")]
    Undecodable {
        /// The queue.
        queue: String,
        /// The type that was asked for.
        expected: &'static str,
        /// What is wrong with it.
        why: String,
        /// How many there are.
        bytes: usize,
    },
    /// A value cannot be written as CBOR.
    #[error("a {given} for queue `{queue}` cannot be written as CBOR: {why}; give its bytes instead")]
    Unencodable {
        /// The queue.
        queue: String,
        /// The value's type.
        given: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The session failed.
    #[error(transparent)]
    Session(#[from] sinew_session::Error),
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Full { .. } | Self::NoWorkers { .. } => true,
            Self::Session(error) => error.is_retryable(),
            _ => false,
        }
    }
}

fn tagged(tags: &[String]) -> String {
    if tags.is_empty() { String::new() } else { format!(" with the tags {}", tags.join(", ")) }
}
