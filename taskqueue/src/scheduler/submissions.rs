//! What those who submit tasks ask for.

use std::sync::Arc;

use super::{Answer, Asker, Effect, Kept, Output, Phase, Recalled, Record, Scheduler, Spec, Timer};
use crate::{Ending, Error, Moment, Outcome, Result, TaskId};

/// Calls that wait for one task, at most.
pub(super) const WAITERS_MAX: usize = 1_024;

impl Scheduler {
    pub(super) fn submit(&mut self, now: Moment, asker: Asker, mut spec: Arc<Spec>, out: &mut Output) {
        match self.judge(now, Arc::make_mut(&mut spec)) {
            Err(error) => out.answer(asker, Err(error)),
            Ok(Some(there)) => self.hear(asker, there, out),
            Ok(None) => {
                let id = spec.id;
                self.accept(now, spec, out);
                self.wait_for(asker, id);
                out.answer(asker, Ok(Answer::Accepted { task: id, duplicate: false }));
            }
        }
    }

    fn accept(&mut self, now: Moment, mut spec: Arc<Spec>, out: &mut Output) {
        Arc::make_mut(&mut spec).submitted = now;
        self.counts.accepted += 1;
        self.change(out, Record::Accepted { spec, sequence: self.sequence });
    }

    /// Whether it can be taken; or the task that it is already.
    fn judge(&self, now: Moment, spec: &mut Spec) -> Result<Option<TaskId>> {
        self.check_spec(spec)?;
        if let Some(owner) = self.owner(spec.id) {
            let same = **owner == *spec.owner;
            return if same { Ok(Some(spec.id)) } else { Err(self.taken("this id".into())) };
        }
        if let Some(key) = &spec.options.idempotency_key {
            spec.fingerprint = crc32c::crc32c(&spec.payload);
            if let Some(task) = self.keys.get(&(spec.owner.clone(), key.as_str().into())) {
                let known = self.tasks.get(task).map(|task| task.spec.fingerprint);
                let known = known.or_else(|| self.ended.get(*task).map(|kept| kept.spec.fingerprint));
                let same = known == Some(spec.fingerprint);
                let taken = || self.taken(format!("idempotency key `{key}` and another payload"));
                return if same { Ok(Some(*task)) } else { Err(taken()) };
            }
        }
        self.has_room_for(spec)?;
        let options = &spec.options;
        let may_wait = options.queueing || options.delay.is_some() || self.settles.is_some_and(|at| now < at);
        if !may_wait && !self.matching.is_anyone_able(&options.tags) {
            return Err(Error::NoWorkers { queue: self.name.to_string(), tags: options.tags.clone() });
        }
        Ok(None)
    }

    fn has_room_for(&self, spec: &Spec) -> Result<()> {
        let limits = &self.config.limits;
        let full = |what: &'static str, max| Err(Error::Full { queue: self.name.to_string(), what: what.into(), max });
        if self.tasks.len() as u64 >= limits.tasks_max {
            return full("tasks", limits.tasks_max);
        }
        if self.bytes + spec.payload.len() as u64 > limits.bytes_max {
            return full("bytes of payloads", limits.bytes_max);
        }
        if !self.matching.has_room(&spec.options.tags, spec.options.queueing) {
            return full("different sets of tags", super::TAG_SETS_MAX as u64);
        }
        Ok(())
    }

    fn taken(&self, what: String) -> Error {
        Error::TaskExists { queue: self.name.to_string(), what }
    }

    /// Whose task it is, if it is known.
    fn owner(&self, task: TaskId) -> Option<&Arc<str>> {
        let live = self.tasks.get(&task).map(|task| &task.spec.owner);
        live.or_else(|| self.ended.get(task).map(|kept| &kept.spec.owner))
    }

    fn check_owner(&self, task: TaskId, owner: Option<&str>) -> Result<()> {
        let is = self.owner(task).ok_or_else(|| self.unknown(task))?;
        let fits = owner.is_none_or(|owner| **is == *owner);
        if fits { Ok(()) } else { Err(Error::NotYours { queue: self.name.to_string(), task }) }
    }

    fn wait_for(&mut self, asker: Asker, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if let Some(at) = task.orphaned.take() {
            self.timers.remove(&(at, Timer::Orphaned(id)));
        }
        if !task.waiters.contains(&asker) {
            if task.waiters.is_empty() {
                // Almost always it is the only one.
                task.waiters.reserve_exact(1);
            }
            task.waiters.push(asker);
            self.waits.insert((asker.connection, id));
        }
    }

    /// Somebody hears of a task that is known: now, if it has ended.
    fn hear(&mut self, asker: Asker, id: TaskId, out: &mut Output) {
        if self.tasks.get(&id).is_some_and(|task| task.waiters.len() >= WAITERS_MAX && !task.waiters.contains(&asker)) {
            let (what, max) = ("calls that wait for one task".into(), WAITERS_MAX as u64);
            return out.answer(asker, Err(Error::Full { queue: self.name.to_string(), what, max }));
        }
        self.wait_for(asker, id);
        out.answer(asker, Ok(Answer::Accepted { task: id, duplicate: true }));
        if let Some(Kept { outcome, .. }) = self.ended.get(id) {
            out.effects.push(Effect::Ended { to: vec![asker], task: id, outcome: outcome.clone() });
        }
    }

    pub(super) fn attach(&mut self, asker: Asker, task: TaskId, owner: Option<&str>, out: &mut Output) {
        match self.check_owner(task, owner) {
            Ok(()) => self.hear(asker, task, out),
            Err(error) => out.answer(asker, Err(error)),
        }
    }

