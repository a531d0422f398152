//! Backups and restores beside a model: random lives of a stream, in which copies are made now and then. Each copy,
//! restored at once or long after, is the stream as it was, with its producers and cursors, and goes on by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sinew_journal::{Dice, SimulatedDisk};

use super::*;
use crate::{Compaction, Event, Retention};

/// Lives, each from a seed.
const LIVES: u64 = 120;
/// What happens in each.
const STEPS: usize = 60;
const TOMBSTONE_AGE: Duration = Duration::from_secs(5);
const EVENTS_MAX: u64 = 60;

/// What a stream has, as far as a simple mind can tell.
#[derive(Clone, Debug, Default)]
struct Model {
    /// All that was ever appended.
    events: Vec<Event>,
    cursors: BTreeMap<String, Cursor>,
    /// Of each producer: its grant as it would be now, and its last batch.
    producers: BTreeMap<String, (ProducerGrant, Option<(Append, u64)>)>,
}

/// A copy, what the model was then, and what was read then.
struct Copy {
    path: PathBuf,
    model: Model,
    events: Vec<Event>,
    range: (u64, u64),
}

struct Life {
    seed: u64,
    dice: Dice,
    disk: SimulatedDisk,
    clock: HandClock,
    /// Between two restarts.
    engine: Option<JournalEngine>,
    config: StreamConfig,
    model: Model,
    copies: Vec<Copy>,
    restored: usize,
    runtime: tokio::runtime::Runtime,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (disk, clock) = (SimulatedDisk::new(seed), HandClock::new());
        let events_max = (dice.below(2) == 0).then_some(EVENTS_MAX);
        let compaction = match dice.below(2) {
            0 => Compaction::Off,
            _ => Compaction::ByKey { tombstone_age: TOMBSTONE_AGE },
        };
        let retention = Retention { events_max, ..Retention::default() };
        let config = StreamConfig { retention, compaction, ..config() };
        let engine = Some(engine_on(disk.clone(), &clock).expect("opened"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (model, copies) = (Model::default(), Vec::new());
        Self { seed, dice, disk, clock, engine, config, model, copies, restored: 0, runtime }
    }

    fn engine(&self) -> &JournalEngine {
        self.engine.as_ref().expect("it is open")
    }

    fn stream(&self) -> super::super::stored_stream::Held {
        self.engine().open_now(&name("s"), &self.config).expect("opened")
    }

    fn some_events(&mut self) -> Vec<NewEvent> {
        let count = 1 + self.dice.below(4);
        let event = |dice: &mut Dice| {
            let payload = vec![dice.below(256) as u8; dice.below(200)];
            let key = dice.below(6).to_string();
            match dice.below(10) {
                0..4 => NewEvent::new(payload),
                4..9 => NewEvent::new(payload).key(key),
                _ => NewEvent::tombstone(key),
            }
        };
        (0..count).map(|_| event(&mut self.dice)).collect()
    }

    fn step(&mut self) {
        self.clock.advance(Duration::from_millis(self.dice.below(2_000) as u64));
        match self.dice.below(20) {
            0..7 => self.append(),
            7..12 => self.produce(),
            12..15 => self.commit(),
            15 => drop(self.stream().compact(&mut |_| true).expect("compacted")),
            16 => self.restart(),
            17..19 => self.back_up(),
            _ => self.restore_one(),
        }
    }

    fn note(&mut self, events: Vec<NewEvent>, appended: &Appended) {
        assert_eq!(appended.first, self.model.events.len() as u64, "seed {}", self.seed);
        let offsets = appended.first..;
        let event = |(offset, body)| Event { offset, timestamp: appended.timestamp, body };
        self.model.events.extend(offsets.zip(events).map(event));
    }

    fn append(&mut self) {
        let events = self.some_events();
        let appended = append_now(&self.stream(), append_of(&events)).expect("appended");
        self.note(events, &appended);
    }

    /// A producer is opened, or sends its next batch.
    fn produce(&mut self) {
        let producer = self.dice.below(3).to_string();
        let known = self.model.producers.get(&producer).cloned();
        let Some((grant, _)) = known.filter(|_| self.dice.below(4) > 0) else {
            let grant = open_producer(&self.stream(), &producer).expect("opened");
            let before = self.model.producers.remove(&producer);
            if let Some((before, _)) = &before {
                let expected = ProducerGrant { epoch: before.epoch + 1, ..*before };
                assert_eq!(grant, expected, "seed {}", self.seed);
            }
            self.model.producers.insert(producer, (grant, before.and_then(|(_, last)| last)));
            return;
        };
        let events = self.some_events();
        let stamp = ProducerStamp { id: grant.id, epoch: grant.epoch, sequence: grant.sequence };
        let append = Append { producer: Some(stamp), ..append_of(&events) };
        let appended = append_now(&self.stream(), append.clone()).expect("appended");
        let last = appended.first + u64::from(appended.count) - 1;
        let sequence = grant.sequence + u64::from(appended.count);
        let grant = ProducerGrant { sequence, last_offset: Some(last), ..grant };
        self.note(events, &appended);
        self.model.producers.insert(producer, (grant, Some((append, appended.first))));
    }

    fn commit(&mut self) {
        let updates: Vec<_> = (0..=self.dice.below(3))
            .map(|_| {
                let offset = self.dice.below(self.model.events.len() + 1) as u64;
                let state = vec![7; self.dice.below(50)];
                let cursor = Cursor { offset, above: vec![(offset + 2, offset + 4)], state };
                CursorUpdate {
                    name: self.dice.below(5).to_string(),
                    cursor: (self.dice.below(4) > 0).then_some(cursor),
                }
            })
            .collect();
        commit_now(&self.stream(), updates.clone()).expect("committed");
        for CursorUpdate { name, cursor } in updates {
            match cursor {
                Some(cursor) => drop(self.model.cursors.insert(name, cursor)),
                None => drop(self.model.cursors.remove(&name)),
            }
        }
    }

    /// After an orderly close, or without one.
    fn restart(&mut self) {
        let engine = self.engine.take().expect("it is open");
        match self.dice.below(2) {
            0 => engine.close_now().expect("closed"),
            _ => engine.forget(),
        }
        // One at a time has the directory.
        drop(engine);
        self.engine = Some(engine_on(self.disk.clone(), &self.clock).expect("opened"));
        self.check(&self.stream(), &self.model.clone());
    }

    fn back_up(&mut self) {
        let stream = self.stream();
        let path = PathBuf::from(format!("/copies/{}", self.copies.len()));
        self.disk.create_dir_all(&path).expect("made");
        let done = super::super::backup::backup(&stream, &path, &mut |_| true).expect("copied");
        let range = stream.current_range();
        assert_eq!((done.first, done.next), (range.first, range.next), "seed {}", self.seed);
        let events = read_all(&stream, range.first, &ALL).expect("readable");
        let model = self.model.clone();
        self.copies.push(Copy { path: path.clone(), model, events, range: (range.first, range.next) });
        let again = super::super::backup::backup(&stream, &path, &mut |_| true);
        assert!(matches!(again, Err(Error::Backup { .. })), "seed {}: {again:?}", self.seed);
    }

    fn restore_one(&mut self) {
        if !self.copies.is_empty() {
            let number = self.dice.below(self.copies.len());
            self.restore(number);
        }
    }

    /// Makes a stream of a copy, looks at it, lets it go on, and removes it.
    fn restore(&mut self, number: usize) {
        let (seed, restored) = (self.seed, name(&format!("restored-{}", self.restored)));
        self.restored += 1;
        let copy = &self.copies[number];
        let quiet: ProgressSink = Arc::new(|_| {});
        let restore = |to: &ResourceName| self.runtime.block_on(self.engine().restore(to, &copy.path, quiet.clone()));
        let taken = restore(&name("s"));
        assert!(matches!(taken, Err(Error::StreamExists { .. })), "seed {seed}: {taken:?}");
        let info = restore(&restored).expect("restored");
        assert_eq!((info.first, info.next), copy.range, "seed {seed}");
        assert_eq!(info.config, self.config, "seed {seed}");
        let stream = self.engine().opened(&restored).expect("opened");
        let found = read_all(&stream, info.first, &ALL).expect("readable");
        assert_eq!(found, copy.events, "seed {seed}: copy {number}");
        self.check(&stream, &copy.model);
        for (producer, (grant, last)) in &copy.model.producers {
            if let Some((append, first)) = last {
                let again = append_now(&stream, append.clone());
                let known = again.as_ref().is_ok_and(|again| again.duplicate && again.first == *first);
                let is_fenced = matches!(again, Err(Error::ProducerFenced { .. }));
                // Whoever sent it may have been fenced before the copy was made.
                let was_fenced = append.producer.is_some_and(|stamp| stamp.epoch < grant.epoch);
                assert!(if was_fenced { is_fenced } else { known }, "seed {seed}: copy {number}: {again:?}");
            }
            let opened = open_producer(&stream, producer).expect("opened");
            let expected = ProducerGrant { epoch: grant.epoch + 1, ..*grant };
            assert_eq!(opened, expected, "seed {seed}: copy {number}, producer {producer}");
        }
        let next = append_now(&stream, append_of(&["goes on".into()])).expect("appended");
        assert_eq!(next.first, copy.range.1, "seed {seed}: copy {number}");
        assert!(copy.model.events.last().is_none_or(|last| last.timestamp <= next.timestamp), "seed {seed}");
        drop(stream);
        self.engine().delete_now(&restored).expect("deleted");
    }

    /// Whether a stream is what a model says.
    fn check(&self, stream: &StoredStream, model: &Model) {
        let (seed, range) = (self.seed, stream.current_range());
        assert_eq!(range.next, model.events.len() as u64, "seed {seed}");
        let found = read_all(stream, range.first, &ALL).expect("readable");
        for event in &found {
            assert_eq!(*event, model.events[event.offset as usize], "seed {seed}");
        }
        let offsets: Vec<u64> = found.iter().map(|event| event.offset).collect();
        assert!(offsets.is_sorted_by(|one, next| one < next), "seed {seed}: {offsets:?}");
        if self.config.compaction == Compaction::Off {
            assert_eq!(offsets, (range.first..range.next).collect::<Vec<_>>(), "seed {seed}");
        } else {
            check_compacted(seed, &offsets, &model.events[range.first as usize..]);
        }
        // Whole segments go, the oldest first, once there are more events than are to be kept.
        let may_go = self.config.retention.events_max.is_some_and(|max| range.next > max);
        assert!(range.first == 0 || may_go, "seed {seed}: {range:?}");
        let cursors = stream.cursors.page(None, 100);
        assert_eq!(cursors, model.cursors.clone().into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}

/// What must be there whatever was compacted: events without a key, and of each key the newest that has a value.
fn check_compacted(seed: u64, offsets: &[u64], events: &[Event]) {
    let mut newest: BTreeMap<&[u8], &Event> = BTreeMap::new();
    for event in events {
        match &event.key {
            None => assert!(offsets.contains(&event.offset), "seed {seed}: {} has no key", event.offset),
            Some(key) => drop(newest.insert(key, event)),
        }
    }
    for event in newest.values().filter(|event| !event.tombstone) {
        assert!(offsets.contains(&event.offset), "seed {seed}: {} is the newest of its key", event.offset);
    }
}

#[test]
fn a_copy_is_the_stream_as_it_was_and_goes_on_by_itself() {
    let mut copies = 0;
    for seed in 0..LIVES {
        let mut life = Life::new(seed);
        (0..STEPS).for_each(|_| life.step());
        life.restart();
        // The oldest as well, whatever became of the stream since.
        (0..life.copies.len()).for_each(|number| life.restore(number));
        copies += life.copies.len();
        life.engine().close_now().expect("closed");
    }
    assert!(copies as u64 > LIVES, "there is something to look at: {copies}");
}
