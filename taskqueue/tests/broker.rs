//! What the server keeps to: its limits, slow readers, sessions that go, queues that are removed.

use std::sync::Arc;
use std::time::Duration;

use sinew_session::Server;
use sinew_taskqueue::{
    Ending, Error, Listed, MemoryEngine, QueueConfig, Recalled, TaskHandle, TaskLimits, TaskQueue, TaskState, Worker,
};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use sinew_transport_api::LaneSet;

struct World {
    net: Net,
    setup: Setup,
    _server: Server,
}

impl World {
    /// Two doors, so that one of them can be shut.
    async fn new(limits: TaskLimits) -> Self {
        let net = Net::default();
        let mut setup = Setup::plaintext(net.registry(), &["wide://here", "wide://there"]);
        setup.limits.outbox_bytes_max = 64 << 10;
        let server = setup.serve_tasks_on(Arc::new(MemoryEngine::default()), limits).await;
        Self { net, setup, _server: server }
    }

    async fn queue(&self, door: usize) -> TaskQueue {
        self.setup.tasks(door).await.queue(&"orders".parse().unwrap())
    }
}

async fn submitted(queue: &TaskQueue, payload: &'static str) -> TaskHandle {
    soon("submitting", async { queue.submit(payload).queueing().await }).await.expect("it is accepted")
}

