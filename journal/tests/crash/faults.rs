//! Every call of a life fails, once and for ever, in each way: no panic, no wrong data, and the stated behaviour.
//!
//! - A full disk, and files that cannot be opened: what failed leaves nothing, reading goes on, and writing goes on once it
//!   can.
//! - Anything else that a write or sync meets: the journal is poisoned; what was acknowledged stays readable and is there
//!   after a restart and after power loss; what was not is there as a whole or not at all.
//! - Short writes: nobody notices.

use sinew_journal::{Crash, Durability, Error, Fault, FaultKind};

use crate::check;
use crate::workload::Living;

const STEPS: usize = 25;

/// Lives until the first error that is the journal's last; says which.
fn live_on(living: &mut Living) -> Option<Error> {
    if let Err(error) = living.begin()
        && living.journal.is_none()
    {
        return Some(error);
    }
    for _ in 0..STEPS {
        match living.any_step() {
            Ok(()) if living.journal.is_some() => {}
            Err(error) if error.is_retryable() && living.journal.is_some() => {}
            // It could not be opened again.
            Ok(()) => panic!("a success without a journal"),
            Err(error) => return Some(error),
        }
    }
    None
}

pub(crate) fn check_fault(seed: u64, durability: Durability, fault: Fault) -> Result<Option<Error>, String> {
    let mut living = Living::new(seed, durability);
    living.life.disk.fail(fault);
    let error = live_on(&mut living);
    living.life.disk.mend();
    let step = living.open_outcome.take();
    if let Some(error) = &error
        && living.journal.is_some()
        && step.as_ref().is_some_and(|step| step.what.starts_with("commit"))
    {
        let again = living.commit().expect_err("after a failed write");
        if !matches!(again, Error::Poisoned { .. }) {
            return Err(format!("after {error}: {again}"));
        }
    }
    if let Some(journal) = living.journal.take() {
        // Readers see what was acknowledged, and of the last call all or nothing.
        let reader = journal.reader();
        let (first, next) = reader.range();
        let batches = check::read_all(&reader, first)?;
        let snapshot = journal.latest_snapshot().map_err(|error| error.to_string())?.map(|(offset, _)| offset);
        let found = check::Found { first, next, batches, snapshot };
        check::check(&living.state, step.as_ref(), &found).map_err(|error| format!("while it ran: {error}"))?;
    }
    if error.is_none() {
        living.begin().map_err(|error| format!("with room again: {error}"))?;
        living.commit().map_err(|error| format!("with room again: {error}"))?;
        living.journal = None;
    }
    let (life, state) = (&living.life, &living.state);
    let history = life.disk.history();
    let mut replay = history.replay();
    replay.go_to(history.moments() - 1);
    for crash in [Crash::Keep, Crash::Drop, Crash::Some(seed), Crash::Torn(seed)] {
        let found = check::open(life, &replay.crash(crash)).map_err(|error| format!("{crash:?}: {error}"))?.1;
        check::check(state, step.as_ref(), &found).map_err(|error| format!("{crash:?}: {error}"))?;
    }
    // The process alone ends; what is shown then must not be lost to power afterwards, even if a sync had failed before.
    let found = check::open(life, &life.disk).map_err(|error| format!("restart: {error}"))?.1;
    check::check(state, step.as_ref(), &found).map_err(|error| format!("restart: {error}"))?;
    let history = life.disk.history();
    let mut replay = history.replay();
    replay.go_to(history.moments() - 1);
    let then = check::open(life, &replay.crash(Crash::Drop)).map_err(|error| format!("after a restart: {error}"))?.1;
    check::same(&found, &then).map_err(|error| format!("power loss after a restart: {error}"))?;
    Ok(error)
}

#[track_caller]
fn check_all(kind: FaultKind, durability: Durability, is_expected: fn(Option<&Error>) -> bool) {
    let mut cases = 0;
    for seed in 0..4 {
        let mut living = Living::new(seed, durability);
        assert!(live_on(&mut living).is_none(), "without a fault");
        for call in 0..living.life.disk.calls() {
            for count in [1, u64::MAX] {
                let fault = Fault { kind, call, count };
                match check_fault(seed, durability, fault) {
                    Ok(error) if is_expected(error.as_ref()) => cases += 1,
                    Ok(error) => panic!("seed {seed}, {fault:?}: ended with {error:?}"),
                    Err(why) => panic!("seed {seed}, {fault:?}: {why}"),
                }
            }
        }
    }
    println!("{kind:?}, {durability:?}: {cases} cases");
    assert!(cases > 1_000, "{cases} cases");
}

#[test]
fn input_output_errors() {
    let is_expected = |error: Option<&Error>| {
        matches!(error, None | Some(Error::Io { .. } | Error::Poisoned { .. } | Error::Damaged { .. }))
    };
    check_all(FaultKind::Io, Durability::Fsynced, is_expected);
    check_all(FaultKind::Io, Durability::Written, is_expected);
}

#[test]
fn a_full_disk() {
    let is_expected = |error: Option<&Error>| matches!(error, None | Some(Error::NoSpace { .. }));
    check_all(FaultKind::NoSpace, Durability::Fsynced, is_expected);
    check_all(FaultKind::NoSpace, Durability::Written, is_expected);
}

#[test]
fn syncs_that_fail() {
    let is_expected = |error: Option<&Error>| matches!(error, None | Some(Error::Io { .. } | Error::Poisoned { .. }));
    check_all(FaultKind::Sync, Durability::Fsynced, is_expected);
    check_all(FaultKind::Sync, Durability::Written, is_expected);
}

#[test]
fn too_many_open_files() {
    let is_expected = |error: Option<&Error>| match error {
        None | Some(Error::NotOpened { .. }) => true,
        // A journal that could not be opened, or a file that was to be read. Nothing is poisoned.
        Some(Error::Io { what, .. }) => ["open", "create", "list", "sync"].contains(what),
        _ => false,
    };
    check_all(FaultKind::Open, Durability::Fsynced, is_expected);
    check_all(FaultKind::Open, Durability::Written, is_expected);
}

#[test]
fn short_writes() {
    check_all(FaultKind::ShortWrite, Durability::Fsynced, |error| error.is_none());
}
