//! A server that is killed and started again: what it had in memory alone nobody knows, and who waits for it is told so.

use std::sync::Arc;

use sinew_taskqueue::{Ending, Engine, Error, Job, TaskError, TaskLimits};

use super::{ended, join, queue};
use crate::setup::{Setup, soon};

/// The server is killed and started again `restarts` times, each time on what `open` gives: an engine without what was in
/// memory, or one that has it. One submits all the time; a worker comes back by itself. Each task that was accepted has one
/// outcome: it was done, or it is not known what became of it, and that only where `is_durable` is not true.
///
/// # Panics
/// If it is not so.
pub async fn through_restarts(
    setup: &mut Setup,
    open: impl AsyncFn() -> Arc<dyn Engine>,
    is_durable: bool,
    restarts: usize,
) {
    let mut server = setup.serve_tasks_on(open().await, TaskLimits::default()).await;
    let ours = queue(setup, 0, "restarts").await;
    let worker = queue(setup, 1, "restarts").await.worker().concurrency(4);
    let stop = worker.stop_handle();
    let working = tokio::spawn(worker.run(|job: Job| async move { Ok::<_, TaskError>(job.payload().clone()) }));
    let (mut done, mut unknown) = (0, 0);
    for round in 0..restarts {
        let mut handles = Vec::new();
        for number in 0..10 {
            let payload = format!("{round}.{number}");
            let submission = ours.submit(payload.clone()).queueing().attempts(50);
            match soon("submitting", async { submission.await }).await {
                Ok(handle) => handles.push((payload, handle)),
                // The connection was still one that the server's end had cut.
                Err(Error::OutcomeUnknown { .. }) if !is_durable => unknown += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        server.abort().await;
        server = setup.serve_tasks_on(open().await, TaskLimits::default()).await;
        for (payload, mut handle) in handles {
            match soon("its outcome", handle.outcome()).await {
                Ok(outcome) => {
                    assert!(matches!(outcome.ending, Ending::Done { .. }), "{outcome:?}");
                    assert_eq!(outcome.body, payload);
                    done += 1;
                }
                Err(Error::OutcomeUnknown { .. }) if !is_durable => unknown += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    assert_eq!(done + unknown, restarts * 10);
    let last = soon("the last one", ours.submit("last").queueing().run()).await.expect("it is done");
    assert_eq!(last, "last");
    soon("stopping", stop.stop()).await.expect("it has left");
    soon("its end", working).await.expect("no panic").expect("in order");
    // One that has joined and waits for nothing comes back as well.
    let mut waits = join(&ours, 1).await;
    server.abort().await;
    server = setup.serve_tasks_on(open().await, TaskLimits::default()).await;
    let mut handle = loop {
        match soon("submitting", async { ours.submit("after it").queueing().await }).await {
            Ok(handle) => break handle,
            // The connection was still the one to the server before, and the task is gone with it.
            Err(Error::OutcomeUnknown { .. }) if !is_durable => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    super::job(&mut waits).await.done("back");
    assert_eq!(ended(&mut handle).await.body, "back");
    server.abort().await;
}
