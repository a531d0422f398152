//! What must hold, whatever befalls a queue: judged by what it is told and what it lets out, and by what is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Deed, Plan};
use super::world::LEASE;
use crate::scheduler::Record;
use crate::shell::Shell;
use crate::{
    Answer, Asker, Attempt, Effect, Ending, Error, Input, Listed, Outcome, Queue, Report, Spec, TaskId, TaskState,
    WorkerId,
};
use std::sync::Arc;

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: &'static str,
    pub(super) what: String,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) broken: Option<Violation>,
    /// Everything that was handed out, in order.
    pub(super) handed: Vec<(WorkerId, TaskId, u32)>,
    durable: bool,
    tasks: BTreeMap<TaskId, Seen>,
    workers: BTreeMap<WorkerId, Heard>,
    reports: BTreeMap<Asker, (u64, WorkerId, Attempt, Report)>,
    submissions: BTreeMap<Asker, Spec>,
    cancels: BTreeMap<Asker, TaskId>,
    keys: BTreeMap<(Arc<str>, String), TaskId>,
    stored: BTreeSet<(TaskId, Stored)>,
    live_at_start: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stored {
    Accepted,
    Begun(u32),
    Ended,
}

/// A worker, by what was told of it.
#[derive(Debug, Default)]
struct Heard {
    tags: Vec<String>,
    credit: u32,
    lease_end: u64,
    /// When its lease was over, or it left.
    losses: Vec<u64>,
    /// When it was cut off, or came anew.
    broken: u64,
}

/// A task, by what was told and let out of it.
#[derive(Debug, Default)]
struct Seen {
    accepted: bool,
    told_at: u64,
    /// By number: whose, and since when.
    attempts: BTreeMap<u32, (WorkerId, u64)>,
    settled: BTreeSet<u32>,
    reported: BTreeSet<u32>,
    recalled: BTreeSet<u32>,
    handed_back: u32,
    failed: u32,
    not_before: u64,
    outcome: Option<Arc<Outcome>>,
    is_cancelled: bool,
    cancel_told: bool,
    spec: Option<Arc<Spec>>,
}

impl Oracle {
    pub(super) fn new(durable: bool) -> Self {
        Self { durable, ..Self::default() }
    }

    fn breaks(&mut self, rule: &'static str, what: String) {
        self.broken.get_or_insert(Violation { rule, what });
    }

    /// A run of the server begins.
    pub(super) fn started(&mut self, now: u64, run: u32, live: u64) {
        self.live_at_start = live;
        if run == 0 {
            return;
        }
        if !self.durable {
            let durable = false;
            let (broken, handed) = (self.broken.take(), Vec::new());
            *self = Self { durable, broken, handed, ..Self::default() };
            return;
        }
        self.reports.clear();
        for worker in self.workers.values_mut() {
            (worker.lease_end, worker.broken) = (now + LEASE.as_millis() as u64, now);
        }
    }

    fn sign(&mut self, now: u64, worker: WorkerId) {
        if let Some(heard) = self.workers.get_mut(&worker).filter(|heard| now < heard.lease_end) {
            heard.lease_end = now + LEASE.as_millis() as u64;
        }
    }

    /// Something is told to the queue.
    pub(super) fn told(&mut self, now: u64, input: &Input) {
        match input {
            Input::Submit { asker, spec } => {
                self.tasks.entry(spec.id).or_insert_with(|| Seen { told_at: now, ..Seen::default() });
                self.submissions.insert(*asker, (**spec).clone());
            }
            Input::Cancel { asker, task, .. } => {
                self.tasks.entry(*task).or_default().cancel_told = true;
                if let Some(asker) = asker {
                    self.cancels.insert(*asker, *task);
                }
            }
            Input::Join { worker, .. } => {
                let heard = self.workers.entry(worker.id).or_default();
                if heard.lease_end <= now {
                    heard.losses.push(heard.lease_end);
                }
                (heard.tags, heard.credit, heard.broken) = (worker.tags.clone(), worker.credit, now);
                heard.lease_end = now + LEASE.as_millis() as u64;
            }
            Input::Cut { worker, .. } => self.workers.entry(*worker).or_default().broken = now,
            Input::Leave { worker, .. } => {
                let heard = self.workers.entry(*worker).or_default();
                (heard.broken, heard.lease_end) = (now, now);
                heard.losses.push(now);
            }
            Input::Renew { worker } | Input::Progress { worker, .. } => self.sign(now, *worker),
            Input::Report { asker, worker, attempt, report } => {
                self.sign(now, *worker);
                self.tasks.entry(attempt.task).or_default().reported.insert(attempt.number);
                self.reports.insert(*asker, (now, *worker, *attempt, report.clone()));
            }
            _ => {}
        }
    }

