//! One life of a queue, which follows from a seed: tasks come, are worked on, fail, are cancelled, forgotten and copied
//! forward, and the server is stopped and killed. What was let out when, and what had been said by then, is kept.

use std::collections::BTreeSet;

use super::view::{Kind, View};
use super::*;
use crate::QueueLimits;
use crate::shell::Made;

/// Few outcomes and dead letters are kept.
pub(super) fn config() -> QueueConfig {
    let limits = QueueLimits { results_max: 6, dead_max: 4, ..QueueLimits::default() };
    QueueConfig { limits, idempotency_kept: Duration::from_secs(200), ..QueueConfig::default() }
}

/// From one start to the next.
pub(super) struct Run {
    /// How much had happened to the disk when it began.
    pub(super) began: usize,
    /// What was stored by then.
    pub(super) base: Vec<Record>,
    pub(super) made: Made,
    /// How many records there were of it at what time of the disk, and what was kept then.
    noted: Vec<Noted>,
    /// When each effect was let out.
    pub(super) heard: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Noted {
    at: usize,
    now: Moment,
    records: usize,
    kept: BTreeSet<(TaskId, Kind)>,
}

impl Run {
    /// What the wall clock showed, at the latest, at a moment of the disk.
    pub(super) fn wall(&self, moment: usize) -> Moment {
        self.noted.iter().rev().find(|noted| noted.at <= moment).map_or(Moment(0), |noted| noted.now)
    }

    /// What is kept once there are so many records.
    pub(super) fn kept(&self, count: usize) -> BTreeSet<(TaskId, Kind)> {
        let count = count - self.base.len();
        let least = self.noted.iter().map(|noted| noted.records).filter(|records| *records >= count).min();
        let last = self.noted.iter().rev().find(|noted| Some(noted.records) == least);
        last.map(|noted| noted.kept.clone()).unwrap_or_default()
    }

    /// How many records must be there, and how many may be, after a crash at this moment.
    pub(super) fn bounds(&self, moment: usize) -> (usize, usize) {
        let heard = self.heard.iter().filter(|at| **at <= moment).count();
        let least = match heard {
            0 => 0,
            heard => self.made.marks.iter().find(|(effects, _)| *effects >= heard).expect("it was made").1,
        };
        let most = self.noted.iter().filter(|noted| noted.at < moment).map(|noted| noted.records).max();
        (self.base.len() + least, self.base.len() + most.unwrap_or(0).max(least))
    }

    pub(super) fn records(&self, count: usize) -> Vec<Record> {
        self.base.iter().chain(&self.made.records).take(count).cloned().collect()
    }
}

/// One life.
pub(super) struct Life {
    pub(super) seed: u64,
    pub(super) disk: SimulatedDisk,
    pub(super) runs: Vec<Run>,
    /// When the queue was there.
    pub(super) created: usize,
    /// Segments that were copied forward.
    pub(super) carried: usize,
    pub(super) steps: Vec<String>,
    /// A failure has ended it.
    pub(super) has_ended: bool,
}

pub(super) struct Living {
    pub(super) life: Life,
    born: tokio::time::Instant,
    dice: Dice,
    pub(super) engine: JournalEngine,
    pub(super) queue: Arc<StoredQueue>,
    pub(super) heard: Arc<Heard>,
    base: Vec<Record>,
    began: usize,
    noted: Vec<Noted>,
    tasks: u64,
    calls: u32,
}

impl Living {
    /// Just made, with nobody there yet.
    pub(super) fn new(seed: u64) -> Self {
        let (disk, born) = (SimulatedDisk::new(seed), tokio::time::Instant::now());
        let engine = engine_on(&disk, move || Moment(START) + born.elapsed()).expect("opened");
        engine.create_now(&name("q"), &config()).expect("created");
        let (queue, heard) = (engine.opened(&name("q")).expect("opened"), Heard::new(&disk));
        queue.shell.listen(heard.clone());
        let created = disk.moment();
        let life = Life { seed, disk, runs: vec![], created, carried: 0, steps: vec![], has_ended: false };
        let dice = Dice::new(seed);
        let (base, noted) = (Vec::new(), Vec::new());
        Self { life, born, dice, engine, queue, heard, base, began: 0, noted, tasks: 0, calls: 0 }
    }

    fn note(&mut self, what: String) {
        let moment = self.life.disk.moment();
        self.life.steps.push(format!("{moment:6}: {what}"));
    }

    fn noted_made(&mut self, before: usize) {
        let records = self.queue.shell.made().records.len();
        let kept = self.view().kept();
        self.noted.push(Noted { at: before, now: self.queue.shell.now(), records, kept });
    }

