//! Bugs on purpose: each is caught, by the rule that is meant for it.

use super::{SEEDS, run};
use crate::planted::plant;

/// Seeds that it may take, at most: all those of the storms.
#[track_caller]
fn is_caught(bug: &'static str, by: &'static str) {
    plant(Some(bug));
    let caught = (0..SEEDS).find_map(|seed| run(seed).err().map(|violation| (seed, violation)));
    plant(None);
    let (seed, violation) = caught.unwrap_or_else(|| panic!("`{bug}` is not caught by {SEEDS} seeds"));
    assert_eq!(violation.rule, by, "`{bug}`, seed {seed}: {violation:?}");
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
    late_report: "late report accepted", "late reports count no more";
    same_number: "attempt number not raised", "an attempt reaches one worker";
    no_renewal: "lease not renewed", "a lease that is renewed holds";
    lease_for_ever: "lease never over", "redelivery within the lease and a second";
    always_the_first: "always the first", "in turn";
    delay_ignored: "delay ignored", "a delay is kept";
    no_pause: "no pause between attempts", "a pause is kept";
    priority_turned: "priority turned round", "by priority";
    counted_twice: "attempt counted twice", "so many attempts";
    never_counted: "attempt never counted", "so many attempts";
    told_too_early: "told before it is stored", "stored before it is told";
    no_recall: "cancel without a recall", "a cancel recalls";
    key_forgotten: "keys forgotten at a restart", "a key is one task";
    hand_back_counts: "hand-back counts", "so many attempts";
    tag_ignored: "tag ignored", "to who has its tags";
    end_not_stored: "an end that is not stored", "stored before it is told";
    no_dead_letter: "no dead letter", "dead letters";
}
