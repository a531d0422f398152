//! What records change.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::task::stored_bytes;
use super::{
    Carried, CarriedState, FETCHED_WITHIN, Kept, Moment, Outcome, Phase, Record, Scheduler, Spec, Task, TaskId, Timer,
};
use crate::planted::is_planted;
use crate::{Ending, WorkerId};

/// The payload is not kept any longer.
fn without_payload(mut spec: Arc<Spec>) -> Arc<Spec> {
    match Arc::get_mut(&mut spec) {
        Some(spec) => spec.payload = Bytes::new(),
        // It is a dead letter, or on its way to somebody.
        None => {
            let (options, owner) = (spec.options.clone(), spec.owner.clone());
            spec = Arc::new(Spec { payload: Bytes::new(), options, owner, ..*spec });
        }
    }
    spec
}

/// What is known of a task when it ends.
struct Past {
    spec: Arc<Spec>,
    sequence: u64,
    number: u32,
    spent: u32,
    detached: bool,
}

impl Scheduler {
    /// Does it. What is said of a task that is not there changes nothing: the beginning of what is stored may be gone, and all
    /// that is still there of such a task is stored again behind it.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Accepted { spec, sequence } => {
                if self.tasks.contains_key(&spec.id) {
                    return;
                }
                // The one of this id before was forgotten, which is not stored.
                self.forget(spec.id);
                let delay = spec.options.delay.filter(|_| !is_planted("delay ignored"));
                let until = delay.map(|delay| spec.submitted + delay);
                let detached = spec.options.detached;
                self.enter(Past { spec, sequence, number: 0, spent: 0, detached });
                if let Some(until) = until {
                    self.wait_until(sequence, until);
                }
            }
            Record::Begun { task, number, worker, owner, at } => {
                self.begin(task, number, worker, at, true);
                self.expect(worker, owner);
            }
            Record::Waits { task, spent, until } => {
                self.leave_phase(task);
                if let Some(found) = self.tasks.get_mut(&task) {
                    found.spent = spent;
                    let sequence = found.sequence;
                    self.enter_waiting(task);
                    if let Some(until) = until {
                        self.wait_until(sequence, until);
                    }
                }
            }
            Record::Ended { task, outcome, at } => {
                let Some(past) = self.remove(task) else { return };
                let is_dead = matches!(
                    outcome.ending,
                    Ending::Failed { .. } | Ending::WorkerLost { .. } | Ending::Stalled { .. }
                );
                if is_dead && !is_planted("no dead letter") && past.spec.options.is_kept_dead() {
                    self.bury(&past, outcome.clone(), at);
                }
                self.keep(past, outcome, at);
            }
            Record::Detached { task } => {
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.detached = true;
                } else if let Some(kept) = self.ended.get_mut(task) {
                    kept.detached = true;
                    self.keep_until(task);
                }
            }
            Record::Released { task } => {
                let Some(kept) = self.ended.get_mut(task) else { return };
                kept.released = true;
                self.keep_until(task);
                if self.ended.get(task).is_some_and(|kept| kept.until <= kept.at) {
                    self.forget(task);
                }
            }
            Record::DeadDropped { task } => {
                self.dead.take(task);
            }
            Record::Carried(carried) => self.carry(carried),
        }
    }

    fn carry(&mut self, Carried { spec, sequence, number, spent, detached, state }: Carried) {
        let id = spec.id;
        let past = Past { spec, sequence, number, spent, detached };
        match state {
            CarriedState::Dead { outcome, at } => self.bury(&past, outcome, at),
            CarriedState::Ended { outcome, at } => {
                self.remove(id);
                self.forget(id);
                self.keep(past, outcome, at);
            }
            CarriedState::Waits(until) => {
                self.remove(id);
                self.forget(id);
                self.enter(past);
                if let Some(until) = until {
                    self.wait_until(sequence, until);
                }
            }
            CarriedState::Begun { worker, owner, at } => {
                self.remove(id);
                self.forget(id);
                self.enter(past);
                self.begin(id, number, worker, at, false);
                self.expect(worker, owner);
            }
        }
    }

    /// A task that waits.
    fn enter(&mut self, Past { spec, sequence, number, spent, detached }: Past) {
        let (id, options) = (spec.id, &spec.options);
        let class = self.matching.enter_class(&options.tags, options.queueing);
        if let Some(key) = &options.idempotency_key {
            self.keys.insert((spec.owner.clone(), key.as_str().into()), id);
        }
        let phase = Phase::Waits;
        let waiters = Vec::new();
        let task = Task { spec, sequence, number, spent, detached, class, phase, waiters, orphaned: None };
        if let Some(at) = task.deadline() {
            self.timers.insert((at, Timer::Deadline(id)));
        }
        self.bytes += task.bytes();
        self.stored_bytes += stored_bytes(&task.spec);
        self.order.insert(sequence, id);
        self.sequence = self.sequence.max(sequence + 1);
        self.matching.wait(class, task.rank(), id);
        self.tasks.insert(id, Box::new(task));
    }

    fn enter_waiting(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.phase = Phase::Waits;
        if !is_planted("waits nowhere") {
            self.matching.wait(task.class, task.rank(), id);
        }
    }

    /// One that waits waits for a moment first.
    fn wait_until(&mut self, sequence: u64, until: Moment) {
        let Some(id) = self.order.get(&sequence).copied() else { return };
        self.leave_phase(id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.phase = Phase::Delayed { until };
        self.delayed += 1;
        self.timers.insert((until, Timer::Due(id)));
    }

    fn begin(&mut self, id: TaskId, number: u32, worker: WorkerId, at: Moment, counts: bool) {
        self.leave_phase(id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.number = number;
        task.spent += u32::from(counts && !is_planted("attempt never counted"));
        task.spent += u32::from(counts && is_planted("attempt counted twice"));
        let stalls = task.spec.options.stall_timeout.map(|timeout| at + timeout);
        task.phase = Phase::Runs { worker, since: at, heard: at, stalls };
        self.running += 1;
        if let Some(stalls) = stalls {
            self.timers.insert((stalls, Timer::Stalls(id)));
        }
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.running.insert(id);
        }
    }

    /// While records are applied again: whose the worker is that may come back.
    fn expect(&mut self, worker: WorkerId, owner: Arc<str>) {
        if !self.lives {
            self.owners.insert(worker, owner);
        }
    }

    /// It does nothing for a moment, and must be given something to do.
    pub(super) fn leave_phase(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        match task.phase {
            Phase::Waits => self.matching.wait_no_more(task.class, task.rank()),
            Phase::Delayed { until } => {
                self.timers.remove(&(until, Timer::Due(id)));
                self.delayed -= 1;
            }
            Phase::Runs { worker, stalls, .. } => {
                if let Some(stalls) = stalls {
                    self.timers.remove(&(stalls, Timer::Stalls(id)));
                }
                self.running -= 1;
                if let Some(found) = self.workers.get_mut(&worker).filter(|_| !is_planted("left with its worker")) {
                    found.running.remove(&id);
                    self.look_at_readiness(worker);
                }
            }
        }
    }

    /// It waited for a moment that has come.
    pub(super) fn become_due(&mut self, id: TaskId) {
        self.leave_phase(id);
        self.enter_waiting(id);
    }

    fn remove(&mut self, id: TaskId) -> Option<Past> {
        self.leave_phase(id);
        let task = self.tasks.remove(&id)?;
        self.order.remove(&task.sequence);
        self.matching.leave_class(task.class);
        if let Some(at) = task.deadline() {
            self.timers.remove(&(at, Timer::Deadline(id)));
        }
        if let Some(at) = task.orphaned {
            self.timers.remove(&(at, Timer::Orphaned(id)));
        }
        for waiter in &task.waiters {
            self.waits.remove(&(waiter.connection, id));
        }
        self.bytes -= task.bytes();
        self.stored_bytes -= stored_bytes(&task.spec);
        let Task { spec, sequence, number, spent, detached, .. } = *task;
        Some(Past { spec, sequence, number, spent, detached })
    }

    /// An outcome that can be fetched.
    fn keep(&mut self, past: Past, outcome: Arc<Outcome>, at: Moment) {
        let Past { spec, sequence, number, spent, detached } = past;
        let id = spec.id;
        let spec = without_payload(spec);
        if let Some(key) = &spec.options.idempotency_key {
            self.keys.insert((spec.owner.clone(), key.as_str().into()), id);
        }
        let kept = Kept { spec, sequence, number, spent, detached, released: false, outcome, at, until: at };
        self.sequence = self.sequence.max(sequence + 1);
        self.last_end = self.last_end.max(at);
        self.ended.put(kept);
        self.keep_until(id);
        self.limit_ended();
    }

    /// Forgets the oldest outcomes where there are too many. While records are applied again there may be more: what was
    /// forgotten at its time is among them, and must not push out what is kept for longer.
    fn limit_ended(&mut self) {
        let limits = self.config.limits;
        if !self.lives {
            return;
        }
        while self.ended.len() > limits.results_max || self.ended.bytes() > limits.results_bytes_max {
            let Some(oldest) = self.ended.oldest() else { break };
            self.forget(oldest);
            self.counts.results_forgotten += 1;
        }
    }

    /// Until when it can be fetched is told anew.
    pub(super) fn keep_until(&mut self, id: TaskId) {
        let Some(kept) = self.ended.get(id) else { return };
        let options = &kept.spec.options;
        let is_awaited = !kept.detached && !kept.released;
        let by_key = options.idempotency_key.as_ref().map(|_| self.config.idempotency_kept);
        let spans = [Some(options.result_kept(kept.detached)), is_awaited.then_some(FETCHED_WITHIN), by_key];
        let until = kept.at + spans.into_iter().flatten().max().unwrap_or_default();
        self.ended.keep_until(id, until);
    }

    pub(super) fn forget(&mut self, id: TaskId) {
        let Some(kept) = self.ended.take(id) else { return };
        if let Some(key) = &kept.spec.options.idempotency_key {
            let key = (kept.spec.owner.clone(), key.as_str().into());
            if self.keys.get(&key) == Some(&id) {
                self.keys.remove(&key);
            }
        }
    }

    fn bury(&mut self, past: &Past, outcome: Arc<Outcome>, at: Moment) {
        let Past { spec, sequence, number, spent, detached } = past;
        let until = at + self.config.dead_kept;
        self.dead.put(Kept {
            spec: spec.clone(),
            sequence: *sequence,
            number: *number,
            spent: *spent,
            detached: *detached,
            released: true,
            outcome,
            at,
            until,
        });
        self.last_end = self.last_end.max(at);
        self.limit_dead();
    }

    fn limit_dead(&mut self) {
        let limits = self.config.limits;
        if !self.lives {
            return;
        }
        while self.dead.len() > limits.dead_max || self.dead.bytes() > limits.dead_bytes_max {
            let Some(oldest) = self.dead.oldest() else { break };
            self.dead.take(oldest);
            self.counts.dead_forgotten += 1;
        }
    }

    /// All records have been applied again: what is over by now is forgotten, and what is more than there may be.
    pub(super) fn forget_what_is_over(&mut self, now: Moment) {
        self.forget_at(now);
        self.lives = true;
        self.limit_ended();
        self.limit_dead();
    }

    /// Bytes that everything would have on disk, if each thing was stored once; about.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes + self.ended.stored_bytes() + self.dead.stored_bytes()
    }

    /// Everything that there is of a task, as it would have to be stored again.
    pub(crate) fn carried(&self, id: TaskId) -> Vec<Record> {
        let kept = |kept: &Kept, state| Carried {
            spec: kept.spec.clone(),
            sequence: kept.sequence,
            number: kept.number,
            spent: kept.spent,
            detached: kept.detached,
            state,
        };
        let live = self.tasks.get(&id).map(|task| Carried {
            spec: task.spec.clone(),
            sequence: task.sequence,
            number: task.number,
            spent: if is_planted("attempts not carried") { 0 } else { task.spent },
            detached: task.detached,
            state: match task.phase {
                Phase::Waits => CarriedState::Waits(None),
                Phase::Delayed { until } => CarriedState::Waits(Some(until)),
                Phase::Runs { worker, since, .. } => {
                    let owner = self.workers.get(&worker).map(|worker| worker.owner.clone()).unwrap_or_default();
                    CarriedState::Begun { worker, owner, at: since }
                }
            },
        });
        let ended = self.ended.get(id);
        let ended = ended.map(|it| kept(it, CarriedState::Ended { outcome: it.outcome.clone(), at: it.at }));
        let dead = self.dead.get(id).filter(|_| !is_planted("dead letters not carried"));
        let dead = dead.map(|it| kept(it, CarriedState::Dead { outcome: it.outcome.clone(), at: it.at }));
        let mut records: Vec<_> = [live, ended, dead].into_iter().flatten().map(Record::Carried).collect();
        if self.ended.get(id).is_some_and(|kept| kept.released && !is_planted("release not carried")) {
            records.push(Record::Released { task: id });
        }
        records
    }

    /// The same of a task of which what is stored at this place in the order of acceptance goes; nothing where it is another
    /// by now, which is stored behind it.
    pub(crate) fn carried_from(&self, id: TaskId, sequence: Option<u64>) -> Vec<Record> {
        let records = self.carried(id);
        let is_meant = records.iter().any(|record| match record {
            Record::Carried(carried) => sequence.is_none_or(|sequence| carried.sequence == sequence),
            _ => false,
        });
        if is_meant { records } else { Vec::new() }
    }

    /// All tasks of which something is known.
    pub(crate) fn known(&self) -> BTreeSet<TaskId> {
        let live = self.tasks.keys().copied();
        let ended = self.ended.behind(None).map(|(_, kept)| kept.spec.id);
        let dead = self.dead.behind(None).map(|(_, kept)| kept.spec.id);
        live.chain(ended).chain(dead).collect()
    }
}
