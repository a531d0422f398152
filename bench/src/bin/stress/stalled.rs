//! A subscriber that stops reading for a while, and then holds what it is told against the numbers in the messages.
//!
//! Standard input: `stall SECONDS` stops reading, reads what waits to its end, and answers with one line.

use std::time::Duration;

use sinew::{BacklogLimits, Client, Delivery, Pattern, SubscribeOptions, Subscription};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, sleep};

use crate::{Result, Server};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: Server,
    /// Bytes that may be on their way to it
    #[arg(long)]
    window: usize,
    /// Bytes that may wait for it at the server
    #[arg(long)]
    queue: usize,
}

/// What it heard since it subscribed.
#[derive(Default)]
struct Heard {
    messages: u64,
    told: u64,
    /// The number that comes next.
    next: Option<u64>,
    /// Messages that were not the next one, and whatever else went wrong.
    wrong: u64,
}

/// How often the server is asked how much waits.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn run(options: Options) -> Result<()> {
    let (client, observer) = (options.server.connect().await?, options.server.connect().await?);
    let pattern = Pattern::try_from("load.>")?;
    let queue = BacklogLimits { bytes_max: options.queue, ..BacklogLimits::default() };
    let wanted = SubscribeOptions { window_bytes: options.window, queue, ..SubscribeOptions::default() };
    let mut subscription = client.bus().subscribe_with(&pattern, wanted).await?;
    let mut heard = Heard::default();
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let seconds = line.strip_prefix("stall ").ok_or("stall SECONDS")?.parse()?;
                let waited = stall(&observer, &pattern, Duration::from_secs_f64(seconds)).await?;
                finish(&mut subscription, &mut heard).await?;
                let dropped = observer.bus().accounting(Some(&pattern)).await?.dropped.oldest;
                println!("{} {} {waited} {} {dropped}", heard.messages, heard.told, heard.wrong);
                return Ok(());
            }
            delivery = subscription.next() => heard.note(delivery),
        }
    }
}

/// Reads nothing; gives the most messages that waited at the server meanwhile. The others of the load read, so what waits
/// waits for this one.
async fn stall(observer: &Client, pattern: &Pattern, time: Duration) -> Result<u64> {
    let (until, mut most) = (Instant::now() + time, 0);
    while Instant::now() < until {
        most = most.max(observer.bus().accounting(Some(pattern)).await?.queued);
        sleep(LOOK).await;
    }
    Ok(most)
}

/// Nothing new from here on; what waits is read to its end.
async fn finish(subscription: &mut Subscription, heard: &mut Heard) -> Result<()> {
    subscription.drain().await?;
    while let Some(delivery) = subscription.next().await {
        heard.note(Some(delivery));
    }
    Ok(())
}

impl Heard {
    fn note(&mut self, delivery: Option<Delivery>) {
        match delivery {
            Some(Delivery::Message(message)) => {
                let number = message.body.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
                self.messages += 1;
                self.wrong += u64::from(number.is_none() || self.next.is_some_and(|next| number != Some(next)));
                self.next = number.map(|number| number + 1);
            }
            Some(Delivery::Lagged(count)) => {
                self.told += count;
                self.next = self.next.map(|next| next + count);
            }
            _ => self.wrong += 1,
        }
    }
}
