//! A worker stopped by SIGSTOP in the middle of a task until its lease is over and the task is another's: what it reports as
//! it goes on comes too late, is counted so, and changes nothing; and it is a worker as before.

use std::io::BufRead;
use std::time::Duration;

use rustix::process::Signal;
use sinew::taskqueue::{Ending, QueueConfig, Recalled, TaskQueue, TaskState};
use sinew::{Client, Executor};

use super::program::{Home, Running};

/// Stops for each transport: 20 altogether.
const ROUNDS: u64 = 10;
/// How long a worker that is not heard keeps its tasks. Short; but a machine that stands still for a moment loses none.
const LEASE: Duration = Duration::from_secs(2);
/// Far more than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the worker that will be stopped finds the server. The process that has it is that worker.
const WORKS_AT: &str = "SINEW_TEST_STOPPED_WORKER";
/// What either of them makes of a task.
const STOPPED: &str = "by the one that was stopped";
const OTHER: &str = "by the other";

#[cfg(feature = "zmq")]
#[test]
fn a_stopped_worker_reports_too_late_over_zmq() {
    check("zmq", "task_stop::a_stopped_worker_reports_too_late_over_zmq");
}

#[cfg(feature = "quic")]
#[test]
fn a_stopped_worker_reports_too_late_over_quic() {
    check("quic", "task_stop::a_stopped_worker_reports_too_late_over_quic");
}

fn check(scheme: &str, test: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Ok(url) = std::env::var(WORKS_AT) {
        return runtime.block_on(work(&url));
    }
    let home = Home::new();
    let server = home.serve(&[]);
    let url = server.url(scheme);
    runtime.block_on(async {
        let client = Client::builder(&url).home(sinew::Home::at(home.path("")).unwrap()).connect().await.unwrap();
        let queue = queue(&client);
        queue.make(&QueueConfig { lease: LEASE, ..QueueConfig::default() }).await.unwrap();
        let mut stopped = home.start_test(test, WORKS_AT, &url);
        assert_eq!(stopped.complaint(), "joined\n");
        for round in 1..=ROUNDS {
            stop(&queue, &mut stopped, round).await;
        }
        let info = queue.info().await.unwrap();
        assert_eq!((info.waiting, info.delayed, info.running, info.workers), (0, 0, 0, 1), "{info:?}");
        let counts = info.counts;
        assert_eq!((counts.accepted, counts.done), (ROUNDS, ROUNDS), "{counts:?}");
        eprintln!("{scheme}: {ROUNDS} tasks in {} attempts, {} late reports", counts.attempts, counts.late);
    });
}

fn queue(client: &Client) -> TaskQueue {
    client.tasks().queue(&"stops".parse().unwrap())
}

/// The worker that will be stopped. Everything of it runs on this thread, which waits for a word while it has a task: so what
/// it says first as it goes on is its report, and then it hears what has happened.
async fn work(url: &str) {
    let client = Client::builder(url).executor(Executor::Current).connect().await.unwrap();
    let mut worker = queue(&client).worker().join().await.unwrap();
    eprintln!("joined");
    let mut words = std::io::stdin().lock().lines();
    while let Some(job) = worker.next().await {
        eprintln!("{}", job.attempt());
        words.next().expect("a word").unwrap();
        job.done(STOPPED);
        assert_eq!(job.cancelled().await, Recalled::Lost);
        eprintln!("{} late", worker.late());
    }
    panic!("it is over: {:?}", worker.end());
}

/// One task, which the worker has as it is stopped, and another one then.
async fn stop(queue: &TaskQueue, stopped: &mut Running, round: u64) {
    let before = queue.info().await.unwrap().counts;
    let mut handle = queue.submit(round.to_string()).queueing().detached().attempts(1_000).await.unwrap();
    // Nobody else is there who could have it.
    let first: u32 = stopped.with_fresh_patience().complaint().trim().parse().unwrap();
    stopped.signal(Signal::STOP);
    stopped.until_stopped();

    let mut other = queue.worker().join().await.unwrap();
    let again = soon("the lease's end", other.next()).await.unwrap();
    assert_eq!(again.id(), handle.id());
    assert!(again.attempt() > first, "attempt {} came after {first}", again.attempt());
    let seen = queue.explain(again.id()).await.unwrap().info;
    assert!(matches!(seen.state, TaskState::Running { worker, .. } if worker == other.id()), "{seen:?}");
    // The late report finds the task at its end, or amid its next attempt.
    let is_over = round.is_multiple_of(2);
    if is_over {
        again.done(OTHER);
        soon("the outcome", handle.outcome()).await.unwrap();
    }
    assert_eq!(queue.info().await.unwrap().counts.late, before.late, "it stands still");

    stopped.feed_and_keep(b"go on\n");
    stopped.signal(Signal::CONT);
    soon("a late report", async { while queue.info().await.unwrap().counts.late == before.late {} }).await;
    assert_eq!(stopped.complaint(), format!("{round} late\n"), "of each of its tasks one");
    again.done(OTHER);
    let outcome = soon("the outcome", handle.outcome()).await.unwrap();
    let ending = Ending::Done { worker: other.id(), attempt: again.attempt() };
    assert_eq!((&outcome.ending, &outcome.body[..]), (&ending, OTHER.as_bytes()));
    assert_eq!(queue.fetch(handle.id()).await.unwrap(), outcome, "what is kept is the same");
    let after = queue.info().await.unwrap().counts;
    assert_eq!((after.accepted, after.done), (before.accepted + 1, before.done + 1), "it has ended once");
    other.leave().await.unwrap();
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("{what} did not come for {PATIENCE:?}"))
}
