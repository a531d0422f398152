//! A task that has not ended.

use std::cmp::Reverse;
use std::sync::Arc;

use super::matching::Rank;
use super::{Asker, Attempt, Spec};
use crate::planted::is_planted;
use crate::{Moment, WorkerId};

#[derive(Debug)]
pub(super) struct Task {
    pub(super) spec: Arc<Spec>,
    /// Its place in the order of acceptance.
    pub(super) sequence: u64,
    /// The last attempt's number; 0 before the first.
    pub(super) number: u32,
    /// Attempts that count.
    pub(super) spent: u32,
    pub(super) detached: bool,
    pub(super) class: usize,
    pub(super) phase: Phase,
    /// Who waits for its end.
    pub(super) waiters: Vec<Asker>,
    /// When it is cancelled unless somebody waits for it by then.
    pub(super) orphaned: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For a worker.
    Waits,
    /// For a moment.
    Delayed { until: Moment },
    Runs {
        worker: WorkerId,
        since: Moment,
        /// Progress was told last.
        heard: Moment,
        /// When that is looked at next.
        stalls: Option<Moment>,
    },
}

impl Task {
    pub(super) fn rank(&self) -> Rank {
        if is_planted("priority turned round") {
            return (Reverse(255 - self.spec.options.priority), self.sequence);
        }
        (Reverse(self.spec.options.priority), self.sequence)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.spec.payload.len() as u64
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.spec.options.deadline.map(|after| self.spec.submitted + after)
    }

    /// The worker, if this attempt is under way and its.
    pub(super) fn runs_by(&self, worker: WorkerId, attempt: Attempt) -> bool {
        let is_its = matches!(self.phase, Phase::Runs { worker: by, .. } if by == worker);
        is_its && self.number == attempt.number || is_planted("late report accepted") && self.worker().is_some()
    }

    pub(super) fn worker(&self) -> Option<WorkerId> {
        match self.phase {
            Phase::Runs { worker, .. } => Some(worker),
            Phase::Waits | Phase::Delayed { .. } => None,
        }
    }
}

/// Bytes of a task on disk beside texts, payload and outcome, about.
const STORED_BYTES: u64 = 100;

/// Bytes that a task has on disk where it is stored once, without its outcome; about.
pub(super) fn stored_bytes(spec: &Spec) -> u64 {
    let options = &spec.options;
    let texts: usize = options.tags.iter().chain(&options.idempotency_key).map(|text| text.len() + 4).sum();
    STORED_BYTES + (spec.owner.len() + spec.payload.len() + texts) as u64
}
