//! A queue, what is stored of it, and the model beside it.

use sinew_testkit::random::Random;

use super::inside::{self, Lasting};
use super::model::Model;
use super::steps::{Back, Step};
use crate::scheduler::tests::*;

pub(super) struct World {
    scheduler: Scheduler,
    config: QueueConfig,
    now: Moment,
    model: Model,
    /// What there is on the disk.
    journal: Vec<Record>,
    /// Tasks that were submitted.
    tasks: u64,
    calls: u32,
    /// Attempts that were handed out, and to whom.
    handed: Vec<(Attempt, WorkerId)>,
    /// By worker: the connection it joined by last.
    connections: [u64; 3],
    next_connection: u64,
}

impl World {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self {
            scheduler: Scheduler::new("q", config.clone()),
            config,
            now: Moment(1_000_000_000),
            model: Model::new(),
            journal: Vec::new(),
            tasks: 0,
            calls: 0,
            handed: Vec::new(),
            connections: [101, 102, 103],
            next_connection: 200,
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Pass { millis } => self.pass(Duration::from_millis(millis)),
            Step::Restart => self.restart(),
            Step::Forward { part } => self.forward(part),
            step => {
                if let Some(input) = self.input(step) {
                    self.tell(input);
                }
            }
        }
        inside::check(&self.scheduler);
        self.model.check(&self.scheduler, self.now);
    }

    fn back(&self, back: Back) -> TaskId {
        task(self.tasks.saturating_sub(back as u64))
    }

    fn asker(&mut self, connection: u64) -> Asker {
        self.calls += 1;
        Asker { connection, call: self.calls }
    }

    /// What is said to a scheduler; nothing where no attempt was handed out yet.
    fn input(&mut self, step: Step) -> Option<Input> {
        let owner: Arc<str> = "ada".into();
        let connection = |this: &Self, worker: u64| this.connections[worker as usize];
        Some(match step {
            Step::Submit { client, again, options, bytes } => {
                let id = again.map_or_else(|| task(self.tasks + 1), |back| self.back(back));
                self.tasks += 1;
                // The same key goes with the same payload.
                let key = options.idempotency_key.clone();
                let payload = key.map_or_else(|| vec![bytes as u8; bytes], String::into_bytes).into();
                let spec = Spec { id, owner, submitted: Moment::default(), options, payload, fingerprint: 0 };
                Input::Submit { asker: self.asker(client), spec: spec.into() }
            }
            Step::Attach { client, task } => {
                Input::Attach { asker: self.asker(client), task: self.back(task), owner: Some(owner) }
            }
            Step::Detach { client, task } => {
                let task = self.back(task);
                let call = self.waiter(client, task);
                Input::Detach { asker: self.asker(client), call, task }
            }
            Step::Abandon { client, task } => {
                let task = self.back(task);
                Input::Abandon { asker: Asker { connection: client, call: self.waiter(client, task) }, task }
            }
            Step::Release { task } => Input::Release { task: self.back(task), owner },
            Step::Cancel { task } => {
                Input::Cancel { asker: Some(self.asker(9)), task: self.back(task), owner: Some(owner) }
            }
            Step::Gone { client } => Input::Gone { connection: client },
            Step::Join { worker: number, anew, credit, tags, brings } => {
                if anew {
                    self.next_connection += 1;
                    self.connections[number as usize] = self.next_connection;
                }
                let id = worker(number);
                let its = self.handed.iter().rev().filter(|(_, by)| *by == id).take(4).enumerate();
                let held = its.filter(|(at, _)| brings & 1 << at != 0).map(|(_, (attempt, _))| *attempt).collect();
                let spec = WorkerSpec { id, owner: "bob".into(), name: "w".into(), tags, credit };
                Input::Join {
                    asker: Asker { connection: connection(self, number), call: 1 },
                    worker: spec.into(),
                    held,
                }
            }
            Step::Renew { worker: number } => Input::Renew { worker: worker(number) },
            Step::Cut { worker: number } => Input::Cut { worker: worker(number), connection: connection(self, number) },
            Step::Drain { worker: number } => Input::Drain { worker: worker(number) },
            Step::Resign { worker: number } => {
                Input::Resign { worker: worker(number), connection: connection(self, number) }
            }
            Step::Leave { worker: number } => {
                Input::Leave { worker: worker(number), connection: connection(self, number) }
            }
            Step::Report { handed, by_another, report } => {
                let (attempt, by) = *self.handed.iter().rev().nth(handed)?;
                let by = if by_another { worker(1) } else { by };
                Input::Report { asker: self.asker(99), worker: by, attempt, report }
            }
            Step::Progress { handed } => {
                let (attempt, worker) = *self.handed.iter().rev().nth(handed)?;
                Input::Progress { worker, attempt, data: Bytes::from_static(b"half") }
            }
            Step::RetryDead { task: back } => {
                let dead = self.back(back);
                self.tasks += 1;
                Input::RetryDead { asker: self.asker(9), task: dead, as_task: task(self.tasks) }
            }
            Step::DropDead { task } => Input::DropDead { asker: self.asker(9), task: self.back(task) },
            Step::Pass { .. } | Step::Restart | Step::Forward { .. } => return None,
        })
    }

    /// A call of a client that waits for a task.
    fn waiter(&self, client: u64, id: TaskId) -> u32 {
        let waiters = self.scheduler.tasks.get(&id).map_or(&[][..], |task| &task.waiters);
        waiters.iter().find(|waiter| waiter.connection == client).map_or(0, |waiter| waiter.call)
    }

    fn tell(&mut self, input: Input) {
        self.model.hear(&input, self.now, self.config.lease);
        let mut out = Output { records: Some(Vec::new()), effects: Vec::new() };
        self.scheduler.handle(self.now, vec![input], &mut out);
        self.follow(out);
    }

    fn follow(&mut self, out: Output) {
        let records = out.records.expect("it was asked for");
        records.iter().for_each(|record| self.model.follow(record));
        self.journal.extend(records);
        for effect in out.effects {
            self.model.hear_effect(&effect);
            if let Effect::Assign { worker, spec, number, .. } = effect {
                self.handed.push((Attempt { task: spec.id, number }, worker));
            }
        }
    }

    /// Time passes, and what is due is done on the way.
    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(at) = self.scheduler.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.model.at(self.now);
            let mut out = Output { records: Some(Vec::new()), effects: Vec::new() };
            self.scheduler.handle_timeout(self.now, &mut out);
            self.follow(out);
        }
        self.now = until;
        self.model.at(self.now);
    }

    /// What is stored makes the same queue again.
    fn restart(&mut self) {
        // What has been kept for long enough is forgotten with the next thing that is due.
        self.pass(Duration::ZERO);
        let was = Lasting::of(&self.scheduler, self.now);
        let mut scheduler = Scheduler::new("q", self.config.clone());
        self.journal.iter().for_each(|record| scheduler.apply(record.clone()));
        scheduler.recovered(self.now);
        let is = Lasting::of(&scheduler, self.now);
        if self.config.limits.results_max == QueueConfig::default().limits.results_max {
            assert_eq!(is, was, "records make the same queue");
        } else {
            // What was forgotten for want of room may be there again, where there is room by now.
            assert!(was.is_within(&is), "records make the same queue:\n{is:#?}\n{was:#?}");
        }
        self.scheduler = scheduler;
        self.model.restart(self.now, self.config.lease);
    }

    /// So much is copied forward, and goes.
    fn forward(&mut self, part: usize) {
        let goes = self.journal.len() * part / 100;
        let (mut seen, mut again) = (BTreeSet::new(), Vec::new());
        for record in &self.journal[..goes] {
            let (id, sequence) = match record {
                Record::Accepted { spec, sequence } => (spec.id, *sequence),
                Record::Carried(carried) => (carried.spec.id, carried.sequence),
                _ => continue,
            };
            if seen.insert((id, sequence)) {
                again.extend(self.scheduler.carried_from(id, Some(sequence)));
            }
        }
        self.journal.extend(again);
        self.journal.drain(..goes);
    }

    /// What is carried of all tasks, in any order, makes the same queue; and of others nothing is.
    pub(super) fn check_carried(mut self, seed: u64) {
        self.pass(Duration::ZERO);
        let was = Lasting::of(&self.scheduler, self.now);
        let known = was.ids();
        assert_eq!(self.scheduler.known(), known, "known is what there is");
        for number in 0..=self.tasks {
            let id = task(number);
            let carried = self.scheduler.carried(id);
            assert_eq!(
                carried.is_empty(),
                !known.contains(&id),
                "carried makes the same queue, and is what there is of {id}: {carried:?}"
            );
        }
        let mut of_tasks: Vec<Vec<Record>> = known.into_iter().map(|id| self.scheduler.carried(id)).collect();
        let mut random = Random::new(seed);
        for at in (1..of_tasks.len()).rev() {
            of_tasks.swap(at, random.below(at + 1));
        }
        let mut scheduler = Scheduler::new("q", self.config.clone());
        of_tasks.into_iter().flatten().for_each(|record| scheduler.apply(record));
        scheduler.recovered(self.now);
        assert_eq!(Lasting::of(&scheduler, self.now), was, "carried makes the same queue");
        self.restart();
    }
}
