//! Those who submit, and wait for what becomes of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sinew::taskqueue::{QueueConfig, TaskHandle, TaskQueue};
use sinew::{Client, Level};
use tokio::task::JoinSet;

use crate::Result;

/// Bytes of each payload: its number, and bytes that do not repeat.
pub(crate) const PAYLOAD_BYTES: usize = 128;
/// Submissions on their way at one time.
pub(crate) const IN_FLIGHT: usize = 64;
/// The rate is that of so many, the last ones.
pub(crate) const LAST: u64 = 1_000;
/// Sessions that submit: each waits for 65,536 tasks at most.
const SESSIONS: usize = 2;
/// How long until the server must have been reached.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);

/// Sessions at one queue.
pub(crate) struct Clients {
    clients: Vec<Client>,
    /// Of those who submit, in turn.
    pub(crate) submitters: Arc<[TaskQueue]>,
    /// Of who works.
    pub(crate) worker: TaskQueue,
}

/// What was submitted, and how fast.
pub(crate) struct Submitted {
    /// Each with its number.
    pub(crate) handles: Vec<(u64, TaskHandle)>,
    /// Per second, of the last [`LAST`] that were accepted.
    pub(crate) last: f64,
    /// Per second, of all.
    pub(crate) all: f64,
}

impl Clients {
    /// All connect, and the queue is made.
    pub(crate) async fn connect(url: &str, home: &Path, level: Level) -> Result<Self> {
        let (mut clients, mut queues) = (Vec::new(), Vec::new());
        for _ in 0..=SESSIONS {
            let home = sinew::Home::at(home)?;
            let client = Client::builder(url).home(home).connect_timeout(CONNECTED_WITHIN).connect().await?;
            queues.push(client.tasks().queue(&"backlog".parse()?));
            clients.push(client);
        }
        let worker = queues.pop().ok_or("there is one more than submit")?;
        worker.make(&QueueConfig { level, ..QueueConfig::default() }).await?;
        Ok(Self { clients, submitters: queues.into(), worker })
    }

    pub(crate) async fn close(self) -> Result<()> {
        for client in self.clients {
            client.close().await?;
        }
        Ok(())
    }

    /// Submits so many, and nobody is there who does them. Waits until each is accepted.
    pub(crate) async fn submit(&self, count: u64) -> Result<Submitted> {
        let (next, accepted, began) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Instant::now());
        let mut submitting = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (queues, next, accepted) = (self.submitters.clone(), next.clone(), accepted.clone());
            submitting.spawn(submit_some(queues, count, next, accepted));
        }
        let (mut handles, mut last_from) = (Vec::new(), began);
        while let Some(done) = submitting.join_next().await {
            let (some, mark) = done?.map_err(|error| format!("a task was not accepted: {error}"))?;
            handles.extend(some);
            last_from = mark.unwrap_or(last_from);
        }
        let ended = Instant::now();
        let rate = |count: u64, from: Instant| count as f64 / (ended - from).as_secs_f64();
        Ok(Submitted { handles, last: rate(LAST.min(count), last_from), all: rate(count, began) })
    }
}

type Some = (Vec<(u64, TaskHandle)>, Option<Instant>);

/// Submits one after the other while there are some left. Gives when the last [`LAST`] of all began, if that was with one of
/// these.
async fn submit_some(
    queues: Arc<[TaskQueue]>,
    count: u64,
    next: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
) -> std::result::Result<Some, sinew::taskqueue::Error> {
    let (mut handles, mut mark) = (Vec::new(), None);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok((handles, mark));
        }
        let queue = &queues[number as usize % queues.len()];
        handles.push((number, queue.submit(payload(number)).queueing().await?));
        if accepted.fetch_add(1, Ordering::Relaxed) + 1 + LAST == count {
            mark = Some(Instant::now());
        }
    }
}

/// Waits until all are done, and looks at their results.
pub(crate) async fn all_done(handles: Vec<(u64, TaskHandle)>) -> Result<()> {
    for (number, handle) in handles {
        let result = handle.result().await?;
        if result[..] != number.to_le_bytes() {
            return Err(format!("task {number} has the result of another one: {result:?}").into());
        }
    }
    Ok(())
}

/// Its number, and bytes that do not repeat.
pub(crate) fn payload(number: u64) -> Vec<u8> {
    let mut state = number;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let number = number.to_le_bytes();
    let rest = PAYLOAD_BYTES - number.len();
    number.into_iter().chain((0..rest).map(|_| next())).collect()
}
