//! Opens the journal as it is found after a crash, and compares.

use std::sync::Arc;

use sinew_journal::{Crash, Dice, Journal, JournalReader, PreparedBatch, SimulatedDisk};

use crate::life::{Expected, Life, State, Step};
use crate::workload::DIRECTORY;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) batches: Vec<Expected>,
    pub(crate) snapshot: Option<u64>,
}

/// Opens and compares with what may be there; then goes on writing, to see that this works.
pub(crate) fn open_and_check(life: &Life, moment: usize, disk: &SimulatedDisk) -> Result<Found, String> {
    let (mut journal, found) = open(life, disk)?;
    let (before, under_way) = life.at(moment);
    check(&before, under_way, &found)?;
    if goes_on(moment) {
        // As large as the first one that is missing, so that whatever of the lost ones were left behind it would fit on.
        let lost = under_way.and_then(|step| step.after.batches.iter().find(|batch| batch.base >= found.next));
        let (bytes, span) = lost.map_or((4, 1), |batch| (batch.body.len(), batch.span));
        let mut more = [PreparedBatch::new(vec![9; bytes], span, span).expect("small enough").kind(99)];
        let committed = journal.commit(&mut more, 0).map_err(|error| format!("commit: {error}"))?;
        drop(journal);
        let mut then = open(life, disk)?.1;
        let last = then.batches.pop().ok_or("what was committed after the recovery is not there")?;
        if (committed.first, last.base, last.kind, committed.next) != (found.next, found.next, 99, then.next) {
            return Err(format!("after the recovery {committed:?}, and then {last:?}"));
        }
        then.next = found.next;
        same(&found, &then)?;
    }
    Ok(found)
}

/// Whether the journal is written to after the recovery from a crash at this moment; where it is not, the recovery itself
/// is crashed.
fn goes_on(moment: usize) -> bool {
    moment.is_multiple_of(3)
}

pub(crate) fn open(life: &Life, disk: &SimulatedDisk) -> Result<(Journal, Found), String> {
    let opened = Journal::open(Arc::new(disk.clone()), DIRECTORY, life.options.clone());
    let (journal, recovery) = opened.map_err(|error| format!("open: {error}"))?;
    if !recovery.damaged.is_empty() || !recovery.suspect.is_empty() {
        return Err(format!("a crash is no damage: {recovery:?}"));
    }
    let snapshot = journal.latest_snapshot().map_err(|error| format!("snapshot: {error}"))?;
    let snapshot = snapshot.map(|(offset, bytes)| (offset, String::from_utf8_lossy(&bytes).into_owned()));
    if let Some((offset, text)) = &snapshot
        && *text != offset.to_string()
    {
        return Err(format!("the snapshot at {offset} says {text}"));
    }
    let (first, next) = journal.reader().range();
    let batches = read_all(&journal.reader(), first)?;
    Ok((journal, Found { first, next, batches, snapshot: snapshot.map(|(offset, _)| offset) }))
}

pub(crate) fn read_all(reader: &JournalReader, first: u64) -> Result<Vec<Expected>, String> {
    let (mut cursor, mut all) = (reader.cursor(first), Vec::new());
    loop {
        let batches = reader.read_on(&mut cursor, 2_000).map_err(|error| format!("read: {error}"))?;
        if batches.is_empty() {
            return Ok(all);
        }
        all.extend(batches.iter().map(Expected::of));
    }
}

/// Whether this may be left when `step` was under way after `before`.
pub(crate) fn check(before: &State, step: Option<&Step>, found: &Found) -> Result<(), String> {
    let after = step.map_or(before, |step| &step.after);
    if found.first < before.first || found.first > after.first {
        return Err(format!("it begins with {}, not with {} to {}", found.first, before.first, after.first));
    }
    if found.snapshot != before.snapshot && found.snapshot != after.snapshot {
        return Err(format!("the snapshot is {:?}, not {:?} or {:?}", found.snapshot, before.snapshot, after.snapshot));
    }
    if step.is_some_and(|step| step.is_rewrite) {
        // The one or the other, as a whole.
        return matches(before, before.durable, found)
            .or_else(|_| matches(after, before.durable.min(after.durable), found));
    }
    matches(after, before.durable, found)
}

/// Whether what was found is `state`, or the beginning of it with at least so many batches.
fn matches(state: &State, least: usize, found: &Found) -> Result<(), String> {
    let removed = match found.batches.first() {
        Some(_) => start_of(state, found),
        None => Some(state.batches.partition_point(|batch| batch.next() <= found.first)),
    };
    let Some(removed) = removed else {
        return Err(format!("found {}, which are nowhere in {}", summary(&found.batches), summary(&state.batches)));
    };
    let end = removed + found.batches.len();
    let missing = state.batches.iter().take(removed).find(|batch| batch.next() > found.first);
    if let Some(missing) = missing {
        return Err(format!("offset {} is missing at the beginning, {}", missing.base, found.first));
    }
    if end < least {
        return Err(format!("{} batches were acknowledged, {end} are there", least));
    }
    // A rewrite may have dropped the last ones; their offsets are not given out again.
    let next = if end == state.batches.len() { state.next } else { state.batches[end].base };
    if found.next != next {
        return Err(format!("the next offset is {}, not {next}", found.next));
    }
    Ok(())
}

/// Where in the state the batches found stand.
fn start_of(state: &State, found: &Found) -> Option<usize> {
    let count = found.batches.len();
    let starts = 0..(state.batches.len() + 1).checked_sub(count)?;
    starts.rev().find(|start| state.batches[*start..start + count] == found.batches[..])
}

pub(crate) fn same(one: &Found, other: &Found) -> Result<(), String> {
    if one == other {
        return Ok(());
    }
    Err(format!(
        "first {} {}, next {} {}, snapshot {:?} {:?}; {}; {}",
        one.first,
        other.first,
        one.next,
        other.next,
        one.snapshot,
        other.snapshot,
        summary(&one.batches),
        summary(&other.batches)
    ))
}

fn summary(batches: &[Expected]) -> String {
    let all: Vec<_> = batches.iter().map(|batch| format!("{}+{}", batch.base, batch.span)).collect();
    format!("{} batches: {}", batches.len(), all.join(" "))
}

/// Crashes everywhere in the recovery that was done on this disk. Whatever was shown to readers at its end stays.
pub(crate) fn crash_recovery(
    life: &Life,
    moment: usize,
    disk: &SimulatedDisk,
    found: &Found,
    dice: &mut Dice,
) -> Result<usize, String> {
    let history = disk.history();
    let mut replay = history.replay();
    let mut count = 0;
    while !goes_on(moment) {
        for crash in [Crash::Drop, Crash::Some(dice.next()), Crash::Torn(dice.next())] {
            let place = |error| format!("within the recovery, moment {}, {crash:?}: {error}", replay.moment());
            let again = replay.crash(crash);
            let (_, then) = open(life, &again).map_err(place)?;
            let (before, under_way) = life.at(moment);
            check(&before, under_way, &then).map_err(place)?;
            if replay.moment() + 1 == history.moments() {
                same(found, &then).map_err(place)?;
            }
            count += 1;
        }
        if !replay.advance() {
            break;
        }
    }
    Ok(count)
}
