//! Through cuts: what was submitted is done once, whatever was on its way, and every outcome arrives.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sinew_session::Server;
use sinew_taskqueue::{Ending, Job, QueueConfig, Recalled, TaskError, TaskQueue, Tasks, Worker};
use sinew_testkit::net::Net;
use sinew_testkit::random::Random;
use sinew_testkit::setup::{Setup, soon};
use sinew_transport_api::LaneSet;

struct World {
    net: Net,
    setup: Setup,
    _server: Server,
}

impl World {
    async fn new() -> Self {
        let net = Net::default();
        let mut setup = Setup::on(&net, "wide://here");
        let server = setup.serve_tasks().await;
        Self { net, setup, _server: server }
    }

    async fn tasks(&self) -> Tasks {
        self.setup.tasks(0).await
    }

    async fn queue(&self) -> TaskQueue {
        self.tasks().await.queue(&"cuts".parse().unwrap())
    }

    fn cut(&self) {
        self.net.faults("here").cut();
    }
}

#[tokio::test(start_paused = true)]
async fn through_a_thousand_cuts_each_task_is_done_once_and_its_outcome_arrives() {
    let world = World::new().await;
    let queue = world.queue().await;
    let runs: Arc<Mutex<HashMap<u64, u32>>> = Arc::default();
    let mut stops = Vec::new();
    for _ in 0..3 {
        let (worker, runs) = (world.queue().await.worker().concurrency(5), runs.clone());
        stops.push(worker.stop_handle());
        tokio::spawn(worker.run(move |job: Job| {
            let number = u64::from_le_bytes(job.payload()[..8].try_into().unwrap());
            *runs.lock().unwrap().entry(number).or_default() += 1;
            async move {
                tokio::time::sleep(Duration::from_millis(number % 50)).await;
                Ok::<_, TaskError>(job.payload().clone())
            }
        }));
    }
    let (given, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut submitters = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (queue, given, done, stop) = (queue.clone(), given.clone(), done.clone(), stop.clone());
        submitters.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = given.fetch_add(1, Ordering::Relaxed);
                let task = queue.submit(number.to_le_bytes().to_vec()).queueing().attempts(3);
                let result = soon("a task", task.run()).await.expect("it is done");
                assert_eq!(result[..], number.to_le_bytes());
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut random = Random::new(7);
    for _ in 0..1_000 {
        tokio::time::sleep(random.millis(200)).await;
        world.cut();
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = submitters.join_next().await {
        ended.expect("each task is done");
    }
    let (given, done) = (given.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
    assert_eq!(given, done);
    let runs = runs.lock().unwrap().clone();
    assert_eq!(runs.len() as u64, done);
    let doubled = runs.values().filter(|count| **count > 1).count();
    assert_eq!(doubled, 0, "a worker that comes back in time keeps what it has");
    assert!(done > 1_000, "{done} tasks");
    let info = queue.info().await.unwrap();
    assert_eq!((info.counts.accepted, info.counts.done, info.waiting, info.running), (done, done, 0, 0));
    println!("{done} tasks through 1,000 cuts, {} reports too late", info.counts.late);
    for stop in stops {
        soon("stopping", stop.stop()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_while_the_session_is_cut_is_cancelled_once_it_is_back() {
    // The worker is not cut: what it is told depends on nobody's coming back.
    let world = two_doors().await;
    let queue = world.queue().await;
    let there = world.setup.tasks(1).await.queue(queue.name());
    let mut worker = there.worker().concurrency(2).join().await.unwrap();
    let handle = queue.submit("x").await.unwrap();
    let job = soon("its job", worker.next()).await.unwrap();
    world.cut();
    drop(handle);
    assert_eq!(soon("its recall", job.cancelled()).await, Recalled::Cancelled);
    // A submission whose future is dropped before it was accepted leaves nothing behind either.
    world.cut();
    let waiting = tokio::time::timeout(Duration::ZERO, async { queue.submit("y").queueing().await }).await;
    assert!(waiting.is_err(), "it is not connected yet");
    let mut last = queue.submit("z").await.unwrap();
    let mut seen = Vec::new();
    loop {
        let job = soon("the last job", worker.next()).await.unwrap();
        seen.push(job.payload().clone());
        job.done("");
        if seen.last().is_some_and(|payload| payload == "z") {
            break;
        }
    }
    assert!(soon("its outcome", last.outcome()).await.unwrap().is_done());
    let info = queue.info().await.unwrap();
    assert_eq!((info.waiting, info.running), (0, 0), "{info:?}");
}

/// A world whose workers come in by a door of their own.
async fn two_doors() -> World {
    let net = Net::default();
    let mut setup = Setup::plaintext(net.registry(), &["wide://here", "wide://there"]);
    let server = setup.serve_tasks().await;
    World { net, setup, _server: server }
}

const LEASE: Duration = Duration::from_secs(1);

/// A queue with a short lease, and a worker behind the other door.
async fn with_worker(world: &World) -> (TaskQueue, Worker) {
    let queue = world.queue().await;
    queue.make(&QueueConfig { lease: LEASE, ..QueueConfig::default() }).await.unwrap();
    let there = world.setup.tasks(1).await.queue(queue.name());
    (queue, there.worker().join().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_cut_off_for_longer_than_its_lease_loses_what_it_has_and_comes_back() {
    let world = two_doors().await;
    let (queue, mut worker) = with_worker(&world).await;
    let mut handle = queue.submit("x").queueing().attempts(2).await.unwrap();
    let lost = soon("its job", worker.next()).await.unwrap();
    let begun = tokio::time::Instant::now();
    world.net.faults("there").down();
    let mut helper = world.queue().await.worker().join().await.unwrap();
    let again = soon("the other's job", helper.next()).await.unwrap();
    assert_eq!((again.id(), again.attempt()), (lost.id(), 2));
    let took = begun.elapsed();
    assert!((LEASE..LEASE * 2).contains(&took), "within lease plus one second: {took:?}");
    lost.done("too late");
    world.net.faults("there").up();
    assert_eq!(soon("its recall", lost.cancelled()).await, Recalled::Lost);
    again.done("in time");
    let outcome = soon("the outcome", handle.outcome()).await.unwrap();
    assert_eq!(
        (outcome.ending, &outcome.body[..]),
        (Ending::Done { worker: helper.id(), attempt: 2 }, &b"in time"[..])
    );
    // It is one of the queue's workers again, by itself.
    soon("leaving", helper.leave()).await.unwrap();
    let mut handle = queue.submit("y").await.unwrap();
    soon("its job", worker.next()).await.unwrap().done("back");
    assert_eq!(&soon("the outcome", handle.outcome()).await.unwrap().body[..], b"back");
    assert_eq!(worker.late(), 1);
}

/// Nothing of a worker arrives for longer than its lease, and not for so long that its session would be given up.
async fn stall_past_the_lease(world: &World, queue: &TaskQueue) {
    world.net.faults("there").stall(LaneSet::first(32));
    while !queue.workers_page(None).await.unwrap().workers.is_empty() {
        tokio::time::sleep(LEASE / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_reported_after_the_lease_is_counted_as_late() {
    let world = two_doors().await;
    let (queue, mut worker) = with_worker(&world).await;
    let mut handle = queue.submit("x").queueing().attempts(2).await.unwrap();
    let lost = soon("its job", worker.next()).await.unwrap();
    stall_past_the_lease(&world, &queue).await;
    // It is on its way when the worker hears that it is none any more.
    lost.done("too late");
    world.net.faults("there").resume();
    let again = soon("its job once more", worker.next()).await.unwrap();
    assert_eq!((again.id(), again.attempt()), (lost.id(), 2));
    again.done("in time");
    let outcome = soon("the outcome", handle.outcome()).await.unwrap();
    assert_eq!(
        (outcome.ending, &outcome.body[..]),
        (Ending::Done { worker: worker.id(), attempt: 2 }, &b"in time"[..])
    );
    assert_eq!((worker.late(), queue.info().await.unwrap().counts.late), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_lease_is_over_while_it_is_connected_is_told_and_joins_again() {
    let world = two_doors().await;
    let (queue, mut worker) = with_worker(&world).await;
    let mut handle = queue.submit("x").queueing().attempts(2).await.unwrap();
    let lost = soon("its job", worker.next()).await.unwrap();
    stall_past_the_lease(&world, &queue).await;
    assert_eq!(lost.recalled(), None, "it cannot know yet");
    world.net.faults("there").resume();
    assert_eq!(soon("its recall", lost.cancelled()).await, Recalled::Lost);
    let again = soon("its job once more", worker.next()).await.unwrap();
    assert_eq!((again.id(), again.attempt()), (lost.id(), 2));
    lost.done("of no attempt any more");
    again.done("done");
    let outcome = soon("the outcome", handle.outcome()).await.unwrap();
    assert_eq!((outcome.ending, &outcome.body[..]), (Ending::Done { worker: worker.id(), attempt: 2 }, &b"done"[..]));
}
