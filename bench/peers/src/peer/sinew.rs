//! Sinew through its own client, as its users have it.

use bytes::Bytes;
use futures::FutureExt;
use sinew::kvstore::{Key, KvBucket};
use sinew::{
    Bus, Client, Delivery, EventBatch, EventBatchBuilder, Executor, FollowOptions, Home, Log, NewEvent, Pattern,
    Position, ResourceName, StreamConfig, Subject, SubscribeOptions, Subscription,
};

use super::{Append, Ask, Asks, Keeps, Over, Peer, Publish, Store, Stores, Subscribe};
use crate::Outcome;
use crate::place::Place;

/// What a subscriber lets the server send ahead. A subscription's queue at the server holds as many bytes as the cap
/// allows to be outstanding, heads included, so eight messages of 1 MiB would not all fit without this.
const WINDOW_BYTES: usize = 16 << 20;
const QUESTIONS: &str = "bench.question";

/// Sinew over the transport that the URL names.
#[derive(Debug)]
pub(crate) struct Sinew;

/// A client that publishes.
#[derive(Debug)]
pub(crate) struct Speaker {
    client: Client,
    bus: Bus,
    subject: Subject,
}

/// A client that hears.
#[derive(Debug)]
pub(crate) struct Listener {
    subscription: Subscription,
    client: Client,
}

/// A client that appends.
#[derive(Debug)]
pub(crate) struct Appender {
    client: Client,
    log: Log,
    stream: ResourceName,
}

/// A client of the store.
#[derive(Debug)]
pub(crate) struct Keys {
    client: Client,
    bucket: KvBucket,
}

/// A client that asks.
#[derive(Debug)]
pub(crate) struct Asker {
    client: Client,
    subject: Subject,
}

async fn connect(place: &Place, executor: Executor) -> Outcome<Client> {
    let builder = Client::builder(&place.address).name("peers").executor(executor);
    let builder = match &place.home {
        Some(home) => builder.home(Home::at(home)?),
        None => builder.plaintext(),
    };
    Ok(builder.connect().await?)
}

/// A client whose session shares the thread of the one who waits for it.
pub(super) async fn connect_here(place: &Place) -> Outcome<Client> {
    connect(place, Executor::Current).await
}

async fn speaker(client: Client, subject: &str) -> Outcome<Speaker> {
    Ok(Speaker { bus: client.bus().clone(), subject: Subject::try_from(subject)?, client })
}

async fn listener(client: Client, subject: &str) -> Outcome<Listener> {
    let options = SubscribeOptions { window_bytes: WINDOW_BYTES, ..SubscribeOptions::default() };
    let subscription = client.bus().subscribe_with(&Pattern::try_from(subject)?, options).await?;
    Ok(Listener { subscription, client })
}

impl Peer for Sinew {
    type Publisher = Speaker;
    type Subscriber = Listener;

    async fn publisher(place: &Place, subject: &'static str) -> Outcome<Speaker> {
        speaker(connect(place, Executor::Thread).await?, subject).await
    }

    async fn subscriber(place: &Place, subject: &'static str) -> Outcome<Listener> {
        listener(connect(place, Executor::Thread).await?, subject).await
    }

    /// One message at a time: the session shares the thread of the one who waits for it.
    async fn both(place: &Place, speaks: &'static str, hears: &'static str) -> Outcome<(Speaker, Listener)> {
        let client = connect(place, Executor::Current).await?;
        let hears = listener(client.clone(), hears).await?;
        Ok((speaker(client, speaks).await?, hears))
    }
}

impl Asks for Sinew {
    type Asker = Asker;

    async fn asker(place: &Place) -> Outcome<Asker> {
        Ok(Asker { client: connect(place, Executor::Current).await?, subject: Subject::try_from(QUESTIONS)? })
    }

