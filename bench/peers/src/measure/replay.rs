//! Reading what is stored, from the first event on, over and over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Figures, Order, Progress, Sides, Told};
use crate::Outcome;
use crate::payload::{Payloads, Word};
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

async fn once<K: Keeps>(place: &crate::place::Place, progress: &Arc<Progress>) -> Outcome {
    let (mut next, mut wrong) = (0, None);
    K::replay(place, |body| {
        if Word::of(body) != Some(Word::Counted(next)) {
            wrong = Some(format!("event {next} reads {:?}: lost, doubled or out of order", Word::of(body)));
            return false;
        }
        next += 1;
        if next.is_multiple_of(STEP) {
            progress.count.fetch_add(STEP, Ordering::Relaxed);
        }
        next < EVENTS && !progress.over.load(Ordering::Relaxed)
    })
    .await?;
    wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
}
