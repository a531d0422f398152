//! Sinew's task queue through its own client, in one queue of the level that the measurement is about.

use std::marker::PhantomData;

use bytes::Bytes;
use sinew::taskqueue::{Level, QueueConfig, TaskError, TaskQueue};
use sinew::{Client, ResourceName};

use super::sinew::connect_here;
use super::{Append, Ask, Asks, Keeps, Over};
use crate::Outcome;
use crate::place::Place;

const QUEUE: &str = "bench";
/// Tasks that a worker works on at one time: as many as are under way at most.
const CONCURRENCY: u32 = 64;

/// What a queue promises.
pub(crate) trait Promise: 'static {
    const LEVEL: Level;
}

/// Nothing is stored.
#[derive(Debug)]
pub(crate) struct InMemory;

/// Everything is on disk before it is acted on.
#[derive(Debug)]
pub(crate) struct OnDisk;

impl Promise for InMemory {
    const LEVEL: Level = Level::Memory;
}

impl Promise for OnDisk {
    const LEVEL: Level = Level::Fsynced;
}

/// Sinew's task queue over the transport that the URL names.
#[derive(Debug)]
pub(crate) struct SinewTasks<P>(PhantomData<P>);

/// A client that submits.
#[derive(Debug)]
pub(crate) struct Submitter {
    client: Client,
    queue: TaskQueue,
}

/// A client of the queue, which is made where it is not there, and is what it is taken for.
async fn submitter<P: Promise>(place: &Place) -> Outcome<Submitter> {
    let client = connect_here(place).await?;
    let queue = client.tasks().queue(&ResourceName::try_from(QUEUE)?);
    let info = queue.make(&QueueConfig { level: P::LEVEL, ..QueueConfig::default() }).await?;
    if info.level != P::LEVEL {
        return Err(format!("the server has the queue at level {:?} instead of {:?}", info.level, P::LEVEL).into());
    }
    Ok(Submitter { client, queue })
}

impl<P: Promise> Asks for SinewTasks<P> {
    type Asker = Submitter;

    async fn asker(place: &Place) -> Outcome<Submitter> {
        submitter::<P>(place).await
    }

    async fn answer(place: &Place, ready: impl FnOnce(), over: Over) -> Outcome {
        let Submitter { client, queue } = submitter::<P>(place).await?;
        let builder = queue.worker().concurrency(CONCURRENCY);
        let stop = builder.stop_handle();
        let worker = builder.join().await?;
        ready();
        let work = worker.run(|job| async move { Ok::<_, TaskError>(job.payload().clone()) });
        let told = async {
            // It is dropped when the measurement is over.
            let _ = over.await;
            stop.stop().await
        };
        let (worked, stopped) = futures::join!(work, told);
        worked?;
        stopped?;
        Ok(client.close().await?)
    }
}

impl Ask for Submitter {
    async fn ask(&self, body: Bytes) -> Outcome<Bytes> {
        Ok(self.queue.run(body).await?)
    }

    async fn finish(&self) -> Outcome {
        Ok(self.client.close().await?)
    }
}

impl<P: Promise> Keeps for SinewTasks<P> {
    type Appender = Submitter;

    async fn appender(place: &Place) -> Outcome<Submitter> {
        submitter::<P>(place).await
    }

    /// A worker takes them.
    async fn replay(place: &Place, mut heard: impl FnMut(&[u8]) -> bool) -> Outcome {
        let Submitter { client, queue } = submitter::<P>(place).await?;
        let mut worker = queue.worker().concurrency(CONCURRENCY).join().await?;
        while let Some(job) = worker.next().await {
            let goes_on = heard(job.payload());
            job.done(Bytes::new());
            if !goes_on {
                break;
            }
        }
        worker.leave().await?;
        Ok(client.close().await?)
    }
}

impl Append for Submitter {
    async fn append(&self, body: Bytes) -> Outcome {
        // It goes on without its handle.
        drop(self.queue.submit(body).queueing().detached().await?);
        Ok(())
    }

    async fn append_batch(&self, bodies: Vec<Bytes>) -> Outcome {
        futures::future::try_join_all(bodies.into_iter().map(|body| self.append(body))).await?;
        Ok(())
    }

    async fn finish(&self) -> Outcome {
        Ok(self.client.close().await?)
    }
}
