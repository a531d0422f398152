//! Throughput: one publisher, one or more subscribers, at most the cap outstanding. Counted at the subscribers, each of
//! which checks that nothing is lost, doubled or out of order; the run ends only when all have heard the last message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{EDGE, Figures, Order, Progress, Sides, Told, pause};
use crate::Outcome;
use crate::gate::Gate;
use crate::payload::{Payloads, WORD_BYTES, Word};
use crate::peer::{Peer, Publish, Subscribe};

const SUBJECT: &str = "bench.stream";
/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(5);

struct Shared {
    progress: Arc<Progress>,
    gate: Gate,
    /// Subscribers that a probe has reached.
    reached: AtomicU64,
    /// Subscribers that have heard everything, or found something wrong.
    ended: AtomicU64,
    subscribers: u64,
}

pub(super) fn run<P: Peer>(order: &Order, size: usize, subscribers: usize) -> Outcome<Figures> {
    let progress = Progress::new();
    let gate = Gate::new(size, subscribers);
    let shared = Arc::new(Shared {
        progress,
        gate,
        reached: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        subscribers: subscribers as u64,
    });
    let sides = Sides::new();
    for index in 0..subscribers {
        let (place, shared) = (order.place.clone(), shared.clone());
        sides.start("subscriber", move |ready| {
            P::block_on(async move {
                let subscriber = P::subscriber(&place, SUBJECT).await?;
                ready();
                subscribe(subscriber, index, shared).await
            })
        });
    }
    sides.wait(subscribers, Told::Ready)?;
    let (place, publishing) = (order.place.clone(), shared.clone());
    sides.start("publisher", move |ready| {
        P::block_on(async move {
            let mut publisher = P::publisher(&place, SUBJECT).await?;
            probe(&mut publisher, &publishing).await?;
            ready();
            publish(&mut publisher, size, &publishing).await
        })
    });
    sides.wait(1, Told::Ready)?;
    let figures = sides.watch(order, &shared.progress, || shared.gate.delivered())?;
    // All have heard all: a message that was lost shows here, if not before.
    sides.wait(subscribers + 1, Told::Ended)?;
    Ok(figures)
}

/// Publishes until every subscriber has heard something: only then nothing can be missed at the beginning.
async fn probe<P: Publish>(publisher: &mut P, shared: &Shared) -> Outcome {
    // Small ones, whatever is measured: they do not count, and must not fill a queue.
    let (mut payloads, began) = (Payloads::new(WORD_BYTES), Instant::now());
    while shared.reached.load(Ordering::SeqCst) < shared.subscribers {
        if began.elapsed() > EDGE {
            return Err(format!("not every subscriber heard a probe within {EDGE:?}").into());
        }
        publisher.publish(payloads.next(Word::Probe)).await?;
        publisher.flush().await?;
        pause(PROBE_EVERY).await;
    }
    Ok(())
}

/// Publishes as fast as the cap allows, until it is over.
async fn publish<P: Publish>(publisher: &mut P, size: usize, shared: &Shared) -> Outcome {
    let (mut payloads, mut number, mut floor) = (Payloads::new(size), 0_u64, 0_u64);
    while !shared.progress.over.load(Ordering::Relaxed) {
        if number - floor >= shared.gate.cap() {
            floor = shared.gate.floor();
            if number - floor >= shared.gate.cap() {
                publisher.flush().await?;
                floor = shared.gate.wait(number).await;
            }
        }
        publisher.publish(payloads.next(Word::Counted(number))).await?;
        number += 1;
    }
    publisher.publish(payloads.next(Word::End(number))).await?;
    publisher.flush().await?;
    // What a client library has taken in it may send later: the connection is kept until everything has arrived.
    while shared.ended.load(Ordering::SeqCst) < shared.subscribers {
        pause(PROBE_EVERY).await;
    }
    publisher.finish().await
}

async fn subscribe<S: Subscribe>(subscriber: S, index: usize, shared: Arc<Shared>) -> Outcome {
    let wrong = Arc::new(std::sync::Mutex::new(None));
    let (told, step, all) = (wrong.clone(), shared.gate.step(), shared.clone());
    let (mut count, mut probed) = (0_u64, false);
    let heard = move |body: &[u8]| match Word::of(body) {
        Some(Word::Counted(number)) if number == count => {
            count += 1;
            if count.is_multiple_of(step) {
                shared.gate.heard(index, count);
            }
            true
        }
        Some(Word::Probe) => {
            if !std::mem::replace(&mut probed, true) {
                shared.reached.fetch_add(1, Ordering::SeqCst);
            }
            true
        }
        Some(Word::End(total)) if total == count => {
            shared.gate.heard(index, count);
            false
        }
        other => {
            *told.lock().expect("nobody panics while holding it") =
                Some(format!("heard {other:?} where {count} is due"));
            false
        }
    };
    let outcome = subscriber.listen(heard).await;
    all.ended.fetch_add(1, Ordering::SeqCst);
    outcome?;
    let wrong = wrong.lock().expect("nobody panics while holding it").take();
    wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
}
