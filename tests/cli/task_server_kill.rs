//! The server killed again and again while tasks wait and run on a queue on disk: every task that was accepted has its result,
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sinew::taskqueue::{Job, Level, QueueConfig, TaskError, TaskQueue, WorkerStop};
use sinew::{Backoff, Client};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::program::Home;

/// Kills for each transport: 60 altogether.
const ROUNDS: u64 = 30;
/// Tasks that are waited for at one time: more than the workers do at one time, so that some wait.
const SUBMITTERS: u64 = 16;
/// Workers, each of which does so many tasks at one time.
const WORKERS: usize = 2;
const CONCURRENCY: u32 = 4;

#[cfg(feature = "zmq")]
#[test]
fn no_accepted_task_is_lost_over_zmq() {
    check("zmq");
}

#[cfg(feature = "quic")]
#[test]
fn no_accepted_task_is_lost_over_quic() {
    check("quic");
}

fn check(scheme: &str) {
    let began = Instant::now();
    let home = Home::new();
    let server = home.serve(&[]);
    let url = server.url(scheme);
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let keys = sinew::Home::at(home.path("")).unwrap();
    let (ended, watched) = watch::channel(0_u64);
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kills = std::thread::spawn(move || {
        let mut server = server;
        for round in 0..ROUNDS {
            // Some rounds end with the first result after a start, others amid many.
            let wanted = *watched.borrow() + 1 + round % 5 * 50;
            wait_for(&watched, wanted);
            server.running.signal(Signal::KILL);
            server.running.end();
            server = home.serve_at(&port);
        }
        let _ = stop.send(true);
        (home, server)
    });
    let (submitted, begun) = runtime.block_on(async {
        let connect = async || {
            let backoff = Backoff { first: Duration::from_millis(10), max: Duration::from_millis(100) };
            let client = Client::builder(&url).home(keys.clone()).backoff(backoff).connect().await.unwrap();
            client.tasks().queue(&"kills".parse().unwrap())
        };
        let queue = connect().await;
        let info = queue.make(&QueueConfig { lease: Duration::from_secs(2), ..QueueConfig::default() }).await.unwrap();
        assert_eq!(info.level, Level::Fsynced);
        let begun = Arc::new(AtomicU64::new(0));
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(work(connect().await, begun.clone()));
        }
        let mut submitters = JoinSet::new();
        for submitter in 0..SUBMITTERS {
            submitters.spawn(submit(queue.clone(), submitter, ended.clone(), stopped.clone()));
        }
        let mut submitted = 0;
        while let Some(count) = submitters.join_next().await {
            submitted += count.unwrap();
        }
        let info = queue.info().await.unwrap();
        assert_eq!((info.waiting, info.delayed, info.running), (0, 0, 0), "{info:?}");
        for (stop, working) in workers {
            stop.stop().await.unwrap();
            working.await.unwrap().unwrap();
        }
        (submitted, begun.load(Ordering::Relaxed))
    });
    let (_home, _server) = kills.join().unwrap();
    eprintln!("{scheme}: {ROUNDS} kills, {submitted} tasks begun {begun} times, {:?}", began.elapsed());
    assert!(begun >= submitted, "nothing is done that was not begun");
}

fn work(queue: TaskQueue, begun: Arc<AtomicU64>) -> (WorkerStop, JoinHandle<sinew::taskqueue::Result<()>>) {
    let worker = queue.worker().concurrency(CONCURRENCY);
    let stop = worker.stop_handle();
    let working = tokio::spawn(worker.run(move |job: Job| {
        begun.fetch_add(1, Ordering::Relaxed);
        async move {
            // What runs amid a kill, too.
            tokio::task::yield_now().await;
            Ok::<_, TaskError>(job.payload().clone())
        }
    }));
    (stop, working)
}

/// Submits one task after the other until it is told to stop. Each comes back with its own payload, whatever happens to the
/// server.
async fn submit(queue: TaskQueue, submitter: u64, ended: watch::Sender<u64>, stopped: watch::Receiver<bool>) -> u64 {
    let mut submitted = 0;
    while !*stopped.borrow() {
        let payload = format!("{submitter}.{submitted}");
        let result = queue.submit(payload.clone()).queueing().attempts(1_000).run().await;
        assert_eq!(result.expect("it was accepted, and is done at last"), payload);
        submitted += 1;
        ended.send_modify(|count| *count += 1);
    }
    submitted
}

/// Waits on a thread.
fn wait_for(watched: &watch::Receiver<u64>, wanted: u64) {
    let mut watched = watched.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { watched.wait_for(|count| *count >= wanted).await.map(drop) }).expect("it goes on");
}
