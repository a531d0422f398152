//! The rules of a queue: who gets what, and what becomes of it. No socket, no file, no clock: it is told things and the time,
//! and says what is to be stored and what is to be let out.
//!
//! 1. A task has one attempt under way at most, with one worker, and each has a number of its own: what is said of another
//!    number counts no more.
//! 2. A task ends once. What is let out of that was stored before, and so was each attempt.
//! 3. Tasks go out by priority, then in the order in which they were accepted; those that nobody can do now hold up none.
//! 4. Among the workers that take a task now, it goes to who was served longest ago.
//!
//! Everything that changes is a [`Record`] first: `handle` decides, [`Scheduler::apply`] changes, and the same records make the
//! same queue after a restart.

mod apply;
mod check;
mod hand_out;
mod look;
mod matching;
mod record;
mod shelf;
mod speech;
mod submissions;
mod task;
#[cfg(test)]
mod tests;
mod timeouts;
mod worker;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};

pub(crate) use check::{CODE_BYTES_MAX, MESSAGE_BYTES_MAX, check_config, without_details};
pub(crate) use matching::TAG_SETS_MAX;
pub(crate) use record::{Carried, CarriedState, Record};
pub use speech::{Answer, Asker, Attempt, Effect, Input, Recalled, Report, Spec, WorkerSpec};

use crate::planted::is_planted;
use crate::{Counts, Ending, Error, Moment, Outcome, QueueConfig, TaskId, WorkerId};
use matching::Matching;
use shelf::{Kept, Shelf};
use task::{Phase, Task};
use worker::{Here, Worker};

/// How long an outcome waits for who submitted the task, and a task that survived a restart for somebody who waits for it: as
/// long as a session that was cut is remembered.
pub(crate) const FETCHED_WITHIN: Duration = Duration::from_secs(60);

/// What a scheduler says.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// To be stored, in this order, before what was said with it is let out. `None`: nothing is stored.
    pub(crate) records: Option<Vec<Record>>,
    /// To be let out, in this order.
    pub(crate) effects: Vec<Effect>,
}

impl Output {
    fn answer(&mut self, to: Asker, answer: Result<Answer, Error>) {
        self.effects.push(Effect::Answer { to, answer });
    }
}

/// An idempotency key, and whose it is.
type KeyOf = (Arc<str>, Box<str>);

/// The rules of a queue, with everything that it has.
#[derive(Debug)]
pub(crate) struct Scheduler {
    name: Arc<str>,
    config: QueueConfig,
    /// Boxed: half of a table that has just grown stands empty.
    tasks: HashMap<TaskId, Box<Task>>,
    order: BTreeMap<u64, TaskId>,
    /// The place of the next task.
    sequence: u64,
    bytes: u64,
    /// Bytes that these have on disk, about.
    stored_bytes: u64,
    delayed: u64,
    running: u64,
    matching: Matching,
    workers: BTreeMap<WorkerId, Worker>,
    /// Whose workers are of which records tell, until the queue lives.
    owners: HashMap<WorkerId, Arc<str>>,
    /// Times that a worker was served.
    turns: u64,
    ended: Shelf,
    dead: Shelf,
    /// Idempotency keys of tasks that are known.
    keys: HashMap<KeyOf, TaskId>,
    /// Which tasks a connection waits for.
    waits: BTreeSet<(u64, TaskId)>,
    timers: BTreeSet<(Moment, Timer)>,
    /// Workers may still be on their way back from before a restart: nothing ends for want of them until then.
    settles: Option<Moment>,
    /// What was stored has been applied: what comes now is new.
    lives: bool,
    /// When a task ended last: no two end at one moment, so that the order of their ends is known.
    last_end: Moment,
    counts: Counts,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A task that waited for this moment.
    Due(TaskId),
    Deadline(TaskId),
    Stalls(TaskId),
    Orphaned(TaskId),
    Lease(WorkerId),
    Settles,
}

impl Scheduler {
    pub(crate) fn new(name: &str, config: QueueConfig) -> Self {
        Self {
            name: name.into(),
            config,
            tasks: HashMap::new(),
            order: BTreeMap::new(),
            sequence: 1,
            bytes: 0,
            stored_bytes: 0,
            delayed: 0,
            running: 0,
            matching: Matching::default(),
            workers: BTreeMap::new(),
            owners: HashMap::new(),
            turns: 0,
            ended: Shelf::default(),
            dead: Shelf::default(),
            keys: HashMap::new(),
            waits: BTreeSet::new(),
            timers: BTreeSet::new(),
            settles: None,
            lives: false,
            last_end: Moment::default(),
            counts: Counts::default(),
        }
    }