    /// Records are on disk.
    pub(super) fn stored(&mut self, records: &[Record]) {
        for record in records {
            let (task, what) = match record {
                Record::Accepted { spec, .. } => (spec.id, Stored::Accepted),
                Record::Begun { task, number, .. } => (*task, Stored::Begun(*number)),
                Record::Ended { task, .. } => (*task, Stored::Ended),
                _ => continue,
            };
            if !self.stored.insert((task, what)) {
                let is_attempt = matches!(what, Stored::Begun(_));
                let rule = if is_attempt { "an attempt reaches one worker" } else { "one outcome" };
                self.breaks(rule, format!("stored twice: {what:?} of {task}"));
            }
        }
    }

    fn must_be_stored(&mut self, task: TaskId, what: Stored) {
        if self.durable && !self.stored.contains(&(task, what)) {
            self.breaks("stored before it is told", format!("{what:?} of {task}"));
        }
    }

    /// Something is let out.
    pub(super) fn hears(&mut self, now: u64, effect: &Effect) {
        match effect {
            Effect::Answer { to, answer } => self.hears_answer(now, *to, answer),
            Effect::Ended { task, outcome, .. } => self.hears_end(now, *task, outcome),
            Effect::Assign { worker, spec, number, .. } => self.hears_assignment(now, *worker, spec, *number),
            Effect::Recall { attempt, .. } => {
                self.tasks.entry(attempt.task).or_default().recalled.insert(attempt.number);
            }
            Effect::Dismissed { why: Error::LeaseOver { worker, .. }, .. } => {
                let heard = self.workers.entry(*worker).or_default();
                if heard.lease_end > now && heard.losses.last().is_none_or(|at| at + 1_000 < now) {
                    self.breaks("a lease that is renewed holds", format!("{worker}"));
                }
            }
            Effect::Dismissed { .. } | Effect::Progress { .. } => {}
        }
    }

    fn hears_assignment(&mut self, now: u64, worker: WorkerId, spec: &Arc<Spec>, number: u32) {
        let id = spec.id;
        self.handed.push((worker, id, number));
        self.must_be_stored(id, Stored::Begun(number));
        let heard = self.workers.entry(worker).or_default();
        if !spec.options.tags.iter().all(|tag| heard.tags.contains(tag)) {
            self.breaks("to who has its tags", format!("{id} to {worker}"));
        }
        let seen = self.tasks.entry(id).or_default();
        let newest = seen.attempts.last_key_value().map_or(0, |(number, _)| *number);
        let delay = spec.options.delay.map_or(0, |delay| delay.as_millis() as u64);
        let wrong = if number <= newest {
            Some("an attempt reaches one worker")
        } else if seen.outcome.is_some() {
            Some("one outcome")
        } else if now < seen.told_at + delay {
            Some("a delay is kept")
        } else if now < seen.not_before {
            Some("a pause is kept")
        } else {
            None
        };
        seen.attempts.insert(number, (worker, now));
        seen.spec = Some(spec.clone());
        if let Some(rule) = wrong {
            let what = format!("{id}, attempt {number} to {worker}: {:?}", self.tasks[&id]);
            self.breaks(rule, what);
        }
    }

