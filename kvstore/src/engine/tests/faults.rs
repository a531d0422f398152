//! Every call to the disk failing, once and for ever: no panic, no wrong data, each write answered, and after a restart
//! what was acknowledged is there. And the table failing.

use std::collections::BTreeMap;

use sinew_journal::{Dice, Fault, FaultKind, SimulatedDisk};

use super::*;
use crate::OperationId;

/// A value, or that there is none.
type Held = Option<Vec<u8>>;

/// What was acknowledged, and what was not: of each key what it holds, and what may be there instead.
#[derive(Default)]
struct Acknowledged {
    keys: BTreeMap<String, (Held, Vec<Held>)>,
    failed: usize,
    full: usize,
}

impl Acknowledged {
    fn note(&mut self, of: &str, value: Option<Vec<u8>>, answer: &Result<Written>) {
        let (known, asked) = self.keys.entry(of.to_owned()).or_default();
        match answer {
            Ok(_) => (*known, *asked) = (value, Vec::new()),
            Err(Error::NoSpace { .. }) => self.full += 1,
            Err(Error::Storage { .. }) => {
                self.failed += 1;
                asked.push(value);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

const NAMES: [&str; 5] = ["a", "b", "c.d", "c.e", "f"];

/// Writes and compacts, noting what is acknowledged; errors end nothing here.
fn live(disk: &SimulatedDisk, stores: &SimulatedStores, seed: u64, fault: Option<Fault>) -> Acknowledged {
    let (mut dice, clock) = (Dice::new(seed), HandClock::new());
    let mut noted = Acknowledged::default();
    let Ok(engine) = engine_on(disk.clone(), &clock, stores) else { return noted };
    let opened = engine.create_now(&name("b"), &forgetful(2)).and_then(|_| engine.opened(&name("b")));
    if let Some(fault) = fault {
        disk.fail(fault);
    }
    let Ok(bucket) = opened else { return noted };
    for number in 0..70_u8 {
        let of = NAMES[dice.below(NAMES.len())];
        match dice.below(10) {
            0..6 => {
                let value = vec![number; 1 + dice.below(300)];
                noted.note(of, Some(value.clone()), &write_now(&bucket, put(of, value)));
            }
            6 => noted.note(of, None, &write_now(&bucket, delete(of))),
            7 => drop(bucket.apply_now()),
            8 => drop(value_in(&bucket, of)),
            _ => match bucket.compact(&mut |_| true) {
                Ok(_) | Err(Error::NoSpace { .. } | Error::Storage { .. }) => {}
                Err(error) => panic!("{error}"),
            },
        }
        // What readers see is what was acknowledged, whatever failed since.
        for (of, (value, _)) in &noted.keys {
            if let Ok(found) = value_in(&bucket, of) {
                assert_eq!(found, *value, "seed {seed}, {fault:?}: {of}");
            }
        }
    }
    engine.forget();
    noted
}

fn value_in(bucket: &StoredBucket, of: &str) -> Result<Option<Vec<u8>>> {
    let entry = bucket.load(&[key(of)])?.pop().flatten();
    Ok(entry.map(|entry| entry.value.to_vec()))
}

/// After a restart on a disk that works again: all that was acknowledged, and of the rest nothing that was not asked for.
fn check(disk: &SimulatedDisk, stores: &SimulatedStores, noted: &Acknowledged, place: &str) {
    disk.mend();
    let engine = engine_on(disk.clone(), &HandClock::new(), stores).expect(place);
    engine.create_now(&name("b"), &forgetful(2)).expect(place);
    let bucket = engine.opened(&name("b")).expect(place);
    for (of, (value, asked)) in &noted.keys {
        let found = value_in(&bucket, of).expect(place);
        assert!(found == *value || asked.contains(&found), "{place}: {of} is {found:?}");
    }
    write_now(&bucket, put("after", "v")).expect(place);
    let verified = super::super::verify::verify(&bucket, &mut |_| true).expect(place);
    assert!(verified.problems.is_empty(), "{place}: {verified:?}");
    engine.forget();
}

const KINDS: [FaultKind; 4] = [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite, FaultKind::Sync];

fn fail_each_call(kind: FaultKind, count: u64) {
    let disk = SimulatedDisk::new(1);
    live(&disk, &SimulatedStores::new(&disk), 1, None);
    let calls = disk.calls();
    let mut faults = 0;
    for call in 0..calls {
        let disk = SimulatedDisk::new(1);
        let stores = SimulatedStores::new(&disk);
        let noted = live(&disk, &stores, 1, Some(Fault { kind, call, count }));
        faults += usize::from(noted.failed + noted.full > 0);
        check(&disk, &stores, &noted, &format!("{kind:?} at call {call}, {count} times"));
    }
    assert!(kind == FaultKind::ShortWrite || faults > 20, "{faults} of {calls} calls made a write fail");
}

#[test]
fn every_call_fails_once() {
    KINDS.into_iter().for_each(|kind| fail_each_call(kind, 1));
}

#[test]
fn every_call_fails_for_ever() {
    KINDS.into_iter().for_each(|kind| fail_each_call(kind, u64::MAX));
}

#[test]
fn a_full_disk_refuses_and_goes_on_by_itself() {
    let (disk, _clock, _engine, bucket) = bucket_with(&BucketConfig::default());
    let with_id =
        |sequence| Write { id: Some(OperationId { client: 1, sequence }), ..put(&sequence.to_string(), vec![0; 500]) };
    write_now(&bucket, with_id(0)).expect("there is room");
    disk.fail(Fault { kind: FaultKind::NoSpace, call: disk.calls(), count: u64::MAX });
    let mut stored = 1;
    let refused = loop {
        match write_now(&bucket, with_id(stored)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert_eq!(bucket.range.borrow().revision, stored);
    assert!(value_of(&bucket, "0").is_some());
    // What is stored is told all the same, and what is not is not taken for it.
    let laters = [stored - 1, stored, stored].map(|sequence| write(&bucket, with_id(sequence)));
    bucket.apply_now().expect("the table has room");
    let _ = bucket.round_now();
    let [known, new, twice] = laters.map(|later| later.answer().expect("the round answers"));
    assert!(known.expect("it is stored").duplicate);
    assert!(matches!(new, Err(Error::NoSpace { .. })));
    assert!(matches!(twice, Err(Error::NoSpace { .. })));
    disk.mend();
    let written = write_now(&bucket, with_id(stored)).expect("there is room again");
    assert_eq!((written.revisions.as_slice(), written.duplicate), (&[stored + 1][..], false));
}

#[test]
fn a_failed_sync_ends_it_and_is_published() {
    let (disk, _, engine, bucket) = bucket_with(&BucketConfig::default());
    write_now(&bucket, put("a", "1")).expect("put");
    let failed = bucket.host.failure.told();
    assert!(failed.borrow().is_none());
    disk.fail(Fault { kind: FaultKind::Sync, call: disk.calls(), count: u64::MAX });
    let laters = [write(&bucket, put("a", "2")), write(&bucket, put("b", "1"))];
    engine.run_dirty();
    for later in laters {
        assert!(matches!(later.answer(), Some(Err(Error::Storage { .. }))));
    }
    assert!(failed.borrow().is_some());
    disk.mend();
    // Never tried again: each is answered at once.
    assert!(matches!(write(&bucket, put("a", "3")).answer(), Some(Err(Error::Storage { .. }))));
    assert_eq!((value_of(&bucket, "a"), value_of(&bucket, "b")), (Some(b"1".to_vec()), None));
}

#[test]
fn a_table_that_fails_ends_it_and_costs_nothing() {
    let disk = SimulatedDisk::new(1);
    let (stores, clock) = (SimulatedStores::new(&disk), HandClock::new());
    for while_ in ["it is read", "a write looks at it", "it takes what waits"] {
        let engine = engine_on(disk.clone(), &clock, &stores).expect("opened");
        engine.create_now(&name("b"), &BucketConfig::default()).expect("created");
        let bucket = engine.opened(&name("b")).expect("opened");
        write_now(&bucket, put("a", while_)).expect("put");
        if while_ != "it takes what waits" {
            bucket.apply_now().expect("applied");
        }
        stores.break_down(true);
        let error = match while_ {
            "it is read" => bucket.load(&[key("a")]).map(drop),
            "a write looks at it" => write_now(&bucket, put("a", "lost")).map(drop),
            _ => bucket.apply_now(),
        };
        assert!(matches!(error, Err(Error::Storage { .. })), "{while_}");
        assert!(bucket.host.failure.told().borrow().is_some(), "{while_}");
        assert!(matches!(write(&bucket, put("a", "lost")).answer(), Some(Err(Error::Storage { .. }))), "{while_}");
        stores.break_down(false);
        engine.forget();
        drop((bucket, engine));
        let engine = engine_on(disk.clone(), &clock, &stores).expect("opened");
        assert_eq!(value_of(&engine.opened(&name("b")).expect("opened"), "a"), Some(while_.into()));
        engine.forget();
    }
}

#[test]
fn a_removal_stays_behind_what_cannot_be_rewritten() {
    let (disk, clock) = (SimulatedDisk::new(1), HandClock::new());
    let engine = engine_on(disk.clone(), &clock, &SimulatedStores::new(&disk)).expect("opened");
    engine.create_now(&name("b"), &forgetful(1)).expect("created");
    let bucket = engine.opened(&name("b")).expect("opened");
    let fill = |bucket: &StoredBucket| {
        (0..60).for_each(|number| drop(write_now(bucket, put("other", vec![number; 200])).expect("put")));
    };
    write_now(&bucket, put("a", "v")).expect("put");
    fill(&bucket);
    write_now(&bucket, delete("a")).expect("deleted");
    fill(&bucket);
    let first = Path::new(DATA).join("kv/b/journal/00000000000000000000.segment");
    let good = disk.contents(&first).expect("the first segment");
    let mut bad = good.clone();
    bad[100] ^= 1;
    disk.damage(&first, bad);
    let compacted = bucket.compact(&mut |_| true).expect("what can be compacted is");
    assert!(compacted.changes > 50, "{compacted:?}");
    engine.forget();
    drop((bucket, engine));
    // Somebody restores the segment, and the table is lost.
    disk.damage(&first, good);
    let engine = engine_on(disk.clone(), &clock, &SimulatedStores::new(&disk)).expect("opened");
    let bucket = engine.opened(&name("b")).expect("opened");
    assert_eq!(value_of(&bucket, "a"), None);
    assert_eq!(value_of(&bucket, "other"), Some(vec![59; 200]));
    // Now that it can be read, both go.
    bucket.compact(&mut |_| true).expect("compacted");
    let verified = super::super::verify::verify(&bucket, &mut |_| true).expect("verified");
    assert!(verified.problems.is_empty() && verified.changes < 30, "{verified:?}");
    engine.forget();
}

/// Any bit of the journal's files changes: what is read is what was written, or nothing, and it is told.
#[test]
fn no_flipped_bit_is_taken_for_a_value() {
    let (disk, clock) = (SimulatedDisk::new(1), HandClock::new());
    let stores = SimulatedStores::new(&disk);
    let engine = engine_on(disk.clone(), &clock, &stores).expect("opened");
    engine.create_now(&name("b"), &BucketConfig::default()).expect("created");
    let bucket = engine.opened(&name("b")).expect("opened");
    let mut ever = BTreeMap::<String, Vec<Vec<u8>>>::new();
    let mut dice = Dice::new(1);
    for number in 0..40_u8 {
        let (of, value) = (NAMES[dice.below(NAMES.len())], vec![number; 20 + dice.below(200)]);
        write_now(&bucket, put(of, value.clone())).expect("put");
        ever.entry(of.to_owned()).or_default().push(value);
    }
    engine.close_now().expect("closed");
    drop((bucket, engine));
    let files: Vec<_> =
        disk.files().into_iter().filter(|path| path.to_string_lossy().contains("/kv/b/journal/")).collect();
    let mut told = 0;
    for turn in 0..3_000 {
        let path = &files[dice.below(files.len())];
        let good = disk.contents(path).expect("there");
        if good.is_empty() {
            continue;
        }
        let mut bad = good.clone();
        bad[dice.below(good.len().min(9_000))] ^= 1 << dice.below(8);
        disk.damage(path, bad);
        // With the table as it was, and without.
        let tables =
            if turn % 2 == 0 { stores.at(stores.states(usize::MAX) - 1, &disk) } else { SimulatedStores::new(&disk) };
        let before = disk.moment();
        match engine_on(disk.clone(), &clock, &tables).and_then(|engine| Ok((engine.opened(&name("b"))?, engine))) {
            Err(error) => {
                told += 1;
                assert!(matches!(error, Error::Storage { .. }), "{error}");
            }
            Ok((bucket, engine)) => {
                for (of, values) in &ever {
                    match value_in(&bucket, of) {
                        Ok(None) => {}
                        Ok(Some(value)) => {
                            assert!(values.contains(&value), "{} at {turn}: {of} is {value:?}", path.display())
                        }
                        Err(error) => {
                            told += 1;
                            assert!(matches!(error, Error::Storage { .. }), "{error}");
                        }
                    }
                }
                engine.forget();
            }
        }
        // As it was, for the next.
        let _ = before;
        restore(&disk, &files, path, good);
    }
    assert!(told > 20, "{told}");
}

/// Puts one file back as it was, and removes what a start has made beside it.
fn restore(disk: &SimulatedDisk, files: &[std::path::PathBuf], path: &Path, good: Vec<u8>) {
    disk.damage(path, good);
    for other in disk.files() {
        if other.to_string_lossy().contains("/kv/b/journal/") && !files.contains(&other) {
            disk.delete(&other);
        }
    }
}