    pub(super) fn detach(&mut self, asker: Asker, call: u32, id: TaskId, out: &mut Output) {
        let waiter = Asker { connection: asker.connection, call };
        if let Some(task) = self.tasks.get_mut(&id) {
            let Some(at) = task.waiters.iter().position(|each| *each == waiter) else {
                return out.answer(asker, Err(self.unknown(id)));
            };
            task.waiters.remove(at);
            if task.waiters.iter().all(|each| each.connection != waiter.connection) {
                self.waits.remove(&(waiter.connection, id));
            }
            if !task.detached {
                self.change(out, Record::Detached { task: id });
            }
            return out.answer(asker, Ok(Answer::Settled { late: false }));
        }
        let Some(kept) = self.ended.get(id) else { return out.answer(asker, Err(self.unknown(id))) };
        if !kept.detached {
            self.change(out, Record::Detached { task: id });
        }
        out.answer(asker, Ok(Answer::Settled { late: true }));
    }

    pub(super) fn release(&mut self, now: Moment, id: TaskId, owner: &str, out: &mut Output) {
        let kept = self.ended.get(id).filter(|kept| *kept.spec.owner == *owner && !kept.released);
        if kept.is_none() {
            return;
        }
        self.change(out, Record::Released { task: id });
        if self.ended.get(id).is_some_and(|kept| kept.until <= now) {
            self.forget(id);
        }
    }

    pub(super) fn cancel(
        &mut self,
        now: Moment,
        asker: Option<Asker>,
        task: TaskId,
        owner: Option<&str>,
        out: &mut Output,
    ) {
        let checked = self.check_owner(task, owner);
        let had_ended = !self.tasks.contains_key(&task);
        if checked.is_ok() && !had_ended {
            self.end_cancelled(now, task, out);
        }
        if let Some(asker) = asker {
            out.answer(asker, checked.map(|()| Answer::Cancelled { had_ended }));
        }
    }

    pub(super) fn end_cancelled(&mut self, now: Moment, task: TaskId, out: &mut Output) {
        let attempts = self.tasks.get(&task).map_or(0, |task| task.number);
        self.end(now, task, Outcome::of(Ending::Cancelled { attempts }), Some(Recalled::Cancelled), out);
    }

    pub(super) fn abandon(&mut self, now: Moment, waiter: Asker, id: TaskId, out: &mut Output) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(at) = task.waiters.iter().position(|each| *each == waiter) else { return };
        task.waiters.remove(at);
        if task.waiters.iter().all(|each| each.connection != waiter.connection) {
            self.waits.remove(&(waiter.connection, id));
        }
        let is_alone = task.waiters.is_empty() && !task.detached;
        if is_alone {
            self.end_cancelled(now, id, out);
        }
    }

    pub(super) fn gone(&mut self, now: Moment, connection: u64, out: &mut Output) {
        let first = (connection, TaskId::from_bytes([0; 16]));
        let last = (connection, TaskId::from_bytes([0xff; 16]));
        let awaited: Vec<TaskId> = self.waits.range(first..=last).map(|(_, task)| *task).collect();
        for id in awaited {
            self.waits.remove(&(connection, id));
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.waiters.retain(|waiter| waiter.connection != connection);
            if task.waiters.is_empty() && !task.detached {
                self.end_cancelled(now, id, out);
            }
        }
    }

    pub(super) fn retry_dead(&mut self, now: Moment, asker: Asker, id: TaskId, as_task: TaskId, out: &mut Output) {
        let Some(kept) = self.dead.get(id) else {
            return out.answer(asker, Err(Error::UnknownDeadLetter { queue: self.name.to_string(), task: id }));
        };
        let mut spec = Spec { id: as_task, ..(*kept.spec).clone() };
        // Nobody waits for it, so it waits for a worker and goes on by itself; another of the same key may be under way.
        (spec.options.queueing, spec.options.detached) = (true, true);
        (spec.options.delay, spec.options.idempotency_key) = (None, None);
        match self.judge(now, &mut spec) {
            Err(error) => out.answer(asker, Err(error)),
            Ok(Some(_)) => out.answer(asker, Err(self.taken("this id".into()))),
            Ok(None) => {
                self.accept(now, Arc::new(spec), out);
                self.change(out, Record::DeadDropped { task: id });
                out.answer(asker, Ok(Answer::Accepted { task: as_task, duplicate: false }));
            }
        }
    }

    pub(super) fn drop_dead(&mut self, asker: Asker, task: TaskId, out: &mut Output) {
        if self.dead.get(task).is_none() {
            return out.answer(asker, Err(Error::UnknownDeadLetter { queue: self.name.to_string(), task }));
        }
        self.change(out, Record::DeadDropped { task });
        out.answer(asker, Ok(Answer::Settled { late: false }));
    }

    /// Those that must not wait for a worker to come, and that nobody could do any more.
    pub(super) fn strand(&mut self, now: Moment, out: &mut Output) {
        if self.settles.is_some_and(|at| now < at) {
            return;
        }
        for task in self.matching.stranded() {
            self.end_stranded(now, task, out);
        }
    }

    pub(super) fn end_stranded(&mut self, now: Moment, id: TaskId, out: &mut Output) {
        let Some(task) = self.tasks.get(&id).filter(|task| task.phase == Phase::Waits) else { return };
        let ending = Ending::NoWorkers { attempts: task.number };
        self.end(now, id, Outcome::of(ending), None, out);
    }
}
