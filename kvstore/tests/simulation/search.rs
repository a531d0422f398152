//! Judges a short history by trying every order of its operations that agrees with time. It does not look at the log, and at
//! revisions only as tokens that a compare-and-set must find unchanged.

use std::collections::{BTreeMap, HashSet};

use crate::history::{Answer, Effect, Event, History, Seen};

/// What is under each key.
type State = BTreeMap<String, Seen>;

pub(crate) fn is_linearizable(history: &History) -> bool {
    let events: Vec<_> = history.events.iter().filter(|event| event.answer != Answer::Nothing).collect();
    assert!(events.len() <= 32, "a short history");
    let all = (1_u32 << events.len()) - 1;
    search(&events, 0, all, &State::new(), &mut HashSet::new())
}

fn search(events: &[&Event], done: u32, all: u32, state: &State, failed: &mut HashSet<(u32, String)>) -> bool {
    if done == all {
        return true;
    }
    if !failed.insert((done, format!("{state:?}"))) {
        return false;
    }
    let open = || (0..events.len()).filter(|place| done & 1 << place == 0);
    // Nothing that is open may have ended before the next one began.
    let first_end = open().map(|place| events[place].ended).min().expect("one is open");
    open().filter(|place| events[*place].begun <= first_end).any(|place| match step(state, &events[place].answer) {
        Some(next) => search(events, done | 1 << place, all, &next, failed),
        None => false,
    })
}

/// The state behind an operation, if it can be answered so here.
fn step(state: &State, answer: &Answer) -> Option<State> {
    let revision = |key: &String| state.get(key).map_or(0, |seen| seen.revision);
    let fits = |key: &String, seen: &Option<Seen>| state.get(key) == seen.as_ref();
    match answer {
        Answer::Nothing => Some(state.clone()),
        Answer::Read(key, seen) => fits(key, seen).then(|| state.clone()),
        Answer::ReadAll(all) => all.iter().all(|(key, seen)| fits(key, seen)).then(|| state.clone()),
        Answer::Conflict(key, expected, found) => (revision(key) == *found && expected != found).then(|| state.clone()),
        Answer::Written(writes, expected) => {
            if expected.as_ref().is_some_and(|(key, expected)| revision(key) != *expected) {
                return None;
            }
            let mut next = state.clone();
            for (key, effect, revision) in writes {
                match effect {
                    Effect::Put(number) => {
                        let _ = next.insert(key.clone(), Seen { number: *number, revision: *revision });
                    }
                    Effect::Delete if next.remove(key).is_some() != (*revision > 0) => return None,
                    Effect::Delete => {}
                }
            }
            Some(next)
        }
    }
}
