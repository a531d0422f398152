//! Ping-pong through the server: one message on its way at a time, between two clients on two threads.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Figures, Order, Progress, Sides, Told};
use crate::Outcome;
use crate::payload::{Payloads, Word};
use crate::peer::{Peer, Publish, Subscribe, check_answer};

const PING: &str = "bench.ping";
const PONG: &str = "bench.pong";

pub(super) fn run<P: Peer>(order: &Order, size: usize) -> Outcome<Figures> {
    let (progress, sides) = (Progress::new(), Sides::new());
    let place = order.place.clone();
    sides.start("pong", move |ready| P::block_on(async move { P::pong(&place, PONG, PING, ready).await }));
    sides.wait(1, Told::Ready)?;
    let (place, driving) = (order.place.clone(), progress.clone());
    sides.start("ping", move |ready| {
        P::block_on(async move {
            let (mut publisher, mut subscriber) = P::both(&place, PING, PONG).await?;
            publisher.wait_heard().await?;
            ready();
            ping(&mut publisher, &mut subscriber, size, &driving).await
        })
    });
    sides.wait(1, Told::Ready)?;
    let figures = sides.watch(order, &progress, || progress.count())?;
    sides.wait(2, Told::Ended)?;
    Ok(Figures { latency: Some(progress.latency()), ..figures })
}

async fn ping(publisher: &mut impl Publish, hears: &mut impl Subscribe, size: usize, progress: &Progress) -> Outcome {
    let (mut payloads, mut number) = (Payloads::new(size), 0);
    while !progress.over.load(Ordering::Relaxed) {
        let body = payloads.next(Word::Counted(number));
        let began = Instant::now();
        publisher.publish(body).await?;
        publisher.flush().await?;
        let answer = hears.next().await?;
        let took = began.elapsed();
        check_answer(number, &answer)?;
        progress.record(took);
        number += 1;
    }
    publisher.publish(payloads.next(Word::End(number))).await?;
    publisher.flush().await?;
    // The connection is kept until the other side has heard that: it sends the end back before it leaves.
    hears.next().await?;
    publisher.finish().await
}
