//! A worker, as the scheduler knows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Asker, WorkerSpec};
use crate::planted::is_planted;
use crate::{Moment, TaskId};

#[derive(Debug)]
pub(super) struct Worker {
    /// Whose it is.
    pub(super) owner: Arc<str>,
    /// `None`: it had tasks when the queue was closed, and has not come back yet.
    pub(super) here: Option<Here>,
    pub(super) running: BTreeSet<TaskId>,
    /// What it has is lost to it then.
    pub(super) lease: Moment,
    /// When that is looked at next.
    pub(super) looked: Moment,
}

#[derive(Debug)]
pub(super) struct Here {
    pub(super) spec: WorkerSpec,
    pub(super) asker: Asker,
    pub(super) offer: usize,
    /// When it was served last, by count.
    pub(super) served: u64,
    pub(super) handed: u64,
    pub(super) cut: bool,
    pub(super) draining: bool,
    /// It stands among those that take a task now.
    pub(super) ready: bool,
}

impl Worker {
    /// Whether it takes a task now.
    pub(super) fn takes(&self) -> bool {
        let has_credit = |here: &Here| self.running.len() < here.spec.credit as usize || is_planted("credit ignored");
        self.here.as_ref().is_some_and(|here| !here.cut && !here.draining && has_credit(here))
    }
}
