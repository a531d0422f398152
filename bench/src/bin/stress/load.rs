//! The honest clients: many subscribers, each on a connection of its own, and a publisher at a steady rate.
//!
//! Told by lines on standard input: `measure SECONDS` measures the span that follows and answers with one line of
//! figures; the end of the input ends it. Whatever goes wrong for an honest client in that span is counted: a loss, an
//! ended subscription, and a newcomer that could not connect, publish and leave, one each second.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sinew::{Delivery, Pattern, Subject};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::latency::{Clock, Latencies};
use crate::{Result, Server};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: Server,
    /// Subscribers
    #[arg(long)]
    subscribers: usize,
    /// Messages a second
    #[arg(long)]
    rate: u32,
    /// Bytes of a message
    #[arg(long)]
    bytes: usize,
}

struct Span {
    latencies: Latencies,
    published: u64,
    failures: Vec<String>,
}

impl Span {
    fn new() -> Self {
        Self { latencies: Latencies::new(), published: 0, failures: Vec::new() }
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    LocalSet::new().run_until(run_here(options)).await
}

async fn run_here(options: Options) -> Result<()> {
    let clock = Clock::new();
    let span = Rc::new(RefCell::new(Span::new()));
    let mut clients = Vec::new();
    for _ in 0..options.subscribers {
        let client = options.server.connect().await?;
        let mut subscription = client.bus().subscribe(&Pattern::try_from("load.>")?).await?;
        let span = span.clone();
        tokio::task::spawn_local(async move {
            loop {
                match subscription.next().await {
                    Some(Delivery::Message(message)) => {
                        let sent = message.body.first_chunk().map_or(0, |sent| u64::from_le_bytes(*sent));
                        span.borrow_mut().latencies.add(clock.micros().saturating_sub(sent));
                    }
                    Some(other) => span.borrow_mut().failures.push(format!("{other:?}")),
                    None => return span.borrow_mut().failures.push("a subscription ended".into()),
                }
            }
        });
        clients.push(client);
    }
    let publisher = options.server.connect().await?;
    tokio::task::spawn_local(publish(publisher, options.rate, options.bytes, clock, span.clone()));
    tokio::task::spawn_local(newcomers(options.server.clone(), span.clone()));
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let seconds: f64 = line.strip_prefix("measure ").ok_or("measure SECONDS")?.parse()?;
        *span.borrow_mut() = Span::new();
        sleep_until(Instant::now() + Duration::from_secs_f64(seconds)).await;
        let span = std::mem::replace(&mut *span.borrow_mut(), Span::new());
        let latencies = &span.latencies;
        let rate = latencies.count() as f64 / seconds;
        println!(
            "{} {} {} {} {rate:.0}",
            latencies.at(0.5),
            latencies.at(0.99),
            latencies.at(1.0),
            span.failures.len()
        );
        span.failures.iter().take(5).for_each(|failure| eprintln!("stress load: {failure}"));
    }
    drop(clients);
    Ok(())
}

async fn publish(client: sinew::Client, rate: u32, bytes: usize, clock: Clock, span: Rc<RefCell<Span>>) {
    let subject = Subject::try_from("load.steady").expect("a subject");
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let start = clock.micros();
    let step = 1_000_000 / u64::from(rate);
    for number in 0_u64.. {
        ticks.tick().await;
        let mut body = BytesMut::zeroed(bytes.max(16));
        // When it was to be sent, or now, if the clock of the runtime was ahead.
        let due = (start + number * step).min(clock.micros());
        body[..8].copy_from_slice(&due.to_le_bytes());
        body[8..16].copy_from_slice(&number.to_le_bytes());
        let sent = client.bus().publish(&subject, Bytes::from(body)).await;
        let mut span = span.borrow_mut();
        span.published += 1;
        if let Err(error) = sent {
            return span.failures.push(format!("publishing: {error}"));
        }
    }
}

/// A client each second that comes, publishes and leaves.
async fn newcomers(server: Server, span: Rc<RefCell<Span>>) {
    let subject = Subject::try_from("newcomer").expect("a subject");
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let come_and_go = async {
            let client = server.connect().await?;
            client.bus().publish(&subject, Bytes::from_static(b"hello")).await?;
            client.close().await?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        };
        if let Err(error) = come_and_go.await {
            span.borrow_mut().failures.push(format!("a newcomer: {error}"));
        }
    }
}
