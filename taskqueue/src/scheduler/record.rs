//! What changes of a queue, as it is stored: the same records in the same order make the same queue.

use std::sync::Arc;

use super::Spec;
use crate::{Moment, Outcome, TaskId, WorkerId};

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A task was accepted.
    Accepted {
        /// What.
        spec: Arc<Spec>,
        /// Its place in the order of acceptance.
        sequence: u64,
    },
    /// An attempt was handed out.
    Begun {
        /// The task.
        task: TaskId,
        /// The attempt.
        number: u32,
        /// To whom.
        worker: WorkerId,
        /// Whose that worker is: nobody else comes back in its place after a restart.
        owner: Arc<str>,
        /// When.
        at: Moment,
    },
    /// An attempt is over, and the task waits for another.
    Waits {
        /// The task.
        task: TaskId,
        /// Attempts that count.
        spent: u32,
        /// Not before.
        until: Option<Moment>,
    },
    /// A task has ended.
    Ended {
        /// Which.
        task: TaskId,
        /// How.
        outcome: Arc<Outcome>,
        /// When.
        at: Moment,
    },
    /// A task goes on without who submitted it.
    Detached {
        /// Which.
        task: TaskId,
    },
    /// A dead letter is none any more: it was dropped, or is tried again as the task that was accepted just before.
    DeadDropped {
        /// Which.
        task: TaskId,
    },
    /// Who submitted a task that has ended has its outcome. Nobody waits for this one to be stored: it goes with the others.
    Released {
        /// Which.
        task: TaskId,
    },
    /// A task as it is, instead of everything that was stored of it before.
    Carried(Carried),
}

/// A task as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    /// What never changes.
    pub(crate) spec: Arc<Spec>,
    /// Its place in the order of acceptance.
    pub(crate) sequence: u64,
    /// The last attempt's number; 0 before the first.
    pub(crate) number: u32,
    /// Attempts that count.
    pub(crate) spent: u32,
    /// It was detached after it was submitted.
    pub(crate) detached: bool,
    /// What it does.
    pub(crate) state: CarriedState,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CarriedState {
    /// It waits, until then if that is told.
    Waits(Option<Moment>),
    /// An attempt is under way.
    Begun {
        /// By whom.
        worker: WorkerId,
        /// Whose that worker is.
        owner: Arc<str>,
        /// Since when.
        at: Moment,
    },
    /// It has ended, and its outcome can be fetched.
    Ended {
        /// How.
        outcome: Arc<Outcome>,
        /// When.
        at: Moment,
    },
    /// It is a dead letter; whether its outcome can be fetched is told apart.
    Dead {
        /// How it ended.
        outcome: Arc<Outcome>,
        /// When.
        at: Moment,
    },
}
