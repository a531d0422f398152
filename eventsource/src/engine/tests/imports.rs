//! Imports of the original's files beside a model: random logs in random files come out as they were, with times that
//! never go back; and a random fault is told with its file and its byte, and leaves nothing.

use std::path::PathBuf;

use sinew_journal::{Dice, SimulatedDisk};

use super::*;
use crate::Event;

const LOGS: u64 = 200;
/// Where the original's files are.
const SOURCE: &str = "/old";
const HEAD_BYTES: usize = 20;

/// A record, and where in which file it begins.
#[derive(Clone, Debug)]
struct Record {
    offset: u64,
    time: u64,
    payload: Vec<u8>,
    file: usize,
    at: usize,
}

/// What the original has written.
#[derive(Debug)]
struct Original {
    records: Vec<Record>,
    /// Names by first offset, and contents.
    files: Vec<(String, Vec<u8>)>,
}

impl Original {
    fn random(dice: &mut Dice) -> Self {
        let first = [0, 0, 17, 1 << 40][dice.below(4)];
        let (mut records, mut files) = (Vec::new(), Vec::new());
        let (mut offset, mut time) = (first, START);
        for file in 0..1 + dice.below(5) {
            let (name, mut bytes) = (format!("{offset}.log"), Vec::new());
            for _ in 0..1 + dice.below(60) {
                // Clocks are set now and then, and many events are of one time.
                time = match dice.below(10) {
                    0 => time - dice.below(5_000) as u64,
                    1..5 => time,
                    _ => time + dice.below(1_000) as u64,
                };
                let size = [0, 1, dice.below(300), dice.below(300), dice.below(3_000)][dice.below(5)];
                let payload = vec![dice.below(256) as u8; size];
                records.push(Record { offset, time, payload: payload.clone(), file, at: bytes.len() });
                bytes.extend(offset.to_le_bytes());
                bytes.extend(time.to_le_bytes());
                bytes.extend((size as u32).to_le_bytes());
                bytes.extend(payload);
                offset += 1;
            }
            files.push((name, bytes));
        }
        Self { records, files }
    }

    /// As they are to come out.
    fn expected(&self) -> Vec<Event> {
        let mut newest = 0;
        let event = |record: &Record| {
            newest = newest.max(record.time);
            Event { offset: record.offset, timestamp: newest, body: NewEvent::new(record.payload.clone()) }
        };
        self.records.iter().map(event).collect()
    }

    fn write(&self, disk: &SimulatedDisk) {
        disk.create_dir_all(Path::new(SOURCE)).expect("made");
        for (name, bytes) in &self.files {
            let path = Path::new(SOURCE).join(name);
            let file = disk.create_new(&path).expect("made");
            let mut written = 0;
            while written < bytes.len() {
                written += file.write_at(&bytes[written..], written as u64).expect("written");
            }
            // What lies beside them says nothing.
            disk.create_new(&path.with_extension("index")).expect("made");
        }
    }

    /// Spoils something; gives the file and the byte that are to be told.
    fn spoil(&mut self, dice: &mut Dice) -> (PathBuf, u64) {
        let record = self.records[dice.below(self.records.len())].clone();
        let told =
            |files: &[(String, Vec<u8>)], file: usize, at: usize| (Path::new(SOURCE).join(&files[file].0), at as u64);
        let (at, length) = (record.at, HEAD_BYTES + record.payload.len());
        let bytes = &mut self.files[record.file].1;
        match dice.below(4) {
            // It ends within the record.
            0 => bytes.truncate(at + 1 + dice.below(length - 1)),
            // Another offset than the one that is due.
            1 => bytes[at..at + 8].copy_from_slice(&(record.offset + 1 + dice.below(9) as u64).to_le_bytes()),
            // More than there is.
            2 => {
                let rest = (bytes.len() - at - HEAD_BYTES) as u32;
                bytes[at + 16..at + HEAD_BYTES].copy_from_slice(&(rest + 1 + dice.below(1 << 20) as u32).to_le_bytes());
            }
            // A file is missing, or begins late: the next one, or this one, is not the one that is due.
            _ => {
                let wrong = record.offset + 1_000_000;
                self.files.push((format!("{wrong}.log"), Vec::new()));
                return told(&self.files, self.files.len() - 1, 0);
            }
        }
        told(&self.files, record.file, at)
    }
}

fn import(disk: &SimulatedDisk) -> (JournalEngine, Result<crate::StreamInfo>) {
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    let imported = engine.import_now(&name("s"), &config(), Path::new(SOURCE), &mut |_| true);
    (engine, imported)
}

#[test]
fn what_the_original_has_written_comes_out_as_it_was() {
    for seed in 0..LOGS {
        let (mut dice, disk) = (Dice::new(seed), SimulatedDisk::new(seed));
        let original = Original::random(&mut dice);
        original.write(&disk);
        let (engine, imported) = import(&disk);
        let (info, expected) = (imported.expect("imported"), original.expected());
        let range = (expected[0].offset, expected.last().expect("one").offset + 1);
        assert_eq!((info.first, info.next), range, "seed {seed}");
        let stream = engine.opened(&name("s")).expect("opened");
        assert_eq!(read_all(&stream, info.first, &ALL).expect("readable"), expected, "seed {seed}");
        for _ in 0..10 {
            let event = &expected[dice.below(expected.len())];
            let at = stream.offset_at(event.timestamp).expect("found");
            let first = expected.iter().find(|of| of.timestamp >= event.timestamp).expect("itself");
            assert_eq!(at, first.offset, "seed {seed}, time {}", event.timestamp);
        }
        // It goes on as any stream, and is the same after a restart.
        let next = append_now(&stream, append_of(&["new".into()])).expect("appended");
        assert_eq!(next.first, range.1, "seed {seed}");
        engine.forget();
        drop((stream, engine));
        let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
        let stream = engine.opened(&name("s")).expect("opened");
        let found = read_all(&stream, range.0, &ALL).expect("readable");
        assert_eq!(found[..expected.len()], expected, "seed {seed}");
        assert_eq!(found.len(), expected.len() + 1, "seed {seed}");
        engine.forget();
    }
}

#[test]
fn a_fault_is_told_with_its_place_and_leaves_nothing() {
    for seed in 1_000..1_000 + LOGS {
        let (mut dice, disk) = (Dice::new(seed), SimulatedDisk::new(seed));
        let mut original = Original::random(&mut dice);
        let (file, byte) = original.spoil(&mut dice);
        original.write(&disk);
        let (engine, imported) = import(&disk);
        match imported {
            Err(Error::MalformedImport { path, at, .. }) => {
                assert_eq!((PathBuf::from(&path), at), (file, byte), "seed {seed}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        let gone = engine.opened(&name("s"));
        assert!(matches!(gone, Err(Error::UnknownStream { .. })), "seed {seed}: {gone:?}");
        // Nothing stands in the way of an import of what is whole.
        engine.open_now(&name("s"), &config()).expect("made");
        engine.forget();
    }
}
