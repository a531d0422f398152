//! Judges a history by revision and by time: revisions are the order of the writes, so only reads have to find a place
//! among them.
//!
//! A place is the revision of the last write before it. An operation comes behind everything that had ended when it began.
//! Operations are placed in the order in which they began, each as early as it can be: what comes later is bound least by
//! that, so a history for which this fails has no order at all.

use std::collections::BTreeMap;

use crate::history::{Answer, Effect, Event, History, Seen};

pub(crate) fn check(history: &History) -> Result<(), String> {
    numbers_stand_once(history)?;
    let mut placed: Vec<(u64, u64)> = Vec::new();
    for event in &history.events {
        let earliest = placed.iter().filter(|(ended, _)| *ended < event.begun).map(|(_, place)| *place).max();
        let earliest = earliest.unwrap_or(0);
        if let Some(place) = place(history, event, earliest)? {
            placed.push((event.ended, place));
        }
    }
    Ok(())
}

/// Each write was done at most once.
fn numbers_stand_once(history: &History) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (revision, (_, number)) in &history.log {
        if let Some(number) = number
            && let Some(before) = seen.insert(*number, *revision)
        {
            return Err(format!("number {number} was put at {before} and at {revision}"));
        }
    }
    Ok(())
}

fn place(history: &History, event: &Event, earliest: u64) -> Result<Option<u64>, String> {
    let last = history.log.last_key_value().map_or(0, |(revision, _)| *revision);
    let among = |fits: &dyn Fn(u64) -> bool| match (earliest..=last).find(|place| fits(*place)) {
        Some(place) => Ok(Some(place)),
        None => Err(format!("no place behind {earliest} for {event:?}")),
    };
    match &event.answer {
        Answer::Nothing => Ok(None),
        Answer::Read(key, seen) => among(&|place| at(history, key, place) == *seen),
        Answer::ReadAll(all) => among(&|place| all.iter().all(|(key, seen)| at(history, key, place) == *seen)),
        Answer::Conflict(key, expected, found) => {
            if expected == found {
                return Err(format!("refused for what was there: {event:?}"));
            }
            among(&|place| at(history, key, place).map_or(0, |seen| seen.revision) == *found)
        }
        Answer::Written(writes, expected) => written(history, event, earliest, writes, expected.as_ref()),
    }
}

fn written(
    history: &History,
    event: &Event,
    earliest: u64,
    writes: &[(String, Effect, u64)],
    expected: Option<&(String, u64)>,
) -> Result<Option<u64>, String> {
    let changes: Vec<_> = writes.iter().filter(|(_, _, revision)| *revision > 0).collect();
    let Some((_, _, first)) = changes.first() else {
        // A delete of what was not there: a read.
        let last = history.log.last_key_value().map_or(0, |(revision, _)| *revision);
        let fits = |place: &u64| writes.iter().all(|(key, ..)| at(history, key, *place).is_none());
        return match (earliest..=last).find(fits) {
            Some(place) => Ok(Some(place)),
            None => Err(format!("no place behind {earliest} for {event:?}")),
        };
    };
    if *first <= earliest {
        return Err(format!("written at {first}, and {earliest} had ended before it began: {event:?}"));
    }
    for ((key, effect, revision), place) in changes.iter().zip(*first..) {
        let number = match effect {
            Effect::Put(number) => Some(*number),
            Effect::Delete => None,
        };
        if *revision != place || history.log.get(revision) != Some(&(key.clone(), number)) {
            return Err(format!("{:?} is stored at {revision}, not {event:?}", history.log.get(revision)));
        }
    }
    for (key, effect, _) in writes.iter().filter(|(_, _, revision)| *revision == 0) {
        if *effect != Effect::Delete || at(history, key, first - 1).is_some() {
            return Err(format!("`{key}` was there before {first}: {event:?}"));
        }
    }
    if let Some((key, revision)) = expected
        && at(history, key, first - 1).map_or(0, |seen| seen.revision) != *revision
    {
        return Err(format!("before {first} `{key}` was not of {revision}: {event:?}"));
    }
    Ok(changes.last().map(|(_, _, revision)| *revision))
}

/// What is under a key behind the write of this revision.
fn at(history: &History, key: &str, place: u64) -> Option<Seen> {
    let (revision, (_, number)) = history.log.range(..=place).rev().find(|(_, (changed, _))| changed == key)?;
    number.map(|number| Seen { number, revision: *revision })
}
