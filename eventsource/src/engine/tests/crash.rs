//! Power loss at every change that the engine makes to its disk, and again within the recovery from it: no acknowledged
//! event is lost, none invented; order, offsets, producers and cursors are exact.
//!
//! A seed gives one life of a stream: made, appended to by producers and without, compacted, shortened, restarted, removed.
//! Each step says what may be found after a crash within it: for a round, what it has stored of its requests from the
//! first on.

use std::collections::BTreeMap;

use sinew_journal::{Crash, Dice, SimulatedDisk};

use super::*;
use crate::planted::plant;
use crate::producers::{Opening, Producers, Remembered};
use crate::{Compaction, Event, Retention};

const PRODUCERS_MAX: u32 = 3;
const EVENTS_MAX: u64 = 90;
const TOMBSTONE_AGE: Duration = Duration::from_secs(5);

/// What is true, or may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// Whether the stream is there.
    exists: bool,
    first: u64,
    next: u64,
    /// Its producers, as bytes.
    producers: Vec<u8>,
    cursors: Vec<(String, Cursor)>,
}

/// One step.
struct Step {
    what: String,
    /// Changes of the disk before it began, and when it had returned.
    began: usize,
    ended: usize,
    /// What may be found within it, the last of which is true once it has returned.
    states: Vec<State>,
    /// Up to which log time tombstones may be gone, once it has begun.
    tombstones_until: u64,
    /// Whether old values may be gone, once it has begun.
    compacts: bool,
}

/// One life.
struct Life {
    seed: u64,
    disk: SimulatedDisk,
    steps: Vec<Step>,
    /// Everything that was ever appended, by offset.
    events: Vec<Event>,
}

/// Lives it.
struct Living {
    life: Life,
    clock: HandClock,
    dice: Dice,
    engine: JournalEngine,
    producers: Producers,
    grants: BTreeMap<String, ProducerGrant>,
    cursors: BTreeMap<String, Cursor>,
    state: State,
    tombstones_until: u64,
    compacts: bool,
}

fn stream_config() -> StreamConfig {
    StreamConfig {
        retention: Retention { events_max: Some(EVENTS_MAX), ..Retention::default() },
        compaction: Compaction::ByKey { tombstone_age: TOMBSTONE_AGE },
        producers_max: PRODUCERS_MAX,
        ..config()
    }
}

impl Living {
    fn step(&mut self, what: impl Into<String>, began: usize, states: Vec<State>) {
        self.state = states.last().expect("one at least").clone();
        let ended = self.life.disk.moment();
        let (tombstones_until, compacts) = (self.tombstones_until, self.compacts);
        self.life.steps.push(Step { what: what.into(), began, ended, states, tombstones_until, compacts });
    }

    fn stream(&self) -> super::stored_stream::Held {
        self.engine.open_now(&name("s"), &stream_config()).expect("opened")
    }

    fn some_event(&mut self) -> NewEvent {
        let payload = vec![self.dice.below(256) as u8; self.dice.below(120)];
        let key = self.dice.below(6).to_string();
        match self.dice.below(10) {
            0..4 => NewEvent::new(payload),
            4..9 => NewEvent::new(payload).key(key),
            _ => NewEvent::tombstone(key),
        }
    }

    /// A round of some requests.
    fn round(&mut self) {
        let stream = self.stream();
        let began = self.life.disk.moment();
        let mut laters = Vec::new();
        for _ in 0..[1, 1, 1, 2, 4][self.dice.below(5)] {
            let producer = self.dice.below(5).to_string();
            let events: Vec<_> = (0..=self.dice.below(3)).map(|_| self.some_event()).collect();
            match (self.dice.below(10), self.grants.get(&producer).copied()) {
                (0..2, _) => {
                    let (done, later) = Later::new();
                    stream.open_producer(&name(&producer), done);
                    laters.push((producer, None, Some(later)));
                }
                (2..6, Some(grant)) => {
                    let stamp = ProducerStamp { id: grant.id, epoch: grant.epoch, sequence: grant.sequence };
                    let later = append(&stream, Append { producer: Some(stamp), ..append_of(&events) });
                    // Whether it is stored or not, the next is sent once this is answered.
                    self.grants.remove(&producer);
                    laters.push((producer, Some((events, Some(stamp), later)), None));
                }
                _ => {
                    let later = append(&stream, append_of(&events));
                    laters.push((producer, Some((events, None, later)), None));
                }
            }
        }
        stream.round_now().expect("stored");
        let mut states = vec![self.state.clone()];
        for (producer, appended, opened) in laters {
            if let Some(later) = opened {
                let grant = later.answer().expect("answered").expect("opened");
                let number = self.producers.openings() + 1;
                let opening = Opening { number, name: producer.clone(), id: grant.id, epoch: grant.epoch };
                self.producers.replay_opening(&opening);
                self.grants.insert(producer.clone(), grant);
            }
            if let Some((events, stamp, later)) = appended {
                match later.answer().expect("answered") {
                    Ok(stored) => self.note(&producer, events, stamp, &stored),
                    // It was opened again in the same round, or forgotten.
                    Err(Error::ProducerFenced { .. } | Error::ProducerExpired { .. }) => continue,
                    Err(error) => panic!("{error}"),
                }
            }
            let next = self.life.events.len() as u64;
            let cursors = self.state.cursors.clone();
            let producers = self.producers.snapshot();
            states.push(State { next, producers, cursors, ..self.state.clone() });
        }
        let what = format!("round up to {}", self.life.events.len());
        self.step(what, began, states);
    }

