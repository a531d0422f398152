//! Bugs on purpose: each is found.

use sinew_journal::{Dice, Durability, Fault, FaultKind};

use crate::faults::check_fault;
use crate::model::compare;
use crate::{Tally, crash_everywhere, workload};

/// Switches the bug on in this thread; off again when dropped.
struct Planted;

impl Planted {
    fn new(bug: &'static str) -> Self {
        sinew_journal::plant(Some(bug));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        sinew_journal::plant(None);
    }
}

#[track_caller]
fn check(bug: &'static str) {
    let _planted = Planted::new(bug);
    let mut tally = Tally::default();
    let found = (0..20).find_map(|seed| {
        let life = workload::live(seed, Durability::Fsynced);
        crash_everywhere(&life, &mut Dice::new(seed), 100, &mut tally).err()
    });
    let Some(found) = found else { panic!("`{bug}` was not found in {tally:?}") };
    println!("`{bug}` was found after {tally:?}: {found}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    check("acknowledge before sync");
}

#[test]
fn a_directory_that_is_not_synced_is_found() {
    check("no directory sync");
}

#[test]
fn an_index_that_is_trusted_without_check_is_found() {
    check("index trusted without check");
}

#[test]
fn an_end_that_only_memory_holds_after_a_failed_sync_is_found() {
    let _planted = Planted::new("tail not written again");
    let fault = |call| Fault { kind: FaultKind::Sync, call, count: 1 };
    let found = (0..200).find_map(|call| check_fault(0, Durability::Fsynced, fault(call)).err());
    println!("it was found: {}", found.expect("it is found"));
}

#[test]
fn a_helper_that_outlives_its_journal_is_found() {
    let _planted = Planted::new("helper outlives its journal");
    let is_found = |seed| std::panic::catch_unwind(|| compare(seed, Durability::Fsynced)).is_err();
    let seed = (2_000..2_060).find(|seed| is_found(*seed)).expect("it is found");
    println!("it was found with seed {seed}");
}

#[test]
fn a_torn_end_that_is_not_cut_is_found() {
    check("tail not cut");
}
