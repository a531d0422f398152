//! The bus in bad weather, in virtual time and from a seed: random publishes, subscribes, ends, cuts, stalls, restarts
//! and slow readers, and a count kept at the server of what really arrived there.
//!
//! `broken.rs` lists what must hold. Everything that happens follows from the seed: `SINEW_SEED` picks one, and
//! `SINEW_LONG=1` takes ten times as many. `SINEW_TRACE` names a file for what happened in the last one.

mod asking;
mod broken;
mod group;
mod history;
mod keeper;
mod people;
mod planted;
mod publisher;
mod stage;
mod subscriber;
mod sum;
mod world;

use sinew_testkit::random::seeds;
use sinew_testkit::trace::Trace;

/// Worlds in all, over all parts below.
const SEEDS: u64 = 2_000;
/// Parts, which the test runner spreads over the cores.
const PARTS: u64 = 8;

#[track_caller]
fn part(part: u64) {
    for seed in seeds(SEEDS).into_iter().filter(|seed| seed % PARTS == part) {
        let file = std::env::var("SINEW_TRACE");
        let trace = if file.is_ok() { Trace::on() } else { Trace::off() };
        let outcome = world::run(seed, &trace);
        if let Ok(file) = file {
            std::fs::write(file, trace.text()).expect("SINEW_TRACE is a file that can be written");
        }
        if let Err(broken) = outcome {
            panic!("{broken}\nseed {seed}: run this test with SINEW_SEED={seed} to see it again");
        }
    }
}

macro_rules! parts {
    ($($name:ident $number:literal),*) => {
        $(#[test]
        fn $name() {
            part($number);
        })*
    };
}

parts!(
    what_must_hold_holds_1 0, what_must_hold_holds_2 1, what_must_hold_holds_3 2, what_must_hold_holds_4 3,
    what_must_hold_holds_5 4, what_must_hold_holds_6 5, what_must_hold_holds_7 6, what_must_hold_holds_8 7
);

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in seeds(40) {
        let [first, second] = [Trace::on(), Trace::on()].map(|trace| {
            let outcome = world::run(seed, &trace);
            assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
            trace
        });
        assert!(first.len() > 100, "seed {seed}: {} lines", first.len());
        if first.hash() != second.hash() {
            panic!("seed {seed}: {}", first.difference(&second));
        }
    }
}

/// What must be seen somewhere, so that no check is idle.
const SIGHTS: [&str; 14] = [
    "Lagged(",
    "Gap(Exact(",
    "Gap(Unknown)",
    "retained: true",
    "request: true",
    "Overflowed",
    "Ok(Ok(Tally",
    "Receipt {",
    "member 60",
    "NoResponders",
    "ResponderLost",
    "ResponderFailed",
    "OutcomeUnknown",
    "weather 7",
];

#[test]
fn everything_happens_in_some_world() {
    let mut missing = SIGHTS.to_vec();
    for seed in 0..SEEDS {
        let trace = Trace::on();
        let outcome = world::run(seed, &trace);
        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
        let text = trace.text();
        missing.retain(|sight| !text.contains(sight));
        if missing.is_empty() {
            return;
        }
    }
    panic!("never seen: {missing:?}");
}
