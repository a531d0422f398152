//! How a task ended.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::WorkerId;

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

    /// Whether the worker has finished it.
    pub fn is_done(&self) -> bool {
        matches!(self.ending, Ending::Done { .. })
    }
}
