//! Redis with its append-only file, through the `redis` crate's asynchronous connection, which puts what is under way into
//! one write. Streams: `XADD`, transactions of them, and `XRANGE` in pages. Keys: `SET` and `GET`.

use bytes::Bytes;
use redis::Client;
use redis::aio::MultiplexedConnection;

use super::{Append, Keeps, Store, Stores};
use crate::Outcome;
use crate::place::Place;

const STREAM: &str = "bench";
const FIELD: &str = "d";
/// Events of a page; more made no difference that could be told from noise.
const PAGE: usize = 1_000;

/// Redis that stores.
#[derive(Debug)]
pub(crate) struct RedisStored;

/// A connection that appends.
#[derive(Debug)]
pub(crate) struct Appender(MultiplexedConnection);

/// An event's id and its fields.
type Entry = (String, Vec<Vec<u8>>);

async fn connect(place: &Place) -> Outcome<MultiplexedConnection> {
    Ok(Client::open(place.address.as_str())?.get_multiplexed_async_connection().await?)
}

impl Keeps for RedisStored {
    type Appender = Appender;

    async fn appender(place: &Place) -> Outcome<Appender> {
        Ok(Appender(connect(place).await?))
    }

    async fn replay(place: &Place, mut heard: impl FnMut(&[u8]) -> bool) -> Outcome {
        let (mut connection, mut from) = (connect(place).await?, String::from("-"));
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(STREAM).arg(&from).arg("+").arg("COUNT").arg(PAGE);
            let page: Vec<Entry> = range.query_async(&mut connection).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = format!("({last}");
            for (id, fields) in &page {
                let body = fields.get(1).ok_or_else(|| format!("event {id} has no body"))?;
                if !heard(body) {
                    return Ok(());
                }
            }
        }
    }
}

impl Append for Appender {
    async fn append(&self, body: Bytes) -> Outcome {
        let mut add = redis::cmd("XADD");
        add.arg(STREAM).arg("*").arg(FIELD).arg(&body[..]);
        Ok(add.query_async::<()>(&mut self.0.clone()).await?)
    }

    async fn append_batch(&self, bodies: Vec<Bytes>) -> Outcome {
        let mut transaction = redis::pipe();
        transaction.atomic();
        for body in &bodies {
            transaction.cmd("XADD").arg(STREAM).arg("*").arg(FIELD).arg(&body[..]).ignore();
        }
        Ok(transaction.query_async::<()>(&mut self.0.clone()).await?)
    }
}

/// A connection that reads and writes keys.
#[derive(Debug)]
pub(crate) struct Keys(MultiplexedConnection);

impl Stores for RedisStored {
    type Store = Keys;

    async fn store(place: &Place) -> Outcome<Keys> {
        Ok(Keys(connect(place).await?))
    }
}

impl Store for Keys {
    async fn get(&self, key: &str) -> Outcome<Bytes> {
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(key).query_async(&mut self.0.clone()).await?;
        Ok(value.ok_or_else(|| format!("key {key} is not there"))?.into())
    }

    async fn put(&self, key: &str, value: Bytes) -> Outcome {
        Ok(redis::cmd("SET").arg(key).arg(&value[..]).query_async::<()>(&mut self.0.clone()).await?)
    }
}
