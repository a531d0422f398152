//! The server killed again and again while tasks wait and run on a queue on disk: every task that was accepted has its result,
//! once. At each kill one task surely waits, and one surely runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sinew::taskqueue::{Job, Level, QueueConfig, TaskError, TaskId, TaskQueue, WorkerStop};
use sinew::{Backoff, Client};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::program::{Home, schemes};

/// Kills for each transport, and for each level: 90 altogether.
const ROUNDS: u64 = 30;
/// Tasks that are waited for at one time: more than the workers do at one time, so that some wait.
const SUBMITTERS: u64 = 16;
/// Workers, each of which does so many tasks at one time.
const WORKERS: usize = 2;
const CONCURRENCY: u32 = 4;
/// Tasks for one more worker alone, which has one of them at each kill.
const AMID: &str = "amid";
/// Tasks for a worker that comes after the last kill.
const LATER: &str = "later";

#[cfg(feature = "zmq")]
#[test]
fn no_accepted_task_is_lost_over_zmq() {
    check("zmq", Level::Fsynced);
}

#[cfg(feature = "quic")]
#[test]
fn no_accepted_task_is_lost_over_quic() {
    check("quic", Level::Fsynced);
}

/// Nothing is synced: what was accepted is with the operating system, which outlives the process.
#[test]
fn no_accepted_task_is_lost_that_was_written_alone() {
    check(schemes()[0], Level::Written);
}

/// How far the test is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Tasks that have ended.
    ended: Arc<watch::Sender<u64>>,
    /// The kill for which a task runs.
    runs: Arc<watch::Sender<u64>>,
    /// The last kill.
    killed: Arc<watch::Sender<u64>>,
    /// No more is submitted.
    is_over: Arc<watch::Sender<bool>>,
    /// Attempts that were begun.
    begun: Arc<AtomicU64>,
}

fn check(scheme: &str, level: Level) {
    let began = Instant::now();
    let home = Home::new();
    let server = home.serve(&[]);
    let url = server.url(scheme);
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let keys = sinew::Home::at(home.path("")).unwrap();
    let progress = Progress::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = progress.clone();
    let kills = std::thread::spawn(move || {
        let mut server = server;
        for round in 1..=ROUNDS {
            wait_for(&seen.runs, round);
            // Some rounds end with the first result after a start, others amid many.
            let wanted = *seen.ended.borrow() + 1 + round % 5 * 50;
            wait_for(&seen.ended, wanted);
            server.running.signal(Signal::KILL);
            server.running.end();
            seen.killed.send_replace(round);
            server = home.serve_at(&port);
        }
        seen.is_over.send_replace(true);
        (home, server)
    });
    let submitted = runtime.block_on(async {
        let connect = async || {
            let backoff = Backoff { first: Duration::from_millis(10), max: Duration::from_millis(100) };
            let client = Client::builder(&url).home(keys.clone()).backoff(backoff).connect().await.unwrap();
            client.tasks().queue(&"kills".parse().unwrap())
        };
        let queue = connect().await;
        let config = QueueConfig { level, lease: Duration::from_secs(2), ..QueueConfig::default() };
        assert_eq!(queue.make(&config).await.unwrap().level, level);
        let mut workers = vec![work(connect().await, AMID, 1, &progress)];
        for _ in 0..WORKERS {
            workers.push(work(connect().await, "", CONCURRENCY, &progress));
        }
        let through = tokio::spawn(through_each_kill(queue.clone()));
        let mut submitters = JoinSet::new();
        for submitter in 0..SUBMITTERS {
            submitters.spawn(submit(queue.clone(), submitter, progress.clone()));
        }
        let mut submitted = 0;
        while let Some(count) = submitters.join_next().await {
            submitted += count.unwrap();
        }
        let waiting = through.await.unwrap();
        let info = queue.info().await.unwrap();
        assert_eq!((info.waiting, info.delayed, info.running), (ROUNDS, 0, 0), "{info:?}");
        workers.push(work(connect().await, LATER, CONCURRENCY, &progress));
        for (round, task) in (1..).zip(waiting) {
            let outcome = queue.fetch(task).await.unwrap();
            assert!(outcome.is_done() && outcome.body == later(round), "{outcome:?}");
        }
        let info = queue.info().await.unwrap();
        assert_eq!((info.waiting, info.delayed, info.running), (0, 0, 0), "{info:?}");
        for (stop, working) in workers {
            stop.stop().await.unwrap();
            working.await.unwrap().unwrap();
        }
        // Beside those of the submitters there were two for each kill.
        submitted + 2 * ROUNDS
    });
    let (_home, _server) = kills.join().unwrap();
    let begun = progress.begun.load(Ordering::Relaxed);
    eprintln!("{scheme}, {level}: {ROUNDS} kills, {submitted} tasks begun {begun} times, {:?}", began.elapsed());
    assert!(begun >= submitted, "nothing is done that was not begun");
}

/// A worker, with this tag if it is one. What is for the round of a kill it has until the server is killed.
fn work(
    queue: TaskQueue,
    tag: &str,
    concurrency: u32,
    progress: &Progress,
) -> (WorkerStop, JoinHandle<sinew::taskqueue::Result<()>>) {
    let tags = Some(tag).filter(|tag| !tag.is_empty());
    let worker = queue.worker().concurrency(concurrency).tags(tags);
    let (stop, progress) = (worker.stop_handle(), progress.clone());
    let working = tokio::spawn(worker.run(move |job: Job| {
        progress.begun.fetch_add(1, Ordering::Relaxed);
        let progress = progress.clone();
        async move {
            // What runs amid a kill, too.
            tokio::task::yield_now().await;
            if let Some(round) = std::str::from_utf8(job.payload()).ok().and_then(|text| text.parse::<u64>().ok()) {
                progress.runs.send_modify(|runs| *runs = round.max(*runs));
                until(&progress.killed, round).await;
            }
            Ok::<_, TaskError>(job.payload().clone())
        }
    }));
    (stop, working)
}

/// Submits one task after the other until it is told to stop. Each comes back with its own payload, whatever happens to the
/// server.
async fn submit(queue: TaskQueue, submitter: u64, progress: Progress) -> u64 {
    let mut submitted = 0;
    while !*progress.is_over.borrow() {
        let payload = format!("{submitter}.{submitted}");
        let result = queue.submit(payload.clone()).queueing().attempts(1_000).run().await;
        assert_eq!(result.expect("it was accepted, and is done at last"), payload);
        submitted += 1;
        progress.ended.send_modify(|count| *count += 1);
    }
    submitted
}

/// For each kill a task that waits for a worker who comes after all of them, and one that runs when the server is killed,
/// whose result is there when it is not. Gives those that wait.
async fn through_each_kill(queue: TaskQueue) -> Vec<TaskId> {
    let mut waiting = Vec::new();
    for round in 1..=ROUNDS {
        let waits = queue.submit(later(round)).tags([LATER]).queueing().detached().attempts(1_000).await;
        waiting.push(waits.expect("it is accepted").id());
        let runs = queue.submit(round.to_string()).tags([AMID]).queueing().attempts(1_000).run().await;
        assert_eq!(runs.expect("it was accepted, and is done at last"), round.to_string());
    }
    waiting
}

fn later(round: u64) -> String {
    format!("{LATER} {round}")
}

async fn until(watched: &watch::Sender<u64>, wanted: u64) {
    watched.subscribe().wait_for(|count| *count >= wanted).await.expect("it goes on");
}

/// Waits on a thread.
fn wait_for(watched: &watch::Sender<u64>, wanted: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(until(watched, wanted));
}