async fn done(worker: &mut Worker, result: &[u8]) {
    soon("a job", worker.next()).await.expect("it goes on").done(result.to_vec());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_removed_tells_who_waits_and_who_works() {
    let world = World::new(TaskLimits::default()).await;
    let (queue, mut worker) = (world.queue(0).await, world.queue(1).await.worker().join().await.unwrap());
    let (mut running, mut waiting) = (submitted(&queue, "runs").await, submitted(&queue, "waits").await);
    let job = soon("its job", worker.next()).await.unwrap();
    soon("removing it", world.queue(0).await.remove()).await.unwrap();
    for handle in [&mut running, &mut waiting] {
        let ended = soon("its end", handle.outcome()).await;
        assert!(matches!(ended, Err(Error::Ended { .. })), "{ended:?}");
    }
    assert!(soon("its end", worker.next()).await.is_none());
    assert!(matches!(worker.end(), Some(Error::Ended { .. })), "{:?}", worker.end());
    assert_eq!(soon("its recall", job.cancelled()).await, Recalled::Lost);
    // The same name is another queue.
    assert_eq!(soon("making it", queue.make(&QueueConfig::default())).await.unwrap().counts.accepted, 0);
    let mut again = submitted(&queue, "again").await;
    done(&mut queue.worker().join().await.unwrap(), b"done").await;
    assert!(soon("its end", again.outcome()).await.unwrap().is_done());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_cancelled_and_what_is_detached_goes_on() {
    let world = World::new(TaskLimits::default()).await;
    let (ours, theirs) = (world.queue(0).await, world.queue(1).await);
    let waiting = submitted(&ours, "waits").await;
    let shared = submitted(&ours, "shared").await;
    let mut other = theirs.attach(shared.id()).await.unwrap();
    let detached = soon("submitting", async { ours.submit("detached").queueing().detached().await }).await.unwrap();
    let ids = [waiting.id(), shared.id(), detached.id()];
    let elsewhere = theirs.tasks().queue(&"others".parse().unwrap());
    let mut gone_worker = ours.tasks().queue(elsewhere.name()).worker().join().await.unwrap();
    // Without dropping the handles: it is the session that is over.
    soon("closing", ours.tasks().close()).await.unwrap();
    while !soon("the workers", elsewhere.workers_page(None)).await.unwrap().workers.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let live = soon("a list", theirs.tasks_page(Listed::Live, None)).await.unwrap();
    assert_eq!(live.tasks.iter().map(|task| task.task).collect::<Vec<_>>(), ids[1..]);
    let gone = soon("an explanation", theirs.explain(ids[0])).await.unwrap().info.state;
    assert!(matches!(gone, TaskState::Ended { ending: Ending::Cancelled { attempts: 0 }, .. }), "{gone:?}");
    let mut worker = theirs.worker().join().await.unwrap();
    done(&mut worker, b"for the other").await;
    done(&mut worker, b"for later").await;
    assert_eq!(soon("its end", other.outcome()).await.unwrap().body, "for the other");
    assert_eq!(soon("its end", theirs.fetch(ids[2])).await.unwrap().body, "for later");
    assert!(soon("its end", gone_worker.next()).await.is_none());
    assert!(matches!(gone_worker.end(), Some(Error::Session(_))), "{:?}", gone_worker.end());
    drop((waiting, shared, detached));
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_so_many_tasks_and_has_so_many_workers() {
    let limits = TaskLimits { waits_max: 3, workers_max: 2, credit_max: 4, doors_max: 2, ..TaskLimits::default() };
    let world = World::new(limits).await;
    let queue = world.queue(0).await;
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(submitted(&queue, "x").await);
    }
    let refused = soon("one more", async { queue.submit("x").queueing().await }).await;
    assert!(matches!(&refused, Err(Error::Limit { reason }) if reason.contains("waits_max")), "{:?}", refused.err());
    // One that is given up makes room.
    drop(handles.pop());
    handles.push(submitted(&queue, "x").await);
    let mut workers = vec![queue.worker().concurrency(9).join().await.unwrap(), queue.worker().join().await.unwrap()];
    let refused = soon("one more", queue.worker().join()).await;
    assert!(matches!(&refused, Err(Error::Limit { reason }) if reason.contains("workers")), "{:?}", refused.err());
    let shown = soon("the workers", queue.workers_page(None)).await.unwrap().workers;
    let mut credits: Vec<_> = shown.iter().map(|worker| worker.credit).collect();
    credits.sort_unstable();
    assert_eq!(credits, [1, 4], "a larger wish is cut");
    drop(workers.pop());
    soon("one more", queue.worker().join()).await.unwrap();
    drop(handles);
    let tasks = queue.tasks();
    let other = |name: &str| tasks.queue(&name.parse().unwrap());
    let kept = soon("another queue", async { other("a").submit("x").queueing().await }).await.unwrap();
    let refused = soon("a third queue", async { other("b").submit("x").queueing().await }).await;
    assert!(matches!(&refused, Err(Error::Limit { .. })), "{:?}", refused.err());
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_too_slow_costs_so_much_and_its_outcomes_can_be_fetched() {
    const RESULT: usize = 50_000;
    let limits = TaskLimits { ended_bytes_max: 4 * RESULT, ..TaskLimits::default() };
    let world = World::new(limits).await;
    let queue = world.queue(0).await;
    let mut handles = Vec::new();
    for _ in 0..60 {
        handles.push(submitted(&queue, "x").await);
    }
    let faults = world.net.faults("here");
    faults.stall(LaneSet::first(32));
    let mut worker = world.queue(1).await.worker().concurrency(10).join().await.unwrap();
    for _ in 0..60 {
        done(&mut worker, &vec![7; RESULT]).await;
    }
    soon("everything known", worker.flush()).await.unwrap();
    faults.resume();
    let (mut here, mut late) = (0, 0);
    for handle in &mut handles {
        match soon("its end", handle.outcome()).await {
            Ok(outcome) => {
                assert_eq!(outcome.body.len(), RESULT);
                here += 1;
            }
            Err(Error::Limit { .. }) => {
                late += 1;
                let fetched = soon("fetching it", queue.fetch(handle.id())).await.unwrap();
                assert_eq!(fetched.body.len(), RESULT);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(here >= 4 && late >= 4, "{here} came, {late} had to be fetched");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_runs_at_its_deadline_is_taken_from_its_worker() {
    let world = World::new(TaskLimits::default()).await;
    let (queue, mut worker) = (world.queue(0).await, world.queue(1).await.worker().join().await.unwrap());
    let minute = Duration::from_secs(60);
    let mut handle = soon("submitting", async { queue.submit("x").deadline(minute).await }).await.unwrap();
    let job = soon("its job", worker.next()).await.unwrap();
    assert!(job.deadline().is_some());
    let recalled = tokio::time::timeout(minute * 2, job.cancelled()).await;
    assert_eq!(recalled.expect("in time"), Recalled::DeadlineExceeded);
    let ended = soon("its end", handle.outcome()).await.unwrap().ending;
    assert_eq!(ended, Ending::DeadlineExceeded { attempts: 1 });
    // One that tells no progress is taken as well.
    let stalls = async { queue.submit("y").stall_timeout(minute).await };
    let mut handle = soon("submitting", stalls).await.unwrap();
    let job = soon("its job", worker.next()).await.unwrap();
    tokio::time::sleep(minute / 2).await;
    job.progress("half");
    assert_eq!(soon("progress", handle.next_progress()).await.unwrap(), "half");
    tokio::time::sleep(minute / 3 * 2).await;
    assert_eq!(job.recalled(), None, "it told progress");
    assert_eq!(tokio::time::timeout(minute, job.cancelled()).await.expect("in time"), Recalled::Stalled);
    assert!(matches!(soon("its end", handle.outcome()).await.unwrap().ending, Ending::Stalled { attempt: 1, .. }));
}
