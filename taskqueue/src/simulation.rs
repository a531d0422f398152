//! The whole of a queue through storms, in virtual time, from a seed: clients and workers behind a network that delays, cuts
//! and loses, workers that are killed or stopped for a while, clients that go away, and a server that restarts between any
//! record and its effect. The rules and what stands around them are those that run; network, store and people are models.
//!
//! What must hold stands in `oracle.rs`. Bugs on purpose, each caught by the rule that is meant for it, stand in `planted.rs`.

mod calm;
mod client;
mod network;
mod oracle;
mod plan;
mod planted;
mod store;
mod worker;
mod world;

use oracle::Violation;
use sinew_testkit::random::Telltale;
use world::World;

/// Seeds altogether, shared by the tests below so that they run at the same time.
const SEEDS: u64 = 2_000;
const SHARES: u64 = 8;

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime without sockets")
}

fn run(seed: u64) -> Result<(), Violation> {
    runtime().block_on(async {
        let mut world = World::new(seed);
        world.storm().await?;
        world.calm_after().await
    })
}

/// What happened, line by line.
fn traced(seed: u64) -> (Vec<String>, Result<(), Violation>) {
    runtime().block_on(async {
        let mut world = World::new(seed);
        world.trace = Some(Vec::new());
        let result = match world.storm().await {
            Ok(()) => world.calm_after().await,
            Err(violation) => Err(violation),
        };
        (world.trace.take().unwrap_or_default(), result)
    })
}

#[track_caller]
fn storms(share: u64) {
    for seed in sinew_testkit::random::seeds(SEEDS).into_iter().filter(|seed| seed % SHARES == share) {
        let _telltale = Telltale(seed);
        if let Err(violation) = run(seed) {
            let (trace, again) = traced(seed);
            let last: Vec<_> = trace.iter().rev().take(150).rev().map(String::as_str).collect();
            panic!("seed {seed}: {violation:?}\n{}\nagain: {again:?}", last.join("\n"));
        }
    }
}

macro_rules! shares {
    ($($name:ident $share:expr),*) => {
        $(#[test]
        fn $name() {
            storms($share);
        })*
    };
}

shares!(storms_0 0, storms_1 1, storms_2 2, storms_3 3, storms_4 4, storms_5 5, storms_6 6, storms_7 7);

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (first, result) = traced(seed);
        assert_eq!(result, Ok(()), "seed {seed}");
        let (second, _) = traced(seed);
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        let lines = differs.map(|at| (&first[at], &second[at]));
        assert!(first.len() > 100 && lines.is_none() && first.len() == second.len(), "seed {seed}: {lines:?}");
    }
}
