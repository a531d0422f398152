//! Twelve bugs on purpose: each is found within the seeds, by the promise that it breaks.

use sinew_testkit::trace::Trace;

use crate::SEEDS;
use crate::broken::Invariant;
use crate::world;

/// Switches the bug on in this thread; off again when dropped.
struct Planted;

impl Planted {
    fn new(bug: &'static str) -> Self {
        sinew_session::plant(Some(bug));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        sinew_session::plant(None);
    }
}

#[track_caller]
fn check(bug: &'static str, invariant: Invariant) {
    let _planted = Planted::new(bug);
    let found = (0..SEEDS).find_map(|seed| world::run(seed, &Trace::off()).err().map(|broken| (seed, broken)));
    let Some((seed, broken)) = found else { panic!("`{bug}` was not found with {SEEDS} seeds") };
    println!("`{bug}` took {} seeds: {broken}", seed + 1);
    assert_eq!(broken.invariant, invariant, "`{bug}` was found at seed {seed} by another promise: {broken}");
}

#[test]
fn a_lost_wake_up() {
    check("lost wake-up", Invariant::Ends);
}

#[test]
fn a_gap_that_is_not_told() {
    check("gap not told", Invariant::Told);
}

#[test]
fn a_group_that_hears_twice() {
    check("group twice", Invariant::Group);
}

#[test]
fn a_subscription_that_stays() {
    check("stale subscription", Invariant::Clean);
}

#[test]
fn credit_that_leaks() {
    check("credit leaked", Invariant::Ends);
}

#[test]
fn an_answer_to_the_wrong_caller() {
    check("wrong caller", Invariant::Answers);
}

#[test]
fn a_block_sent_twice_after_a_cut() {
    check("block doubled", Invariant::Once);
}

#[test]
fn order_swapped_after_a_cut() {
    check("order swapped", Invariant::Order);
}

#[test]
fn a_drop_that_is_not_counted() {
    check("drop not counted", Invariant::Told);
}

#[test]
fn a_kept_value_that_is_missed() {
    check("kept value missed", Invariant::Kept);
}

#[test]
fn a_loss_that_is_not_booked() {
    check("loss not booked", Invariant::Account);
}

#[test]
fn a_receipt_that_leaves_somebody_out() {
    check("receipt short", Invariant::Account);
}
