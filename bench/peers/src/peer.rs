//! What the measurements ask of a system, and nothing else; one file for each system says how it is done there.
//!
//! Each side of a measurement (one publisher, one subscriber, …) has a thread and a connection of its own, for all
//! systems alike. Where a client library wants an asynchronous runtime it gets a current-thread one on that thread.

mod etcd;
mod jet_stream;
mod jet_stream_tasks;
mod nats;
mod raw;
mod redis;
mod redis_stored;
mod redis_tasks;
mod sinew;
mod sinew_tasks;
mod zenoh;

pub(crate) use etcd::Etcd;
pub(crate) use jet_stream::JetStream;
pub(crate) use jet_stream_tasks::JetStreamTasks;
pub(crate) use nats::Nats;
pub(crate) use raw::{Raw, proxy};
pub(crate) use redis::Redis;
pub(crate) use redis_stored::RedisStored;
pub(crate) use redis_tasks::RedisTasks;
pub(crate) use sinew::Sinew;
pub(crate) use sinew_tasks::{InMemory, OnDisk, SinewTasks};
pub(crate) use zenoh::Zenoh;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::stream::FuturesUnordered;

use crate::Outcome;
use crate::measure::Progress;
use crate::payload::{Payloads, Word};
use crate::place::Place;

/// A system with publish and subscribe.
pub(crate) trait Peer: Sized + 'static {
    type Publisher: Publish;
    type Subscriber: Subscribe;

    /// A connection that publishes on `subject`.
    async fn publisher(place: &Place, subject: &'static str) -> Outcome<Self::Publisher>;

    /// A connection that hears `subject`, confirmed as far as the system can confirm it.
    async fn subscriber(place: &Place, subject: &'static str) -> Outcome<Self::Subscriber>;

    /// A client that does both; on one connection where the system's clients do that.
    async fn both(
        place: &Place,
        speaks: &'static str,
        hears: &'static str,
    ) -> Outcome<(Self::Publisher, Self::Subscriber)> {
        let subscriber = Self::subscriber(place, hears).await?;
        Ok((Self::publisher(place, speaks).await?, subscriber))
    }

    /// Sends what is heard on `hears` back on `speaks`, until the end is heard. Calls `ready` once it listens.
    async fn pong(place: &Place, speaks: &'static str, hears: &'static str, ready: impl FnOnce()) -> Outcome {
        let (mut publisher, mut subscriber) = Self::both(place, speaks, hears).await?;
        ready();
        let mut first = true;
        loop {
            let body = subscriber.next().await?;
            // Who speaks hears as well, but the news of that may still be on its way here.
            if std::mem::take(&mut first) {
                publisher.wait_heard().await?;
            }
            let over = matches!(Word::of(&body), Some(Word::End(_)));
            publisher.publish(body).await?;
            publisher.flush().await?;
            if over {
                return publisher.finish().await;
            }
        }
    }

    /// Runs one side of a measurement on this thread.
    fn block_on<F: Future>(side: F) -> F::Output {
        run_here(side)
    }
}

/// Runs one side of a measurement on this thread, in a runtime of its own.
pub(crate) fn run_here<F: Future>(side: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime needs no more than the thread has").block_on(side)
}

/// A system that stores events in order and gives them again.
pub(crate) trait Keeps: 'static {
    type Appender: Append;

    /// A connection that appends to the stream of the measurement, which is made where it is not there.
    async fn appender(place: &Place) -> Outcome<Self::Appender>;

    /// Gives every stored body from the first on to `heard`, until that says `false`; in the way that is fastest for the
    /// system.
    async fn replay(place: &Place, heard: impl FnMut(&[u8]) -> bool) -> Outcome;
}

/// The side that appends.
pub(crate) trait Append {
    /// Appends and waits until it is acknowledged.
    async fn append(&self, body: Bytes) -> Outcome;

    /// Appends all of them or none, and waits until they are acknowledged.
    async fn append_batch(&self, bodies: Vec<Bytes>) -> Outcome;

    /// Leaves in order.
    async fn finish(&self) -> Outcome {
        Ok(())
    }
}

/// A system that stores values by key.
pub(crate) trait Stores: 'static {
    type Store: Store;

    /// A connection to the store of the measurement, which is made where it is not there.
    async fn store(place: &Place) -> Outcome<Self::Store>;
}

/// The side that reads and writes.
pub(crate) trait Store {
    /// The value of a key that is there.
    async fn get(&self, key: &str) -> Outcome<Bytes>;

    /// Writes and waits until it is acknowledged.
    async fn put(&self, key: &str, value: Bytes) -> Outcome;

    /// Leaves in order.
    async fn finish(&self) -> Outcome {
        Ok(())
    }
}

