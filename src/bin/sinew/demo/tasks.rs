//! Two clients that work, and one that submits: tasks of a queue on disk, many of them on their way, and then calls, one after
//! the other, of a queue in memory, as typed calls between programs are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew::taskqueue::{Ending, Error, Job, QueueConfig, TaskError, TaskQueue, Tasks, WorkerId};
use sinew::{Level, ResourceName};
use tokio::task::JoinSet;

use super::words::{Word, share};
use crate::failure::Outcome;

/// Tasks on their way at one time, and those that a worker has at one time.
pub(super) const IN_FLIGHT: usize = 64;
/// How long a worker that is not heard keeps its tasks: longer than a busy machine stands still, since each task is to be begun
/// once here.
const LEASE: Duration = Duration::from_secs(60);
/// The share of the time that is for tasks; the rest is for calls.
const TASKS_SHARE: f64 = 0.7;

/// What one of those that submit has come to.
#[derive(Debug, Default)]
struct Done {
    count: u64,
    workers: BTreeSet<WorkerId>,
}

/// The queue for tasks and the one for calls: made by whoever comes first.
async fn queues(tasks: &Tasks) -> Outcome<[TaskQueue; 2]> {
    let mut queues = Vec::new();
    for (name, level) in [("demo-tasks", Level::Fsynced), ("demo-calls", Level::Memory)] {
        let queue = tasks.queue(&ResourceName::try_from(name)?);
        queue.make(&QueueConfig { level, lease: LEASE, ..QueueConfig::default() }).await?;
        queues.push(queue);
    }
    Ok(<[TaskQueue; 2]>::try_from(queues).expect("there are two"))
}

/// Does tasks of both queues until they are gone, or the process is ended.
pub(super) async fn work(tasks: &Tasks) -> Outcome {
    let [stored, called] = queues(tasks).await?;
    let join = async |queue: &TaskQueue| queue.worker().concurrency(IN_FLIGHT as u32).join().await;
    let (stored, called) = (join(&stored).await?, join(&called).await?);
    Word::Ready.say()?;
    let ends = tokio::join!(stored.run(turned), called.run(turned));
    for end in [ends.0, ends.1] {
        match end {
            Ok(()) | Err(Error::Ended { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The payload, turned round: nobody but a worker has that.
async fn turned(job: Job) -> Result<Bytes, TaskError> {
    Ok(job.payload().iter().rev().copied().collect())
}

/// Submits for most of `time` and calls for the rest, and tells both. Each must get the result of its own task, and each task
/// must have been begun and done once.
pub(super) async fn submit(tasks: &Tasks, size: usize, time: Duration) -> Outcome {
    let [stored, called] = queues(tasks).await?;
    let (mut submitting, began) = (JoinSet::new(), Instant::now());
    let until = began + time.mul_f64(TASKS_SHARE);
    for first in 0..IN_FLIGHT {
        submitting.spawn(submit_some(stored.clone(), first as u64, size, until));
    }
    let mut done = Done::default();
    while let Some(some) = submitting.join_next().await {
        let some = some??;
        done.count += some.count;
        done.workers.extend(some.workers);
    }
    let seconds = began.elapsed().as_secs_f64();
    let counts = stored.info().await?.counts;
    if (counts.accepted, counts.attempts, counts.done) != (done.count, done.count, done.count) {
        return Err(format!("of {} tasks not each was begun and done once: {counts:?}", done.count).into());
    }
    let mut took_ns = call(&called, size, began + time).await?;
    took_ns.sort_unstable();
    let word = Word::Tasks {
        submitted: counts.accepted,
        done: done.count,
        seconds,
        workers: done.workers.len(),
        calls: took_ns.len() as u64,
        call_p50_ns: share(&took_ns, 0.5),
    };
    // Before it is told: this process is ended then, and the next one finds the counts of its own tasks alone.
    for queue in [stored, called] {
        queue.remove().await?;
    }
    word.say()?;
    Ok(())
}

/// Submits one after the other, each once the one before is done.
async fn submit_some(queue: TaskQueue, first: u64, size: usize, until: Instant) -> Result<Done, String> {
    let mut done = Done::default();
    while done.count == 0 || Instant::now() < until {
        let body = payload(first + done.count * IN_FLIGHT as u64, size);
        let handle = queue.submit(body.clone()).await.map_err(|error| error.to_string())?;
        if handle.level() < Level::Fsynced {
            return Err(format!("a task was acknowledged with the level {}", handle.level()));
        }
        let outcome = handle.await.map_err(|error| error.to_string())?;
        match outcome.ending {
            Ending::Done { worker, attempt: 1 } if is_turned(&outcome.body, &body) => done.workers.insert(worker),
            _ => return Err(format!("instead of its own result a task had {outcome:?}")),
        };
        done.count += 1;
    }
    Ok(done)
}

/// Calls one after the other. Gives how many nanoseconds each took; at least one.
async fn call(queue: &TaskQueue, size: usize, until: Instant) -> Outcome<Vec<u64>> {
    let mut took_ns = Vec::new();
    while took_ns.is_empty() || Instant::now() < until {
        let (body, began) = (payload(took_ns.len() as u64, size), Instant::now());
        let result = queue.run(body.clone()).await?;
        took_ns.push(began.elapsed().as_nanos() as u64);
        if !is_turned(&result, &body) {
            return Err(format!("instead of its own result a call had {result:?}").into());
        }
    }
    Ok(took_ns)
}

fn payload(number: u64, size: usize) -> Bytes {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(size.max(payload.len()), 0x5a);
    payload.into()
}

fn is_turned(result: &[u8], payload: &[u8]) -> bool {
    result.iter().rev().eq(payload)
}
