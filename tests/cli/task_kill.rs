//! Workers killed and stopped again and again while clients submit: every task that was accepted comes back with its result.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sinew::Client;
use sinew::taskqueue::TaskQueue;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::program::{Home, Running};

/// Kills and stops, half each.
const ROUNDS: usize = 100;
/// Workers at one time.
const WORKERS: usize = 4;
/// Tasks that are waited for at one time.
const SUBMITTERS: u64 = 16;

#[test]
fn no_accepted_task_is_lost_with_its_worker() {
    let began = Instant::now();
    let home = Home::new();
    let server = home.serve(&[]);
    home.succeed(["task", "queue", "create", "kills", "--lease", "1s"]);
    let url = server.url(super::program::schemes()[0]);
    let keys = sinew::Home::at(home.path("")).unwrap();
    let (done, watched) = watch::channel(0_u64);
    let (stop, stopped) = watch::channel(false);
    let kills = std::thread::spawn(move || {
        let mut workers: Vec<Running> = (0..WORKERS).map(|_| worker(&home)).collect();
        for round in 0..ROUNDS {
            let victim = &mut workers[round / 2 % WORKERS];
            // Some rounds end with the next result, others amid many.
            let some = 1 + round as u64 % 5 * 20;
            wait_for(&watched, some);
            if round % 2 == 0 {
                victim.signal(Signal::KILL);
                *victim = worker(&home);
            } else {
                victim.signal(Signal::STOP);
                wait_for(&watched, some);
                // Its tasks may be others' by now: then what it reports comes too late.
                victim.signal(Signal::CONT);
            }
        }
        stop.send(true).unwrap();
        (home, server, workers)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let submitted = runtime.block_on(async {
        let client = Client::builder(&url).home(keys).connect().await.unwrap();
        let queue = client.tasks().queue(&"kills".parse().unwrap());
        let mut submitters = JoinSet::new();
        for submitter in 0..SUBMITTERS {
            submitters.spawn(submit(queue.clone(), submitter, done.clone(), stopped.clone()));
        }
        let mut submitted = 0;
        while let Some(count) = submitters.join_next().await {
            submitted += count.unwrap();
        }
        submitted
    });
    let (home, _server, _workers) = kills.join().unwrap();
    let info: serde_json::Value =
        serde_json::from_str(&home.succeed(["task", "queue", "info", "kills", "--json"])).unwrap();
    let counts = &info["counts"];
    assert_eq!((&counts["accepted"], &counts["done"]), (&submitted.into(), &submitted.into()), "{info}");
    assert_eq!((&info["waiting"], &info["delayed"], &info["running"]), (&0.into(), &0.into(), &0.into()), "{info}");
    eprintln!(
        "{ROUNDS} kills and stops, {submitted} tasks in {} attempts, {} late reports, {:?}",
        counts["attempts"],
        counts["late"],
        began.elapsed()
    );
}

fn worker(home: &Home) -> Running {
    let mut worker = home.start(["task", "work", "kills", "--exec", "cat", "--concurrency", "2"]);
    let joined = worker.complaint();
    assert!(joined.starts_with("working on kills"), "{joined}");
    worker
}

/// Submits one task after the other until it is told to stop. Each comes back with its own payload.
async fn submit(queue: TaskQueue, submitter: u64, done: watch::Sender<u64>, stopped: watch::Receiver<bool>) -> u64 {
    let mut submitted = 0;
    while !*stopped.borrow() {
        let payload = format!("{submitter}.{submitted}");
        let result = queue.submit(payload.clone()).queueing().attempts(1_000).run().await.expect("it is done at last");
        assert_eq!(result, payload);
        submitted += 1;
        done.send_modify(|count| *count += 1);
    }
    submitted
}

/// Waits on a thread until there are so many more.
fn wait_for(watched: &watch::Receiver<u64>, more: u64) {
    let mut watched = watched.clone();
    let wanted = *watched.borrow() + more;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime
        .block_on(async {
            let grown = watched.wait_for(|count| *count >= wanted);
            tokio::time::timeout(Duration::from_secs(60), grown).await.map(|grown| grown.map(drop))
        })
        .expect("it goes on")
        .expect("it goes on");
}
