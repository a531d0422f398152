//! Tasks over a work-queue stream of NATS JetStream: submitted with the inbox that the outcome is to go to, taken by the
//! workers through one durable pull consumer, answered and acknowledged. The outcome goes by NATS core and is not stored.

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures::StreamExt;

use super::{Answers, Ask, Asks, Over};
use crate::Outcome;
use crate::place::Place;

const STREAM: &str = "tasks";
const SUBJECT: &str = "bench.task";
const WORKERS: &str = "workers";
/// Where the outcome is to go.
const REPLY: &str = "Outcome-To";
/// Taken at one time: as many as are under way at most.
const COUNT: usize = 64;

/// NATS JetStream with tasks.
#[derive(Debug)]
pub(crate) struct JetStreamTasks;

/// A client that submits, and hears outcomes.
#[derive(Debug)]
pub(crate) struct Submitter {
    context: Context,
    inbox: String,
    answers: Answers,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Submitter {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn connect(place: &Place) -> Outcome<(Client, Context, Stream)> {
    let client = async_nats::connect(&place.address).await?;
    let context = jetstream::new(client.clone());
    let config = Config {
        name: STREAM.into(),
        subjects: vec![SUBJECT.into()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    let stream = context.get_or_create_stream(config).await?;
    Ok((client, context, stream))
}

impl Asks for JetStreamTasks {
    type Asker = Submitter;

    async fn asker(place: &Place) -> Outcome<Submitter> {
        let ((client, context, _), answers) = (connect(place).await?, Answers::default());
        let inbox = client.new_inbox();
        let outcomes = client.subscribe(format!("{inbox}.*")).await?;
        client.flush().await?;
        let reader = answers.told_by(read(outcomes, answers.clone()));
        Ok(Submitter { context, inbox, answers, reader })
    }

    async fn answer(place: &Place, ready: impl FnOnce(), over: Over) -> Outcome {
        let (client, _, stream) = connect(place).await?;
        let config = pull::Config {
            durable_name: Some(WORKERS.into()),
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(WORKERS, config).await?;
        let tasks = consumer.stream().max_messages_per_batch(COUNT).messages().await?;
        ready();
        let mut tasks = tasks.take_until(over);
        while let Some(task) = tasks.next().await {
            let task = task?;
            let headers = task.headers.as_ref().ok_or("a task without headers")?;
            let back = headers.get(REPLY).ok_or("a task that says not where its outcome is to go")?.as_str();
            client.publish(back.to_owned(), task.payload.clone()).await?;
            task.ack().await?;
        }
        Ok(client.flush().await?)
    }
}

/// Hears outcomes until it is stopped.
async fn read(mut outcomes: Subscriber, answers: Answers) -> Outcome {
    while let Some(outcome) = outcomes.next().await {
        let number = outcome.subject.rsplit('.').next().ok_or("an outcome without a number")?;
        answers.tell(number.parse()?, outcome.payload)?;
    }
    Err("the subscription ended".into())
}

impl Ask for Submitter {
    /// It waits for the stream's acknowledgement too: without it nobody knows that the task is stored.
    async fn ask(&self, body: Bytes) -> Outcome<Bytes> {
        let (number, answer) = self.answers.expect();
        let mut headers = HeaderMap::new();
        headers.insert(REPLY, format!("{}.{number}", self.inbox));
        self.context.publish_with_headers(SUBJECT, headers, body).await?.await?;
        Ok(answer.await.map_err(|_| "outcomes are not read any more")?)
    }
}