    fn note(&mut self, producer: &str, events: Vec<NewEvent>, stamp: Option<ProducerStamp>, stored: &Appended) {
        assert_eq!((stored.first, stored.duplicate), (self.life.events.len() as u64, false));
        let Appended { first, count, timestamp, .. } = *stored;
        let with_place = |(at, body)| Event { offset: first + at as u64, timestamp, body };
        self.life.events.extend(events.into_iter().enumerate().map(with_place));
        if let Some(stamp) = stamp {
            let batch = Remembered { sequence: stamp.sequence, count, first, timestamp };
            self.producers.replay_batch(stamp.id, batch);
            let (sequence, last_offset) = (stamp.sequence + u64::from(count), Some(first + u64::from(count) - 1));
            let grant = ProducerGrant { id: stamp.id, epoch: stamp.epoch, sequence, last_offset };
            self.grants.entry(producer.to_owned()).or_insert(grant);
        }
    }

    fn commit(&mut self) {
        let stream = self.stream();
        let began = self.life.disk.moment();
        let mut updates = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let offset = self.dice.below(1_000) as u64;
            let state = vec![7; self.dice.below(300)];
            let above = (0..self.dice.below(3) as u64).map(|at| (offset + at * 3 + 1, offset + at * 3 + 2)).collect();
            let cursor = (self.dice.below(5) > 0).then_some(Cursor { offset, above, state });
            updates.push(CursorUpdate { name: self.dice.below(5).to_string(), cursor });
        }
        commit_now(&stream, updates.clone()).expect("committed");
        for CursorUpdate { name, cursor } in updates {
            match cursor {
                Some(cursor) => self.cursors.insert(name, cursor),
                None => self.cursors.remove(&name),
            };
        }
        let cursors = self.cursors.clone().into_iter().collect();
        let after = State { cursors, ..self.state.clone() };
        self.step("cursors", began, vec![self.state.clone(), after]);
    }

    fn maintain(&mut self) {
        let stream = self.stream();
        let began = self.life.disk.moment();
        self.compacts = true;
        self.tombstones_until = self.clock.wall() - TOMBSTONE_AGE.as_nanos() as u64;
        let done = if self.dice.percent(50) { stream.compact(&mut |_| true) } else { stream.maintain(&mut |_| true) };
        let done = done.expect("maintained");
        let after = State { first: stream.current_range().first, ..self.state.clone() };
        self.step(format!("{done:?}"), began, vec![self.state.clone(), after]);
    }

    /// In order, or as if the process was killed.
    fn restart(mut self) -> Self {
        let began = self.life.disk.moment();
        let is_orderly = self.dice.percent(50);
        if is_orderly {
            self.engine.close_now().expect("closed");
        }
        self.engine.forget();
        let (disk, clock) = (self.life.disk.clone(), self.clock.clone());
        // The directory has one user at a time: another engine stands in while the old one goes.
        self.engine = engine_on(SimulatedDisk::new(0), &clock).expect("another");
        self.engine = engine_on(disk, &clock).expect("opened");
        self.stream();
        self.step(if is_orderly { "restart" } else { "kill" }, began, vec![self.state.clone()]);
        self
    }
}

