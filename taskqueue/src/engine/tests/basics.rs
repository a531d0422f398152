//! What a queue on disk does in a quiet life.

use sinew_journal::{Fault, FaultKind};

use super::*;

struct Bench {
    disk: SimulatedDisk,
    engine: JournalEngine,
    queue: Arc<StoredQueue>,
    heard: Arc<Heard>,
    _entered: EnterGuard<'static>,
}

impl Bench {
    fn new() -> Self {
        Self::on(SimulatedDisk::new(1))
    }

    fn on(disk: SimulatedDisk) -> Self {
        let _entered = entered();
        let engine = engine_on(&disk, || Moment(START)).expect("opened");
        engine.create_now(&name("q"), &QueueConfig::default()).expect("created");
        let (queue, heard) = (engine.opened(&name("q")).expect("opened"), Heard::new(&disk));
        queue.shell.listen(heard.clone());
        Self { disk, engine, queue, heard, _entered }
    }

    fn tell(&self, input: Input) {
        self.queue.shell.tell(vec![input]);
    }

    fn round(&self) {
        self.queue.round_now().expect("stored");
    }

    /// As if the process was killed, and started again.
    fn kill(self) -> Self {
        self.queue.kill();
        let disk = self.disk.clone();
        drop(self);
        Self::on(disk)
    }

    fn outcomes(&self) -> Vec<(TaskId, Bytes)> {
        let of = |effect: Effect| match effect {
            Effect::Ended { task, outcome, .. } => Some((task, outcome.body.clone())),
            _ => None,
        };
        self.heard.effects().into_iter().filter_map(of).collect()
    }
}

#[test]
fn nothing_is_let_out_before_it_is_stored_and_then_everything_in_order() {
    let bench = Bench::new();
    bench.tell(join(1, 4));
    // Of one who comes nothing is stored, and so nothing is to wait for.
    assert_eq!(bench.heard.effects().len(), 1);
    bench.tell(submit(1, "a", waits()));
    bench.tell(Input::Attach { asker: client(5, 5), task: task(1), owner: None });
    assert_eq!(bench.heard.effects().len(), 1);
    bench.round();
    let effects = bench.heard.effects();
    assert!(matches!(effects[1], Effect::Answer { answer: Ok(Answer::Accepted { duplicate: false, .. }), .. }));
    assert!(matches!(effects[2], Effect::Assign { number: 1, .. }));
    assert!(matches!(effects[3], Effect::Answer { answer: Ok(Answer::Accepted { duplicate: true, .. }), .. }));
    bench.tell(done(1, 1, 1, "well"));
    assert!(bench.outcomes().is_empty());
    bench.round();
    assert_eq!(bench.outcomes()[0], (task(1), "well".into()));
}

#[test]
fn a_task_an_attempt_and_an_outcome_are_there_after_a_kill() {
    let bench = Bench::new();
    bench.tell(submit(1, "waits", waits()));
    bench.tell(submit(2, "runs", TaskOptions { priority: 200, attempts_max: 2, ..waits() }));
    bench.tell(submit(3, "ends", TaskOptions { priority: 201, ..waits() }));
    bench.tell(join(1, 2));
    bench.round();
    bench.tell(done(3, 1, 1, "well"));
    bench.round();
    // Its round has not run.
    bench.tell(submit(4, "lost", waits()));
    let bench = bench.kill();
    let info = bench.queue.shell.info();
    assert_eq!((info.waiting, info.running, info.ended), (0, 2, 1), "{info:?}");
    bench.tell(Input::Attach { asker: client(5, 5), task: task(3), owner: None });
    assert_eq!(bench.outcomes(), [(task(3), "well".into())]);
    // The worker comes back with what it has, and reports it.
    let (asker, held) = (client(101, 1), vec![Attempt { task: task(2), number: 1 }]);
    let spec = WorkerSpec { id: worker(1), owner: "bob".into(), name: "w".into(), tags: vec![], credit: 2 };
    bench.tell(Input::Join { asker, worker: spec.into(), held });
    bench.tell(done(2, 1, 1, "after all"));
    bench.round();
    let settled = bench.heard.answer(client(101, 1_002));
    assert!(matches!(settled, Some(Ok(Answer::Settled { late: false }))), "{settled:?}");
    // What it did not bring is handed out again, under a number of its own.
    let again = bench.heard.effects().into_iter().find_map(|effect| match effect {
        Effect::Assign { spec, number, .. } => Some((spec.id, number)),
        _ => None,
    });
    assert_eq!(again, Some((task(1), 2)));
}

