//! Copies of a queue, made while its tasks come and go, and restored: beside it, and on another server.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sinew_auth::Operation;
use sinew_taskqueue::{
    Engine, Error, Job, Level, Listed, ProgressSink, QueueConfig, Submission, TaskError, TaskId, TaskLimits, TaskQueue,
};

use super::{job, join, name, queue, refused, submitted};
use crate::rules::Rules;
use crate::setup::{Setup, soon};

/// Tasks that wait for a worker that never comes.
const WAITING: usize = 20;

fn quiet() -> ProgressSink {
    Arc::new(|_| {})
}

/// Submits a task that goes on by itself.
async fn detached(task: Submission) -> TaskId {
    let handle = submitted(task.detached()).await;
    soon("detaching", handle.detach()).await.expect("it goes on")
}

/// A queue is verified and copied while tasks are submitted and worked; the copy is restored beside it, and on another server,
/// where each task that was accepted is there once, what had ended with its outcome, and a worker comes back with what it has.
/// An engine that is not durable says that there is nothing to copy. `open` opens one on a directory.
///
/// # Panics
/// If it is not so.
pub async fn copies(
    setup: &mut Setup,
    open: impl AsyncFn(&Path) -> Arc<dyn Engine>,
    is_durable: bool,
    directory: &Path,
) {
    let rules = Arc::new(Rules::default());
    setup.authorize = rules.clone();
    let server = setup.serve_tasks_on(open(&directory.join("first")).await, TaskLimits::default()).await;
    let (ours, theirs) = (queue(setup, 0, "copied").await, queue(setup, 1, "copied").await);
    soon("making it", ours.make(&QueueConfig::default())).await.expect("it is made");
    if !is_durable {
        nothing_to_copy(&ours, "copied").await;
        let error = refused(soon("a restore", ours.restore("/nowhere", quiet())).await);
        assert!(matches!(error, Error::Unsupported { what: "restore", .. }), "{error}");
        server.drain().await;
        return;
    }
    let memory = ours.tasks().queue(&name("memory"));
    let config = QueueConfig { level: Level::Memory, ..QueueConfig::default() };
    soon("making it", memory.make(&config)).await.expect("it is made");
    nothing_to_copy(&memory, "memory").await;

    let mut worker = join(&theirs, 3).await;
    let ends = detached(ours.submit("ends")).await;
    job(&mut worker).await.done("well");
    let outcome = soon("fetching", ours.fetch(ends)).await.expect("it is kept");
    let dies = detached(ours.submit("dies").dead_letter(true)).await;
    job(&mut worker).await.fail(TaskError::new("no-luck", "not today"));
    soon("fetching", ours.fetch(dies)).await.expect("it is kept");
    let runs = detached(ours.submit("runs")).await;
    let held = job(&mut worker).await;
    let mut waits = BTreeSet::new();
    for _ in 0..WAITING {
        waits.insert(detached(ours.submit("waits").tags(["nobody"]).queueing()).await);
    }

    let copy = directory.join("copy");
    let copy = copy.to_str().expect("a path of this test");
    while_busy(&ours, &theirs, async || {
        let looks = Arc::new(AtomicU64::new(0));
        let counted = looks.clone();
        let progress: ProgressSink = Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let done = soon("a backup", ours.backup(copy, progress)).await.expect("it is copied");
        assert!(done.records > WAITING as u64 && done.bytes > 0, "{done:?}");
        assert!(looks.load(Ordering::Relaxed) > 0, "it is told how far it is");
        let found = soon("verifying", ours.verify(quiet())).await.expect("it is read");
        assert!(found.problems.is_empty() && found.tasks > WAITING as u64, "{found:?}");
    })
    .await;
    let again = refused(soon("a backup", ours.backup(copy, quiet())).await);
    assert!(matches!(&again, Error::Backup { path, .. } if path == copy), "{again}");
    let taken = refused(soon("a restore", ours.restore(copy, quiet())).await);
    assert!(matches!(taken, Error::QueueExists { .. }), "{taken}");
    let none = refused(soon("a restore", ours.restore("/nowhere", quiet())).await);
    assert!(matches!(none, Error::QueueExists { .. }), "{none}");
    let beside = ours.tasks().queue(&name("beside"));
    let none = refused(soon("a restore", beside.restore("/nowhere", quiet())).await);
    assert!(matches!(none, Error::Backup { .. }), "{none}");
    let info = soon("a restore", beside.restore(copy, quiet())).await.expect("it is restored");
    assert_eq!((&info.name[..], info.level, info.dead), ("beside", Level::Fsynced, 1));
    all_is_there(&beside, &waits, &[ends, dies, runs]).await;
    needs_permission(setup, &rules, copy).await;
    server.abort().await;

    let engine = open(&directory.join("second")).await;
    let restored = engine.restore(ours.name(), Path::new(copy), quiet());
    soon("a restore", restored).await.expect("it is restored");
    let server = setup.serve_tasks_on(engine, TaskLimits::default()).await;
    all_is_there(&ours, &waits, &[ends, dies, runs]).await;
    assert_eq!(soon("fetching", ours.fetch(ends)).await.expect("it is kept"), outcome);
    held.done("after all");
    let outcome = soon("fetching", ours.fetch(runs)).await.expect("its worker came back");
    assert_eq!((outcome.is_done(), &outcome.body[..]), (true, &b"after all"[..]), "{outcome:?}");
    let found = soon("verifying", ours.verify(quiet())).await.expect("it is read");
    assert!(found.problems.is_empty(), "{found:?}");
    soon("leaving", worker.leave()).await.expect("it has left");
    server.drain().await;
}

