//! `sinew kv watch`: what there is, then what changes, to standard output.

use clap::Args;
use sinew::kvstore::{WatchEvent, WatchFrom};
use sinew::{Pattern, ResourceName};
use tokio::sync::mpsc;

use super::shown::KvFormat;
use crate::connection::{ConnectionOptions, tell_cuts};
use crate::failure::Outcome;
use crate::options::name;
use crate::output::{CHUNK_BYTES, finish, start_writer};
use crate::signals::Signals;

/// Watch keys: write what there is, then what changes
///
/// A line each: revision, time, key, and the value with what is not printable escaped, or how it went: (deleted), (purged)
/// or (expired). Goes on until SIGINT, SIGTERM, --count lines, or until nobody reads the output. A cut connection is made
/// again by itself, and nothing is left out or comes twice.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv watch config
  sinew kv watch config 'lights.>' --changes
  sinew kv watch config --from 118 --json | jq .key

Objects of --json, one a line. What there is already, as of `get`:
  {\"key\":\"limits\",\"value\":\"30\",\"revision\":7,\"created\":3,\"time\":\"2026-01-31T12:00:00Z\"}
then {\"caught_up\":117}, then what changes; change is put, deleted, purged or expired:
  {\"key\":\"limits\",\"revision\":118,\"time\":\"2026-01-31T12:00:00Z\",\"change\":\"put\",\"value\":\"50\"}")]
pub(super) struct Watch {
    /// Which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Which keys: `*` stands for one token, `>` at the end for one or more
    #[arg(default_value = ">")]
    keys: Pattern,
    /// Only what changes from now on
    #[arg(long, conflicts_with = "from")]
    changes: bool,
    /// Only changes, from this revision on
    #[arg(long, value_name = "REVISION")]
    from: Option<u64>,
    /// End after so many keys and changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Write JSON, one object a line
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Write the values alone, as they are, with nothing in between
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

impl Watch {
    pub(super) async fn run(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let (output, writer) = start_writer();
        let from = match (self.from, self.changes) {
            (Some(revision), _) => WatchFrom::Revision(revision),
            (None, true) => WatchFrom::Now,
            (None, false) => WatchFrom::Snapshot,
        };
        let begun = async {
            let client = self.connection.connect().await?;
            let watch = client.kv().bucket(&self.bucket).watch(&self.keys, from).await?;
            Outcome::Ok((client, watch))
        };
        let (client, watch) = tokio::select! {
            begun = begun => begun?,
            () = signals.next() => return Ok(()),
        };
        eprintln!("watching {}", self.bucket);
        let outcome = tokio::select! {
            outcome = self.forward(watch, output) => outcome,
            () = signals.next() => Ok(()),
            () = tell_cuts(&client) => unreachable!("cuts are watched for ever"),
        };
        finish(writer, &client, &mut signals).await?;
        outcome
    }

    /// Ends after `count` of them, at the end, or when the writer has gone.
    async fn forward(&self, mut watch: sinew::kvstore::Watch, output: mpsc::Sender<Vec<u8>>) -> Outcome {
        let format = KvFormat::new(self.json, self.raw);
        let (mut left, mut chunk) = (self.count.unwrap_or(u64::MAX), Vec::new());
        let mut end = Ok(());
        while left > 0 {
            let event = tokio::select! {
                biased;
                event = watch.next() => event,
                () = std::future::ready(()), if !chunk.is_empty() => {
                    if output.send(std::mem::take(&mut chunk)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                () = output.closed() => return Ok(()),
            };
            match event {
                Some(WatchEvent::Entry(entry)) => {
                    left -= 1;
                    format.entry(&entry, &mut chunk);
                }
                Some(WatchEvent::Change(change)) => {
                    left -= 1;
                    format.change(&change, &mut chunk);
                }
                Some(WatchEvent::CaughtUp { revision }) if self.json => {
                    chunk.extend_from_slice(format!("{{\"caught_up\":{revision}}}\n").as_bytes());
                }
                // Told only where it is asked for.
                Some(WatchEvent::CaughtUp { .. } | WatchEvent::Restarted) => {}
                None => {
                    end = watch.end().map_or(Ok(()), |error| Err(error.into()));
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
