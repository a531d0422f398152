//! What can be seen.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;

use super::{Kept, Phase, Scheduler, Task};
use crate::{
    Explanation, Level, Listed, Moment, QueueInfo, Reason, Result, TaskId, TaskInfo, TaskState, WorkerId, WorkerInfo,
};

/// Tasks that are counted at most when somebody asks how many go before one.
pub(super) const BEHIND_MAX: usize = 10_000;

impl Scheduler {
    pub(crate) fn info(&self, level: Level, disk_bytes: u64) -> QueueInfo {
        QueueInfo {
            name: self.name.to_string(),
            config: self.config.clone(),
            level,
            waiting: self.matching.waiting(),
            delayed: self.delayed,
            running: self.running,
            bytes: self.bytes,
            ended: self.ended.len(),
            ended_bytes: self.ended.bytes(),
            dead: self.dead.len(),
            dead_bytes: self.dead.bytes(),
            workers: self.workers.len() as u64,
            counts: self.counts,
            disk_bytes,
        }
    }

    pub(crate) fn tasks(&self, listed: Listed, after: Option<u64>, max: usize) -> Vec<TaskInfo> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        match listed {
            Listed::Live => {
                let tasks = self.order.range((from, Bound::Unbounded)).filter_map(|(_, id)| self.tasks.get(id));
                tasks.take(max).map(|task| live(task)).collect()
            }
            Listed::Ended => self.ended.behind(after).take(max).map(|(place, kept)| ended(kept, place)).collect(),
            Listed::Dead => self.dead.behind(after).take(max).map(|(place, kept)| dead(kept, place)).collect(),
        }
    }

    pub(crate) fn payload(&self, id: TaskId) -> Result<Bytes> {
        let live = self.tasks.get(&id).map(|task| &task.spec);
        let spec = live.or_else(|| self.dead.get(id).map(|kept| &kept.spec));
        spec.map(|spec| spec.payload.clone()).ok_or_else(|| self.unknown(id))
    }

    pub(crate) fn workers(&self, after: Option<WorkerId>, max: usize) -> Vec<WorkerInfo> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let workers = self.workers.range((from, Bound::Unbounded)).take(max);
        let shown = workers.map(|(id, worker)| {
            let here = worker.here.as_ref();
            let spec = here.map(|here| &here.spec);
            WorkerInfo {
                worker: *id,
                name: spec.map(|spec| spec.name.to_string()).unwrap_or_default(),
                owner: spec.map(|spec| spec.owner.to_string()).unwrap_or_default(),
                tags: spec.map(|spec| spec.tags.clone()).unwrap_or_default(),
                credit: spec.map_or(0, |spec| spec.credit),
                running: worker.running.len() as u32,
                handed: here.map_or(0, |here| here.handed),
                is_cut: here.is_none_or(|here| here.cut),
                is_draining: here.is_some_and(|here| here.draining),
            }
        });
        shown.collect()
    }

    /// Why a task is where it is. Costs a look at each worker, and at those tasks that go before it, [`BEHIND_MAX`] at
    /// most.
    ///
    /// # Errors
    /// `UnknownTask`.
    pub(crate) fn explain(&self, id: TaskId, now: Moment) -> Result<Explanation> {
        let Some(task) = self.tasks.get(&id) else {
            let kept = self.ended.get(id).map(|kept| ended(kept, kept.sequence));
            let info = kept.or_else(|| self.dead.get(id).map(|kept| dead(kept, kept.sequence)));
            let info = info.ok_or_else(|| self.unknown(id))?;
            return Ok(Explanation { info, reasons: Vec::new() });
        };
        let reasons = match task.phase {
            Phase::Runs { .. } => Vec::new(),
            Phase::Delayed { until } if task.spent > 0 => vec![Reason::BetweenAttempts { left: until.since(now) }],
            Phase::Delayed { until } => vec![Reason::Delayed { left: until.since(now) }],
            Phase::Waits => self.reasons(task),
        };
        Ok(Explanation { info: live(task), reasons })
    }

    fn reasons(&self, task: &Task) -> Vec<Reason> {
        let needs = &task.spec.options.tags;
        let here: Vec<_> = self.workers.values().filter_map(|worker| Some((worker, worker.here.as_ref()?))).collect();
        if here.is_empty() {
            return vec![Reason::NoWorker];
        }
        let can = |tags: &[String]| needs.iter().all(|tag| tags.contains(tag));
        let able: Vec<_> = here.iter().filter(|(_, here)| can(&here.spec.tags)).collect();
        if able.is_empty() {
            let had: BTreeSet<&String> = here.iter().flat_map(|(_, here)| &here.spec.tags).collect();
            return vec![Reason::NoTag { missing: needs.iter().filter(|tag| !had.contains(tag)).cloned().collect() }];
        }
        let count = |is: fn(&super::Here) -> bool| able.iter().filter(|(_, here)| is(here)).count() as u64;
        let cut_off = count(|here| here.cut);
        let draining = count(|here| here.draining && !here.cut);
        let busy = able.len() as u64 - cut_off - draining;
        let ahead = self.matching.before(task.class, task.rank(), BEHIND_MAX);
        let reasons = [
            (busy > 0).then_some(Reason::NoCredit { workers: busy }),
            (cut_off > 0).then_some(Reason::CutOff { workers: cut_off }),
            (draining > 0).then_some(Reason::Draining { workers: draining }),
            (ahead > 0).then_some(Reason::Behind { tasks: ahead }),
        ];
        reasons.into_iter().flatten().collect()
    }
}

fn live(task: &Task) -> TaskInfo {
    let state = match task.phase {
        Phase::Waits => TaskState::Waiting,
        Phase::Delayed { until } => TaskState::Delayed { until },
        Phase::Runs { worker, since, .. } => TaskState::Running { worker, since },
    };
    let (spec, attempts) = (&task.spec, task.number);
    TaskInfo {
        task: spec.id,
        sequence: task.sequence,
        owner: spec.owner.to_string(),
        submitted: spec.submitted,
        options: spec.options.clone(),
        bytes: task.bytes(),
        attempts,
        state,
    }
}

fn ended(kept: &Kept, place: u64) -> TaskInfo {
    shown(kept, place, TaskState::Ended { ending: kept.outcome.ending.clone(), at: kept.at })
}

fn dead(kept: &Kept, place: u64) -> TaskInfo {
    shown(kept, place, TaskState::Dead { ending: kept.outcome.ending.clone(), at: kept.at })
}

fn shown(kept: &Kept, sequence: u64, state: TaskState) -> TaskInfo {
    TaskInfo {
        task: kept.spec.id,
        sequence,
        owner: kept.spec.owner.to_string(),
        submitted: kept.spec.submitted,
        options: kept.spec.options.clone(),
        bytes: kept.spec.payload.len() as u64,
        attempts: kept.number,
        state,
    }
}
