//! The key-value store in bad weather, in virtual time and from a seed: clients read, write, compare and set a few keys
//! through cuts, stalls and restarts, and what they saw is held against the order of the revisions and of time.
//!
//! `order.rs` judges by revision, `search.rs` by trying every order, of short histories. Both must reject a stale read that
//! was planted. `SINEW_SEED` picks one world, and `SINEW_LONG=1` takes ten times as many.

mod client;
mod history;
mod order;
mod rounds;
mod search;
mod world;

use sinew_testkit::random::{Telltale, seeds};

use crate::history::{Answer, History};
use crate::world::{Plan, run};

/// Worlds in all, over all parts below.
const SEEDS: u64 = 1_000;
/// Parts, which the test runner spreads over the cores.
const PARTS: u64 = 4;
/// Operations of a long history.
const OPERATIONS: usize = 200;
/// Short ones, which are judged by trying every order.
const SHORT: u64 = 240;

#[track_caller]
fn part(part: u64) {
    let (mut twins, mut cuts, mut worlds) = (0, 0, 0);
    for seed in seeds(SEEDS).into_iter().filter(|seed| seed % PARTS == part) {
        let _telltale = Telltale(seed);
        let history = run(seed, &Plan { operations: OPERATIONS, ..Plan::default() });
        assert_eq!(history.events.len(), OPERATIONS, "each operation ends");
        if let Err(wrong) = order::check(&history) {
            panic!("{wrong}");
        }
        (twins, cuts, worlds) = (twins + history.twins, cuts + history.cuts, worlds + 1);
    }
    println!("{worlds} worlds, {twins} rounds with two compare-and-sets of one revision, {cuts} cuts and restarts");
    // One world that was asked for need not have everything.
    assert!(
        worlds < 20 || (twins > worlds / 50 && cuts > worlds),
        "{twins} and {cuts} of {worlds}: too fair a weather"
    );
}

macro_rules! parts {
    ($($name:ident $number:literal),*) => {
        $(#[test]
        fn $name() {
            part($number);
        })*
    };
}

parts!(histories_are_linearizable_1 0, histories_are_linearizable_2 1, histories_are_linearizable_3 2, histories_are_linearizable_4 3);

#[test]
fn short_histories_are_linearizable_whatever_order_is_tried() {
    for seed in seeds(SHORT) {
        let _telltale = Telltale(seed);
        let history = run(1 << 32 | seed, &Plan { operations: 14, keys: 2, ..Plan::default() });
        assert!(search::is_linearizable(&history), "{history:#?}");
        order::check(&history).unwrap();
    }
}

/// A read that is answered with what was there before the last write that had ended.
fn made_stale(history: &History) -> Option<History> {
    let mut stale = history.clone();
    let reads = history.events.iter().enumerate().rev();
    for (place, event) in reads {
        let Answer::Read(_, Some(seen)) = &event.answer else { continue };
        let mut older = history.events.iter().filter_map(|other| match &other.answer {
            Answer::Read(key, Some(old)) if event.answer.is_of(key) && old.revision < seen.revision => {
                Some(old.clone())
            }
            _ => None,
        });
        // Stale for sure only where the newer one had been acknowledged, or seen, before this read began.
        let was_known = history.events.iter().any(|other| {
            other.ended < event.begun && matches!(&other.answer, Answer::Read(key, Some(known)) if event.answer.is_of(key) && known.revision == seen.revision)
        });
        if let Some(old) = older.next_back().filter(|_| was_known) {
            let Answer::Read(_, answer) = &mut stale.events[place].answer else { unreachable!("just seen") };
            *answer = Some(old);
            return Some(stale);
        }
    }
    None
}

#[test]
fn a_stale_read_that_is_planted_in_a_history_is_rejected_by_both() {
    let (mut planted, mut seed) = (0, 0);
    while planted < 50 {
        seed += 1;
        let history = run(2 << 32 | seed, &Plan { operations: 14, keys: 1, ..Plan::default() });
        if let Some(stale) = made_stale(&history) {
            planted += 1;
            assert!(order::check(&stale).is_err(), "seed {seed}: {stale:#?}");
            assert!(!search::is_linearizable(&stale), "seed {seed}: {stale:#?}");
        }
        assert!(seed < 5_000, "too few histories in which a read can be made stale: {planted}");
    }
}

#[test]
fn an_engine_that_answers_with_old_values_is_found() {
    let mut found = 0;
    for seed in 0..20 {
        let history = run(3 << 32 | seed, &Plan { operations: OPERATIONS, stale: true, ..Plan::default() });
        found += u64::from(order::check(&history).is_err());
    }
    assert!(found >= 18, "{found} of 20");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..10 {
        let [first, second] = [(); 2].map(|()| run(4 << 32 | seed, &Plan::default()));
        assert_eq!(format!("{:?}", first.events), format!("{:?}", second.events), "seed {seed}");
    }
}
