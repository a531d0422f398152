//! Bad input: each its own clear error, word for word.

use std::sync::Arc;
use std::time::Duration;

use sinew_session::ResourceName;
use sinew_taskqueue::{Engine, QueueConfig, QueueLimits, TaskId, TaskLimits};

use super::{join, name, nobody, nothing, queue, refused};
use crate::setup::{Setup, soon};

#[track_caller]
fn check<T>(result: sinew_taskqueue::Result<T>, words: &str) {
    assert_eq!(refused(result).to_string(), words);
}

/// What cannot be is refused with what is wrong and what to do.
///
/// # Panics
/// If it is not so.
pub async fn bad_input(setup: &mut Setup, engine: Arc<dyn Engine>) {
    let limits = TaskLimits { made_by_submit: false, ..TaskLimits::default() };
    let server = setup.serve_tasks_on(engine, limits).await;
    assert_eq!(
        ResourceName::try_from("a.b").expect_err("no name").to_string(),
        "`a.b` cannot name a queue, bucket or stream: it contains `.`, and it must be one token that can also be a \
         folder; use `-` or `_`",
    );
    assert_eq!(
        "12".parse::<TaskId>().expect_err("no id").to_string(),
        "`12` is no id: it has 32 hexadecimal digits, as `sinew task list` shows them",
    );
    let unknown = queue(setup, 0, "none").await;
    let words =
        "there is no queue `none`; create it with `sinew task queue create none`, or see `sinew task queue list`";
    check(soon("a task", unknown.run("x")).await, words);
    check(soon("a worker", unknown.worker().join()).await, words);
    check(soon("the queue", unknown.info()).await, words);
    check(soon("a cancel", unknown.cancel(nobody())).await, words);
    check(soon("fetching", unknown.fetch(nobody())).await, words);
    check(soon("a look", unknown.explain(nobody())).await, words);
    let quiet = || Arc::new(|_| {});
    check(soon("a backup", unknown.backup("/nowhere", quiet())).await, words);
    check(soon("verifying", unknown.verify(quiet())).await, words);

    let ours = queue(setup, 0, "small").await;
    let limits = QueueLimits { payload_bytes_max: 1_000, result_bytes_max: 1_000, ..QueueLimits::default() };
    let config = QueueConfig { limits, ..QueueConfig::default() };
    soon("making it", ours.make(&config)).await.expect("it is made");
    check(
        soon("making it", ours.make(&QueueConfig::default())).await,
        "queue `small` exists with another configuration; alter it, or choose another name",
    );
    check(
        soon("a short lease", ours.alter(&QueueConfig { lease: Duration::ZERO, ..config.clone() })).await,
        "`lease` of queue `small` cannot be 0ns: it is from 300ms to 3600s",
    );
    check(
        soon("nobody there", ours.run("x")).await,
        "nobody works on queue `small`; start a worker, or submit it so that it waits for one (`queueing`)",
    );
    check(
        soon("a large one", ours.submit(vec![0_u8; 1_001]).queueing().run()).await,
        "a payload of 1001 bytes for queue `small`; the limit is 1000: store it elsewhere and submit where it is, or \
         alter `payload_bytes_max`",
    );
    check(
        soon("no attempt", ours.submit("x").attempts(0).run()).await,
        "queue `small` cannot take it: 0 attempts; there are 1 to 1000",
    );
    let id = nobody();
    let words = format!(
        "queue `small` knows no task {id}: it was never there, or its outcome is not kept any more (`result_kept`)"
    );
    check(soon("a cancel", ours.cancel(id)).await, &words);
    check(soon("fetching", ours.fetch(id)).await, &words);
    check(soon("a look", ours.explain(id)).await, &words);
    check(soon("its payload", ours.payload(id)).await, &words);
    check(
        soon("a retry", ours.retry_dead(id)).await,
        &format!("queue `small` has no dead letter {id}; see `sinew task dead list small`"),
    );

    let relative = "is relative, and the server has another working directory; name it from the root";
    check(soon("a backup", ours.backup("here", quiet())).await, &format!("`here` {relative}"));
    check(soon("a restore", ours.restore("../here", quiet())).await, &format!("`../here` {relative}"));

    let mut worker = join(&ours, 1).await;
    let mut handle = soon("submitting", async { ours.submit(nothing()).await }).await.expect("it is accepted");
    super::job(&mut worker).await.done(vec![0_u8; 1_001]);
    let outcome = super::ended(&mut handle).await;
    check(
        outcome.done(ours.name(), handle.id()),
        &format!(
            "task {} of queue `small` is not done: worker {} failed at attempt 1 with `result-too-large`: a result of \
             1001 bytes for queue `small`; the limit is 1000: store it elsewhere and return where it is, or alter \
             `result_bytes_max`",
            handle.id(),
            worker.id()
        ),
    );
    soon("leaving", worker.leave()).await.expect("it has left");
    let gone = name("small");
    soon("removing it", ours.remove()).await.expect("it is removed");
    assert!(!soon("a list", ours.tasks().list()).await.expect("it is shown").contains(&gone));
    server.drain().await;
}
