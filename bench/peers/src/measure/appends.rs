//! Appending: one client, so many appends or batches under way; what counts is what was acknowledged. Afterwards the
//! stream is read from its start: everything that was acknowledged stands there once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Figures, Order, Progress, Sides, Told};
use crate::Outcome;
use crate::payload::{Numbers, Payloads, Word};
use crate::peer::{Append, Keeps, run_here};

/// How long it may take to read again what was appended.
const CHECK: Duration = Duration::from_secs(80);

pub(super) fn run<K: Keeps>(order: &Order, size: usize, in_flight: usize, batch: usize) -> Outcome<Figures> {
    let (progress, sides) = (Progress::new(), Sides::new());
    let (place, driving) = (order.place.clone(), progress.clone());
    sides.start("appender", move |ready| {
        run_here(async move {
            let appender = K::appender(&place).await?;
            ready();
            let count = storm(&appender, in_flight, batch, size, &driving).await?;
            check::<K>(&place, count).await?;
            appender.finish().await
        })
    });
    sides.wait(1, Told::Ready)?;
    let figures = sides.watch(order, &progress, || progress.count())?;
    sides.wait_within(CHECK, 1, Told::Ended)?;
    Ok(Figures { latency: Some(progress.latency()), ..figures })
}

/// Appends until `progress` says that it is over; how many there are.
pub(super) async fn storm(
    appender: &impl Append,
    in_flight: usize,
    batch: usize,
    size: usize,
    progress: &Progress,
) -> Outcome<u64> {
    let (mut payloads, mut pending, mut number) = (Payloads::new(size), FuturesUnordered::new(), 0_u64);
    loop {
        while pending.len() < in_flight && !progress.over.load(Ordering::Relaxed) {
            let mut body = || {
                number += 1;
                payloads.next(Word::Counted(number - 1))
            };
            let began = Instant::now();
            let bodies: Vec<_> = (0..batch).map(|_| body()).collect();
            pending.push(async move { (began, append(appender, bodies).await) });
        }
        let Some((began, outcome)) = pending.next().await else { return Ok(number) };
        outcome?;
        progress.record_many(batch as u64, began.elapsed());
    }
}

async fn append(appender: &impl Append, mut bodies: Vec<bytes::Bytes>) -> Outcome {
    match bodies.len() {
        1 => appender.append(bodies.remove(0)).await,
        _ => appender.append_batch(bodies).await,
    }
}

async fn check<K: Keeps>(place: &crate::place::Place, count: u64) -> Outcome {
    let (mut numbers, mut wrong) = (Numbers::below(count), Ok(()));
    if count > 0 {
        K::replay(place, |body| {
            wrong = numbers.take(Word::of(body));
            wrong.is_ok() && numbers.left() > 0
        })
        .await?;
    }
    wrong?;
    match numbers.left() {
        0 => Ok(()),
        left => Err(format!("{left} of {count} events that were acknowledged are not there").into()),
    }
}
