//! Bugs on purpose: each is found.

use sinew_journal::{Dice, Durability};

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
fn a_torn_end_that_is_not_cut_is_found() {
    check("tail not cut");
}
