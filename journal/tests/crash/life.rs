//! What happened to a journal, and what must be true of it after a crash at any moment.

use std::fmt;

use sinew_journal::{BatchView, JournalOptions, SimulatedDisk};

/// A batch as it must be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) base: u64,
    pub(crate) span: u32,
    pub(crate) kind: u16,
    pub(crate) timestamp: u64,
    pub(crate) body: Vec<u8>,
}

impl Expected {
    pub(crate) fn of(batch: &BatchView) -> Self {
        Self {
            base: batch.header.base_offset,
            span: batch.header.span,
            kind: batch.header.kind,
            timestamp: batch.header.timestamp,
            body: batch.body.to_vec(),
        }
    }

    pub(crate) fn next(&self) -> u64 {
        self.base + u64::from(self.span)
    }
}

/// What the journal holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// In order; those below `first` need not be there any more.
    pub(crate) batches: Vec<Expected>,
    /// How many of the batches are sure to be on disk.
    pub(crate) durable: usize,
    /// The newest snapshot's offset, which is its contents too.
    pub(crate) snapshot: Option<u64>,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) what: String,
    /// Changes of the disk when it began and when it returned.
    pub(crate) began: usize,
    pub(crate) ended: usize,
    /// What is true once it has returned.
    pub(crate) after: State,
    /// Whether it is one of the rewrites, which give old offsets other contents.
    pub(crate) is_rewrite: bool,
}

/// All that happened.
pub(crate) struct Life {
    pub(crate) seed: u64,
    pub(crate) disk: SimulatedDisk,
    pub(crate) options: JournalOptions,
    pub(crate) steps: Vec<Step>,
}

impl Life {
    /// What was true before the step that was under way at a moment, and that step.
    pub(crate) fn at(&self, moment: usize) -> (State, Option<&Step>) {
        let done = self.steps.partition_point(|step| step.ended <= moment);
        let before = done.checked_sub(1).map_or_else(State::default, |last| self.steps[last].after.clone());
        (before, self.steps.get(done).filter(|step| step.began < moment))
    }
}

impl fmt::Display for Life {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(to, "{:6} to {:6}: {}", step.began, step.ended, step.what)?;
        }
        Ok(())
    }
}
