//! A small model: it follows what is said and what is stored, and knows by a few rules of its own what may come of it.

use crate::scheduler::tests::*;

/// A task that has not ended.
#[derive(Debug)]
struct Followed {
    spec: Arc<Spec>,
    number: u32,
    spent: u32,
    by: Option<WorkerId>,
    /// Not before.
    until: Moment,
}

#[derive(Clone, Debug)]
struct Present {
    /// `None`: it had tasks before a restart, and has not come back.
    spec: Option<WorkerSpec>,
    connection: u64,
    takes: bool,
    lease: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    tasks: BTreeMap<TaskId, Followed>,
    workers: BTreeMap<WorkerId, Present>,
    /// Since the last start: tasks that were there, that were accepted and that have ended; attempts, and late reports.
    there: u64,
    accepted: u64,
    ended: u64,
    attempts: u64,
    late: u64,
    /// The workers' next attempts that are handed back count as none.
    hands_back: bool,
}

impl Model {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn has(&self, worker: WorkerId) -> u32 {
        self.tasks.values().filter(|task| task.by == Some(worker)).count() as u32
    }

    fn is_here(&self, worker: WorkerId, connection: u64) -> bool {
        self.workers.get(&worker).is_some_and(|found| found.spec.is_some() && found.connection == connection)
    }

    /// Whoever it does not hear of is gone by then.
    pub(super) fn at(&mut self, now: Moment) {
        self.workers.retain(|_, worker| worker.lease > now);
        self.hands_back = false;
    }

