//! Reading what is stored, from the first event on, over and over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Figures, Order, Progress, Sides, Told};
use crate::Outcome;
use crate::payload::{Numbers, Payloads, Word};
use crate::peer::{Append, Keeps, run_here};

/// Events that are read again and again.
const EVENTS: u64 = 300_000;
/// Under way while the stream is filled, which is not measured.
const FILLING: usize = 512;
/// How long filling may take.
const FILL: Duration = Duration::from_secs(60);
/// Between two counts that are shown.
const STEP: u64 = 1_000;

pub(super) fn run<K: Keeps>(order: &Order, size: usize) -> Outcome<Figures> {
    let (progress, sides) = (Progress::new(), Sides::new());
    let (place, driving) = (order.place.clone(), progress.clone());
    sides.start("reader", move |ready| {
        run_here(async move {
            let appender = K::appender(&place).await?;
            fill(&appender, size).await?;
            ready();
            while !driving.over.load(Ordering::Relaxed) {
                once::<K>(&place, &driving).await?;
            }
            appender.finish().await
        })
    });
    sides.wait_within(FILL, 1, Told::Ready)?;
    let figures = sides.watch(order, &progress, || progress.count())?;
    sides.wait(1, Told::Ended)?;
    Ok(figures)
}

async fn fill(appender: &impl Append, size: usize) -> Outcome {
    let (mut payloads, mut pending, mut number) = (Payloads::new(size), FuturesUnordered::new(), 0);
    while number < EVENTS || !pending.is_empty() {
        while number < EVENTS && pending.len() < FILLING {
            pending.push(appender.append(payloads.next(Word::Counted(number))));
            number += 1;
        }
        pending.next().await.transpose()?;
    }
    Ok(())
}

/// Once from the start to the end: each event once.
async fn once<K: Keeps>(place: &crate::place::Place, progress: &Arc<Progress>) -> Outcome {
    let (mut numbers, mut wrong) = (Numbers::below(EVENTS), Ok(()));
    K::replay(place, |body| {
        wrong = numbers.take(Word::of(body));
        let left = numbers.left();
        if left.is_multiple_of(STEP) {
            progress.count.fetch_add(STEP, Ordering::Relaxed);
        }
        wrong.is_ok() && left > 0 && !progress.over.load(Ordering::Relaxed)
    })
    .await?;
    wrong?;
    if numbers.left() > 0 && !progress.over.load(Ordering::Relaxed) {
        return Err(format!("{} of {EVENTS} events are not there", numbers.left()).into());
    }
    Ok(())
}
