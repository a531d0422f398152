//! Copies of queues: each is the queue as it was when it was made, whatever happens meanwhile, and lives on by itself. What is
//! damaged of one is told, and what is no copy is refused.

use std::path::PathBuf;

use sinew_hosting::GoOn;
use sinew_journal::{Files, Journal, JournalOptions, PreparedBatch};

use super::super::backup::backup;
use super::super::verify::verify;
use super::life::{Living, config};
use super::view::View;
use super::*;
use crate::{BackedUp, Ending, ProgressSink, Verified};

/// Lives in which copies are made.
const LIVES: u64 = 60;
/// What happens in each.
const STEPS: usize = 150;

fn quiet() -> ProgressSink {
    Arc::new(|_| {})
}

/// Waits for what takes long.
fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

fn restore(engine: &JournalEngine, to: &str, source: &Path) -> Result<QueueInfo> {
    wait(engine.restore(&name(to), source, quiet()))
}

fn back_up(queue: &StoredQueue, target: &Path) -> BackedUp {
    backup(queue, target, &mut |_| true).expect("copied")
}

fn verified(queue: &StoredQueue) -> Verified {
    verify(queue, &mut |_| true).expect("verified")
}

fn view(queue: &StoredQueue) -> View {
    let now = queue.shell.now();
    queue.shell.look(|scheduler| View::of(scheduler, now))
}

/// A queue, and who hears what it says.
struct Bench {
    disk: SimulatedDisk,
    engine: JournalEngine,
    queue: Arc<StoredQueue>,
    _entered: EnterGuard<'static>,
}

impl Bench {
    fn new() -> Self {
        let (_entered, disk) = (entered(), SimulatedDisk::new(1));
        let engine = engine_on(&disk, || Moment(START)).expect("opened");
        engine.create_now(&name("q"), &QueueConfig::default()).expect("created");
        let queue = engine.opened(&name("q")).expect("opened");
        Self { disk, engine, queue, _entered }
    }

    /// The same with one task that ended well, one that runs and has an attempt left, one whose last attempt runs, and many
    /// that wait.
    fn with_tasks() -> Self {
        let bench = Self::new();
        for (number, priority, attempts_max) in [(1, 203, 1), (2, 202, 2), (3, 201, 1)] {
            tell(&bench.queue, submit(number, "x", TaskOptions { priority, attempts_max, ..waits() }));
        }
        (4..40).for_each(|number| tell(&bench.queue, submit(number, vec![number as u8; 300], waits())));
        tell(&bench.queue, join(1, 3));
        tell(&bench.queue, done(1, 1, 1, "well"));
        bench
    }

    fn files_of(&self, copy: &Path) -> Vec<PathBuf> {
        self.disk.files().into_iter().filter(|path| path.starts_with(copy)).collect()
    }
}

/// Tells a queue something, and has it stored.
fn tell(queue: &StoredQueue, input: Input) {
    queue.shell.tell(vec![input]);
    queue.round_now().expect("stored");
}

#[test]
fn a_copy_is_the_queue_as_it_was() {
    let _entered = entered();
    let (mut copies, mut known) = (0, 0);
    for seed in 0..LIVES {
        let mut living = Living::new(seed);
        for step in 0..STEPS {
            living.step(true);
            if step % 30 != 29 {
                continue;
            }
            // What is due by now happens before it is copied, and not behind that.
            assert!(living.round());
            living.queue.round_now().expect("stored");
            let (copy, restored) = (format!("/copies/{step}"), name(&format!("c{step}")));
            back_up(&living.queue, Path::new(&copy));
            let (all, kept) = (living.all(), living.view().kept());
            let info = restore(&living.engine, restored.as_str(), Path::new(&copy)).expect("restored");
            assert_eq!(info.config, config());
            let queue = living.engine.opened(&restored).expect("opened");
            let found = view(&queue);
            assert!(found.fits(&all, &kept), "seed {seed}, step {step}: {}", found.difference(&all, &kept));
            for queue in [&queue, &living.queue] {
                assert_eq!(verified(queue).problems, [""; 0], "seed {seed}, step {step}");
            }
            // It goes on, and the first one does not know of it.
            tell(&queue, submit(1_000_000, "after", waits()));
            assert_eq!(queue.shell.payload(task(1_000_000)).expect("it is there"), "after");
            living.queue.shell.payload(task(1_000_000)).expect_err("it is another queue");
            drop(queue);
            living.engine.delete_now(&restored).expect("deleted");
            copies += 1;
            known += found.known.len();
        }
        living.end();
    }
    assert!(known > 10 * copies, "there is something to look at: {known} in {copies} copies");
}

