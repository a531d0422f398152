//! NATS JetStream through `async-nats`: one file-backed stream, publishes that wait for their acknowledgement, NATS's own
//! atomic batches, and an ordered consumer from the start; and its key-value store, a bucket of one such stream that may be
//! read without going through it (`allow_direct`, which `async-nats` asks for by itself).

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context, kv};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt;

use super::{Append, Keeps, Store, Stores};
use crate::Outcome;
use crate::place::Place;

const STREAM: &str = "bench";
const SUBJECT: &str = "bench.event";

/// NATS JetStream.
#[derive(Debug)]
pub(crate) struct JetStream;

/// A client that appends.
#[derive(Debug)]
pub(crate) struct Appender {
    client: Client,
    context: Context,
    batches: AtomicU64,
}

async fn connect(place: &Place) -> Outcome<(Client, Context)> {
    let client = async_nats::connect(&place.address).await?;
    Ok((client.clone(), jetstream::new(client)))
}

impl Keeps for JetStream {
    type Appender = Appender;

    async fn appender(place: &Place) -> Outcome<Appender> {
        let (client, context) = connect(place).await?;
        let config = Config {
            name: STREAM.into(),
            subjects: vec![SUBJECT.into()],
            allow_atomic_publish: true,
            ..Config::default()
        };
        context.get_or_create_stream(config).await?;
        Ok(Appender { client, context, batches: AtomicU64::new(0) })
    }

    async fn replay(place: &Place, mut heard: impl FnMut(&[u8]) -> bool) -> Outcome {
        let (_client, context) = connect(place).await?;
        let stream = context.get_stream(STREAM).await?;
        let mut messages = stream.create_consumer(OrderedConfig::default()).await?.messages().await?;
        while let Some(message) = messages.next().await {
            if !heard(&message?.payload) {
                break;
            }
        }
        Ok(())
    }
}

impl Append for Appender {
    async fn append(&self, body: Bytes) -> Outcome {
        self.context.publish(SUBJECT, body).await?.await?;
        Ok(())
    }

    /// By headers, as the server's batches are defined: all but the last go without an answer.
    async fn append_batch(&self, bodies: Vec<Bytes>) -> Outcome {
        let id = self.batches.fetch_add(1, Ordering::Relaxed).to_string();
        let last = bodies.len();
        for (sequence, body) in (1..).zip(bodies) {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Batch-Id", id.as_str());
            headers.insert("Nats-Batch-Sequence", sequence.to_string());
            if sequence < last {
                self.client.publish_with_headers(SUBJECT, headers, body).await?;
                continue;
            }
            headers.insert("Nats-Batch-Commit", "1");
            let answer = self.client.request_with_headers(SUBJECT, headers, body).await?;
            let text = String::from_utf8_lossy(&answer.payload).into_owned();
            if text.contains("\"error\"") {
                return Err(format!("a batch was not stored: {text}").into());
            }
        }
        Ok(())
    }
}

impl Stores for JetStream {
    type Store = kv::Store;

    async fn store(place: &Place) -> Outcome<kv::Store> {
        let (_, context) = connect(place).await?;
        let config = kv::Config { bucket: STREAM.into(), ..kv::Config::default() };
        Ok(context.create_or_update_key_value(config).await?)
    }
}

impl Store for kv::Store {
    async fn get(&self, key: &str) -> Outcome<Bytes> {
        Ok(kv::Store::get(self, key).await?.ok_or_else(|| format!("key {key} is not there"))?)
    }

    async fn put(&self, key: &str, value: Bytes) -> Outcome {
        kv::Store::put(self, key, value).await?;
        Ok(())
    }
}