/// Does something while tasks of the queue are submitted and worked: some were before it begins.
async fn while_busy(ours: &TaskQueue, theirs: &TaskQueue, work: impl AsyncFnOnce()) {
    let worker = theirs.worker().concurrency(4).tags(["busy"]);
    let stop = worker.stop_handle();
    let working = tokio::spawn(worker.run(|job: Job| async move { Ok::<_, TaskError>(job.payload().clone()) }));
    let is_over = Arc::new(AtomicBool::new(false));
    let (begun, mut begins) = tokio::sync::mpsc::channel(1);
    let (over, queue) = (is_over.clone(), ours.clone());
    let submitting = tokio::spawn(async move {
        while !over.load(Ordering::Relaxed) {
            let result = queue.submit("busy").tags(["busy"]).queueing().run().await.expect("it is done");
            assert_eq!(&result[..], b"busy");
            // Once it is known nobody takes it any more.
            let _ = begun.try_send(());
        }
    });
    soon("a task that is done", begins.recv()).await.expect("it goes on");
    work().await;
    is_over.store(true, Ordering::Relaxed);
    soon("the last task", submitting).await.expect("each is done");
    soon("stopping", stop.stop()).await.expect("it has left");
    soon("its end", working).await.expect("no panic").expect("in order");
}

/// A queue that is not on disk says so.
async fn nothing_to_copy(queue: &TaskQueue, name: &str) {
    let words = |what: &str| {
        format!(
            "queue `{name}` is in memory alone: there is nothing on disk to {what}; a queue of level `fsynced` has it"
        )
    };
    let error = refused(soon("verifying", queue.verify(quiet())).await);
    assert_eq!((error.to_string(), matches!(error, Error::Unsupported { .. })), (words("verify"), true));
    let error = refused(soon("a backup", queue.backup("/nowhere", quiet())).await);
    assert_eq!((error.to_string(), matches!(error, Error::Unsupported { .. })), (words("backup"), true));
}

/// Each of these tasks is there once; what waits waits.
async fn all_is_there(queue: &TaskQueue, waits: &BTreeSet<TaskId>, others: &[TaskId]) {
    let mut known = Vec::new();
    for listed in [Listed::Live, Listed::Ended] {
        let page = soon("a list", queue.tasks_page(listed, None)).await.expect("it is shown");
        assert!(!page.more, "{} tasks and more", page.tasks.len());
        known.extend(page.tasks.into_iter().map(|info| (info.task, listed)));
    }
    let tasks: BTreeSet<_> = known.iter().map(|(task, _)| *task).collect();
    assert_eq!(tasks.len(), known.len(), "each is there once: {known:?}");
    assert!(waits.iter().all(|task| known.contains(&(*task, Listed::Live))), "{known:?}");
    assert!(others.iter().all(|task| tasks.contains(task)), "{known:?}");
}

/// Only who may manage the queue verifies it, and only who may manage the server as well names directories of its machine.
async fn needs_permission(setup: &Setup, rules: &Rules, copy: &str) {
    for (operation, resource) in [(Operation::TaskManage, "copied"), (Operation::ServerManage, "task")] {
        rules.deny(operation, resource);
        // A session of its own: what was permitted before the change may be kept until it is judged.
        let ours = queue(setup, 0, "copied").await;
        let results = [
            soon("verifying", ours.verify(quiet())).await.map(drop),
            soon("a backup", ours.backup("/nowhere", quiet())).await.map(drop),
            soon("a restore", ours.restore(copy, quiet())).await.map(drop),
        ];
        let denied = results.map(|result| matches!(result, Err(Error::Denied { .. })));
        assert_eq!(denied, [operation == Operation::TaskManage, true, true], "without {operation:?}");
        rules.allow(operation, resource);
    }
}