fn live(seed: u64, steps: usize) -> Life {
    let (disk, clock) = (SimulatedDisk::new(seed), HandClock::new());
    let began = disk.moment();
    let absent = State { exists: false, first: 0, next: 0, producers: Vec::new(), cursors: Vec::new() };
    let producers = Producers::new(PRODUCERS_MAX);
    let engine = engine_on(disk.clone(), &clock).expect("opened");
    engine.open_now(&name("s"), &stream_config()).expect("created");
    let life = Life { seed, disk, steps: Vec::new(), events: Vec::new() };
    let there = State { exists: true, producers: producers.snapshot(), ..absent.clone() };
    let mut living = Living {
        life,
        clock,
        dice: Dice::new(seed),
        engine,
        producers,
        grants: BTreeMap::new(),
        cursors: BTreeMap::new(),
        state: absent.clone(),
        tombstones_until: 0,
        compacts: false,
    };
    living.step("made", began, vec![absent.clone(), there]);
    for _ in 0..steps {
        living.clock.advance(Duration::from_millis(100 * living.dice.below(20) as u64));
        match living.dice.below(20) {
            0..13 => living.round(),
            13..16 => living.commit(),
            16..19 => living.maintain(),
            _ => living = living.restart(),
        }
    }
    let began = living.life.disk.moment();
    living.engine.delete_now(&name("s")).expect("removed");
    let before = living.state.clone();
    living.step("removed", began, vec![before, absent]);
    living.life
}

impl Life {
    /// What may be found after a crash at this moment, and what is known of compaction by then.
    fn at(&self, moment: usize) -> (Vec<State>, u64, bool) {
        let done = self.steps.partition_point(|step| step.ended <= moment);
        let before = done.checked_sub(1).map(|last| &self.steps[last]);
        let under_way = self.steps.get(done).filter(|step| step.began < moment || before.is_none());
        let newest = under_way.or(before).expect("there is a step");
        let states = match (under_way, before) {
            (Some(step), _) => step.states.clone(),
            (None, Some(step)) => vec![step.states.last().expect("one at least").clone()],
            (None, None) => unreachable!("there is a step"),
        };
        (states, newest.tombstones_until, newest.compacts)
    }

    fn steps(&self) -> String {
        let line = |step: &Step| format!("{:6} to {:6}: {}\n", step.began, step.ended, step.what);
        self.steps.iter().map(line).collect()
    }

    /// Opens what a crash left, and compares.
    fn check(&self, moment: usize, disk: &SimulatedDisk) -> Result<State, String> {
        let (states, tombstones_until, compacts) = self.at(moment);
        let clock = HandClock::new();
        let engine = engine_on(disk.clone(), &clock).map_err(|error| format!("open: {error}"))?;
        let found = self.look(&engine, tombstones_until, compacts)?;
        let is_found = |state: &&State| {
            let is_first = state.first == found.first || states.first().is_some_and(|of| of.first <= found.first);
            State { first: found.first, ..(**state).clone() } == found && is_first && found.first <= state.first
        };
        if !states.iter().any(|state| is_found(&state)) {
            return Err(format!(
                "found {}, and not one of {:?}",
                shown(&found),
                states.iter().map(shown).collect::<Vec<_>>()
            ));
        }
        let folder = disk.list(&Path::new(DATA).join("log/s"));
        if !found.exists && folder.is_ok_and(|names| names.is_empty()) {
            return Err("its empty folder is left".into());
        }
        engine.forget();
        Ok(found)
    }

    fn look(&self, engine: &JournalEngine, tombstones_until: u64, compacts: bool) -> Result<State, String> {
        let absent = State { exists: false, first: 0, next: 0, producers: Vec::new(), cursors: Vec::new() };
        let stream = match engine.opened(&name("s")) {
            Err(Error::UnknownStream { .. }) => return Ok(absent),
            opened => opened.map_err(|error| format!("open the stream: {error}"))?,
        };
        let range = stream.current_range();
        let found = read_all(&stream, range.first, &ALL).map_err(|error| format!("read: {error}"))?;
        let next = usize::try_from(range.next).expect("few");
        let log = self.events.get(..next).ok_or_else(|| format!("it ends at {next}, of {}", self.events.len()))?;
        let mut rest = found.iter().peekable();
        for (offset, event) in log.iter().enumerate().skip(range.first as usize) {
            if rest.next_if(|found| *found == event).is_some() {
                continue;
            }
            let newer = log[offset + 1..].iter().any(|newer| event.key.is_some() && newer.key == event.key);
            let is_forgotten = event.tombstone && event.timestamp <= tombstones_until;
            if !(compacts && (newer || is_forgotten)) {
                return Err(format!("event {offset} is missing"));
            }
        }
        if let Some(wrong) = rest.next() {
            return Err(format!("{wrong:?} was never appended there"));
        }
        same_values(&found, &log[range.first as usize..])?;
        Ok(State {
            exists: true,
            first: range.first,
            next: range.next,
            producers: locked(&stream.writer).state.producers().snapshot(),
            cursors: stream.cursors.page(None, 100),
        })
    }