#[test]
fn what_comes_while_it_is_copied_is_in_it_from_the_first_on_or_not_at_all() {
    let bench = Bench::new();
    let mut told = 20;
    (1..=told).for_each(|number| tell(&bench.queue, submit(number, vec![1; 300], waits())));
    let mut looks = 0;
    let mut go_on = |_: sinew_session::Progress| {
        looks += 1;
        told += 1;
        tell(&bench.queue, submit(told, vec![1; 300], waits()));
        true
    };
    let copy = Path::new("/copy");
    let done = backup(&bench.queue, copy, &mut go_on).expect("copied");
    assert!(looks > 5, "{looks}");
    let info = restore(&bench.engine, "r", copy).expect("restored");
    assert!((20..=told).contains(&info.waiting), "{info:?}");
    assert_eq!(done.records, info.waiting, "of each it was accepted, and nothing else");
    let listed = bench.engine.opened(&name("r")).expect("opened").shell.tasks(Listed::Live, None, 1_000);
    let expected: Vec<_> = (1..=info.waiting).map(task).collect();
    assert_eq!(listed.iter().map(|info| info.task).collect::<Vec<_>>(), expected);
    assert_eq!(bench.queue.shell.info().waiting, told);
    assert_eq!(verified(&bench.queue), Verified { tasks: told, records: told, ..verified(&bench.queue) });
}

#[test]
fn attempts_of_a_copy_are_their_workers_for_a_lease_and_lost_then() {
    let bench = Bench::with_tasks();
    let copy = Path::new("/copy");
    back_up(&bench.queue, copy);
    let restored = |of: &str| {
        restore(&bench.engine, of, copy).expect("restored");
        let (queue, heard) = (bench.engine.opened(&name(of)).expect("opened"), Heard::new(&bench.disk));
        queue.shell.listen(heard.clone());
        let info = queue.shell.info();
        assert_eq!((info.running, info.waiting, info.ended), (3, 35, 1), "{info:?}");
        (queue, heard)
    };
    // It comes back with what it has.
    let (queue, heard) = restored("back");
    let held = [2, 3].map(|number| Attempt { task: task(number), number: 1 }).to_vec();
    let spec = WorkerSpec { id: worker(1), owner: "bob".into(), name: "w".into(), tags: vec![], credit: 3 };
    tell(&queue, Input::Join { asker: client(101, 1), worker: spec.into(), held });
    for number in [2, 3] {
        tell(&queue, done(number, 1, 1, "after all"));
        let settled = heard.answer(client(101, 1_000 + number as u32));
        assert!(matches!(settled, Some(Ok(Answer::Settled { late: false }))), "{settled:?}");
    }
    // It does not.
    let (queue, _heard) = restored("gone");
    pass(QueueConfig::default().lease);
    queue.shell.turn();
    queue.round_now().expect("stored");
    let ending = |number| match queue.shell.explain(task(number)).expect("it is known").info.state {
        crate::TaskState::Ended { ending, .. } => Some(ending),
        _ => None,
    };
    assert!(matches!(ending(1), Some(Ending::Done { .. })), "{:?}", ending(1));
    assert_eq!(ending(2), None, "it has an attempt left");
    assert_eq!(ending(3), Some(Ending::WorkerLost { worker: worker(1), attempt: 1 }));
    assert_eq!(queue.shell.info().running, 0);
    // In the first one nothing has changed.
    assert_eq!(bench.queue.shell.info().running, 3);
}

