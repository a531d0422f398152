//! `sinew sub`: writes what is published to standard output, and nothing else there. How a message looks is in
//! `format.rs`.

use clap::{Args, ValueEnum};
use sinew::{Delivery, Overflow, Pattern, SubscribeOptions, Subscription};
use tokio::sync::mpsc;

use crate::connection::{ConnectionOptions, shown, tell_cuts};
use crate::failure::Outcome;
use crate::format::Format;
use crate::output::{CHUNK_BYTES, finish, start_writer};
use crate::signals::Signals;

/// Subscribe, and write what comes to standard output
///
/// One line a message: its subject, a space, its payload with what is not printable escaped. What was lost (a slow
/// reader, a cut connection) is told on standard error, with --json as objects of its own on standard output. Goes on
/// until SIGINT, SIGTERM, --count messages, or until nobody reads the output; a cut connection is made again by itself.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew sub 'news.>'
  sinew sub 'orders.*.paid' --json | jq .payload
  sinew sub camera.door --count 1 --raw > picture.jpg

Objects of --json, one a line:
  {\"subject\":\"news.today\",\"payload\":\"it rains\"}
  {\"subject\":\"camera.door\",\"payload_base64\":\"/9j/4AAQ\"}   a payload that is no UTF-8 text
  {\"subject\":\"lamp\",\"headers\":[{\"name\":\"by\",\"value\":\"me\"}],\"retained\":true,\"payload\":\"on\"}   a kept value
  {\"lagged\":7}                                       so many were dropped here: the reader was slow
  {\"gap\":3}, {\"gap\":\"unknown\"}                       so many were missed while the connection was cut")]
pub(crate) struct Subscribe {
    /// Which subjects: `*` stands for one token, `>` at the end for one or more
    pattern: Pattern,
    /// Share the messages with the other members of this group: each goes to one of them
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// What the server does when this subscription is so slow that its queue is full
    #[arg(long, value_name = "POLICY", default_value = "drop-oldest")]
    overflow: Policy,
    /// Leave out the values that the server has kept, and begin with what is published from now on
    #[arg(long)]
    live: bool,
    /// Write headers too, as [NAME=VALUE] before the payload; JSON has them anyway
    #[arg(long, conflicts_with = "raw")]
    headers: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Write JSON, one object a line
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Write the payloads alone, as they are, with nothing in between
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// What happens when the queue is full. Losses are told in any case.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// The oldest message makes room
    DropOldest,
    /// The newest message is not taken
    DropNewest,
    /// The subscription ends, and this program with it
    Disconnect,
    /// Publishers wait, at most a second; then as drop-newest
    Hold,
}

impl From<Policy> for Overflow {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::DropOldest => Self::DropOldest,
            Policy::DropNewest => Self::DropNewest,
            Policy::Disconnect => Self::Disconnect,
            Policy::Hold => Self::Hold,
        }
    }
}

impl Subscribe {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.subscribe());
        runtime.shutdown_background();
        outcome
    }

    fn options(&self) -> SubscribeOptions {
        SubscribeOptions {
            group: self.group.clone(),
            overflow: self.overflow.into(),
            retained: !self.live,
            ..SubscribeOptions::default()
        }
    }

    async fn subscribe(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let (output, writer) = start_writer();
        let subscribed = async {
            let client = self.connection.connect().await?;
            let subscription = client.bus().subscribe_with(&self.pattern, self.options()).await?;
            Outcome::Ok((client, subscription))
        };
        let (client, subscription) = tokio::select! {
            subscribed = subscribed => subscribed?,
            () = signals.next() => return Ok(()),
        };
        eprintln!("subscribed to {} at {}", self.pattern, shown(&client));
        let outcome = tokio::select! {
            outcome = self.forward(subscription, output) => outcome,
            () = signals.next() => Ok(()),
            () = tell_cuts(&client) => unreachable!("cuts are watched for ever"),
        };
        finish(writer, &client, &mut signals).await?;
        outcome
    }

    /// Ends after `count` messages, when the session is over, or when the writer has gone.
    async fn forward(&self, mut subscription: Subscription, output: mpsc::Sender<Vec<u8>>) -> Outcome {
        let format = Format::new(self.json, self.raw, self.headers);
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut chunk = Vec::new();
        while left > 0 {
            let delivery = tokio::select! {
                biased;
                delivery = subscription.next() => delivery,
                () = std::future::ready(()), if !chunk.is_empty() => {
                    if output.send(std::mem::take(&mut chunk)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                () = output.closed() => return Ok(()),
            };
            let Some(delivery) = delivery else { return Err(ended(&subscription)) };
            left -= u64::from(matches!(delivery, Delivery::Message(_)));
            format.write(&delivery, &mut chunk);
            if chunk.len() >= CHUNK_BYTES && output.send(std::mem::take(&mut chunk)).await.is_err() {
                return Ok(());
            }
        }
        // A writer that has gone has nobody who reads.
        let _ = output.send(chunk).await;
        Ok(())
    }
}

fn ended(subscription: &Subscription) -> Box<dyn std::error::Error + Send + Sync> {
    subscription.end().map_or_else(|| "the subscription has ended".into(), Into::into)
}