#[test]
fn only_a_queue_that_was_there_before_waits_for_workers_to_come_back() {
    let at_once = TaskOptions { queueing: false, ..waits() };
    let bench = Bench::new();
    bench.tell(submit(1, "a", at_once.clone()));
    bench.round();
    let refused = bench.heard.answer(client(1, 1));
    assert!(matches!(refused, Some(Err(Error::NoWorkers { .. }))), "nobody is on the way to a new one: {refused:?}");
    let bench = bench.kill();
    bench.tell(submit(2, "b", at_once));
    bench.round();
    let taken = bench.heard.answer(client(1, 2));
    assert!(matches!(taken, Some(Ok(Answer::Accepted { .. }))), "{taken:?}");
}

#[test]
fn a_full_disk_refuses_new_tasks_and_lets_out_the_rest_when_there_is_room() {
    let bench = Bench::new();
    bench.tell(join(1, 1));
    bench.tell(submit(1, "a", waits()));
    bench.round();
    bench.disk.fail(Fault { kind: FaultKind::NoSpace, call: bench.disk.calls(), count: u64::MAX });
    let mut number = 1;
    // Until what is prepared is used up.
    while !bench.queue.is_stuck() {
        number += 1;
        bench.tell(submit(number, vec![1; 500], waits()));
        bench.queue.round_now().expect("a full disk ends nothing");
    }
    assert!(bench.heard.answer(client(1, number as u32)).is_none(), "it waits");
    bench.tell(submit(1_000, "more", waits()));
    assert!(matches!(bench.heard.answer(client(1, 1_000)), Some(Err(Error::NoSpace { .. }))));
    bench.tell(done(1, 1, 1, "well"));
    bench.queue.round_now().expect("still none");
    assert!(bench.heard.answer(client(101, 1_001)).is_none(), "it is not stored, so it is not told");
    bench.disk.mend();
    bench.round();
    bench.round();
    assert!(matches!(bench.heard.answer(client(1, number as u32)), Some(Ok(Answer::Accepted { .. }))));
    assert!(matches!(bench.heard.answer(client(101, 1_001)), Some(Ok(Answer::Settled { late: false }))));
    bench.tell(submit(1_001, "more", waits()));
    bench.round();
    assert!(matches!(bench.heard.answer(client(1, 1_001)), Some(Ok(Answer::Accepted { .. }))));
}

#[test]
fn what_waits_to_be_stored_has_a_bound() {
    let bench = Bench::new();
    let max = small().waiting_bytes_max;
    let mut number = 0;
    while !matches!(bench.heard.answer(client(1, number)), Some(Err(Error::Busy { .. }))) {
        number += 1;
        bench.tell(submit(number.into(), vec![1; 1 << 20], waits()));
        assert!(number as usize <= max >> 19, "{number}");
    }
    assert!(number as usize > max >> 21, "{number}");
    bench.round();
    bench.tell(submit(1_000, vec![1; 1 << 20], waits()));
    bench.round();
    assert!(matches!(bench.heard.answer(client(1, 1_000)), Some(Ok(Answer::Accepted { .. }))));
}

