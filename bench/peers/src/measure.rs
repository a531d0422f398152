//! What is measured, the same for every system: one file for each kind. The client program runs one of them and prints
//! its figures; server and client never share a process.

mod appends;
mod celery;
mod ping_pong;
mod replay;
mod requests;
mod store;
mod stream;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::place::Place;
use crate::process;
use crate::workload::Workload;

/// The longest that a side may take to stand, or to end.
const EDGE: Duration = Duration::from_secs(20);

/// What takes longer counts as this.
const TIME_NANOS_MAX: u64 = 60_000_000_000;

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) place: Place,
    /// The server's process, whose processor time is read.
    pub(crate) server: u32,
    pub(crate) workload: Workload,
    /// Measured time.
    pub(crate) seconds: f64,
    /// Before that; not measured.
    pub(crate) warm_seconds: f64,
}

/// What came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Counted where they arrive: messages at the subscribers, round trips or answers.
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    /// Of the server, while it was measured.
    pub(crate) server_cpu_seconds: f64,
    /// Of this program, while it was measured.
    pub(crate) client_cpu_seconds: f64,
    /// Where one thing is timed at a time.
    pub(crate) latency: Option<Latency>,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What the sides and the one who watches them share.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Warmed up: what is recorded counts.
    pub(crate) measuring: AtomicBool,
    /// Measured: whoever drives stops.
    pub(crate) over: AtomicBool,
    count: AtomicU64,
    times: Mutex<Histogram<u64>>,
}

impl Progress {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            measuring: AtomicBool::new(false),
            over: AtomicBool::new(false),
            count: AtomicU64::new(0),
            times: Mutex::new(Histogram::new_with_max(TIME_NANOS_MAX, 3).expect("the bounds are in order")),
        })
    }

    /// One round trip or answer took so long.
    pub(crate) fn record(&self, took: Duration) {
        self.record_many(1, took);
    }

    /// So many that came together took so long.
    pub(crate) fn record_many(&self, count: u64, took: Duration) {
        self.count.fetch_add(count, Ordering::Relaxed);
        if self.measuring.load(Ordering::Relaxed) {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn latency(&self) -> Latency {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: times.max() as f64 / 1e3 }
    }
}

/// Runs `order` on the system that the caller names by type; `requests` says how where the system has them.
pub(crate) fn run<P: crate::peer::Peer>(order: &Order) -> Outcome<Figures> {
    match order.workload {
        Workload::Stream { size, subscribers } => stream::run::<P>(order, size, subscribers),
        Workload::PingPong { size } => ping_pong::run::<P>(order, size),
        Workload::Requests { .. } => Err("this system has no request/reply".into()),
        Workload::Task { .. } => Err("this system has no tasks".into()),
        Workload::Append { .. }
        | Workload::Replay { .. }
        | Workload::Get { .. }
        | Workload::Put { .. }
        | Workload::DurableTask { .. }
        | Workload::DurableSubmit { .. } => Err("this system stores nothing".into()),
    }
}

/// What is stored and given again.
pub(crate) fn run_log<K: crate::peer::Keeps>(order: &Order) -> Outcome<Figures> {
    match order.workload {
        Workload::Append { size, in_flight, batch } => appends::run::<K>(order, size, in_flight, batch),
        Workload::DurableSubmit { size, in_flight } => appends::run::<K>(order, size, in_flight, 1),
        Workload::Replay { size } => replay::run::<K>(order, size),
        _ => Err("this system only stores".into()),
    }
}

/// Keys and their values.
pub(crate) fn run_store<S: crate::peer::Stores>(order: &Order) -> Outcome<Figures> {
    match order.workload {
        Workload::Get { size, in_flight } => store::run::<S>(order, store::What::Get, size, in_flight),
        Workload::Put { size, in_flight } => store::run::<S>(order, store::What::Put, size, in_flight),
        _ => Err("this system only stores".into()),
    }
}

/// As [`run`], with request/reply, which also does tasks where nothing need be stored.
pub(crate) fn run_all<P: crate::peer::Peer + crate::peer::Asks>(order: &Order) -> Outcome<Figures> {
    match order.workload {
        Workload::Requests { .. } | Workload::Task { .. } => run_answered::<P>(order),
        _ => run::<P>(order),
    }
}

