//! Publishers that send at a rate far above what is delivered, to subscribers that read as fast as they can.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sinew::{Delivery, Pattern, Subject};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Result, Server};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: Server,
    /// Publishers, and as many subscribers
    #[arg(long)]
    pairs: usize,
    /// Bytes of a message
    #[arg(long)]
    bytes: usize,
    /// Messages a second, of all publishers together; 0: as many as go
    #[arg(long)]
    rate: u64,
    /// For how long
    #[arg(long)]
    seconds: f64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    LocalSet::new().run_until(run_here(options)).await
}

async fn run_here(options: Options) -> Result<()> {
    let (delivered, lost, published) =
        (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));
    let mut clients = Vec::new();
    for _ in 0..options.pairs {
        let client = options.server.connect().await?;
        let mut subscription = client.bus().subscribe(&Pattern::try_from("flood.>")?).await?;
        let (delivered, lost) = (delivered.clone(), lost.clone());
        tokio::task::spawn_local(async move {
            while let Some(delivery) = subscription.next().await {
                match delivery {
                    Delivery::Message(_) => delivered.set(delivered.get() + 1),
                    Delivery::Lagged(count) => lost.set(lost.get() + count),
                    _ => {}
                }
            }
        });
        clients.push(client);
    }
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(options.seconds);
    let mut publishers = Vec::new();
    for number in 0..options.pairs {
        let client = options.server.connect().await?;
        let rate = options.rate / options.pairs as u64;
        let published = published.clone();
        let subject = Subject::try_from(format!("flood.{number}").as_str())?;
        let body = Bytes::from(vec![7; options.bytes]);
        publishers.push(tokio::task::spawn_local(async move {
            let mut sent = 0_u64;
            while Instant::now() < until {
                let due = if rate == 0 { u64::MAX } else { (start.elapsed().as_secs_f64() * rate as f64) as u64 };
                for _ in 0..due.saturating_sub(sent).min(100) {
                    if Instant::now() >= until || client.bus().publish(&subject, body.clone()).await.is_err() {
                        return;
                    }
                    sent += 1;
                    published.set(published.get() + 1);
                }
                if due <= sent { sleep(Duration::from_millis(1)).await } else { tokio::task::yield_now().await }
            }
        }));
    }
    sleep_until(until).await;
    println!("{} {} {}", published.get(), delivered.get(), lost.get());
    publishers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