    fn hears_answer(&mut self, now: u64, to: Asker, answer: &Result<Answer, Error>) {
        match answer {
            Ok(Answer::Accepted { task, duplicate }) => {
                let Some(spec) = self.submissions.remove(&to) else { return };
                if !duplicate {
                    self.must_be_stored(*task, Stored::Accepted);
                    self.tasks.entry(*task).or_default().accepted = true;
                }
                let Some(key) = spec.options.idempotency_key else { return };
                let first = *self.keys.entry((spec.owner, key)).or_insert(*task);
                if first != *task {
                    self.breaks("a key is one task", format!("{first} and {task}"));
                }
            }
            Ok(Answer::Settled { late: false }) => self.hears_settled(now, to),
            Ok(Answer::Cancelled { had_ended: false }) => {
                let Some(task) = self.cancels.remove(&to) else { return };
                let seen = self.tasks.entry(task).or_default();
                seen.is_cancelled = true;
                let Some((number, (worker, since))) = seen.attempts.last_key_value() else { return };
                let heard = &self.workers[worker];
                let runs = !seen.reported.contains(number) && heard.broken < *since && heard.lease_end > now;
                let stalls = seen.spec.as_ref().is_some_and(|spec| spec.options.stall_timeout.is_some());
                if runs && !stalls && !seen.recalled.contains(number) {
                    let what = format!("{task}, attempt {number} of {worker}");
                    self.breaks("a cancel recalls", what);
                }
            }
            _ => {}
        }
    }

    fn hears_settled(&mut self, now: u64, to: Asker) {
        let Some((told, worker, attempt, report)) = self.reports.remove(&to) else { return };
        let seen = self.tasks.entry(attempt.task).or_default();
        let newest = seen.attempts.last_key_value().map(|(number, (by, _))| (*number, *by));
        let is_twice = !seen.settled.insert(attempt.number);
        match &report {
            Report::HandedBack => seen.handed_back += 1,
            Report::Failed { is_final, .. } => {
                seen.failed += 1;
                let pause = seen.spec.as_ref().map_or(0, |spec| spec.options.backoff.first.as_millis() as u64);
                seen.not_before = if *is_final { 0 } else { told + pause };
            }
            Report::Done(_) => {}
        }
        let most = seen.spec.as_ref().map_or(u32::MAX, |spec| spec.options.attempts_max);
        let counts = seen.failed;
        if is_twice || newest.is_none_or(|(number, by)| number > attempt.number || by != worker) {
            self.breaks(
                "late reports count no more",
                format!("{now}: {attempt:?} of {worker}; {newest:?} is under way"),
            );
        } else if counts > most {
            self.breaks("so many attempts", format!("{} has failed {counts} times of {most}", attempt.task));
        }
    }

    fn hears_end(&mut self, now: u64, task: TaskId, outcome: &Arc<Outcome>) {
        self.must_be_stored(task, Stored::Ended);
        let seen = self.tasks.entry(task).or_default();
        if let Some(before) = &seen.outcome {
            if before != outcome {
                let what = format!("{task}: {before:?} and {outcome:?}");
                self.breaks("one outcome", what);
            }
            return;
        }
        seen.outcome = Some(outcome.clone());
        let newest = seen.attempts.last_key_value().map(|(number, (by, _))| (*number, *by));
        // One that was stored before a restart and not let out is an attempt, too.
        let begun = match &outcome.ending {
            Ending::Failed { attempt, .. } | Ending::WorkerLost { attempt, .. } | Ending::Stalled { attempt, .. } => {
                *attempt
            }
            _ => 0,
        };
        let spent = begun.saturating_sub(seen.handed_back);
        let most = seen.spec.as_ref().map_or(0, |spec| spec.options.attempts_max);
        let deed = seen.spec.as_ref().map(|spec| Plan::of(&spec.payload).deed);
        let is_last = |attempt: u32, worker: WorkerId| newest == Some((attempt, worker));
        let wrong = match &outcome.ending {
            Ending::Done { worker, attempt } => {
                let body = super::worker::done(Attempt { task, number: *attempt });
                let is_right = is_last(*attempt, *worker) && outcome.body == body;
                (!is_right).then_some("late reports count no more")
            }
            Ending::Failed { worker, attempt, .. } if deed == Some(Deed::FailsForGood) => {
                (!is_last(*attempt, *worker)).then_some("late reports count no more")
            }
            Ending::Failed { worker, attempt, .. } => {
                let is_late = (!is_last(*attempt, *worker)).then_some("late reports count no more");
                is_late.or((spent < most).then_some("so many attempts"))
            }
            Ending::WorkerLost { .. } | Ending::Stalled { .. } => (spent < most).then_some("so many attempts"),
            Ending::DeadlineExceeded { .. } => {
                let deadline = seen.spec.as_ref().and_then(|spec| spec.options.deadline);
                let early = deadline.is_some_and(|span| now < seen.told_at + span.as_millis() as u64);
                early.then_some("a deadline is kept")
            }
            Ending::Cancelled { .. } => None,
            Ending::NoWorkers { .. } => {
                let waits = seen.spec.as_ref().is_some_and(|spec| spec.options.queueing);
                waits.then_some("who queues waits")
            }
        };
        let lost = match &outcome.ending {
            Ending::WorkerLost { worker, attempt } => {
                let since = seen.attempts.get(attempt).map_or(0, |(_, since)| *since);
                let heard = self.workers.entry(*worker).or_default();
                let is_lost = heard.lease_end <= now || heard.losses.iter().any(|at| *at >= since);
                (!is_lost).then_some("a lease that is renewed holds")
            }
            _ => None,
        };
        let seen = &self.tasks[&task];
        let cancelled = seen.is_cancelled && !matches!(outcome.ending, Ending::Cancelled { .. });
        if let Some(rule) = wrong.or(lost).or(cancelled.then_some("a cancel ends it")) {
            let what = format!("{now}: {task} {outcome:?}, {seen:?}");
            self.breaks(rule, what);
        }
    }

