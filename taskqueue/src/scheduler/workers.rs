//! What workers ask for and report.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use super::WorkerSpec;
use super::check::{CODE_BYTES_MAX, CREDIT_MAX, MESSAGE_BYTES_MAX, cut, without_details};
use super::{Answer, Asker, Attempt, Effect, Here, Output, Phase, Recalled, Record, Report, Scheduler, Timer, Worker};
use crate::planted::is_planted;
use crate::{Ending, Error, Moment, Outcome, Result, TaskId, WorkerId};

impl Scheduler {
    pub(super) fn join(
        &mut self,
        now: Moment,
        asker: Asker,
        mut worker: WorkerSpec,
        held: &[Attempt],
        out: &mut Output,
    ) {
        let id = worker.id;
        if let Err(error) = self.admit(asker, &mut worker, held.len(), out) {
            return out.answer(asker, Err(error));
        }
        out.answer(asker, Ok(Answer::Joined { lease: self.config.lease }));
        self.enter_worker(now, asker, worker);
        let own: Vec<TaskId> =
            self.workers.get(&id).map(|worker| worker.running.iter().copied().collect()).unwrap_or_default();
        let has: HashSet<&Attempt> = held.iter().collect();
        for task in own {
            let attempt = Attempt { task, number: self.tasks.get(&task).map_or(0, |task| task.number) };
            if !has.contains(&attempt) {
                // It never got there; or it is on its way, and is called back behind itself.
                self.hand_back(task, out);
                out.effects.push(Effect::Recall { to: asker, attempt, why: Recalled::Lost });
            }
        }
        for attempt in held {
            if !self.tasks.get(&attempt.task).is_some_and(|task| task.runs_by(id, *attempt)) {
                out.effects.push(Effect::Recall { to: asker, attempt: *attempt, why: Recalled::Lost });
            }
        }
        self.look_at_readiness(id);
        // It may have come with less than it had.
        self.strand(now, out);
    }

    /// Whether it may join; whoever was there in its place goes.
    fn admit(&mut self, asker: Asker, worker: &mut WorkerSpec, held: usize, out: &mut Output) -> Result<()> {
        self.check_worker(worker)?;
        if held > CREDIT_MAX as usize {
            return Err(self.invalid(format!("{held} attempts that it says it has; a worker has at most {CREDIT_MAX}")));
        }
        let id = worker.id;
        let queue = || self.name.to_string();
        let found = self.workers.get(&id);
        let before = found.and_then(|worker| worker.here.as_ref());
        if found.is_some_and(|found| found.owner != worker.owner) {
            return Err(self.invalid(format!("worker {id} is somebody else's; draw another id")));
        }
        let max = self.config.limits.workers_max;
        if found.is_none() && self.workers.len() as u64 >= max {
            return Err(Error::Full { queue: queue(), what: "workers".into(), max });
        }
        if !self.matching.has_offer_room(&worker.tags) {
            let max = super::TAG_SETS_MAX as u64;
            return Err(Error::Full { queue: queue(), what: "different sets of tags".into(), max });
        }
        if let Some(before) = before.filter(|before| before.asker != asker && !before.cut) {
            out.effects
                .push(Effect::Dismissed { to: before.asker, why: Error::Replaced { queue: queue(), worker: id } });
        }
        Ok(())
    }

    fn enter_worker(&mut self, now: Moment, asker: Asker, spec: WorkerSpec) {
        let (id, lease) = (spec.id, now + self.config.lease);
        let handed = self.leave_offer(id);
        let offer = self.matching.enter_offer(&spec.tags);
        // Who joins is served after those that are there.
        self.turns += 1;
        let (served, cut, draining, ready) = (self.turns, false, false, false);
        let owner = spec.owner.clone();
        let here = Some(Here { spec, asker, offer, served, handed: handed.unwrap_or(0), cut, draining, ready });
        match self.workers.get_mut(&id) {
            Some(worker) => (worker.here, worker.lease) = (here, lease),
            None => {
                self.timers.insert((lease, Timer::Lease(id)));
                self.workers.insert(id, Worker { owner, here, running: BTreeSet::new(), lease, looked: lease });
            }
        }
    }

