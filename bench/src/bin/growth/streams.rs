//! Appends of one event over many streams, so many on their way at one time in all, each acknowledged once it is on disk.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sinew_eventsource::{Append, Engine, EventBatch, Stream};

use crate::stored::{batch, engine, stream};
use crate::{Result, process};

/// How many, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The data directory
    #[arg(long)]
    data: PathBuf,
    /// Streams
    #[arg(long)]
    count: usize,
    /// Appends on their way at one time, in all
    #[arg(long)]
    in_flight: usize,
    /// How long it is measured, in milliseconds
    #[arg(long)]
    millis: u64,
}

/// Before it is measured: files are made and the first zeros written.
const WARM_UP: Duration = Duration::from_millis(500);

pub(crate) async fn run(options: &Options) -> Result<()> {
    let engine = engine(&options.data)?;
    let mut streams = Vec::new();
    for number in 0..options.count {
        streams.push(stream(&engine, &format!("one-of-many-{number}")).await?);
    }
    let (sender, answers) = channel();
    let append = |number: usize, stream: &dyn Stream, events: EventBatch| {
        let (sender, began) = (sender.clone(), Instant::now());
        let append = Append { events, expected_next: None, producer: None };
        stream.append(append, Box::new(move |result| drop(sender.send((number, began, result)))));
    };
    let events = batch(0, 1)?;
    for number in 0..options.in_flight {
        let number = number % streams.len();
        append(number, &*streams[number], events.clone());
    }
    let (mut micros, mut count) = (Histogram::<u64>::new(3)?, 0_u64);
    let from = Instant::now() + WARM_UP;
    let until = from + Duration::from_millis(options.millis);
    let mut measured = Duration::ZERO;
    let mut in_flight = options.in_flight;
    while in_flight > 0 {
        let (number, began, result) = answers.recv()?;
        result?;
        let now = Instant::now();
        if now >= until {
            in_flight -= 1;
            continue;
        }
        if now >= from {
            count += 1;
            micros.record(now.duration_since(began).as_micros() as u64)?;
            measured = now.duration_since(from);
        }
        append(number, &*streams[number], events.clone());
    }
    let (p50, p99) = (micros.value_at_quantile(0.5), micros.value_at_quantile(0.99));
    process::tell("appended", &[count, measured.as_micros() as u64, p50, p99])?;
    drop(streams);
    Ok(engine.close().await?)
}