    fn renew(&mut self, worker: WorkerId, until: Moment) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.lease = worker.lease.max(until);
        }
    }

    /// Before it is told to the scheduler.
    pub(super) fn hear(&mut self, input: &Input, now: Moment, lease: Duration) {
        self.at(now);
        match input {
            Input::Join { asker, worker, .. } => {
                self.hands_back = true;
                let (connection, lease) = (asker.connection, now + lease);
                let present = Present { spec: Some((**worker).clone()), connection, takes: true, lease };
                self.workers.insert(worker.id, present);
            }
            Input::Renew { worker } | Input::Progress { worker, .. } => self.renew(*worker, now + lease),
            Input::Report { worker, report, attempt, .. } => {
                self.renew(*worker, now + lease);
                self.hands_back = matches!(report, Report::HandedBack);
                let is_its = |task: &Followed| task.by == Some(*worker) && task.number == attempt.number;
                self.late += u64::from(!self.tasks.get(&attempt.task).is_some_and(is_its));
            }
            Input::Cut { worker, connection } => {
                if let Some(worker) = self.workers.get_mut(worker).filter(|worker| worker.connection == *connection) {
                    worker.takes = false;
                }
            }
            Input::Drain { worker } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.takes = false;
                }
            }
            Input::Resign { worker, connection } | Input::Leave { worker, connection } => {
                self.hands_back = matches!(input, Input::Resign { .. });
                if self.is_here(*worker, *connection) {
                    self.workers.remove(worker);
                }
            }
            _ => {}
        }
    }

    /// What is stored of it.
    pub(super) fn follow(&mut self, record: &Record) {
        match record {
            Record::Accepted { spec, .. } => {
                self.accepted += 1;
                let until = spec.submitted + spec.options.delay.unwrap_or_default();
                let task = Followed { spec: spec.clone(), number: 0, spent: 0, by: None, until };
                assert!(self.tasks.insert(spec.id, task).is_none(), "accepted once: {}", spec.id);
            }
            Record::Begun { task: id, number, worker, at, .. } => self.begin(*id, *number, *worker, *at),
            Record::Waits { task, spent, until } => {
                let found = self.tasks.get_mut(task).expect("one that is there waits");
                assert!(found.by.take().is_some(), "one phase: {task} was under way");
                found.spent -= u32::from(self.hands_back);
                assert_eq!(*spent, found.spent, "attempts that count: those of {task}");
                found.until = until.unwrap_or_default();
            }
            Record::Ended { task, .. } => {
                self.ended += 1;
                assert!(self.tasks.remove(task).is_some(), "ended once: {task}");
            }
            _ => {}
        }
    }

    fn begin(&mut self, id: TaskId, number: u32, worker: WorkerId, at: Moment) {
        let has = self.has(worker);
        let found = self.tasks.get_mut(&id).expect("one that is there is begun");
        assert_eq!(found.by, None, "one worker: {id} is under way already");
        assert!(number > found.number, "a number of its own: {number} of {id}, after {}", found.number);
        assert!(at >= found.until, "not before its time: {id} at {at:?}");
        let present = self.workers.get(&worker).filter(|worker| worker.takes).expect("to one who takes some");
        let spec = present.spec.as_ref().expect("who has not come back takes none");
        assert!(has < spec.credit, "within its credit: {worker} has {has} and takes {}", spec.credit);
        let needs = &found.spec.options.tags;
        assert!(needs.iter().all(|tag| spec.tags.contains(tag)), "to who has its tags: {needs:?} to {:?}", spec.tags);
        (found.number, found.spent, found.by) = (number, found.spent + 1, Some(worker));
        assert!(found.spent <= found.spec.options.attempts_max, "attempts that count: so many at most, {id}");
        self.attempts += 1;
    }

    /// What is let out.
    pub(super) fn hear_effect(&self, effect: &Effect) {
        match effect {
            Effect::Assign { to, worker, spec, number, .. } => {
                let is_so = self.tasks.get(&spec.id).map(|task| (task.by, task.number));
                assert_eq!(is_so, Some((Some(*worker), *number)), "what is handed out is stored");
                assert!(self.is_here(*worker, to.connection), "to who is here");
            }
            Effect::Ended { task, .. } => assert!(!self.tasks.contains_key(task), "what has ended is over"),
            _ => {}
        }
    }

    /// The server has started again: those who had tasks may come back.
    pub(super) fn restart(&mut self, now: Moment, lease: Duration) {
        self.workers.clear();
        let lease = now + lease;
        for worker in self.tasks.values().filter_map(|task| task.by) {
            self.workers.insert(worker, Present { spec: None, connection: 0, takes: false, lease });
        }
        (self.there, self.accepted, self.ended) = (self.tasks.len() as u64, 0, 0);
        (self.attempts, self.late) = (0, 0);
    }

    /// Whether the scheduler says the same.
    pub(super) fn check(&self, scheduler: &Scheduler, now: Moment) {
        let info = scheduler.info(Level::Memory, 0);
        let counts = info.counts;
        assert_eq!(counts.late, self.late, "late reports count no more, and are counted");
        let told = |task: &Task| (task.number, task.spent, task.worker());
        let found: BTreeMap<_, _> = scheduler.tasks.iter().map(|(id, task)| (*id, told(task))).collect();
        let known = self.tasks.iter().map(|(id, task)| (*id, (task.number, task.spent, task.by))).collect();
        assert_eq!(found, known, "each task is where it was put, with the attempts that count");
        let is_over = counts.done + counts.failed + counts.cancelled + counts.deadline_exceeded + counts.no_workers;
        let there = info.waiting + info.delayed + info.running;
        assert_eq!(self.there + counts.accepted, there + is_over, "counts add up: accepted, there and ended");
        let counted = (counts.accepted, is_over, counts.attempts, info.running);
        let running = self.tasks.values().filter(|task| task.by.is_some()).count() as u64;
        assert_eq!(counted, (self.accepted, self.ended, self.attempts, running), "counts add up");
        let workers: Vec<_> = scheduler.workers.keys().collect();
        assert_eq!(workers, self.workers.keys().collect::<Vec<_>>(), "workers are there for their lease");
        for (id, task) in &self.tasks {
            let waits = task.by.is_none() && task.until <= now;
            let takes = |(id, worker): (&WorkerId, &Present)| {
                let spec = worker.spec.as_ref().filter(|spec| worker.takes && self.has(*id) < spec.credit);
                spec.is_some_and(|spec| task.spec.options.tags.iter().all(|tag| spec.tags.contains(tag)))
            };
            assert!(!waits || !self.workers.iter().any(takes), "nothing waits that could be done: {id}");
        }
    }
}