    async fn answer(place: &Place, ready: impl FnOnce(), over: Over) -> Outcome {
        let client = connect(place, Executor::Current).await?;
        let mut responder = client.bus().respond(&Pattern::try_from(QUESTIONS)?).await?;
        ready();
        let mut over = over.fuse();
        loop {
            futures::select_biased! {
                _ = over => return Ok(client.close().await?),
                asked = responder.next().fuse() => {
                    let asked = asked.ok_or("the questions ended")?;
                    let body = asked.message.body.clone();
                    asked.answer(body).await?;
                }
            }
        }
    }
}

impl Publish for Speaker {
    async fn publish(&mut self, body: Bytes) -> Outcome {
        Ok(self.bus.publish(&self.subject, body).await?)
    }

    async fn finish(&mut self) -> Outcome {
        Ok(self.client.close().await?)
    }
}

impl Subscribe for Listener {
    async fn next(&mut self) -> Outcome<Bytes> {
        match self.subscription.next().await {
            Some(Delivery::Message(message)) => Ok(message.body),
            Some(missed) => Err(format!("messages were missed: {missed:?}").into()),
            None => Err("the subscription ended".into()),
        }
    }

    async fn listen(mut self, mut heard: impl FnMut(&[u8]) -> bool + Send + 'static) -> Outcome {
        while heard(&self.next().await?) {}
        Ok(self.client.close().await?)
    }
}

impl Ask for Asker {
    async fn ask(&self, body: Bytes) -> Outcome<Bytes> {
        Ok(self.client.bus().request(&self.subject, body).await?.body)
    }

    async fn finish(&self) -> Outcome {
        Ok(self.client.close().await?)
    }
}

impl Keeps for Sinew {
    type Appender = Appender;

    async fn appender(place: &Place) -> Outcome<Appender> {
        let client = connect(place, Executor::Current).await?;
        let (log, stream) = (client.log().clone(), ResourceName::try_from("bench")?);
        log.create(&stream, &StreamConfig::default()).await?;
        Ok(Appender { client, log, stream })
    }

    async fn replay(place: &Place, mut heard: impl FnMut(&[u8]) -> bool) -> Outcome {
        let client = connect(place, Executor::Thread).await?;
        let options = FollowOptions { live: false, ..FollowOptions::default() };
        let mut events = client.log().follow(&ResourceName::try_from("bench")?, Position::Start, options).await?;
        while let Some(event) = events.next_event().await {
            if !heard(&event.payload) {
                return Ok(client.close().await?);
            }
        }
        events.finish()?;
        Ok(client.close().await?)
    }
}

impl Append for Appender {
    async fn append(&self, body: Bytes) -> Outcome {
        self.log.append(&self.stream, body).await?;
        Ok(())
    }

    async fn append_batch(&self, bodies: Vec<Bytes>) -> Outcome {
        self.log.append_batch(&self.stream, batch(bodies)?, &Default::default()).await?;
        Ok(())
    }

    async fn finish(&self) -> Outcome {
        Ok(self.client.close().await?)
    }
}

fn batch(bodies: Vec<Bytes>) -> Outcome<EventBatch> {
    let mut batch = EventBatchBuilder::default();
    bodies.into_iter().try_for_each(|body| batch.push(&NewEvent::new(body)))?;
    Ok(batch.finish())
}

impl Stores for Sinew {
    type Store = Keys;

    async fn store(place: &Place) -> Outcome<Keys> {
        let client = connect(place, Executor::Current).await?;
        let bucket = client.kv().bucket(&ResourceName::try_from("bench")?);
        Ok(Keys { client, bucket })
    }
}

impl Store for Keys {
    async fn get(&self, key: &str) -> Outcome<Bytes> {
        let found = self.bucket.get(&Key::try_from(key)?).await?;
        Ok(found.ok_or_else(|| format!("key {key} is not there"))?.value)
    }

    async fn put(&self, key: &str, value: Bytes) -> Outcome {
        self.bucket.put(&Key::try_from(key)?, value).await?;
        Ok(())
    }

    async fn finish(&self) -> Outcome {
        Ok(self.client.close().await?)
    }
}
