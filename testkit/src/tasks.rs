//! What the task queue promises, as scenarios over whatever transports a [`Setup`] names: clients take its endpoints in turn.
//! The engine is the caller's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sinew_auth::Operation;
use sinew_session::{ResourceName, Server};
use sinew_taskqueue::{
    Ending, Engine, Error, Job, JournalEngine, Level, Listed, Outcome, QueueConfig, Reason, Recalled, Result,
    TaskEngineOptions, TaskError, TaskHandle, TaskId, TaskLimits, TaskQueue, TaskState, Worker,
};
use tokio::sync::mpsc;

use crate::rules::Rules;
use crate::setup::{Setup, soon};

mod bad_input;
pub use bad_input::bad_input;
mod copies;
pub use copies::copies;
mod restarts;
pub use restarts::through_restarts;

/// Opens the engine on disk, once whoever had it has let go of it.
///
/// # Panics
/// If it cannot be opened, for another reason than that.
pub async fn open_again(data: &Path) -> Arc<dyn Engine> {
    let opening = async {
        loop {
            match JournalEngine::open(data, TaskEngineOptions::default()) {
                Ok(engine) => return Arc::new(engine),
                Err(error) => assert!(error.to_string().contains("in use"), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    soon("opening the engine", opening).await
}

fn name(text: &str) -> ResourceName {
    text.parse().expect("a name of this test")
}

/// Client number `number`, and the queue of this name.
async fn queue(setup: &Setup, number: usize, text: &str) -> TaskQueue {
    setup.tasks(number).await.queue(&name(text))
}

async fn join(queue: &TaskQueue, concurrency: u32) -> Worker {
    soon("joining", queue.worker().concurrency(concurrency).join()).await.expect("it joins")
}

async fn job(worker: &mut Worker) -> Job {
    let next = soon("the next task", worker.next()).await;
    next.unwrap_or_else(|| panic!("the worker is over: {:?}", worker.end()))
}

async fn submitted(task: sinew_taskqueue::Submission) -> TaskHandle {
    soon("submitting", async { task.await }).await.expect("it is accepted")
}

async fn ended(handle: &mut TaskHandle) -> Outcome {
    soon("the outcome", handle.outcome()).await.expect("it has one")
}

/// What one submits another does, and the result comes back: bytes and values, small and large; failures as they were told.
///
/// # Panics
/// If it is not so.
pub async fn submit_and_work(setup: &Setup) {
    let (ours, theirs) = (queue(setup, 0, "plain").await, queue(setup, 1, "plain").await);
    let worker = theirs.worker().concurrency(3).name("shouter");
    let stop = worker.stop_handle();
    let working = tokio::spawn(worker.run(|job: Job| async move {
        match std::str::from_utf8(&job.payload()[..job.payload().len().min(5)]) {
            Ok("fail") => Err(TaskError::new("no-luck", "not today").for_good().with_details("why")),
            Ok("panic") => panic!("on purpose"),
            Ok("large") => Ok(job.payload().clone()),
            _ => {
                let number: (u32, String) = job.value()?;
                Ok(sinew_session::to_cbor(&(number.0 + 1, number.1.to_uppercase())).into())
            }
        }
    }));
    let typed = ours.submit_value(&(6_u32, "tea")).expect("it can be written").queueing();
    let value: (u32, String) = soon("a typed task", typed.run_value()).await.expect("it is done");
    assert_eq!(value, (7, "TEA".to_owned()));

    let (code, message, details) = failure(soon("a task that fails", ours.run("fail")).await);
    assert_eq!((&code[..], &message[..], &details[..]), ("no-luck", "not today", &b"why"[..]));
    let (code, message, _) = failure(soon("a task that panics", ours.run("panic")).await);
    assert_eq!((&code[..], &message[..]), ("panicked", "on purpose"));
    let (code, ..) = failure(soon("a task that cannot be read", ours.run(vec![0xff_u8; 9])).await);
    assert_eq!(code, "undecodable");

    let large = [&b"large"[..], &vec![7_u8; 900_000]].concat();
    assert_eq!(soon("a large one", ours.run(large.clone())).await.expect("it is done"), large);

    let mut handle = submitted(ours.submit("large")).await;
    let outcome = ended(&mut handle).await;
    assert_eq!((outcome.is_done(), &outcome.body[..]), (true, &b"large"[..]));
    assert_eq!(ended(&mut handle).await, outcome, "the same each time");
    let workers = soon("the workers", ours.workers_page(None)).await.expect("they are shown");
    let [shown] = &workers.workers[..] else { panic!("{workers:?}") };
    assert_eq!((&shown.name[..], shown.credit, shown.handed), ("shouter", 3, 6));
    assert_eq!(outcome.ending, Ending::Done { worker: shown.worker, attempt: 1 });

    soon("stopping", stop.stop()).await.expect("it has left");
    soon("the worker's end", working).await.expect("no panic").expect("in order");
    let refused = soon("a task for nobody", ours.run("large")).await;
    assert!(matches!(refused, Err(Error::NoWorkers { .. })), "{refused:?}");
    let info = soon("the queue", ours.info()).await.expect("it is shown");
    assert_eq!((info.waiting, info.running, info.ended, info.workers), (0, 0, 0, 0), "nothing is left: {info:?}");
    assert_eq!((info.counts.accepted, info.counts.done, info.counts.failed), (6, 3, 3));
}

/// What a worker told of its only attempt: code, message, details.
fn failure(result: Result<Bytes>) -> (String, String, Bytes) {
    match refused(result) {
        Error::NotDone { outcome, .. } => match *outcome {
            Outcome { ending: Ending::Failed { code, message, attempt: 1, .. }, body } => (code, message, body),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Progress reaches who waits; a task is cancelled where it waits and where it runs, by a word and by dropping its handle; one
/// that was detached goes on, and its outcome is fetched by its id.
///
/// # Panics
/// If it is not so.
pub async fn progress_and_cancels(setup: &Setup) {
    let (ours, theirs) = (queue(setup, 0, "cancels").await, queue(setup, 1, "cancels").await);
    let mut worker = join(&theirs, 1).await;
    let mut running = submitted(ours.submit("runs")).await;
    let taken = job(&mut worker).await;
    for step in ["one", "two"] {
        taken.progress(step);
        assert_eq!(soon("progress", running.next_progress()).await.as_deref(), Some(step.as_bytes()));
    }
    let mut waiting = submitted(ours.submit("waits")).await;
    let why = soon("an explanation", ours.explain(waiting.id())).await.expect("it is shown");
    assert_eq!((why.info.state, why.reasons), (TaskState::Waiting, vec![Reason::NoCredit { workers: 1 }]));
    assert!(!soon("a cancel", waiting.cancel()).await.expect("it is cancelled"), "it had not ended before");
    assert_eq!(ended(&mut waiting).await.ending, Ending::Cancelled { attempts: 0 });

    assert!(!soon("a cancel", ours.cancel(running.id())).await.expect("it is cancelled"));
    assert_eq!(ended(&mut running).await.ending, Ending::Cancelled { attempts: 1 });
    assert_eq!(soon("its recall", taken.cancelled()).await, Recalled::Cancelled);
    taken.done("too late");
    assert_eq!(soon("progress", running.next_progress()).await, None, "it has ended");

    let dropped = submitted(ours.submit("dropped")).await;
    let taken = job(&mut worker).await;
    assert_eq!((&taken.payload()[..], taken.id()), (&b"dropped"[..], dropped.id()));
    drop(dropped);
    assert_eq!(soon("its recall", taken.cancelled()).await, Recalled::Cancelled);

    let detached = submitted(ours.submit("detached")).await;
    let id = soon("detaching", detached.detach()).await.expect("it goes on");
    let taken = job(&mut worker).await;
    assert_eq!((taken.id(), taken.attempt(), taken.attempts_max()), (id, 1, 1));
    taken.done("fetched");
    let elsewhere = queue(setup, 2, "cancels").await;
    for _ in 0..2 {
        let outcome = soon("fetching", elsewhere.fetch(id)).await.expect("it is kept");
        assert_eq!(&outcome.body[..], b"fetched");
    }
    let listed = soon("a list", ours.tasks_page(Listed::Ended, None)).await.expect("it is shown");
    assert!(listed.tasks.iter().any(|task| task.task == id), "{listed:?}");
    soon("leaving", worker.leave()).await.expect("it has left");
}

/// Tags, priority, delay, deadline, attempts and idempotency keys do what they say.
///
/// # Panics
/// If it is not so.
pub async fn options(setup: &Setup) {
    let (ours, theirs) = (queue(setup, 0, "options").await, queue(setup, 1, "options").await);
    let mut plain = join(&theirs, 1).await;
    let mut able = soon("joining", theirs.worker().tags(["gpu", "big"]).join()).await.expect("it joins");
    let refused = soon("a tag nobody has", ours.submit("x").tags(["fpga"]).run()).await;
    assert!(matches!(&refused, Err(Error::NoWorkers { tags, .. }) if tags == &["fpga"]), "{refused:?}");

    // The one that can do less is busy; what needs a tag goes past it, by priority.
    let first = submitted(ours.submit("first")).await;
    let (one, other) =
        (submitted(ours.submit("a").tags(["gpu"])).await, submitted(ours.submit("b").tags(["gpu"])).await);
    let urgent = submitted(ours.submit("c").tags(["gpu"]).priority(200)).await;
    let held = job(&mut plain).await;
    let mut done = Vec::new();
    for _ in 0..3 {
        let job = job(&mut able).await;
        done.push(String::from_utf8_lossy(job.payload()).into_owned());
        job.done("");
    }
    assert_eq!((&held.payload()[..], done), (&b"first"[..], ["a", "c", "b"].map(str::to_owned).to_vec()));
    held.done("");
    for mut handle in [first, one, other, urgent] {
        assert!(ended(&mut handle).await.is_done());
    }
    soon("leaving", able.leave()).await.expect("it has left");

    let (begun, delay) = (std::time::Instant::now(), Duration::from_millis(80));
    let mut late = submitted(ours.submit("late").delay(delay)).await;
    job(&mut plain).await.done("");
    assert!(ended(&mut late).await.is_done() && begun.elapsed() >= delay);

    let mut over = submitted(ours.submit("over").tags(["nobody"]).queueing().deadline(delay)).await;
    assert_eq!(ended(&mut over).await.ending, Ending::DeadlineExceeded { attempts: 0 });
    let mut timely = submitted(ours.submit("timely").deadline(Duration::from_secs(3_600))).await;
    let taken = job(&mut plain).await;
    assert!(taken.time_left().is_some_and(|left| left <= Duration::from_secs(3_600)));
    taken.done("");
    assert!(ended(&mut timely).await.is_done());

    let backoff = sinew_taskqueue::Backoff { first: Duration::from_millis(5), max: Duration::from_millis(5) };
    let mut again = submitted(ours.submit("again").attempts(3).backoff(backoff).dead_letter(true)).await;
    for attempt in 1..=3 {
        let taken = job(&mut plain).await;
        assert_eq!(taken.attempt(), attempt);
        taken.fail(TaskError::new("no-luck", "again"));
    }
    assert!(matches!(ended(&mut again).await.ending, Ending::Failed { attempt: 3, .. }));
    let dead = soon("dead letters", ours.tasks_page(Listed::Dead, None)).await.expect("they are shown");
    assert_eq!(dead.tasks.iter().map(|task| task.task).collect::<Vec<_>>(), [again.id()]);
    assert_eq!(soon("its payload", ours.payload(again.id())).await.expect("it is kept"), "again");
    let retried = soon("a retry", ours.retry_dead(again.id())).await.expect("it is tried again");
    job(&mut plain).await.done("at last");
    assert_eq!(&soon("fetching", ours.fetch(retried)).await.expect("it is kept").body[..], b"at last");
    let gone = soon("a drop", ours.drop_dead(again.id())).await;
    assert!(matches!(gone, Err(Error::UnknownDeadLetter { .. })), "{gone:?}");

    let once = || ours.submit("once").idempotency_key("order-7");
    let mut one = submitted(once()).await;
    let mut other = submitted(once()).await;
    assert_eq!((one.id(), one.is_duplicate(), other.is_duplicate()), (other.id(), false, true));
    job(&mut plain).await.done("done once");
    assert_eq!(ended(&mut one).await, ended(&mut other).await);
    let taken = soon("another payload", async { ours.submit("twice").idempotency_key("order-7").await }).await;
    assert!(matches!(taken, Err(Error::TaskExists { .. })), "{:?}", taken.err());
    let unmet = soon("too much", async { ours.submit("x").required(Level::Replicated).await }).await;
    assert!(matches!(unmet, Err(Error::LevelUnmet { .. })), "{:?}", unmet.err());
    soon("leaving", plain.leave()).await.expect("it has left");
}

/// Three workers that keep up share so many tasks in turn, each to one of them.
///
/// # Panics
/// If it is not so.
pub async fn shared_in_turn(setup: &Setup, tasks: usize) {
    let ours = queue(setup, 0, "turns").await;
    let counts: Arc<[AtomicU32; 3]> = Arc::default();
    let mut stops = Vec::new();
    for number in 0..3 {
        let worker = queue(setup, number, "turns").await.worker().concurrency(64);
        stops.push(worker.stop_handle());
        let counts = counts.clone();
        tokio::spawn(worker.run(move |job: Job| {
            counts[number].fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, TaskError>(job.payload().clone()))
        }));
    }
    while soon("the queue", ours.workers_page(None)).await.map_or(0, |page| page.workers.len()) < 3 {
        tokio::task::yield_now().await;
    }
    let under_way = Arc::new(tokio::sync::Semaphore::new(48));
    let mut all = tokio::task::JoinSet::new();
    for number in 0..tasks as u32 {
        let place = under_way.clone().acquire_owned().await.expect("it is never closed");
        let ours = ours.clone();
        all.spawn(async move {
            let _place = place;
            let result = soon("a task", ours.run(number.to_le_bytes().to_vec())).await.expect("it is done");
            assert_eq!(result[..], number.to_le_bytes());
        });
    }
    while let Some(done) = all.join_next().await {
        done.expect("each is done");
    }
    let counts: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed) as usize).collect();
    assert_eq!(counts, [tasks / 3; 3], "in turn");
    for stop in stops {
        soon("stopping", stop.stop()).await.expect("it has left");
    }
}

/// A task that takes three leases runs once, since its worker renews. In virtual time: a lease is short.
///
/// # Panics
/// If it is not so.
pub async fn three_leases(setup: &Setup) {
    let (ours, theirs) = (queue(setup, 0, "leases").await, queue(setup, 1, "leases").await);
    let config = QueueConfig { lease: sinew_taskqueue::LEASE_MIN, ..QueueConfig::default() };
    soon("making it", ours.make(&config)).await.expect("it is made");
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let worker = theirs.worker();
    let stop = worker.stop_handle();
    tokio::spawn(worker.run(move |_job: Job| {
        counted.fetch_add(1, Ordering::Relaxed);
        let long = config.lease * 3;
        async move {
            tokio::time::sleep(long).await;
            Ok::<_, TaskError>("long")
        }
    }));
    let result = soon("a task of three leases", ours.submit("long").queueing().attempts(5).run()).await;
    assert_eq!((&result.expect("it is done")[..], runs.load(Ordering::Relaxed)), (&b"long"[..], 1));
    soon("stopping", stop.stop()).await.expect("it has left");
}

/// What a worker that is dropped has not finished is handed back, and is done by another one as its next attempt.
///
/// # Panics
/// If it is not so.
pub async fn dropped_workers(setup: &Setup) {
    let (ours, theirs) = (queue(setup, 0, "dropped").await, queue(setup, 1, "dropped").await);
    let (begun, mut begins) = mpsc::unbounded_channel();
    let worker = theirs.worker().concurrency(2);
    let stop = worker.stop_handle();
    let working = tokio::spawn(worker.run(move |_job: Job| {
        begun.send(()).expect("somebody listens");
        std::future::pending::<Result<&str, TaskError>>()
    }));
    let mut handle = submitted(ours.submit("handed back").queueing()).await;
    soon("its begin", begins.recv()).await.expect("it was begun");
    working.abort();
    let mut other = join(&queue(setup, 2, "dropped").await, 1).await;
    let taken = job(&mut other).await;
    // Whoever is dropped says first that it takes no more, so that what it hands back comes to no one but the next. Of the
    // attempts that count there is one, and each has a number of its own.
    assert_eq!((taken.id(), taken.attempt(), taken.attempts_max()), (handle.id(), 2, 1));
    taken.done("by another");
    let outcome = ended(&mut handle).await;
    assert_eq!(&outcome.body[..], b"by another", "{outcome:?}");
    soon("its stop", stop.stop()).await.expect("it is over");
    soon("leaving", other.leave()).await.expect("it has left");
}

/// What a policy takes away ends: a wait with its task, a worker with what it has.
///
/// # Panics
/// If it is not so.
pub async fn permissions(setup: &mut Setup, engine: Arc<dyn Engine>) -> Server {
    let rules = Arc::new(Rules::default());
    setup.authorize = rules.clone();
    let server = setup.serve_tasks_on(engine, TaskLimits::default()).await;
    let (ours, theirs) = (queue(setup, 0, "shut").await, queue(setup, 1, "shut").await);
    let open = setup.tasks(0).await.queue(&name("open"));
    let mut worker = join(&theirs, 1).await;
    let mut stays = join(&open, 1).await;
    let mut handle = submitted(ours.submit("x")).await;
    let taken = job(&mut worker).await;
    rules.deny(Operation::TaskWork, "shut");
    assert!(soon("its end", worker.next()).await.is_none());
    assert!(matches!(worker.end(), Some(Error::Denied { .. })), "{:?}", worker.end());
    assert_eq!(soon("its recall", taken.cancelled()).await, Recalled::Lost);
    assert!(matches!(ended(&mut handle).await.ending, Ending::WorkerLost { .. }));
    let refused = soon("joining", theirs.worker().join()).await;
    assert!(matches!(refused, Err(Error::Denied { .. })), "{:?}", refused.err());

    let mut waits = submitted(ours.submit("x").queueing()).await;
    rules.deny(Operation::TaskSubmit, "shut");
    rules.deny(Operation::TaskManage, "shut");
    let denied = soon("its end", waits.outcome()).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let refused = soon("submitting", async { ours.submit("x").queueing().await }).await;
    assert!(matches!(refused, Err(Error::Denied { .. })), "{:?}", refused.err());

    let mut handle = submitted(open.submit("goes on")).await;
    job(&mut stays).await.done("done");
    assert!(ended(&mut handle).await.is_done());
    server
}

/// A task's id that nobody has.
fn nobody() -> TaskId {
    TaskId::from_bytes([9; 16])
}

fn refused<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

fn nothing() -> Bytes {
    Bytes::new()
}
