//! The worker: comes when others have waited for long, has what is urgent first, and then does the rest.

use std::time::{Duration, Instant};

use sinew::taskqueue::{Job, TaskHandle, TaskQueue};
use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Clients, IN_FLIGHT, all_done, payload};

/// Tasks of a higher priority, one after the other.
const URGENT: u64 = 200;
/// Their numbers begin here.
const URGENT_FROM: u64 = 1 << 40;
/// The usual priority is 100.
const PRIORITY: u8 = 200;
/// Tasks before anything is measured: what is there once is there by then.
const FIRST: u64 = 2_000;

async fn next(worker: &mut sinew::taskqueue::Worker) -> Result<Job> {
    match worker.next().await {
        Some(job) => Ok(job),
        None => Err(format!("the worker was ended: {:?}", worker.end()).into()),
    }
}

/// The result is the number, so that nobody gets that of another task.
fn finish(job: &Job) {
    job.done(job.payload().slice(..size_of::<u64>()));
}

/// Submits and does some tasks, so few at one time that they leave no room behind for those that are to wait.
pub(crate) async fn first(clients: &Clients) -> Result<()> {
    let mut worker = clients.worker.worker().concurrency(IN_FLIGHT as u32).join().await?;
    let mut submitting = JoinSet::new();
    for lot in 0..IN_FLIGHT as u64 {
        let queue = clients.submitters[lot as usize % clients.submitters.len()].clone();
        submitting.spawn(async move {
            for number in (lot..FIRST).step_by(IN_FLIGHT) {
                queue.submit(payload(number)).queueing().run().await?;
            }
            Ok::<_, sinew::taskqueue::Error>(())
        });
    }
    for _ in 0..FIRST {
        finish(&next(&mut worker).await?);
    }
    while let Some(done) = submitting.join_next().await {
        done??;
    }
    Ok(())
}

/// A worker that does one task at a time comes, and again and again somebody submits an urgent one. Gives how long each took
/// from submitting it until it is begun, where the worker is done with the one before as soon as it is accepted.
pub(crate) async fn urgent(clients: &Clients) -> Result<Vec<Duration>> {
    let (mut worker, queue) = (clients.worker.worker().join().await?, &clients.submitters[0]);
    let (mut took, mut handles) = (Vec::new(), Vec::new());
    let mut job = next(&mut worker).await?;
    for number in (URGENT_FROM..).take(URGENT as usize) {
        let began = Instant::now();
        let handle = queue.submit(payload(number)).priority(PRIORITY).queueing().await?;
        finish(&job);
        job = next(&mut worker).await?;
        took.push(began.elapsed());
        if job.payload()[..] != payload(number) {
            return Err("another task than the urgent one was begun".into());
        }
        handles.push((number, handle));
    }
    finish(&job);
    all_done(handles).await?;
    Ok(took)
}

/// Does everything that waits. Gives tasks per second, until who submitted them has all results.
pub(crate) async fn drain(queue: &TaskQueue, handles: Vec<(u64, TaskHandle)>) -> Result<f64> {
    let (count, began) = (handles.len(), Instant::now());
    let mut worker = queue.worker().concurrency(IN_FLIGHT as u32).join().await?;
    let working = async {
        loop {
            finish(&next(&mut worker).await?);
        }
    };
    let done: Result<()> = tokio::select! {
        done = all_done(handles) => done,
        ended = working => ended,
    };
    done?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
