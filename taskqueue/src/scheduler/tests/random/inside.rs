//! A scheduler from inside: that everything in it agrees, and all of it that lasts, to be compared.

use crate::scheduler::tests::*;

/// All that lasts of a queue: what is the same after a restart at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    pub(super) live: BTreeMap<TaskId, String>,
    pub(super) ended: BTreeMap<TaskId, String>,
    pub(super) dead: BTreeMap<TaskId, String>,
    keys: BTreeMap<(String, String), TaskId>,
    /// In the order of their ends.
    orders: [Vec<TaskId>; 2],
}

impl Lasting {
    pub(super) fn of(scheduler: &Scheduler, now: Moment) -> Self {
        let live = scheduler.tasks.iter().map(|(id, task)| {
            let Task { spec, sequence, number, spent, detached, .. } = &**task;
            let phase = match task.phase {
                Phase::Delayed { until } if until > now => format!("until {until:?}"),
                Phase::Runs { worker, since, .. } => format!("by {worker} since {since:?}"),
                Phase::Waits | Phase::Delayed { .. } => "waits".to_owned(),
            };
            (*id, format!("{phase}, {sequence}, {number}, {spent}, {detached}, {spec:?}"))
        });
        let shelf = |shelf: &Shelf| shelf.behind(None).map(|(_, kept)| (kept.spec.id, format!("{kept:?}"))).collect();
        let order = |shelf: &Shelf| shelf.behind(None).map(|(_, kept)| kept.spec.id).collect();
        Self {
            live: live.collect(),
            ended: shelf(&scheduler.ended),
            dead: shelf(&scheduler.dead),
            keys: scheduler.keys.iter().map(|((owner, key), id)| ((owner.to_string(), key.to_string()), *id)).collect(),
            orders: [order(&scheduler.ended), order(&scheduler.dead)],
        }
    }

    /// Whether everything of it is in another one, which has nothing more but what had been forgotten.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let is_in = |some: &BTreeMap<TaskId, String>, all: &BTreeMap<TaskId, String>| {
            some.iter().all(|(id, text)| all.get(id) == Some(text))
        };
        self.live == other.live && is_in(&self.ended, &other.ended) && is_in(&self.dead, &other.dead)
    }

    pub(super) fn ids(&self) -> BTreeSet<TaskId> {
        [&self.live, &self.ended, &self.dead].into_iter().flat_map(BTreeMap::keys).copied().collect()
    }
}

/// That each task is in one phase, with one worker, and that every count and every timer is that of what there is.
pub(super) fn check(scheduler: &Scheduler) {
    let (mut waiting, mut delayed, mut running, mut bytes) = (BTreeSet::new(), 0, BTreeSet::new(), 0);
    let (mut timers, mut waits, mut order) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for (id, task) in &scheduler.tasks {
        assert!(scheduler.ended.get(*id).is_none(), "one phase: {id} is there and has ended");
        match task.phase {
            Phase::Waits => assert!(waiting.insert((task.class, task.rank(), *id))),
            Phase::Delayed { until } => {
                delayed += 1;
                timers.insert((until, Timer::Due(*id)));
            }
            Phase::Runs { worker, stalls, .. } => {
                assert!(running.insert((worker, *id)));
                timers.extend(stalls.map(|at| (at, Timer::Stalls(*id))));
            }
        }
        timers.extend(task.deadline().map(|at| (at, Timer::Deadline(*id))));
        timers.extend(task.orphaned.map(|at| (at, Timer::Orphaned(*id))));
        waits.extend(task.waiters.iter().map(|waiter| (waiter.connection, *id)));
        assert!(order.insert(task.sequence, *id).is_none(), "one place: {id}");
        bytes += task.spec.payload.len() as u64;
    }
    assert_eq!(scheduler.matching.all_waiting(), waiting, "one phase: those that stand for a worker wait for one");
    let (mut with_workers, mut ready) = (BTreeSet::new(), BTreeSet::new());
    for (id, worker) in &scheduler.workers {
        with_workers.extend(worker.running.iter().map(|task| (*id, *task)));
        timers.insert((worker.looked, Timer::Lease(*id)));
        if let Some(here) = worker.here.as_ref().filter(|here| here.ready) {
            assert!(worker.takes(), "ready: {id}");
            ready.insert((here.offer, here.served, *id));
        }
    }
    assert_eq!(with_workers, running, "one worker: each attempt is with who has it, and nobody else");
    assert_eq!(scheduler.matching.all_ready(), ready, "ready: those who stand there are");
    timers.extend(scheduler.settles.map(|at| (at, Timer::Settles)));
    assert_eq!(scheduler.timers, timers, "each timer is somebody's");
    assert_eq!((&scheduler.waits, &scheduler.order), (&waits, &order), "waits and order are those of the tasks");
    let counted = (waiting.len() as u64, scheduler.delayed, scheduler.running, scheduler.bytes);
    assert_eq!(counted, (scheduler.matching.waiting(), delayed, running.len() as u64, bytes), "counts add up");
    for ((_, key), id) in &scheduler.keys {
        let spec = scheduler.tasks.get(id).map(|task| &task.spec);
        let spec = spec.or_else(|| scheduler.ended.get(*id).map(|kept| &kept.spec));
        let found = spec.and_then(|spec| spec.options.idempotency_key.as_deref());
        assert_eq!(found, Some(&**key), "a key is that of a task that is known");
    }
}