/// Each damage to a copy: it is refused, or told by `verify`, or everything is there.
fn check_damaged(damage: impl Fn(&mut Vec<u8>, &mut Dice)) -> (usize, usize, usize) {
    let bench = Bench::with_tasks();
    let copy = Path::new("/copy");
    back_up(&bench.queue, copy);
    let (files, whole, mut dice) = (bench.files_of(copy), view(&bench.queue), Dice::new(1));
    let (mut refused, mut told, mut harmless) = (0, 0, 0);
    for turn in 0..600 {
        let path = &files[dice.below(files.len())];
        let good = bench.disk.contents(path).expect("there");
        let mut bad = good.clone();
        damage(&mut bad, &mut dice);
        bench.disk.damage(path, bad);
        match restore(&bench.engine, "r", copy) {
            Err(error) => {
                refused += 1;
                assert!(matches!(error, Error::Backup { .. } | Error::Storage { .. }), "{turn}: {error}");
                assert!(matches!(bench.engine.opened(&name("r")), Err(Error::UnknownQueue { .. })), "{turn}: {error}");
            }
            Ok(_) => {
                let queue = bench.engine.opened(&name("r")).expect("opened");
                let (found, problems) = (view(&queue), verified(&queue).problems);
                let is_whole = found.known == whole.known;
                assert!(is_whole || !problems.is_empty(), "{turn}: {} is damaged, and nobody says so", path.display());
                told += usize::from(!problems.is_empty());
                harmless += usize::from(problems.is_empty());
                let payload = |queue: &StoredQueue, task| queue.shell.payload(task).ok();
                for info in queue.shell.tasks(Listed::Live, None, 1_000) {
                    let known = [payload(&bench.queue, info.task), Some("x".into())];
                    assert!(known.contains(&payload(&queue, info.task)), "{turn}: {info:?}");
                }
                drop(queue);
                bench.engine.delete_now(&name("r")).expect("deleted");
            }
        }
        bench.disk.damage(path, good);
    }
    (refused, told, harmless)
}

#[test]
fn no_flipped_bit_of_a_copy_goes_unseen() {
    let (refused, told, _harmless) = check_damaged(|bytes, dice| {
        let at = dice.below(bytes.len().max(1));
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << dice.below(8);
        }
    });
    assert!(refused > 20 && told > 100, "{refused} {told}");
}

#[test]
fn no_copy_that_was_cut_off_goes_unseen() {
    let (refused, told, _harmless) = check_damaged(|bytes, dice| bytes.truncate(dice.below(bytes.len().max(1))));
    assert!(refused > 20 && told > 100, "{refused} {told}");
}

#[test]
fn what_is_no_backup_of_a_queue_is_refused() {
    let bench = Bench::new();
    let directory = &bench.engine.opened(&name("q")).expect("opened").host.directory.clone();
    let refused = |source: &str, words: &str| {
        let error = restore(&bench.engine, "r", Path::new(source)).expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
        assert!(matches!(bench.engine.opened(&name("r")), Err(Error::UnknownQueue { .. })), "{error}");
        error
    };
    let write = |path: &str, config: &QueueConfig| {
        bench.disk.create_dir_all(Path::new(path).parent().expect("one")).expect("made");
        directory.write_whole(path, &sinew_session::to_value(config).expect("CBOR")).expect("written");
    };
    let none = "holds no backup of a queue, or one that was cut off";
    assert!(matches!(refused("/nowhere", none), Error::Backup { .. }));
    // What a bucket has instead, and a stream.
    for of in ["bucket", "stream"] {
        write(&format!("/{of}/{of}"), &QueueConfig::default());
        assert!(matches!(refused(&format!("/{of}"), none), Error::Backup { .. }));
    }
    write("/empty/queue", &QueueConfig::default());
    assert!(matches!(refused("/empty", "cannot be read"), Error::Backup { .. }));
    write("/memory/queue", &QueueConfig { level: Level::Memory, ..QueueConfig::default() });
    assert!(matches!(refused("/memory", "of a queue in memory alone"), Error::Backup { .. }));
    write("/odd/queue", &QueueConfig { lease: Duration::ZERO, ..QueueConfig::default() });
    assert!(matches!(refused("/odd", "`lease` of queue `r` cannot be"), Error::Config { .. }));
    // One of a newer version.
    write("/newer/queue", &QueueConfig::default());
    let files: Arc<dyn Files> = Arc::new(bench.disk.clone());
    let (mut journal, _) = Journal::open(files, Path::new("/newer/journal"), JournalOptions::default()).expect("made");
    let batch = PreparedBatch::new(vec![1; 10], 1, 1).expect("a batch").kind(9);
    journal.commit(&mut [batch], 1).expect("stored");
    journal.close().expect("closed");
    assert!(matches!(refused("/newer", "is of kind 9, which is not known"), Error::Storage { .. }));
    let exists = restore(&bench.engine, "q", Path::new("/newer"));
    assert!(matches!(exists, Err(Error::QueueExists { .. })), "{exists:?}");
}

