//! After the storm: what only a queue without other work shows plainly. Turns, and the order of priorities.

use super::oracle::Violation;
use super::plan::Plan;
use super::world::World;
use crate::{Asker, Attempt, Input, Moment, Report, Spec, TaskId, TaskOptions, WorkerId, WorkerSpec};

/// A connection that is nobody's.
const CONNECTION: u64 = 1 << 40;

impl World {
    fn ask(&mut self, input: impl FnOnce(Asker) -> Input) {
        self.asked += 1;
        self.tell(input(Asker { connection: CONNECTION, call: self.asked }));
    }

    fn submit_calmly(&mut self, number: u64, priority: u8) {
        let options = TaskOptions { priority, queueing: true, ..TaskOptions::default() };
        let (id, owner, payload) = (TaskId::of(3_000, number), "calm".into(), Plan::quick().payload());
        let spec = Spec { id, owner, submitted: Moment::default(), options, payload, fingerprint: 0 };
        self.ask(|asker| Input::Submit { asker, spec: spec.into() });
    }

    fn join_calmly(&mut self, number: u64, credit: u32) -> WorkerId {
        let id = WorkerId::of(4_000, number);
        let worker = WorkerSpec { id, owner: "calm".into(), name: "calm".into(), tags: Vec::new(), credit };
        self.ask(|asker| Input::Join { asker, worker: worker.into(), held: Vec::new() });
        id
    }

    /// What was handed out since, with all of it stored and done.
    async fn handed(&mut self) -> Result<Vec<(WorkerId, TaskId)>, Violation> {
        self.live(Self::is_quiet).await?;
        let handed = std::mem::take(&mut self.oracle.handed);
        for (worker, task, number) in &handed {
            let (worker, attempt) = (*worker, Attempt { task: *task, number: *number });
            let report = Report::Done(super::worker::done(attempt));
            self.ask(|asker| Input::Report { asker, worker, attempt, report });
        }
        self.live(Self::is_quiet).await?;
        Ok(handed.into_iter().map(|(worker, task, _)| (worker, task)).collect())
    }

    pub(super) async fn calm_after(&mut self) -> Result<(), Violation> {
        self.all_workers_leave();
        self.live(Self::is_quiet).await?;
        self.oracle.handed.clear();
        let workers = [0, 1, 2].map(|number| self.join_calmly(number, 4));
        (0..12).for_each(|number| self.submit_calmly(number, 100));
        let handed = self.handed().await?;
        let in_turn: Vec<_> = (0..12).map(|at| (workers[at as usize % 3], TaskId::of(3_000, at))).collect();
        if handed != in_turn {
            return Err(Violation { rule: "in turn", what: format!("{handed:?}") });
        }
        for worker in workers {
            self.tell(Input::Leave { worker, connection: CONNECTION });
        }
        let mut order: Vec<(u8, u64)> =
            (20..28).map(|number| ([7, 100, 100, 200][self.random.below(4)], number)).collect();
        order.iter().copied().for_each(|(priority, number)| self.submit_calmly(number, priority));
        self.join_calmly(9, 8);
        order.sort_by_key(|(priority, number)| (std::cmp::Reverse(*priority), *number));
        let handed: Vec<_> = self.handed().await?.into_iter().map(|(_, task)| task).collect();
        let by_priority: Vec<_> = order.into_iter().map(|(_, number)| TaskId::of(3_000, number)).collect();
        if handed != by_priority {
            return Err(Violation { rule: "by priority", what: format!("{handed:?}") });
        }
        Ok(())
    }
}
