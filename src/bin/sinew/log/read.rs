//! `sinew log read` and `sinew log tail`: events to standard output.

use clap::Args;
use sinew::{Filter, FollowOptions, Followed, Follower, Pattern, Position, ResourceName};
use tokio::sync::mpsc;

use super::shown::EventFormat;
use crate::connection::{ConnectionOptions, tell_cuts};
use crate::failure::Outcome;
use crate::options::name;
use crate::output::{CHUNK_BYTES, finish, start_writer};
use crate::signals::Signals;
use crate::units;

/// Write events up to the end of the stream to standard output
///
/// One line an event: offset, time, subject (or -), payload with what is not printable escaped. Ends where the stream ended
/// when it began.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log read orders
  sinew log read orders --from 100 --count 10
  sinew log read orders --from 2026-01-31T12:00:00Z --filter 'orders.*.paid' --json | jq .payload
  sinew log read pictures --from 7 --count 1 --raw > picture.jpg

Objects of --json, one a line:
  {\"offset\":7,\"time\":\"2026-01-31T12:00:00Z\",\"timestamp\":1769860800000000000,\"subject\":\"orders.eu.paid\",
   \"key\":\"table-7\",\"headers\":[{\"name\":\"by\",\"value\":\"me\"}],\"payload\":\"tea\"}
  key_base64 and payload_base64 for what is no UTF-8 text; \"tombstone\":true where a key is gone")]
pub(super) struct Read {
    /// Which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// Where to begin: start, end, an offset, an age such as 10m, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "PLACE", default_value = "start", value_parser = units::place)]
    from: Position,
    #[command(flatten)]
    which: Which,
}

/// Follow a stream: write events to standard output as they are appended
///
/// As `read`, and goes on until SIGINT, SIGTERM, --count events, or until nobody reads the output. A cut connection is made
/// again by itself, and it goes on with the next event: none is left out, none comes twice.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log tail orders
  sinew log tail orders --from start --filter 'orders.*.paid' --json")]
pub(super) struct Tail {
    /// Which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// Where to begin, as of `read`
    #[arg(long, value_name = "PLACE", default_value = "end", value_parser = units::place)]
    from: Position,
    #[command(flatten)]
    which: Which,
}

/// Which events, and how they look.
#[derive(Debug, Args)]
struct Which {
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only events about these subjects: `*` stands for one token, `>` at the end for one or more
    #[arg(long, value_name = "PATTERN")]
    filter: Option<Pattern>,
    /// Only events under this key
    #[arg(long)]
    key: Option<String>,
    /// Write key and headers too, as [key K] and [NAME=VALUE] before the payload; JSON has them anyway
    #[arg(long, conflicts_with = "raw")]
    headers: bool,
    /// Write JSON, one object a line
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Write the payloads alone, as they are, with nothing in between
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

impl Read {
    pub(super) async fn run(self) -> Outcome {
        self.which.write(&self.stream, self.from, false).await
    }
}

impl Tail {
    pub(super) async fn run(self) -> Outcome {
        self.which.write(&self.stream, self.from, true).await
    }
}

impl Which {
    async fn write(self, stream: &ResourceName, from: Position, live: bool) -> Outcome {
        let mut signals = Signals::listen()?;
        let (output, writer) = start_writer();
        let key = self.key.clone().map(Into::into);
        let options =
            FollowOptions { filter: Filter { subject: self.filter.clone(), key }, live, ..Default::default() };
        let begun = async {
            let client = self.connection.connect().await?;
            let follower = client.log().follow(stream, from, options).await?;
            Outcome::Ok((client, follower))
        };
        let (client, follower) = tokio::select! {
            begun = begun => begun?,
            () = signals.next() => return Ok(()),
        };
        if live {
            eprintln!("following {stream}");
        }
        let outcome = tokio::select! {
            outcome = self.forward(follower, output) => outcome,
            () = signals.next() => Ok(()),
            () = tell_cuts(&client) => unreachable!("cuts are watched for ever"),
        };
        finish(writer, &client, &mut signals).await?;
        outcome
    }

    /// Ends after `count` events, at the end, or when the writer has gone.
    async fn forward(&self, mut follower: Follower, output: mpsc::Sender<Vec<u8>>) -> Outcome {
        let format = match (self.json, self.raw) {
            (true, _) => EventFormat::Json,
            (_, true) => EventFormat::Raw,
            _ => EventFormat::Line { headers: self.headers },
        };
        let (mut left, mut chunk) = (self.count.unwrap_or(u64::MAX), Vec::new());
        let mut end = Ok(());
        while left > 0 {
            let followed = tokio::select! {
                biased;
                followed = follower.next() => followed,
                () = std::future::ready(()), if !chunk.is_empty() => {
                    if output.send(std::mem::take(&mut chunk)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                () = output.closed() => return Ok(()),
            };
            match followed {
                Some(Followed::Event(event)) => {
                    left -= 1;
                    format.write(&event, &mut chunk);
                }
                Some(Followed::CaughtUp { .. }) => {}
                None => {
                    end = follower.end().map_or(Ok(()), |error| Err(error.into()));
                    break;
                }
            }
            if chunk.len() >= CHUNK_BYTES && output.send(std::mem::take(&mut chunk)).await.is_err() {
                return Ok(());
            }
        }
        // A writer that has gone has nobody who reads.
        let _ = output.send(chunk).await;
        end
    }
}
