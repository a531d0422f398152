//! What is due.

use super::{Attempt, Effect, Output, Phase, Recalled, Scheduler, Timer};
use crate::planted::is_planted;
use crate::{Ending, Error, Moment, Outcome, TaskId, WorkerId};

impl Scheduler {
    pub(super) fn due(&mut self, now: Moment, out: &mut Output) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Due(task) => {
                    self.become_due(task);
                    self.wait_or_strand(now, task, out);
                }
                Timer::Deadline(task) => {
                    let attempts = self.tasks.get(&task).map_or(0, |task| task.number);
                    let outcome = Outcome::of(Ending::DeadlineExceeded { attempts });
                    self.end(now, task, outcome, Some(Recalled::DeadlineExceeded), out);
                }
                Timer::Stalls(task) => self.look_at_stall(now, task, out),
                Timer::Orphaned(id) => {
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.orphaned = None;
                        self.end_cancelled(now, id, out);
                    }
                }
                Timer::Lease(worker) => self.look_at_lease(now, worker, out),
                Timer::Settles => {
                    self.settles = None;
                    self.strand(now, out);
                }
            }
        }
        self.forget_at(now);
    }

    /// Forgets outcomes and dead letters that have been kept for as long as they are to be.
    pub(super) fn forget_at(&mut self, now: Moment) {
        while let Some((_, id)) = self.ended.first_to_go().filter(|(at, _)| *at <= now) {
            self.forget(id);
        }
        while let Some((_, id)) = self.dead.first_to_go().filter(|(at, _)| *at <= now) {
            self.dead.take(id);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let shelves = [&self.ended, &self.dead].map(|shelf| shelf.first_to_go().map(|(at, _)| at));
        [timer].into_iter().chain(shelves).flatten().min()
    }

    fn look_at_stall(&mut self, now: Moment, id: TaskId, out: &mut Output) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let (number, timeout) = (task.number, task.spec.options.stall_timeout.unwrap_or_default());
        let Phase::Runs { worker, heard, stalls, .. } = &mut task.phase else { return };
        let (worker, at) = (*worker, *heard + timeout);
        if at > now {
            *stalls = Some(at);
            self.timers.insert((at, Timer::Stalls(id)));
            return;
        }
        *stalls = None;
        self.recall(worker, Attempt { task: id, number }, Recalled::Stalled, out);
        self.lose(now, id, |worker, attempt| Ending::Stalled { worker, attempt }, out);
    }

    fn look_at_lease(&mut self, now: Moment, id: WorkerId, out: &mut Output) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if is_planted("lease never over") {
            worker.lease = now + self.config.lease;
        }
        if worker.lease > now {
            worker.looked = worker.lease;
            self.timers.insert((worker.looked, Timer::Lease(id)));
            return;
        }
        if let Some(here) = &worker.here {
            let why = Error::LeaseOver { queue: self.name.to_string(), worker: id };
            out.effects.push(Effect::Dismissed { to: here.asker, why });
        }
        self.lose_worker(now, id, out);
    }
}