#[test]
fn a_queue_in_memory_has_nothing_to_copy() {
    let bench = Bench::new();
    bench.engine.create_now(&name("m"), &QueueConfig { level: Level::Memory, ..QueueConfig::default() }).expect("made");
    let memory = crate::MemoryEngine::new();
    wait(memory.create(&name("m"), &QueueConfig::default())).expect("made");
    let target = Path::new("/copy");
    for engine in [&bench.engine as &dyn Engine, &memory] {
        let refused = wait(engine.verify(&name("m"), quiet())).map(drop);
        assert!(matches!(refused, Err(Error::Unsupported { what: "verify", .. })), "{refused:?}");
        let refused = wait(engine.backup(&name("m"), target, quiet())).map(drop);
        assert!(matches!(refused, Err(Error::Unsupported { what: "backup", .. })), "{refused:?}");
        let refused = wait(engine.verify(&name("n"), quiet())).map(drop);
        assert!(matches!(refused, Err(Error::UnknownQueue { .. })), "{refused:?}");
        let refused = wait(engine.backup(&name("n"), target, quiet())).map(drop);
        assert!(matches!(refused, Err(Error::UnknownQueue { .. })), "{refused:?}");
    }
    let refused = wait(memory.restore(&name("r"), target, quiet())).map(drop);
    assert!(matches!(refused, Err(Error::Unsupported { what: "restore", .. })), "{refused:?}");
    assert_eq!(bench.files_of(target), [""; 0].map(PathBuf::from));
}

/// What takes long.
type Work<'a> = &'a dyn Fn(GoOn<'_>) -> Result<()>;

#[test]
fn a_copy_that_was_stopped_is_none() {
    let bench = Bench::with_tasks();
    let full = Path::new("/full");
    back_up(&bench.queue, full);
    let refused = backup(&bench.queue, full, &mut |_| true).expect_err("something is there");
    assert!(matches!(refused, Error::Backup { .. }), "{refused}");
    let works: [Work<'_>; 2] = [
        &|go_on| backup(&bench.queue, &PathBuf::from(format!("/part/{}", bench.disk.calls())), go_on).map(drop),
        &|go_on| verify(&bench.queue, go_on).map(drop),
    ];
    for work in works {
        let mut looks = 0;
        work(&mut |_| {
            looks += 1;
            true
        })
        .expect("it is let go on");
        assert!(looks > 5, "{looks}");
        for stop in 1..looks {
            let mut left = stop;
            work(&mut |_| {
                left -= 1;
                left > 0
            })
            .expect_err("it is stopped");
        }
    }
    // What was copied by then is no backup but for the first one, which was let go on.
    let parts = bench.files_of(Path::new("/part")).into_iter().filter(|path| path.ends_with("queue")).count();
    assert_eq!(parts, 1);
}

#[test]
fn what_ends_while_it_is_read_says_so() {
    for at in ["verify", "backup"] {
        let bench = Bench::with_tasks();
        let (queue, why) = (bench.queue.clone(), Error::Ended { queue: "q".into() });
        let ends: ProgressSink = Arc::new(move |_| queue.shell.end(&why));
        let refused = match at {
            "verify" => wait(bench.engine.verify(&name("q"), ends)).map(drop),
            _ => wait(bench.engine.backup(&name("q"), Path::new("/copy"), ends)).map(drop),
        };
        assert!(matches!(refused, Err(Error::Ended { .. })), "{at}: {refused:?}");
    }
}

#[test]
fn verify_tells_of_what_memory_alone_has() {
    let bench = Bench::with_tasks();
    let found = verified(&bench.queue);
    assert_eq!((found.tasks, found.problems.len()), (39, 0), "{found:?}");
    let first = Path::new(DATA).join("queues/q/journal/00000000000000000000.segment");
    let mut bytes = bench.disk.contents(&first).expect("the first segment");
    bytes[200] ^= 1;
    bench.disk.damage(&first, bytes);
    let problems = verified(&bench.queue).problems;
    let is_told = |words: &str| problems.iter().any(|problem| problem.contains(words));
    assert!(is_told("are damaged") && is_told("tasks of the queue are not in its journal"), "{problems:?}");
}
