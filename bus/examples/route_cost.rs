//! What a message costs in the rules of the bus, in nanoseconds: checking its subject, finding its route, taking credit.
//!
//! `cargo run --release -p sinew-bus --example route_cost`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sinew_bus::{Backlog, BacklogLimits, Offer, Pattern, Role, Route, RouteCache, Router, Subject, SubscriptionKey};

const ROUNDS: usize = 4_000_000;
const REPEATS: usize = 5;

fn main() {
    println!("{:<58} {:>8}", "step, median of 5", "ns each");
    let subject = "plant.7.line.3.temperature";
    report("check a subject of 26 bytes", ROUNDS, |_| {
        black_box(Subject::is_valid(black_box(subject.as_bytes())));
    });
    for (subjects, entries) in [(1, 1024), (100, 1024), (1_000, 1024), (10_000, 1024), (10_000, 32_768)] {
        routes(subjects, entries);
    }
    credit();
}

/// Subjects in turn, each with a subscriber of its own and three that hear all.
fn routes(subjects: usize, entries: usize) {
    let names: Vec<_> =
        (0..subjects).map(|n| Subject::try_from(format!("plant.{n}.line.3.temperature")).expect("a subject")).collect();
    let mut router = Router::default();
    let wide = ["plant.>", "plant.*.line.3.*", "*.*.line.>"].map(|text| Pattern::try_from(text).expect("a pattern"));
    for (number, pattern) in (0..).zip(names.iter().map(Pattern::from).chain(wide)) {
        router.subscribe(SubscriptionKey { connection: 1, number }, pattern, Role::Hearer, ()).expect("a new key");
    }
    let mut cache = RouteCache::<Arc<Route<()>>>::with_entries_max(entries);
    let mut misses = 0_usize;
    let rounds = ROUNDS / if subjects > entries { 10 } else { 1 };
    let mut next = 0;
    let mut one = |_| {
        let subject = black_box(&names[next]);
        next = if next + 1 == names.len() { 0 } else { next + 1 };
        let generation = black_box(router.generation());
        match cache.lookup(generation, subject.as_bytes()) {
            Some(route) => assert_eq!(route.hearers().len(), 4),
            None => {
                misses += 1;
                cache.insert(generation, subject, router.route(subject));
            }
        }
    };
    let label = format!("route, {subjects} subjects in turn, cache of {entries}");
    report(&label, rounds, &mut one);
    println!("{:<58} {:>7.1}%", "    of these not in the cache", 100.0 * misses as f64 / (rounds * REPEATS) as f64);
    report(&format!("route, {subjects} subjects, router alone"), ROUNDS / 10, |round| {
        black_box(router.route(&names[round % names.len()]));
    });
}

fn credit() {
    let mut backlog = Backlog::<()>::new(1 << 20, BacklogLimits::default());
    report("take credit for a record of 128 bytes, granted by 64 KiB", ROUNDS, |round| {
        assert_eq!(backlog.offer(black_box(128)), Offer::Deliver);
        if round % 512 == 511 {
            backlog.grant(64 << 10);
        }
    });
}

fn report(label: &str, rounds: usize, mut step: impl FnMut(usize)) {
    let mut nanoseconds: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(&mut step);
            start.elapsed().as_nanos() as f64 / rounds as f64
        })
        .collect();
    nanoseconds.sort_by(f64::total_cmp);
    println!("{label:<58} {:>8.1}", nanoseconds[REPEATS / 2]);
}
