//! How a task ended.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sinew_session::ResourceName;

use crate::{Error, Result, TaskId, WorkerId};

/// How a task ended: exactly one for each task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which way.
    pub ending: Ending,
    /// The worker's result where it is done; what the worker told beside the message where it failed; else empty.
    pub body: Bytes,
}

/// Which way a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The worker has finished it.
    Done {
        /// Who.
        worker: WorkerId,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// The worker said that it failed, at the last attempt there was.
    Failed {
        /// Who.
        worker: WorkerId,
        /// The number of the attempt.
        attempt: u32,
        /// What failed, in a word that programs can tell apart.
        code: String,
        /// What failed, for people.
        message: String,
    },
    /// The worker went away or was not heard for its lease, at the last attempt there was. It may have done the work, or some
    /// of it.
    WorkerLost {
        /// Who.
        worker: WorkerId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// No progress was told within the stall timeout, at the last attempt there was.
    Stalled {
        /// Who.
        worker: WorkerId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// It was not finished at its deadline.
    DeadlineExceeded {
        /// Attempts that were begun.
        attempts: u32,
    },
    /// Somebody cancelled it, or who submitted it went away without having detached it.
    Cancelled {
        /// Attempts that were begun.
        attempts: u32,
    },
    /// Nobody there could do it, and it was not to wait for somebody to come.
    NoWorkers {
        /// Attempts that were begun.
        attempts: u32,
    },
}

impl Outcome {
    pub(crate) fn of(ending: Ending) -> Self {
        Self { ending, body: Bytes::new() }
    }

    /// The result, where the worker has finished it.
    ///
    /// # Errors
    /// `NoWorkers` where nobody could do it, else `NotDone`.
    pub fn done(self, queue: &ResourceName, task: TaskId) -> Result<Bytes> {
        let queue = queue.to_string();
        match self.ending {
            Ending::Done { .. } => Ok(self.body),
            Ending::NoWorkers { attempts: 0 } => Err(Error::NoWorkers { queue, tags: Vec::new() }),
            _ => Err(Error::NotDone { queue, task, outcome: Box::new(self) }),
        }
    }

    /// Whether the worker has finished it.
    pub fn is_done(&self) -> bool {
        matches!(self.ending, Ending::Done { .. })
    }
}

/// For people: "done by worker …", "its worker was lost".
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { worker, attempt } => write!(f, "worker {worker} did it at attempt {attempt}"),
            Self::Failed { worker, attempt, code, message } => {
                write!(f, "worker {worker} failed at attempt {attempt} with `{code}`: {message}")
            }
            Self::WorkerLost { worker, attempt } => {
                write!(f, "worker {worker} was lost at attempt {attempt}, and may have done it or some of it")
            }
            Self::Stalled { worker, attempt } => {
                write!(f, "worker {worker} told no progress within the stall timeout at attempt {attempt}")
            }
            Self::DeadlineExceeded { attempts } => write!(f, "its deadline passed after {attempts} attempts"),
            Self::Cancelled { attempts } => write!(f, "it was cancelled after {attempts} attempts"),
            Self::NoWorkers { attempts } => {
                write!(f, "nobody was there who could do it after {attempts} attempts, and it was not to wait")
            }
        }
    }
}
