//! Everything that there is of a queue, to be compared.

use std::collections::BTreeSet;

use super::*;
use crate::QueueLimits;
use crate::scheduler::{Carried, CarriedState};

/// What is known of a task: that it waits or runs, its outcome, that who submitted it has that, or that it is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Live,
    Ended,
    Released,
    Dead,
}

/// Each thing that is known, and the orders of what has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) known: BTreeMap<(TaskId, Kind), Record>,
    ended: Vec<TaskId>,
    dead: Vec<TaskId>,
}

impl View {
    /// At a moment: what waits for one that has come waits for a worker.
    pub(super) fn of(scheduler: &Scheduler, now: Moment) -> Self {
        let listed = |listed| {
            let tasks = scheduler.tasks(listed, None, usize::MAX);
            tasks.into_iter().map(|info| info.task).collect()
        };
        let mut known = BTreeMap::new();
        for task in scheduler.known() {
            for mut record in scheduler.carried(task) {
                let kind = match &mut record {
                    Record::Carried(Carried { state, .. }) => match state {
                        CarriedState::Waits(until) => {
                            *until = until.filter(|until| *until > now);
                            Kind::Live
                        }
                        CarriedState::Begun { .. } => Kind::Live,
                        CarriedState::Ended { .. } => Kind::Ended,
                        CarriedState::Dead { .. } => Kind::Dead,
                    },
                    _ => Kind::Released,
                };
                assert!(known.insert((task, kind), record).is_none(), "{task} is there twice");
            }
        }
        Self { known, ended: listed(Listed::Ended), dead: listed(Listed::Dead) }
    }

    /// All that follows from these records, though it was more than there may be.
    pub(super) fn from(records: &[Record], config: &QueueConfig, now: Moment) -> Self {
        let limits = QueueLimits { results_max: u64::MAX, dead_max: u64::MAX, ..config.limits };
        let mut scheduler = Scheduler::new("q", QueueConfig { limits, ..config.clone() });
        records.iter().for_each(|record| scheduler.apply(record.clone()));
        scheduler.recovered(now);
        Self::of(&scheduler, now)
    }

    /// What has ended and is kept.
    pub(super) fn kept(&self) -> BTreeSet<(TaskId, Kind)> {
        self.known.keys().filter(|(_, kind)| matches!(kind, Kind::Ended | Kind::Dead)).copied().collect()
    }

    /// Whether it is what follows from records (`all`): everything as it is there, and nothing else; and of that all that
    /// waits or runs, and all that was `kept` by then. What had been forgotten may be gone.
    pub(super) fn fits(&self, all: &Self, kept: &BTreeSet<(TaskId, Kind)>) -> bool {
        let is_true = self.known.iter().all(|(key, record)| all.known.get(key) == Some(record));
        let must = |key: &(TaskId, Kind)| key.1 == Kind::Live || kept.contains(key);
        let is_whole = all.known.keys().filter(|key| must(key)).all(|key| self.known.contains_key(key));
        is_true && is_whole && is_in_order(&self.ended, &all.ended) && is_in_order(&self.dead, &all.dead)
    }

    /// Where it is another one.
    pub(super) fn difference(&self, all: &Self, kept: &BTreeSet<(TaskId, Kind)>) -> String {
        let keys = self.known.keys().chain(all.known.keys()).collect::<BTreeSet<_>>();
        let differs = keys.into_iter().filter(|key| self.known.get(key) != all.known.get(key));
        let line = |key: &(TaskId, Kind)| {
            let (is, was) = (short(self.known.get(key)), short(all.known.get(key)));
            format!("{key:?}, kept {}:\n  {is}\n  {was}", kept.contains(key))
        };
        let orders = format!("ended {:?} / {:?}\ndead {:?} / {:?}", self.ended, all.ended, self.dead, all.dead);
        format!("{}\n{orders}", differs.map(line).collect::<Vec<_>>().join("\n"))
    }
}

fn is_in_order(some: &[TaskId], all: &[TaskId]) -> bool {
    let mut all = all.iter();
    some.iter().all(|task| all.any(|of| of == task))
}

/// Without payloads.
fn short(record: Option<&Record>) -> String {
    match record {
        Some(Record::Carried(Carried { spec, sequence, number, spent, detached, state })) => {
            let state: String = format!("{state:?}").chars().take(200).collect();
            format!("[{sequence}, {number}, {spent}, {detached}, {} bytes, {state}]", spec.payload.len())
        }
        other => format!("{other:?}"),
    }
}