    /// What it has now.
    pub(super) fn view(&self) -> View {
        let now = self.queue.shell.now();
        self.queue.shell.look(|scheduler| View::of(scheduler, now))
    }

    fn tell(&mut self, inputs: Vec<Input>) {
        self.note(format!("{inputs:.400?}"));
        let before = self.life.disk.moment();
        self.queue.shell.tell(inputs);
        self.noted_made(before);
    }

    fn asker(&mut self) -> Asker {
        self.calls += 1;
        client(1 + self.dice.below(3) as u64, self.calls)
    }

    /// One that was submitted, rather a new one.
    fn some_task(&mut self) -> TaskId {
        let back = self.dice.below(self.tasks.min(12) as usize + 1) as u64;
        task(self.tasks.saturating_sub(back))
    }

    fn some_options(&mut self) -> (TaskOptions, Option<u64>) {
        let dice = &mut self.dice;
        let key = dice.percent(25).then(|| dice.below(4) as u64);
        let options = TaskOptions {
            priority: [100, 100, 7][dice.below(3)],
            delay: dice.percent(15).then(|| Duration::from_secs(dice.below(40) as u64)),
            deadline: dice.percent(15).then(|| Duration::from_secs(1 + dice.below(100) as u64)),
            attempts_max: 1 + dice.below(3) as u32,
            stall_timeout: dice.percent(10).then(|| Duration::from_secs(5)),
            queueing: dice.percent(80),
            detached: dice.percent(60),
            result_kept: dice.percent(20).then(|| Duration::from_secs(dice.below(30) as u64)),
            idempotency_key: key.map(|key| format!("k{key}")),
            ..TaskOptions::default()
        };
        (options, key)
    }

    fn submit(&mut self) {
        let count = 1 + self.dice.below(3);
        let inputs = (0..count).map(|_| {
            let (asker, (options, key)) = (self.asker(), self.some_options());
            let id = if self.dice.percent(10) { self.some_task() } else { task(self.tasks + 1) };
            self.tasks += 1;
            // The same key goes with the same payload.
            let payload = match key {
                Some(key) => format!("k{key}").into_bytes(),
                None => vec![self.tasks as u8; self.dice.below(400)],
            };
            let spec = Spec { id, ..spec(0, payload, options) };
            Input::Submit { asker, spec: spec.into() }
        });
        let inputs = inputs.collect();
        self.tell(inputs);
    }

    /// The attempts that were handed out, newest first.
    fn handed(&self) -> Vec<(Attempt, WorkerId)> {
        let of = |effect: Effect| match effect {
            Effect::Assign { worker, spec, number, .. } => Some((Attempt { task: spec.id, number }, worker)),
            _ => None,
        };
        self.heard.effects().into_iter().rev().filter_map(of).take(8).collect()
    }

    fn report(&mut self) {
        let handed = self.handed();
        if handed.is_empty() {
            return;
        }
        let (attempt, worker) = handed[self.dice.below(handed.len())];
        let report = match self.dice.below(10) {
            0..5 => Report::Done(vec![7; self.dice.below(300)].into()),
            5 => Report::HandedBack,
            _ => Report::Failed {
                code: "broken".into(),
                message: "it is".into(),
                details: vec![3; self.dice.below(60)].into(),
                is_final: self.dice.percent(30),
            },
        };
        let asker = self.asker();
        self.tell(vec![Input::Report { asker, worker, attempt, report }]);
    }

    fn other(&mut self) {
        let (asker, id, number) = (self.asker(), self.some_task(), self.dice.below(3) as u64);
        let owner: Arc<str> = "ada".into();
        let input = match self.dice.below(10) {
            0 => Input::Cancel { asker: Some(asker), task: id, owner: Some(owner) },
            1 => Input::Detach { asker, call: self.calls - 1, task: id },
            2 | 3 => Input::Release { task: id, owner },
            4 => Input::Attach { asker, task: id, owner: Some(owner) },
            5 => {
                let as_task = task(self.tasks + 1);
                self.tasks += 1;
                Input::RetryDead { asker, task: id, as_task }
            }
            6 => Input::DropDead { asker, task: id },
            7 => Input::Gone { connection: asker.connection },
            8 => Input::Leave { worker: worker(number), connection: 100 + number },
            _ => Input::Renew { worker: worker(number) },
        };
        self.tell(vec![input]);
    }

    fn pass(&mut self) {
        let seconds = [1, 3, 20, 90][self.dice.below(4)];
        self.note(format!("{seconds} s pass"));
        let before = self.life.disk.moment();
        pass(Duration::from_secs(seconds));
        self.queue.shell.turn();
        self.noted_made(before);
    }