/// Comes, or is dropped, when a measurement is over.
pub(crate) type Over = oneshot::Receiver<()>;

/// A system where a request, or a task, goes to one of those who answer.
pub(crate) trait Asks: 'static {
    type Asker: Ask;

    /// A connection that asks.
    async fn asker(place: &Place) -> Outcome<Self::Asker>;

    /// Answers every request with its own body until it is over. Calls `ready` once it listens.
    async fn answer(place: &Place, ready: impl FnOnce(), over: Over) -> Outcome;

    /// Runs one side of a measurement on this thread.
    fn block_on<F: Future>(side: F) -> F::Output {
        run_here(side)
    }
}

/// The side that publishes.
pub(crate) trait Publish {
    /// Publishes on the subject it was made for. May gather messages until `flush`.
    async fn publish(&mut self, body: Bytes) -> Outcome;

    /// Hands over what was gathered.
    async fn flush(&mut self) -> Outcome {
        Ok(())
    }

    /// Leaves in order: nothing published is lost, and the server need not find out by itself that nobody is there.
    async fn finish(&mut self) -> Outcome {
        self.flush().await
    }

    /// Waits until one subscriber is known, where a system's subscribing alone does not promise it.
    async fn wait_heard(&mut self) -> Outcome {
        Ok(())
    }
}

/// The side that hears.
pub(crate) trait Subscribe: Sized {
    /// The next message's body.
    async fn next(&mut self) -> Outcome<Bytes>;

    /// Gives every body to `heard` until that says `false`; in the way that is fastest for the system.
    async fn listen(self, heard: impl FnMut(&[u8]) -> bool + Send + 'static) -> Outcome;
}

/// The side that asks.
pub(crate) trait Ask {
    /// Asks once and waits for the answer.
    async fn ask(&self, body: Bytes) -> Outcome<Bytes>;

    /// Leaves in order.
    async fn finish(&self) -> Outcome {
        Ok(())
    }

    /// Asks with `in_flight` requests under way at all times, until `progress` says that it is over.
    async fn storm(&self, in_flight: usize, size: usize, progress: &Progress) -> Outcome {
        let (mut payloads, mut pending, mut number) = (Payloads::new(size), FuturesUnordered::new(), 0_u64);
        loop {
            while pending.len() < in_flight && !progress.over.load(Ordering::Relaxed) {
                let body = payloads.next(Word::Counted(number));
                let (asked, began) = (number, Instant::now());
                pending.push(async move { (asked, began, self.ask(body).await) });
                number += 1;
            }
            let Some((asked, began, answer)) = pending.next().await else { return Ok(()) };
            check_answer(asked, &answer?)?;
            progress.record(began.elapsed());
        }
    }
}

/// Answers that come on another way than the questions go, to those who await them, by number.
#[derive(Clone, Debug, Default)]
struct Answers(Arc<Mutex<Awaited>>);

#[derive(Debug, Default)]
struct Awaited {
    number: u64,
    /// Nobody tells answers any more.
    is_over: bool,
    by_number: HashMap<u64, oneshot::Sender<Bytes>>,
}

impl Answers {
    /// A number for a question, and what resolves when its answer is told.
    fn expect(&self) -> (u64, oneshot::Receiver<Bytes>) {
        let (tell, told) = oneshot::channel();
        let mut awaited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.number += 1;
        let number = awaited.number;
        if !awaited.is_over {
            awaited.by_number.insert(number, tell);
        }
        (number, told)
    }

    /// The answer to the question of this number.
    fn tell(&self, number: u64, body: Bytes) -> Outcome {
        let mut awaited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = awaited.by_number.remove(&number).ok_or("an answer to nothing that was asked, or a second one")?;
        // Nobody waits any more where asking itself has failed, and that is told.
        let _ = asked.send(body);
        Ok(())
    }

    /// Tells answers with `reads` until that ends; whoever waits then waits no more.
    fn told_by(&self, reads: impl Future<Output = Outcome> + Send + 'static) -> tokio::task::JoinHandle<()> {
        let answers = self.clone();
        tokio::spawn(async move {
            if let Err(error) = reads.await {
                eprintln!("answers are not read any more: {error}");
            }
            let mut awaited = answers.0.lock().unwrap_or_else(PoisonError::into_inner);
            awaited.is_over = true;
            awaited.by_number.clear();
        })
    }
}

/// An answer has the body of its question.
pub(crate) fn check_answer(asked: u64, answer: &[u8]) -> Outcome {
    match Word::of(answer) {
        Some(Word::Counted(number)) if number == asked => Ok(()),
        other => Err(format!("request {asked} was answered with {other:?}: answers are mixed up").into()),
    }
}