    /// What was stored has been applied, and the queue begins to live: workers that had tasks, and clients that waited, may be
    /// on their way back.
    pub(crate) fn recovered(&mut self, now: Moment) {
        self.forget_what_is_over(now);
        self.counts = Counts::default();
        if is_planted("keys forgotten at a restart") {
            self.keys.clear();
        }
        let (lease, owners) = (now + self.config.lease, std::mem::take(&mut self.owners));
        let known: Vec<TaskId> = self.order.values().copied().collect();
        for id in known {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if !task.detached {
                let at = now + FETCHED_WITHIN;
                task.orphaned = Some(at);
                self.timers.insert((at, Timer::Orphaned(id)));
            }
            let Phase::Runs { worker, heard, stalls, .. } = &mut task.phase else { continue };
            *heard = now;
            if let (Some(timeout), None) = (task.spec.options.stall_timeout, *stalls) {
                let at = now + timeout;
                *stalls = Some(at);
                self.timers.insert((at, Timer::Stalls(id)));
            }
            let worker = *worker;
            let entry = self.workers.entry(worker).or_insert_with(|| {
                self.timers.insert((lease, Timer::Lease(worker)));
                let owner = owners.get(&worker).cloned().unwrap_or_default();
                Worker { owner, here: None, running: BTreeSet::new(), lease, looked: lease }
            });
            entry.running.insert(id);
        }
        self.settles = Some(lease);
        self.timers.insert((lease, Timer::Settles));
    }

    /// Takes these in, in order, and hands out what can be handed out then.
    pub(crate) fn handle(&mut self, now: Moment, inputs: Vec<Input>, out: &mut Output) {
        self.lives = true;
        // What is due by now comes first: a lease that is over is not renewed.
        self.due(now, out);
        for input in inputs {
            self.take(now, input, out);
        }
        self.hand_out(now, out);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Moment, out: &mut Output) {
        self.due(now, out);
        self.hand_out(now, out);
    }

    fn take(&mut self, now: Moment, input: Input, out: &mut Output) {
        match input {
            Input::Submit { asker, spec } => self.submit(now, asker, spec, out),
            Input::Attach { asker, task, owner } => self.attach(asker, task, owner.as_deref(), out),
            Input::Detach { asker, call, task } => self.detach(asker, call, task, out),
            Input::Release { task, owner } => self.release(now, task, &owner, out),
            Input::Cancel { asker, task, owner } => self.cancel(now, asker, task, owner.as_deref(), out),
            Input::Abandon { asker, task } => self.abandon(now, asker, task, out),
            Input::Gone { connection } => self.gone(now, connection, out),
            Input::Join { asker, worker, held } => self.join(now, asker, *worker, &held, out),
            Input::Renew { worker } => self.renew(now, worker),
            Input::Cut { worker, connection } => self.cut(worker, connection),
            Input::Drain { worker } => self.drain(now, worker, out),
            Input::Resign { worker, connection } => self.resign(now, worker, connection, out),
            Input::Leave { worker, connection } => self.leave(now, worker, connection, out),
            Input::Report { asker, worker, attempt, report } => {
                self.report(now, (asker, worker), attempt, report, out);
            }
            Input::Progress { worker, attempt, data } => self.progress(now, worker, attempt, data, out),
            Input::RetryDead { asker, task, as_task } => self.retry_dead(now, asker, task, as_task, out),
            Input::DropDead { asker, task } => self.drop_dead(asker, task, out),
            Input::Alter(config) => self.config = *config,
        }
    }

    /// Something changes: it is stored, and done.
    fn change(&mut self, out: &mut Output, record: Record) {
        let is_left_out = matches!(record, Record::Ended { .. }) && is_planted("an end that is not stored");
        if let Some(records) = out.records.as_mut().filter(|_| !is_left_out) {
            records.push(record.clone());
        }
        self.apply(record);
    }

    /// A task ends; its worker is told, if it does not say so itself, and so is everybody who waits for it.
    fn end(&mut self, now: Moment, id: TaskId, outcome: Outcome, recall: Option<Recalled>, out: &mut Output) {
        let Some(task) = self.tasks.get(&id) else { return };
        let to = task.waiters.clone();
        let attempt = Attempt { task: id, number: task.number };
        if let (Some(worker), Some(why)) = (task.worker(), recall.filter(|_| !is_planted("cancel without a recall"))) {
            self.recall(worker, attempt, why, out);
        }
        let count = match outcome.ending {
            Ending::Done { .. } => &mut self.counts.done,
            Ending::Failed { .. } | Ending::WorkerLost { .. } | Ending::Stalled { .. } => &mut self.counts.failed,
            Ending::DeadlineExceeded { .. } => &mut self.counts.deadline_exceeded,
            Ending::Cancelled { .. } => &mut self.counts.cancelled,
            Ending::NoWorkers { .. } => &mut self.counts.no_workers,
        };
        *count += u64::from(!is_planted("an end that is not counted"));
        let (outcome, at) = (Arc::new(outcome), now.max(Moment(self.last_end.0 + 1)));
        self.change(out, Record::Ended { task: id, outcome: outcome.clone(), at });
        if !to.is_empty() {
            out.effects.push(Effect::Ended { to, task: id, outcome });
        }
    }

    fn recall(&self, worker: WorkerId, attempt: Attempt, why: Recalled, out: &mut Output) {
        if let Some(here) = self.workers.get(&worker).and_then(|worker| worker.here.as_ref()) {
            out.effects.push(Effect::Recall { to: here.asker, attempt, why });
        }
    }

    fn unknown(&self, task: TaskId) -> Error {
        Error::UnknownTask { queue: self.name.to_string(), task }
    }

    fn invalid(&self, why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::Invalid { queue: self.name.to_string(), why: why.into() }
    }
}
