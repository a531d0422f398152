//! What can be seen of a queue, its tasks and its workers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sinew_session::Level;

use crate::{Ending, Moment, QueueConfig, TaskId, TaskOptions, WorkerId};

/// What a queue has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// How it is configured.
    pub config: QueueConfig,
    /// What its acknowledgements mean.
    pub level: Level,
    /// Tasks that wait and could be done now.
    pub waiting: u64,
    /// Tasks that wait for a moment: those that were delayed, and those between two attempts.
    pub delayed: u64,
    /// Tasks that somebody works on.
    pub running: u64,
    /// Bytes of the payloads of all of these.
    pub bytes: u64,
    /// Tasks that have ended and are still known.
    pub ended: u64,
    /// Bytes of their outcomes.
    pub ended_bytes: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of their payloads.
    pub dead_bytes: u64,
    /// Workers.
    pub workers: u64,
    /// What has happened since the queue was opened.
    pub counts: Counts,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// What has happened since a queue was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Tasks that were accepted.
    pub accepted: u64,
    /// Attempts that were handed out.
    pub attempts: u64,
    /// Tasks that ended well.
    pub done: u64,
    /// Tasks that ended with their last attempt failed, its worker lost, or stalled.
    pub failed: u64,
    /// Tasks that ended at their deadline.
    pub deadline_exceeded: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that ended because nobody could do them.
    pub no_workers: u64,
    /// Reports that came too late to count.
    pub late: u64,
    /// Outcomes that were forgotten before their time, since there were too many.
    pub results_forgotten: u64,
    /// Dead letters that were dropped before their time, since there were too many.
    pub dead_forgotten: u64,
}

/// What was found as a queue was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Changes that were read and are whole.
    pub records: u64,
    /// Tasks of which something is known: those that wait or run, outcomes, dead letters.
    pub tasks: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What does not hold, at most 100 lines.
    pub problems: Vec<String>,
}

/// What a backup of a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Changes that are in it.
    pub records: u64,
    /// Bytes of the copy.
    pub bytes: u64,
}

/// A task, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Its id.
    pub task: TaskId,
    /// Its place in the order of acceptance: where a list goes on.
    pub sequence: u64,
    /// The key of who submitted it.
    pub owner: String,
    /// When it was accepted.
    pub submitted: Moment,
    /// How it is to be done.
    pub options: TaskOptions,
    /// Bytes of its payload.
    pub bytes: u64,
    /// Attempts that were begun.
    pub attempts: u32,
    /// What it does.
    pub state: TaskState,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// It waits for a worker.
    Waiting,
    /// It waits for a moment.
    Delayed {
        /// Which.
        until: Moment,
    },
    /// Somebody works on it.
    Running {
        /// Who.
        worker: WorkerId,
        /// Since when.
        since: Moment,
    },
    /// It has ended, and its outcome can be fetched.
    Ended {
        /// How.
        ending: Ending,
        /// When.
        at: Moment,
    },
    /// It is a dead letter.
    Dead {
        /// How it ended.
        ending: Ending,
        /// When.
        at: Moment,
    },
}

/// Which tasks are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listed {
    /// Those that wait or run, in the order of acceptance.
    Live,
    /// Those that have ended and are still known, in the order in which they ended.
    Ended,
    /// Dead letters, in the order in which they died.
    Dead,
}

/// A worker, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its id.
    pub worker: WorkerId,
    /// What it calls itself.
    pub name: String,
    /// Its key.
    pub owner: String,
    /// What it can do.
    pub tags: Vec<String>,
    /// Tasks that it works on at one time, at most.
    pub credit: u32,
    /// Tasks that it works on.
    pub running: u32,
    /// Tasks that it was handed since it joined.
    pub handed: u64,
    /// Its connection was cut, and its lease runs.
    pub is_cut: bool,
    /// It takes no more tasks.
    pub is_draining: bool,
}

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The task.
    pub info: TaskInfo,
    /// Why it waits; nothing where it does not.
    pub reasons: Vec<Reason>,
}

/// A reason why a task waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was submitted so.
    Delayed {
        /// How much longer.
        left: Duration,
    },
    /// Its last attempt failed, and it pauses.
    BetweenAttempts {
        /// How much longer.
        left: Duration,
    },
    /// Nobody works on this queue.
    NoWorker,
    /// Nobody who works on it has all of its tags.
    NoTag {
        /// Tags that no worker has at all; none where only no single one has all of them.
        missing: Vec<String>,
    },
    /// Those who could do it have as much as they take.
    NoCredit {
        /// How many there are.
        workers: u64,
    },
    /// Those who could do it have been cut off, and may come back within their lease.
    CutOff {
        /// How many there are.
        workers: u64,
    },
    /// Those who could do it take no more, and finish what they have.
    Draining {
        /// How many there are.
        workers: u64,
    },
    /// Others of the same tags go before it.
    Behind {
        /// How many; 10,000 where there are more.
        tasks: u64,
    },
}
