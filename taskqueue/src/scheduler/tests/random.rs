//! Whatever happens in whatever order, beside a small model: what must hold after each step, that records make the same queue
//! again, and that what is copied forward stands for everything that was before it. Bugs on purpose show that each is seen.

mod inside;
mod model;
mod steps;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::*;
use crate::QueueLimits;
use crate::planted::plant;
use world::World;

/// Everything is kept for its time.
fn roomy() -> QueueConfig {
    QueueConfig { lease: 3 * SECOND, idempotency_kept: 20 * SECOND, dead_kept: 60 * SECOND, ..QueueConfig::default() }
}

/// Few outcomes and dead letters are kept.
fn tight() -> QueueConfig {
    let limits = QueueLimits { results_max: 3, dead_max: 2, ..QueueLimits::default() };
    QueueConfig { limits, ..roomy() }
}

fn live(config: QueueConfig, steps: Vec<steps::Step>) -> World {
    let mut world = World::new(config);
    steps.into_iter().for_each(|step| world.step(step));
    world
}

proptest! {
    #![proptest_config(Config::with_cases(400))]

    #[test]
    fn the_rules_hold_after_each_step(steps in steps::many(150), is_tight in any::<bool>()) {
        live(if is_tight { tight() } else { roomy() }, steps);
    }

    #[test]
    fn what_is_carried_is_everything_that_is_known_and_nothing_else(steps in steps::many(100), seed in any::<u64>()) {
        live(roomy(), steps).check_carried(seed);
    }
}

/// What a panic says.
fn why(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// A bug on purpose is seen within so many cases, by the rule that is meant for it.
#[track_caller]
fn is_caught(bug: &'static str, rule: &str) {
    let config = Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(2_000) };
    // The same cases each time, so that it is the same rule that sees it.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let caught = runner.run(&(steps::many(150), any::<u64>()), |(steps, seed)| {
        plant(Some(bug));
        let caught = std::panic::catch_unwind(|| live(roomy(), steps).check_carried(seed));
        plant(None);
        caught.map_err(|panic| TestCaseError::fail(why(&*panic)))
    });
    match caught {
        Err(TestError::Fail(why, _)) => assert!(why.message().contains(rule), "`{bug}` is caught otherwise: {why}"),
        other => panic!("`{bug}` is not caught: {other:?}"),
    }
}

macro_rules! planted {
    ($($name:ident: $bug:literal, $rule:literal;)*) => {
        $(#[test]
        fn $name() {
            is_caught($bug, $rule);
        })*
    };
}

planted! {
    no_phase: "waits nowhere", "one phase";
    two_workers: "left with its worker", "one worker";
    more_than_its_credit: "credit ignored", "within its credit";
    not_counted: "an end that is not counted", "counts add up";
    not_stored: "an end that is not stored", "each task is where it was put";
    same_number: "attempt number not raised", "a number of its own";
    late_report: "late report accepted", "late reports count no more";
    hand_back_counts: "hand-back counts", "attempts that count";
    tag_ignored: "tag ignored", "to who has its tags";
    delay_ignored: "delay ignored", "not before its time";
    no_renewal: "lease not renewed", "workers are there for their lease";
    keys_forgotten: "keys forgotten at a restart", "the same queue";
    carried_without_attempts: "attempts not carried", "the same queue";
    carried_without_release: "release not carried", "carried makes the same";
    carried_without_the_dead: "dead letters not carried", "carried makes the same";
}