    /// It stands nowhere any more. Tells how many tasks it was handed.
    fn leave_offer(&mut self, id: WorkerId) -> Option<u64> {
        let here = self.workers.get_mut(&id)?.here.take()?;
        if here.ready {
            self.matching.ready_no_more(here.offer, here.served, id);
        }
        self.matching.leave_offer(here.offer, !here.draining);
        Some(here.handed)
    }

    /// It is ready or not, as it is now.
    pub(super) fn look_at_readiness(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let takes = worker.takes();
        let Some(here) = worker.here.as_mut().filter(|here| here.ready != takes) else { return };
        here.ready = takes;
        if takes {
            self.matching.ready(here.offer, here.served, id);
        } else {
            self.matching.ready_no_more(here.offer, here.served, id);
        }
    }

    pub(super) fn renew(&mut self, now: Moment, id: WorkerId) {
        let lease = now + self.config.lease;
        if let Some(worker) = self.workers.get_mut(&id).filter(|_| !is_planted("lease not renewed")) {
            worker.lease = worker.lease.max(lease);
        }
    }

    pub(super) fn cut(&mut self, id: WorkerId, connection: u64) {
        let here = self.workers.get_mut(&id).and_then(|worker| worker.here.as_mut());
        if let Some(here) = here.filter(|here| here.asker.connection == connection) {
            here.cut = true;
            self.look_at_readiness(id);
        }
    }

    pub(super) fn drain(&mut self, now: Moment, id: WorkerId, out: &mut Output) {
        let here = self.workers.get_mut(&id).and_then(|worker| worker.here.as_mut());
        let Some(here) = here.filter(|here| !here.draining) else { return };
        here.draining = true;
        self.matching.unable(here.offer);
        self.look_at_readiness(id);
        self.strand(now, out);
    }

    pub(super) fn resign(&mut self, now: Moment, id: WorkerId, connection: u64, out: &mut Output) {
        if !self.is_here(id, connection) {
            return;
        }
        let has: Vec<TaskId> =
            self.workers.get(&id).into_iter().flat_map(|worker| worker.running.iter().copied()).collect();
        has.into_iter().for_each(|task| self.hand_back(task, out));
        self.lose_worker(now, id, out);
    }

    pub(super) fn leave(&mut self, now: Moment, id: WorkerId, connection: u64, out: &mut Output) {
        if self.is_here(id, connection) {
            self.lose_worker(now, id, out);
        }
    }

    /// Whether this worker is there over this connection.
    fn is_here(&self, id: WorkerId, connection: u64) -> bool {
        let here = self.workers.get(&id).and_then(|worker| worker.here.as_ref());
        here.is_some_and(|here| here.asker.connection == connection)
    }

    /// It is none of the queue's any more, and what it had is lost to it.
    pub(super) fn lose_worker(&mut self, now: Moment, id: WorkerId, out: &mut Output) {
        self.leave_offer(id);
        let Some(worker) = self.workers.remove(&id) else { return };
        self.timers.remove(&(worker.looked, Timer::Lease(id)));
        for task in worker.running {
            self.lose(now, task, |worker, attempt| Ending::WorkerLost { worker, attempt }, out);
        }
        self.strand(now, out);
    }

    /// An attempt is lost: the task waits for another, or ends.
    pub(super) fn lose(
        &mut self,
        now: Moment,
        id: TaskId,
        ending: impl FnOnce(WorkerId, u32) -> Ending,
        out: &mut Output,
    ) {
        let Some(task) = self.tasks.get(&id) else { return };
        let Some(worker) = task.worker() else { return };
        if task.spent < task.spec.options.attempts_max {
            let spent = task.spent;
            self.change(out, Record::Waits { task: id, spent, until: None });
            self.wait_or_strand(now, id, out);
        } else {
            let ending = ending(worker, task.number);
            self.end(now, id, Outcome::of(ending), None, out);
        }
    }

