//! Power loss at every change that a journal makes to its disk, and again within the recovery from it: nothing that was
//! acknowledged is lost, nothing is invented, order and offsets are exact.
//!
//! A seed gives one life of a journal (`workload.rs`). For every moment of it, and for every way in which what was not
//! synced may be left, the journal is opened from the disk as it would be found, and compared with what had been
//! acknowledged by then (`check.rs`). `planted.rs` shows that bugs are found; `faults.rs` lets each call fail.

mod check;
mod faults;
mod life;
mod model;
mod planted;
mod workload;

use sinew_journal::{Crash, Dice, Durability};

use life::Life;

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    images: usize,
    within_recovery: usize,
}

/// Crashes one life everywhere. In every so many images, the recovery is crashed everywhere too.
fn crash_everywhere(life: &Life, dice: &mut Dice, recovery_every: usize, tally: &mut Tally) -> Result<(), String> {
    let history = life.disk.history();
    let mut replay = history.replay();
    loop {
        let mut crashes = vec![Crash::Keep];
        if replay.has_pending() {
            let mut seed = || dice.next();
            crashes = vec![
                Crash::Keep,
                Crash::Drop,
                Crash::Some(seed()),
                Crash::Some(seed()),
                Crash::Torn(seed()),
                Crash::Torn(seed()),
            ];
        }
        for crash in crashes {
            let disk = replay.crash(crash);
            let place = |error| format!("seed {}, moment {}, {crash:?}: {error}", life.seed, replay.moment());
            let found = check::open_and_check(life, replay.moment(), &disk).map_err(place)?;
            tally.images += 1;
            if tally.images.is_multiple_of(recovery_every) {
                let within = check::crash_recovery(life, replay.moment(), &disk, &found, dice).map_err(place)?;
                tally.within_recovery += within;
            }
        }
        if !replay.advance() {
            return Ok(());
        }
    }
}

/// Many lives, until there were so many images.
fn run(durability: Durability, seeds: std::ops::Range<u64>, images_min: usize) {
    let mut tally = Tally::default();
    for seed in seeds.clone() {
        let life = workload::live(seed, durability);
        if let Err(error) = crash_everywhere(&life, &mut Dice::new(seed), 100, &mut tally) {
            panic!("{error}\n{life}");
        }
    }
    println!("{durability:?}: {tally:?}");
    assert!(tally.images >= images_min, "{tally:?}: more seeds are needed");
    assert!(tally.within_recovery >= images_min / 10, "{tally:?}: more recoveries are needed");
}

/// `SINEW_LONG=1` asks for many more.
fn seeds(from: u64, count: u64) -> std::ops::Range<u64> {
    let is_long = std::env::var_os("SINEW_LONG").is_some();
    from..from + if is_long { count * 50 } else { count }
}

#[test]
fn what_was_fsynced_survives_power_loss() {
    run(Durability::Fsynced, seeds(0, 16), 15_000);
}

#[test]
fn what_was_written_survives_as_far_as_it_was_synced() {
    run(Durability::Written, seeds(1_000, 10), 7_500);
}
