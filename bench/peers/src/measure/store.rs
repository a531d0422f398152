//! Keys and their values: one client, so many reads or writes under way over 10,000 keys in turn. Every value that is read
//! is checked, and after writing every key is read once more.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Figures, Order, Progress, Sides, Told};
use crate::Outcome;
use crate::payload::{Payloads, Word};
use crate::peer::{Store, Stores, run_here};

/// Keys that are there: few enough that every store has them in memory, and far more than are under way.
const KEYS: u64 = 10_000;
/// Under way while the store is filled or checked, which is not measured.
const FILLING: usize = 64;
/// How long filling may take, and checking.
const FILL: Duration = Duration::from_secs(60);
/// Keys are visited in steps of this prime: each as often as any other, and not in their own order.
const STRIDE: u64 = 7_919;

/// What is done with the keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    Get,
    Put,
}

pub(super) fn run<S: Stores>(order: &Order, what: What, size: usize, in_flight: usize) -> Outcome<Figures> {
    let (progress, sides) = (Progress::new(), Sides::new());
    let (place, driving) = (order.place.clone(), progress.clone());
    sides.start("client", move |ready| {
        run_here(async move {
            let store = S::store(&place).await?;
            let payloads = RefCell::new(Payloads::new(size));
            let put = |key: u64, number: u64| {
                let (store, body) = (&store, payloads.borrow_mut().next(Word::Counted(number)));
                async move { store.put(&name(key), body).await }
            };
            let get = |key: u64, number: u64| {
                let store = &store;
                async move { check(key, number, &store.get(&name(key)).await?) }
            };
            each(|key| put(key, key)).await?;
            ready();
            match what {
                What::Get => storm(in_flight, &driving, |number| get(visited(number), visited(number))).await?,
                What::Put => {
                    let newest = RefCell::new((0..KEYS).collect::<Vec<_>>());
                    let note = |number: u64| {
                        let key = visited(number);
                        newest.borrow_mut()[key as usize] = number;
                        put(key, number)
                    };
                    storm(in_flight, &driving, note).await?;
                    each(|key| get(key, newest.borrow()[key as usize])).await?;
                }
            }
            store.finish().await
        })
    });
    sides.wait_within(FILL, 1, Told::Ready)?;
    let figures = sides.watch(order, &progress, || progress.count())?;
    sides.wait_within(FILL, 1, Told::Ended)?;
    Ok(Figures { latency: Some(progress.latency()), ..figures })
}

fn name(key: u64) -> String {
    format!("key.{key}")
}

/// The key that is visited as the `number`-th.
fn visited(number: u64) -> u64 {
    number % KEYS * STRIDE % KEYS
}

fn check(key: u64, number: u64, value: &[u8]) -> Outcome {
    match Word::of(value) {
        Some(Word::Counted(found)) if found == number => Ok(()),
        found => Err(format!("key {key} reads {found:?}, and {number} was the last that was acknowledged").into()),
    }
}

/// Does it for each key once.
async fn each<F: Future<Output = Outcome>>(act: impl Fn(u64) -> F) -> Outcome {
    let (mut pending, mut keys) = (FuturesUnordered::new(), 0..KEYS);
    loop {
        pending.extend(keys.by_ref().take(FILLING - pending.len()).map(&act));
        let Some(outcome) = pending.next().await else { return Ok(()) };
        outcome?;
    }
}

/// Does it again and again, so many at one time, until `progress` says that it is over.
async fn storm<F: Future<Output = Outcome>>(in_flight: usize, progress: &Progress, act: impl Fn(u64) -> F) -> Outcome {
    let (mut pending, mut number) = (FuturesUnordered::new(), 0_u64);
    loop {
        while pending.len() < in_flight && !progress.over.load(Ordering::Relaxed) {
            let (began, acts) = (Instant::now(), act(number));
            pending.push(async move { (began, acts.await) });
            number += 1;
        }
        let Some((began, outcome)) = pending.next().await else { return Ok(()) };
        outcome?;
        progress.record(began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{KEYS, visited};

    #[test]
    fn each_key_is_visited_before_one_is_again() {
        assert_eq!((5..KEYS + 5).map(visited).collect::<BTreeSet<_>>(), (0..KEYS).collect());
    }
}
