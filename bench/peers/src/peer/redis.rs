//! Redis pub/sub through the `redis` crate's blocking connection, publishing in pipelines as its users do for speed.
//!
//! Replies to `PUBLISH` are read one pipeline behind, so that a round trip is not waited for.

use std::time::Duration;

use bytes::Bytes;
use redis::{Client, Connection, Pipeline, PubSub};

use super::{Peer, Publish, Subscribe};
use crate::Outcome;
use crate::place::Place;

/// Commands of a pipeline; more made no difference that could be told from noise.
const PIPELINE: usize = 128;
/// Bytes of a pipeline.
const PIPELINE_BYTES: usize = 256 * 1024;
/// Replies that may stand unread.
const BEHIND: usize = 2 * PIPELINE;
/// The longest wait for anything: a run that loses something ends by itself.
const WAIT: Duration = Duration::from_secs(20);

/// Redis pub/sub.
#[derive(Debug)]
pub(crate) struct Redis;

/// A connection that publishes.
pub(crate) struct Speaker {
    connection: Connection,
    channel: &'static str,
    gathered: Pipeline,
    commands: usize,
    bytes: usize,
    unanswered: usize,
}

/// A connection that hears.
pub(crate) struct Listener(PubSub<'static>);

fn connect(place: &Place) -> Outcome<Connection> {
    let connection = Client::open(place.address.as_str())?.get_connection_with_timeout(WAIT)?;
    connection.set_read_timeout(Some(WAIT))?;
    Ok(connection)
}

impl Peer for Redis {
    type Publisher = Speaker;
    type Subscriber = Listener;

    async fn publisher(place: &Place, channel: &'static str) -> Outcome<Speaker> {
        let connection = connect(place)?;
        Ok(Speaker { connection, channel, gathered: redis::pipe(), commands: 0, bytes: 0, unanswered: 0 })
    }

    async fn subscriber(place: &Place, channel: &'static str) -> Outcome<Listener> {
        // The library lends the connection to the subscription; it lives as long as this program, which ends with the run.
        let mut hears = Box::leak(Box::new(connect(place)?)).as_pubsub();
        hears.subscribe(channel)?;
        Ok(Listener(hears))
    }

    /// The library blocks.
    fn block_on<F: Future>(side: F) -> F::Output {
        futures::executor::block_on(side)
    }
}

impl Speaker {
    fn send(&mut self, behind: usize) -> Outcome {
        if self.commands > 0 {
            self.connection.send_packed_command(&self.gathered.get_packed_pipeline())?;
            self.gathered.clear();
            self.unanswered += self.commands;
            (self.commands, self.bytes) = (0, 0);
        }
        while self.unanswered > behind {
            self.connection.recv_response()?;
            self.unanswered -= 1;
        }
        Ok(())
    }
}

impl Publish for Speaker {
    async fn publish(&mut self, body: Bytes) -> Outcome {
        self.gathered.cmd("PUBLISH").arg(self.channel).arg(&body[..]);
        (self.commands, self.bytes) = (self.commands + 1, self.bytes + body.len());
        let full = self.commands == PIPELINE || self.bytes >= PIPELINE_BYTES;
        if full { self.send(BEHIND) } else { Ok(()) }
    }

    async fn flush(&mut self) -> Outcome {
        self.send(BEHIND)
    }

    async fn finish(&mut self) -> Outcome {
        self.send(0)
    }
}

impl Subscribe for Listener {
    async fn next(&mut self) -> Outcome<Bytes> {
        Ok(Bytes::copy_from_slice(self.0.get_message()?.get_payload_bytes()))
    }

    async fn listen(mut self, mut heard: impl FnMut(&[u8]) -> bool + Send + 'static) -> Outcome {
        while heard(self.0.get_message()?.get_payload_bytes()) {}
        Ok(())
    }
}