    /// Stores what has gathered. What it lets out, and what the queue has, must be what its records say.
    pub(super) fn round(&mut self) -> bool {
        self.note("round".into());
        if self.queue.round_now().is_err() || self.queue.shell.has_ended() || self.queue.is_stuck() {
            return false;
        }
        let before = self.life.disk.moment();
        self.queue.shell.turn();
        self.noted_made(before);
        let (all, live, kept) = (self.all(), self.view(), BTreeSet::new());
        assert!(live.fits(&all, &kept), "seed {}: {}", self.life.seed, live.difference(&all, &kept));
        true
    }

    /// What everything that was said up to now makes.
    pub(super) fn all(&self) -> View {
        let (now, made) = (self.queue.shell.now(), self.queue.shell.made());
        let records: Vec<_> = self.base.iter().chain(&made.records).cloned().collect();
        View::from(&records, &config(), now)
    }

    fn maintain(&mut self) {
        let gone = self.queue.maintain(&mut |_| true).unwrap_or(0);
        self.life.carried += gone;
        self.note(format!("{gone} segments copied forward"));
    }

    /// The run is over, and this is what is known of it.
    fn end_run(&mut self) -> Run {
        let effects = locked(&self.heard.effects);
        let heard = effects.iter().filter(|(_, effect)| !is_refusal(effect)).map(|(at, _)| *at).collect();
        drop(effects);
        let (base, noted) = (std::mem::take(&mut self.base), std::mem::take(&mut self.noted));
        Run { began: self.began, base, made: self.queue.shell.made(), noted, heard }
    }

    /// In order, or as if the process was killed.
    fn restart(&mut self) {
        let is_orderly = self.dice.percent(50);
        let before = self.life.disk.moment();
        if is_orderly {
            self.engine.close_now().expect("closed");
        }
        self.noted_made(before);
        self.queue.kill();
        let unstored = self.queue.shell.unstored().map_or(0, |unstored| {
            unstored.records.iter().filter(|record| !matches!(record, Record::Carried(_))).count()
        });
        let run = self.end_run();
        self.began = self.life.disk.moment();
        // The directory has one user at a time: another engine stands in while the old one goes.
        let (other, born) = (SimulatedDisk::new(0), self.born);
        let nobody = engine_on(&other, || Moment(START)).expect("another");
        nobody.create_now(&name("q"), &config()).expect("created");
        self.queue = nobody.opened(&name("q")).expect("opened");
        self.engine = nobody;
        self.engine = engine_on(&self.life.disk, move || Moment(START) + born.elapsed()).expect("opened");
        self.queue = self.engine.opened(&name("q")).expect("opened");
        self.heard = Heard::new(&self.life.disk);
        self.queue.shell.listen(self.heard.clone());
        let (now, found) = (self.queue.shell.now(), self.view());
        let count = run.base.len() + run.made.records.len() - unstored;
        let (all, kept) = (View::from(&run.records(count), &config(), now), run.kept(count));
        let place = || format!("seed {}, after a restart: {}", self.life.seed, found.difference(&all, &kept));
        assert!(found.fits(&all, &kept), "{}", place());
        self.base = run.records(count);
        self.life.runs.push(run);
        self.noted_made(self.began);
        let moment = self.life.disk.moment();
        self.life.steps.push(format!("{moment:6}: {}", if is_orderly { "restart" } else { "kill" }));
    }

    /// One step; whether it goes on.
    pub(super) fn step(&mut self, restarts: bool) -> bool {
        match self.dice.below(100) {
            0..26 => self.submit(),
            26..34 => {
                let join = join(self.dice.below(3) as u64, 1 + self.dice.below(3) as u32);
                self.tell(vec![join]);
            }
            34..52 => self.report(),
            52..64 => self.other(),
            64..70 => self.pass(),
            70..88 => return self.round() || !self.queue.shell.has_ended(),
            88..96 => self.maintain(),
            _ if restarts => self.restart(),
            _ => {}
        }
        !self.queue.shell.has_ended()
    }

    pub(super) fn end(mut self) -> Life {
        let run = self.end_run();
        self.life.runs.push(run);
        self.life.has_ended = self.queue.shell.has_ended();
        self.queue.kill();
        self.life
    }
}

pub(super) fn live(seed: u64, steps: usize) -> Life {
    let mut living = Living::new(seed);
    for _ in 0..steps {
        assert!(living.step(true), "nothing fails here");
    }
    living.end()
}