    /// What can be seen of the queue now and then.
    pub(super) fn checks(&mut self, now: u64, shell: &Shell) {
        for info in shell.tasks(Listed::Live, None, usize::MAX) {
            let TaskState::Running { worker, .. } = info.state else { continue };
            if self.workers.get(&worker).is_none_or(|heard| now > heard.lease_end + 1_000) {
                let what = format!("{} is still {worker}'s at {now}", info.task);
                self.breaks("redelivery within the lease and a second", what);
            }
        }
        let over = shell
            .workers(None, usize::MAX)
            .into_iter()
            .find(|worker| worker.running > worker.credit && worker.credit > 0);
        if let Some(worker) = over {
            self.breaks("credit", format!("{worker:?}"));
        }
        let info = shell.info();
        let live = info.waiting + info.delayed + info.running;
        let counts = info.counts;
        let ended = counts.done + counts.failed + counts.deadline_exceeded + counts.cancelled + counts.no_workers;
        let listed = shell.tasks(Listed::Live, None, usize::MAX).len() as u64;
        if self.live_at_start + counts.accepted != live + ended || live != listed {
            let what = format!("{} before and {counts:?}; {live} live, {listed} listed", self.live_at_start);
            self.breaks("each ends once", what);
        }
    }

    /// All is done: what is left is what must be.
    pub(super) fn ends(&mut self, shell: &Shell) {
        let dead: BTreeSet<TaskId> =
            shell.tasks(Listed::Dead, None, usize::MAX).into_iter().map(|info| info.task).collect();
        let mut wrong = None;
        for (id, seen) in &self.tasks {
            if self.durable && seen.accepted && !self.stored.contains(&(*id, Stored::Ended)) {
                wrong.get_or_insert(("one outcome", *id));
            }
            let (Some(outcome), Some(spec)) = (&seen.outcome, &seen.spec) else { continue };
            let ended = &outcome.ending;
            let died = matches!(ended, Ending::Failed { .. } | Ending::WorkerLost { .. } | Ending::Stalled { .. });
            if dead.contains(id) != (died && spec.options.is_kept_dead()) {
                wrong.get_or_insert(("dead letters", *id));
            }
        }
        if let Some((rule, id)) = wrong {
            let what = format!("{id}: {:?}", self.tasks[&id]);
            self.breaks(rule, what);
        }
    }

    /// The time is over, and something has not ended.
    pub(super) fn unfinished(&self, shell: Option<&Shell>) -> Violation {
        let live = shell.map(|shell| shell.tasks(Listed::Live, None, 5));
        Violation { rule: "everything ends", what: format!("{live:?}") }
    }
}
