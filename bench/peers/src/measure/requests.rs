//! Request/reply through the server, and tasks with their results: one client asks, with one or more requests under way;
//! two answer.

use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::{EDGE, Figures, Order, Progress, Sides, Told};
use crate::Outcome;
use crate::payload::{Payloads, Word};
use crate::peer::{Ask, Asks};

/// Clients that answer.
const RESPONDERS: usize = 2;

pub(super) fn run<A: Asks>(order: &Order, size: usize, in_flight: usize) -> Outcome<Figures> {
    let (progress, sides, mut ends) = (Progress::new(), Sides::new(), Vec::new());
    for _ in 0..RESPONDERS {
        let (place, (end, over)) = (order.place.clone(), oneshot::channel());
        ends.push(end);
        sides.start("responder", move |ready| A::block_on(async move { A::answer(&place, ready, over).await }));
    }
    sides.wait(RESPONDERS, Told::Ready)?;
    let (place, driving) = (order.place.clone(), progress.clone());
    sides.start("asker", move |ready| {
        A::block_on(async move {
            let asker = A::asker(&place).await?;
            first(&asker, size).await?;
            ready();
            asker.storm(in_flight, size, &driving).await?;
            asker.finish().await
        })
    });
    sides.wait(1, Told::Ready)?;
    let figures = sides.watch(order, &progress, || progress.count())?;
    sides.wait(1, Told::Ended)?;
    ends.clear();
    sides.wait(RESPONDERS, Told::Ended)?;
    Ok(Figures { latency: Some(progress.latency()), ..figures })
}

/// Asks until somebody answers: not every system says when a responder is known.
async fn first(asker: &impl Ask, size: usize) -> Outcome {
    let (mut payloads, began) = (Payloads::new(size), Instant::now());
    loop {
        match asker.ask(payloads.next(Word::Probe)).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > EDGE => return Err(format!("nobody answered: {error}").into()),
            Err(_) => super::pause(Duration::from_millis(5)).await,
        }
    }
}