/// Three queues, each within its own bound: the third finds the bound of all of them.
#[test]
fn what_waits_to_be_stored_in_all_queues_has_a_bound() {
    let bench = Bench::new();
    let (max, total_max) = (small().waiting_bytes_max, small().waiting_bytes_total_max);
    assert!(2 * max < total_max && total_max < 3 * max);
    let payload = Bytes::from(vec![1; 1 << 20]);
    // Which submission is the first one that is refused.
    let fill = |queue: &StoredQueue| {
        let heard = Heard::new(&bench.disk);
        queue.shell.listen(heard.clone());
        (1..).find(|number| {
            queue.shell.tell(vec![submit(*number, payload.clone(), waits())]);
            matches!(heard.answer(client(1, *number as u32)), Some(Err(Error::Busy { .. })))
        })
    };
    let [second, third] = ["second", "third"].map(|text| {
        bench.engine.create_now(&name(text), &QueueConfig::default()).expect("created");
        bench.engine.opened(&name(text)).expect("opened")
    });
    assert_eq!((fill(&bench.queue), fill(&second)), (Some(17), Some(17)));
    assert_eq!(fill(&third), Some(9), "8 MiB are left for the third");
    let waiting = third.shell.waiting_in_all().expect("it is stored");
    assert!((total_max..total_max + (1 << 20)).contains(&waiting), "{waiting}");
    // What one of them has stored, another may have; and so what a queue had that is gone.
    bench.round();
    third.shell.tell(vec![submit(100, payload.clone(), waits())]);
    third.round_now().expect("stored");
    assert!(third.shell.info().waiting > 8);
    bench.engine.delete_now(&name("second")).expect("deleted");
    assert_eq!(third.shell.waiting_in_all(), Some(0), "though somebody has it still");
    drop(second);
    assert_eq!(third.shell.waiting_in_all(), Some(0), "nothing is given back twice");
}

#[test]
fn what_waits_for_long_keeps_little_on_disk() {
    let bench = Bench::new();
    for number in 1..=5 {
        bench.tell(submit(number, vec![1; 200], TaskOptions { priority: 0, ..waits() }));
    }
    bench.tell(join(1, 1));
    bench.round();
    // One of them has the worker; the others wait for a week, as it were.
    bench.tell(Input::Leave { worker: worker(1), connection: 101 });
    bench.round();
    let before = bench.queue.shell.info();
    for number in 10..400 {
        let options = TaskOptions { detached: false, ..waits() };
        bench.tell(submit(number, vec![2; 300], options));
        bench.round();
        bench.tell(Input::Cancel { asker: None, task: task(number), owner: None });
        bench.tell(Input::Release { task: task(number), owner: "ada".into() });
        bench.round();
        bench.queue.maintain(&mut |_| true).expect("maintained");
        let (live, disk) =
            (bench.queue.shell.look(|scheduler| scheduler.stored_bytes()), bench.queue.shell.info().disk_bytes);
        let max = 2 * live + 2 * small().segment_bytes_max + 1_000;
        assert!(disk <= max, "{disk} bytes for {live} that are live");
    }
    let bench = bench.kill();
    let after = bench.queue.shell.info();
    assert_eq!((after.waiting, after.running, after.dead), (before.waiting, before.running, before.dead));
    let numbers: Vec<_> =
        bench.queue.shell.tasks(Listed::Live, None, 100).iter().map(|info| (info.task, info.sequence)).collect();
    assert_eq!(numbers, [2, 3, 4, 5].map(|number| (task(number), number)), "in the order in which they came");
    assert_eq!(bench.queue.shell.payload(task(5)).expect("it waits"), vec![1; 200]);
}

#[test]
fn an_id_that_was_forgotten_may_come_again() {
    let bench = Bench::new();
    let options = TaskOptions { detached: false, ..waits() };
    for payload in ["first", "second"] {
        bench.tell(submit(1, payload, options.clone()));
        bench.round();
        if payload == "first" {
            bench.tell(Input::Cancel { asker: None, task: task(1), owner: None });
            bench.round();
            pass(Duration::from_secs(100));
            bench.queue.shell.turn();
        }
    }
    let bench = bench.kill();
    assert_eq!(bench.queue.shell.info().waiting, 1);
    assert_eq!(bench.queue.shell.payload(task(1)).expect("it waits"), "second");
}

