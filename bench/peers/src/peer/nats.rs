//! NATS core through `async-nats`, with that client's own defaults.

use async_nats::{Client, ConnectOptions, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;

use super::{Ask, Asks, Over, Peer, Publish, Subscribe};
use crate::Outcome;
use crate::place::Place;

const QUESTIONS: &str = "bench.question";
const GROUP: &str = "responders";

/// NATS core.
#[derive(Debug)]
pub(crate) struct Nats;

/// A client that publishes.
#[derive(Debug)]
pub(crate) struct Speaker {
    client: Client,
    subject: Subject,
}

/// A client that hears.
#[derive(Debug)]
pub(crate) struct Listener {
    subscriber: Subscriber,
    _client: Client,
}

/// A client that asks.
#[derive(Debug)]
pub(crate) struct Asker(Client);

async fn connect(place: &Place) -> Outcome<Client> {
    let options = match &place.authority {
        Some(authority) => ConnectOptions::new().require_tls(true).add_root_certificates(authority.clone()),
        None => ConnectOptions::new(),
    };
    Ok(options.connect(&place.address).await?)
}

async fn listener(client: Client, subject: &'static str) -> Outcome<Listener> {
    let subscriber = client.subscribe(Subject::from_static(subject)).await?;
    // A round trip: from here on the server knows it.
    client.flush().await?;
    Ok(Listener { subscriber, _client: client })
}

impl Peer for Nats {
    type Publisher = Speaker;
    type Subscriber = Listener;

    async fn publisher(place: &Place, subject: &'static str) -> Outcome<Speaker> {
        Ok(Speaker { client: connect(place).await?, subject: Subject::from_static(subject) })
    }

    async fn subscriber(place: &Place, subject: &'static str) -> Outcome<Listener> {
        listener(connect(place).await?, subject).await
    }

    async fn both(place: &Place, speaks: &'static str, hears: &'static str) -> Outcome<(Speaker, Listener)> {
        let client = connect(place).await?;
        let hears = listener(client.clone(), hears).await?;
        Ok((Speaker { client, subject: Subject::from_static(speaks) }, hears))
    }
}

impl Asks for Nats {
    type Asker = Asker;

    async fn asker(place: &Place) -> Outcome<Asker> {
        Ok(Asker(connect(place).await?))
    }

    async fn answer(place: &Place, ready: impl FnOnce(), over: Over) -> Outcome {
        let client = connect(place).await?;
        let mut questions = client.queue_subscribe(QUESTIONS, GROUP.to_owned()).await?.take_until(over);
        client.flush().await?;
        ready();
        while let Some(question) = questions.next().await {
            let back = question.reply.ok_or("a question without a reply subject")?;
            client.publish(back, question.payload).await?;
        }
        Ok(client.flush().await?)
    }
}

impl Publish for Speaker {
    async fn publish(&mut self, body: Bytes) -> Outcome {
        Ok(self.client.publish(self.subject.clone(), body).await?)
    }

    async fn finish(&mut self) -> Outcome {
        Ok(self.client.flush().await?)
    }
}

impl Subscribe for Listener {
    async fn next(&mut self) -> Outcome<Bytes> {
        Ok(self.subscriber.next().await.ok_or("the subscription ended")?.payload)
    }

    async fn listen(mut self, mut heard: impl FnMut(&[u8]) -> bool + Send + 'static) -> Outcome {
        while heard(&self.next().await?) {}
        Ok(())
    }
}

impl Ask for Asker {
    async fn ask(&self, body: Bytes) -> Outcome<Bytes> {
        Ok(self.0.request(Subject::from_static(QUESTIONS), body).await?.payload)
    }
}