    /// Crashes everywhere in the recovery that was done on this disk.
    fn crash_recovery(
        &self,
        moment: usize,
        disk: &SimulatedDisk,
        found: &State,
        dice: &mut Dice,
    ) -> Result<usize, String> {
        let (history, mut count) = (disk.history(), 0);
        let mut replay = history.replay();
        loop {
            for crash in [Crash::Drop, Crash::Some(dice.next()), Crash::Torn(dice.next())] {
                let place = |error| format!("within the recovery, moment {}, {crash:?}: {error}", replay.moment());
                let then = self.check(moment, &replay.crash(crash)).map_err(place)?;
                if replay.moment() + 1 == history.moments() && then != *found {
                    return Err(place(format!("it was {}, and is {}", shown(found), shown(&then))));
                }
                count += 1;
            }
            if !replay.advance() {
                return Ok(count);
            }
        }
    }
}

/// Whether a reader of all of it ends with the same under each key.
fn same_values(found: &[Event], log: &[Event]) -> Result<(), String> {
    let values = |events: &[Event]| {
        let mut values = BTreeMap::new();
        for event in events {
            match &event.key {
                Some(key) if event.tombstone => values.remove(key),
                Some(key) => values.insert(key.clone(), event.offset),
                None => None,
            };
        }
        values
    };
    let (found, expected) = (values(found), values(log));
    if found == expected { Ok(()) } else { Err(format!("keys are at {found:?}, not {expected:?}")) }
}

fn shown(state: &State) -> String {
    let producers = Producers::restore(&state.producers, PRODUCERS_MAX);
    let cursors: Vec<_> = state.cursors.iter().map(|(name, cursor)| format!("{name}:{}", cursor.offset)).collect();
    format!("{} {}..{} {producers:?} {cursors:?}", state.exists, state.first, state.next)
}

/// Crashes a life everywhere; says how many images there were, and how many within recoveries.
fn crash_everywhere(life: &Life, recovery_every: usize) -> Result<(usize, usize), String> {
    let (history, mut dice) = (life.disk.history(), Dice::new(life.seed));
    let (mut replay, mut images, mut within) = (history.replay(), 0, 0);
    loop {
        let mut crashes = vec![Crash::Keep];
        if replay.has_pending() {
            crashes.extend([Crash::Drop, Crash::Some(dice.next()), Crash::Torn(dice.next())]);
        }
        for crash in crashes {
            let place = |error| format!("seed {}, moment {}, {crash:?}: {error}", life.seed, replay.moment());
            let disk = replay.crash(crash);
            let found = life.check(replay.moment(), &disk).map_err(place)?;
            images += 1;
            if images % recovery_every == 0 {
                within += life.crash_recovery(replay.moment(), &disk, &found, &mut dice).map_err(place)?;
            }
        }
        if !replay.advance() {
            return Ok((images, within));
        }
    }
}

/// Many lives; `SINEW_LONG=1` asks for many more.
fn run(seeds: std::ops::Range<u64>, images_min: usize) {
    let is_long = std::env::var_os("SINEW_LONG").is_some();
    let (mut images, mut within) = (0, 0);
    for seed in seeds.start..seeds.start + (seeds.end - seeds.start) * if is_long { 50 } else { 1 } {
        let life = live(seed, 60);
        match crash_everywhere(&life, 60) {
            Ok((more, more_within)) => (images, within) = (images + more, within + more_within),
            Err(error) => panic!("{error}\n{}", life.steps()),
        }
    }
    println!("{images} images, {within} within recoveries");
    assert!(images >= images_min && within >= images_min / 10, "{images}, {within}: more seeds are needed");
}

#[test]
fn power_loss_loses_nothing_that_was_acknowledged() {
    run(0..25, 20_000);
}

#[test]
fn power_loss_again_with_other_seeds() {
    run(100..125, 20_000);
}

#[test]
fn producers_that_are_not_restored_are_noticed() {
    let life = live(1, 60);
    plant(Some("producers not restored"));
    let noticed = crash_everywhere(&life, usize::MAX);
    plant(None);
    let error = noticed.expect_err("the bug is noticed");
    assert!(error.contains("and not one of"), "{error}");
}