#[test]
fn an_id_that_came_again_in_one_segment_is_copied_forward() {
    let bench = Bench::new();
    let brief = TaskOptions { detached: false, ..waits() };
    bench.tell(submit(1, "first", brief.clone()));
    bench.tell(Input::Cancel { asker: None, task: task(1), owner: None });
    bench.round();
    pass(Duration::from_secs(100));
    bench.queue.shell.turn();
    bench.tell(submit(1, "second", waits()));
    bench.round();
    let (mut number, mut gone) = (10, 0);
    while gone == 0 {
        number += 1;
        bench.tell(submit(number, vec![2; 300], brief.clone()));
        bench.tell(Input::Cancel { asker: None, task: task(number), owner: None });
        bench.tell(Input::Release { task: task(number), owner: "ada".into() });
        bench.round();
        gone = bench.queue.maintain(&mut |_| true).expect("maintained");
    }
    let bench = bench.kill();
    assert_eq!(bench.queue.shell.payload(task(1)).expect("it waits"), "second");
}

#[test]
fn time_goes_on_from_the_newest_moment_that_is_stored() {
    let bench = Bench::new();
    pass(Duration::from_secs(1_000));
    bench.tell(submit(1, "a", waits()));
    bench.round();
    let bench = bench.kill();
    assert_eq!(
        bench.queue.shell.now(),
        Moment(START) + Duration::from_secs(1_000),
        "though the wall clock was set back"
    );
}

#[test]
fn a_queue_in_memory_keeps_its_configuration_and_nothing_else() {
    let (disk, _entered) = (SimulatedDisk::new(1), entered());
    let config = QueueConfig { level: Level::Memory, lease: Duration::from_secs(7), ..QueueConfig::default() };
    let queue = |engine: &JournalEngine| engine.shell_now(&name("m")).expect("there");
    let engine = engine_on(&disk, || Moment(START)).expect("opened");
    engine.create_now(&name("m"), &config).expect("created");
    queue(&engine).tell(vec![submit(1, "a", waits())]);
    assert_eq!(queue(&engine).info().waiting, 1);
    let longer = QueueConfig { lease: Duration::from_secs(9), ..config.clone() };
    engine.alter_now(&name("m"), &longer).expect("altered");
    engine.alter_now(&name("m"), &QueueConfig::default()).expect_err("its level stays");
    engine.close_now().expect("closed");
    drop(engine);
    let engine = engine_on(&disk, || Moment(START)).expect("opened");
    let info = queue(&engine).info();
    assert_eq!((info.waiting, info.level, info.config), (0, Level::Memory, longer));
}

#[test]
fn it_is_altered_deleted_and_closed() {
    let bench = Bench::new();
    let config = QueueConfig { lease: Duration::from_secs(7), ..QueueConfig::default() };
    assert_eq!(bench.engine.alter_now(&name("q"), &config).expect("altered").config, config);
    bench.tell(submit(1, "a", waits()));
    bench.engine.close_now().expect("closed");
    assert!(
        matches!(bench.heard.answer(client(1, 1)), Some(Ok(Answer::Accepted { .. }))),
        "what waits is stored first"
    );
    assert!(matches!(*locked(&bench.heard.ended), Some(Error::Ended { .. })));
    bench.tell(submit(2, "b", waits()));
    assert!(matches!(bench.heard.answer(client(1, 2)), Some(Err(Error::Ended { .. }))));
    let disk = bench.disk.clone();
    drop(bench);
    let _entered = entered();
    let engine = engine_on(&disk, || Moment(START)).expect("opened");
    let (queue, heard) = (engine.opened(&name("q")).expect("there"), Heard::new(&disk));
    queue.shell.listen(heard.clone());
    assert_eq!((queue.shell.info().waiting, queue.shell.info().config), (1, config));
    queue.shell.tell(vec![submit(3, "c", waits())]);
    engine.delete_now(&name("q")).expect("deleted");
    assert!(matches!(*locked(&heard.ended), Some(Error::Ended { .. })));
    assert!(matches!(engine.opened(&name("q")), Err(Error::UnknownQueue { .. })));
    assert!(heard.answer(client(1, 3)).is_none(), "it was not stored");
    engine.create_now(&name("q"), &QueueConfig::default()).expect("created");
    assert_eq!(engine.opened(&name("q")).expect("there").shell.info().waiting, 0);
}