    /// It waits for a worker, if it may.
    pub(super) fn wait_or_strand(&mut self, now: Moment, id: TaskId, out: &mut Output) {
        let Some(task) = self.tasks.get(&id) else { return };
        let may_wait = task.spec.options.queueing || self.settles.is_some_and(|at| now < at);
        if !may_wait && !self.matching.is_able(task.class) {
            self.end_stranded(now, id, out);
        }
    }

    fn hand_back(&mut self, id: TaskId, out: &mut Output) {
        if let Some(task) = self.tasks.get(&id) {
            let spent = task.spent.saturating_sub(u32::from(!is_planted("hand-back counts")));
            self.change(out, Record::Waits { task: id, spent, until: None });
        }
    }

    pub(super) fn report(
        &mut self,
        now: Moment,
        (asker, worker): (Asker, WorkerId),
        attempt: Attempt,
        report: Report,
        out: &mut Output,
    ) {
        self.renew(now, worker);
        let Some(task) = self.tasks.get(&attempt.task).filter(|task| task.runs_by(worker, attempt)) else {
            self.counts.late += 1;
            return out.answer(asker, Ok(Answer::Settled { late: true }));
        };
        let (id, number, spent) = (attempt.task, attempt.number, task.spent);
        let options = &task.spec.options;
        let mut answer = Ok(Answer::Settled { late: false });
        match report {
            Report::HandedBack => {
                self.hand_back(id, out);
                self.wait_or_strand(now, id, out);
            }
            Report::Done(result) => {
                let max = self.config.limits.result_bytes_max as usize;
                let bytes = result.len();
                let outcome = if bytes > max {
                    let (what, advice) =
                        ("a result", "store it elsewhere and return where it is, or alter `result_bytes_max`");
                    let (queue, what, advice) = (self.name.to_string(), what.into(), advice.into());
                    let error = Error::TooLarge { queue, what, bytes, max, advice };
                    let (code, message) = ("result-too-large".to_owned(), error.to_string());
                    answer = Err(error);
                    Outcome::of(Ending::Failed { worker, attempt: number, code, message })
                } else {
                    Outcome { ending: Ending::Done { worker, attempt: number }, body: result }
                };
                self.end(now, id, outcome, None, out);
            }
            Report::Failed { is_final, .. } if !is_final && spent < options.attempts_max => {
                let until =
                    Some(now + options.backoff.after(spent)).filter(|_| !is_planted("no pause between attempts"));
                self.change(out, Record::Waits { task: id, spent, until });
            }
            Report::Failed { code, message, details, .. } => {
                let (bytes, max) = (details.len(), self.config.limits.result_bytes_max as usize);
                let (message, body) = if bytes > max {
                    (without_details(message, bytes, max), Bytes::new())
                } else {
                    (cut(message, MESSAGE_BYTES_MAX), details)
                };
                let code = cut(code, CODE_BYTES_MAX);
                let ending = Ending::Failed { worker, attempt: number, code, message };
                self.end(now, id, Outcome { ending, body }, None, out);
            }
        }
        out.answer(asker, answer);
    }

    pub(super) fn progress(&mut self, now: Moment, worker: WorkerId, attempt: Attempt, data: Bytes, out: &mut Output) {
        self.renew(now, worker);
        let task = self.tasks.get_mut(&attempt.task).filter(|task| task.runs_by(worker, attempt));
        let Some(task) = task else { return };
        if let Phase::Runs { heard, .. } = &mut task.phase {
            *heard = now;
        }
        if !task.waiters.is_empty() {
            out.effects.push(Effect::Progress { to: task.waiters.clone(), task: attempt.task, data });
        }
    }
}