/// What somebody else answers: requests and tasks.
pub(crate) fn run_answered<A: crate::peer::Asks>(order: &Order) -> Outcome<Figures> {
    match order.workload {
        Workload::Requests { size, in_flight }
        | Workload::Task { size, in_flight }
        | Workload::DurableTask { size, in_flight } => requests::run::<A>(order, size, in_flight),
        _ => Err("this is nothing that is answered".into()),
    }
}

/// Tasks with Celery, whose sides are processes.
pub(crate) fn run_celery(order: &Order) -> Outcome<Figures> {
    match order.workload {
        Workload::Task { size, in_flight } => celery::run(order, size, in_flight),
        _ => Err("this system only has tasks".into()),
    }
}

/// The threads of a measurement, and what they tell.
struct Sides {
    told: Sender<(String, Outcome<Told>)>,
    tells: Receiver<(String, Outcome<Told>)>,
}

/// What a side tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Ready,
    Ended,
}

impl Sides {
    fn new() -> Self {
        let (told, tells) = channel();
        Self { told, tells }
    }

    /// Starts a side on a thread of its own. `side` is told how to say that it is ready.
    fn start(&self, name: &str, side: impl FnOnce(Box<dyn FnOnce() + Send>) -> Outcome + Send + 'static) {
        let (name, told, ready) = (name.to_owned(), self.told.clone(), self.told.clone());
        let thread = std::thread::Builder::new().name(name.clone());
        let named = name.clone();
        let say_ready = Box::new(move || drop(ready.send((named, Ok(Told::Ready)))));
        let body = move || drop(told.send((name, side(say_ready).map(|()| Told::Ended))));
        thread.spawn(body).expect("a measurement has few threads");
    }

    /// Waits until `count` sides have told `what`.
    fn wait(&self, count: usize, what: Told) -> Outcome {
        self.wait_within(EDGE, count, what)
    }

    /// As [`wait`](Self::wait), with a patience of its own.
    fn wait_within(&self, patience: Duration, count: usize, what: Told) -> Outcome {
        let deadline = Instant::now() + patience;
        for at in 0..count {
            let (name, told) = match self.tells.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(told) => told,
                Err(_) => return Err(format!("only {at} of {count} sides told {what:?} within {patience:?}").into()),
            };
            let told = told.map_err(|error| format!("{name}: {error}"))?;
            if told != what {
                return Err(format!("{name} told {told:?}, awaited was {what:?}").into());
            }
        }
        Ok(())
    }

    /// Lets time pass; fails at once when a side fails.
    fn pass(&self, seconds: f64) -> Outcome {
        match self.tells.recv_timeout(Duration::from_secs_f64(seconds)) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok((name, Err(error))) => Err(format!("{name}: {error}").into()),
            other => Err(format!("a side ended early: {other:?}").into()),
        }
    }

    /// Warms up, measures and tells everybody that it is over. `count` gives what has arrived so far.
    fn watch(&self, order: &Order, progress: &Progress, count: impl Fn() -> u64) -> Outcome<Figures> {
        self.pass(order.warm_seconds)?;
        let cpu =
            || Ok::<_, Box<dyn std::error::Error + Send + Sync>>((process::cpu(order.server)?, process::own_cpu()?));
        progress.measuring.store(true, Ordering::Relaxed);
        let (began, messages, (server, own)) = (Instant::now(), count(), cpu()?);
        self.pass(order.seconds)?;
        let (seconds, messages) = (began.elapsed().as_secs_f64(), count() - messages);
        let (server_after, own_after) = cpu()?;
        progress.measuring.store(false, Ordering::Relaxed);
        progress.over.store(true, Ordering::Relaxed);
        if messages == 0 {
            return Err("nothing arrived while it was measured".into());
        }
        let (server_cpu_seconds, client_cpu_seconds) = (server_after - server, own_after - own);
        Ok(Figures { messages, seconds, server_cpu_seconds, client_cpu_seconds, latency: None })
    }
}

/// Waits without an asynchronous runtime, since not every side has one.
pub(crate) async fn pause(time: Duration) {
    let (done, waits) = oneshot::channel();
    std::thread::spawn(move || {
        std::thread::sleep(time);
        // Nobody waits any more only if the measurement is over.
        let _ = done.send(());
    });
    // It fails only if the thread could not sleep, and then no time is waited.
    let _ = waits.await;
}
