//! The engine against the model, and what it alone does: reading from each of the places where a key can be, deadlines,
//! room, configuration, backups.

use std::sync::atomic::AtomicBool;

use sinew_journal::Dice;

use super::*;
use crate::engine::journal_bucket::JournalBucket;
use crate::model::{Model, Told, some_write};
use crate::{Change, Condition, Expected, Found, Removal, Verified};

fn silent() -> ProgressSink {
    Arc::new(|_| {})
}

/// Random operations beside the model, with the table taking what waits now and then, compactions and restarts.
async fn run(seed: u64, config: BucketConfig, pages: PageLimits) {
    let (mut dice, disk, clock) = (Dice::new(seed), SimulatedDisk::new(seed), HandClock::new());
    let stores = SimulatedStores::new(&disk);
    let mut engine = engine_on(disk.clone(), &clock, &stores).expect("opened");
    engine.create_now(&name("b"), &config).expect("created");
    let mut bucket = engine.opened(&name("b")).expect("opened");
    let (names, mut model) = (["a", "a.b", "b", "c.d", "c.e", "d", "e"], Model::default());
    for _ in 0..250 {
        match dice.below(40) {
            0..4 => {
                let milliseconds = 1 + dice.below(30) as u64;
                clock.advance(Duration::from_millis(milliseconds));
                model.advance(milliseconds);
                bucket.apply_now().expect("applied");
                bucket.round_now().expect("stored");
            }
            4..8 => bucket.apply_now().expect("applied"),
            8 | 9 if config.history == 1 => drop(bucket.compact(&mut |_| true).expect("compacted")),
            10 => {
                engine.close_now().expect("closed");
                drop((bucket, engine));
                engine = engine_on(disk.clone(), &clock, &stores).expect("opened");
                bucket = engine.opened(&name("b")).expect("opened");
            }
            _ => {
                let write = some_write(&model, &names, &mut |count| dice.below(count));
                let told = Told::of(write_now(&bucket, write.clone()));
                assert_eq!(told, model.write(&write, &config), "seed {seed}: {write:?}");
            }
        }
        model.check(&JournalBucket::new(bucket.clone()), &config, &names, pages).await;
    }
    let Verified { keys, problems, .. } = JournalBucket::new(bucket).verify(silent()).await.expect("verified");
    assert_eq!((keys, problems.as_slice()), (model.keys.len() as u64, &[][..]));
}

#[tokio::test]
async fn it_does_what_the_model_does() {
    for seed in 0..20 {
        let limits = BucketLimits { changes_kept: [5, 20, 100_000][seed as usize % 3], ..BucketLimits::default() };
        let time_to_live = (seed % 5 == 4).then_some(Duration::from_millis(25));
        let history = [1, 2, 5][seed as usize / 3 % 3];
        let config = BucketConfig { history, time_to_live, limits, ..BucketConfig::default() };
        let pages = PageLimits { bytes_max: [60, 1 << 20][seed as usize % 2], items_max: 3, keys_only: seed % 7 == 6 };
        run(seed, config, pages).await;
    }
}

#[test]
fn a_key_is_read_wherever_it_is() {
    let (_disk, _clock, _engine, bucket) = bucket_with(&BucketConfig::default());
    let large = vec![7; 300];
    write_now(&bucket, put("small", "v")).expect("put");
    write_now(&bucket, put("large", large.clone())).expect("put");
    // In the overlay.
    assert!(matches!(bucket.get(&key("large")), Found::Now(Some(entry)) if entry.value == large));
    bucket.apply_now().expect("applied");
    // In the table, and the large value in the journal: the disk is needed once.
    for (of, value) in [("small", b"v".to_vec()), ("large", large)] {
        assert!(matches!(bucket.get(&key(of)), Found::OnDisk), "{of}");
        assert_eq!(value_of(&bucket, of), Some(value.clone()));
        assert!(matches!(bucket.get(&key(of)), Found::Now(Some(entry)) if entry.value == value), "{of}");
    }
    // That there is none is worth knowing as well.
    assert!(matches!(bucket.get(&key("none")), Found::OnDisk));
    assert_eq!(value_of(&bucket, "none"), None);
    assert!(matches!(bucket.get(&key("none")), Found::Now(None)));
    write_now(&bucket, put("none", "now")).expect("put");
    assert!(matches!(bucket.get(&key("none")), Found::Now(Some(_))));
    write_now(&bucket, delete("none")).expect("deleted");
    assert!(matches!(bucket.get(&key("none")), Found::Now(None)));
}

#[test]
fn a_key_is_gone_at_its_deadline_wherever_it_is_and_whoever_sets_the_clock() {
    let (disk, clock, engine, bucket) = bucket_with(&BucketConfig::default());
    for of in ["overlay", "table", "cache"] {
        write_now(&bucket, put_for(of, vec![1; 100], 50)).expect("put");
        if of != "overlay" {
            bucket.apply_now().expect("applied");
        }
    }
    assert!(value_of(&bucket, "cache").is_some());
    write_now(&bucket, put_for("overlay", "again", 50)).expect("put");
    for jump in [0, u64::MAX / 2, START] {
        clock.set(jump);
        assert!(value_of(&bucket, "overlay").is_some() && value_of(&bucket, "table").is_some(), "{jump}");
    }
    clock.advance(Duration::from_millis(50));
    for of in ["overlay", "table", "cache"] {
        assert_eq!(value_of(&bucket, of), None, "{of}");
        assert!(!matches!(bucket.get(&key(of)), Found::Now(Some(_))), "{of}");
    }
    assert!(bucket.scan(&Range::default(), ALL).expect("scanned").entries.is_empty());
    assert_eq!(bucket.range.borrow().revision, 4);
    bucket.round_now().expect("stored");
    assert_eq!(bucket.range.borrow().revision, 7);
    let changes = bucket.changes(5, ALL).expect("read").changes;
    assert!(changes.iter().all(|change| change.change == Change::Gone(Removal::Expired)));
    // A deadline outlives a restart, by the wall clock.
    write_now(&bucket, put_for("kept", "v", 50)).expect("put");
    write_now(&bucket, put_for("gone", "v", 20)).expect("put");
    bucket.apply_now().expect("applied");
    let stores = SimulatedStores::new(&disk);
    engine.close_now().expect("closed");
    drop((bucket, engine));
    clock.advance(Duration::from_millis(30));
    let engine = engine_on(disk, &clock, &stores).expect("opened");
    let bucket = engine.opened(&name("b")).expect("opened");
    assert_eq!((value_of(&bucket, "kept"), value_of(&bucket, "gone")), (Some(b"v".to_vec()), None));
    clock.advance(Duration::from_millis(20));
    assert_eq!(value_of(&bucket, "kept"), None);
}

#[test]
fn a_key_does_not_go_before_a_write_that_found_it_there() {
    let (.., clock, _engine, bucket) = bucket_with(&BucketConfig::default());
    write_now(&bucket, put_for("lock", "me", 50)).expect("put");
    clock.advance(Duration::from_millis(49));
    // A round judges that the lock is there; before it is stored, its time is over.
    let mut writer = locked(&bucket.writer);
    writer.rules.begin(clock.now().wall);
    let judged =
        Write { conditions: vec![Condition { key: key("lock"), expected: Expected::Present }], ..put("work", "done") };
    let mut find = |key: &Key| bucket.look(key);
    let judgement = writer.rules.judge(&judged, clock.now(), Level::Fsynced, &mut find);
    assert!(matches!(judgement, crate::table::Judgement::Store(_)));
    clock.advance(Duration::from_millis(5));
    // Nobody sees it gone, and nobody sees it: the round decides.
    assert!(matches!(bucket.get(&key("lock")), Found::OnDisk));
    let has_read = Arc::new(AtomicBool::new(false));
    let reading = std::thread::spawn({
        let (bucket, has_read) = (bucket.clone(), has_read.clone());
        move || {
            let found = bucket.load(&[key("lock"), key("work")]).expect("read");
            has_read.store(true, Ordering::Release);
            found
        }
    });
    assert!(!has_read.load(Ordering::Acquire));
    writer.rules.discard();
    locked(&bucket.shown).release();
    drop(writer);
    assert_eq!(reading.join().expect("no panic"), [None, None]);
}

#[test]
fn a_full_overlay_lets_writes_wait_and_a_full_queue_refuses_them() {
    let (_disk, _clock, _engine, bucket) = bucket_with(&BucketConfig::default());
    let mut laters = Vec::new();
    while locked(&bucket.shown).overlay_bytes() < bucket.host.options.overlay_bytes_max {
        laters.push(write(&bucket, put(&laters.len().to_string(), vec![0; 500])));
        bucket.round_now().expect("stored");
    }
    assert!(laters.iter().all(|later| later.answer().is_some()));
    let waiting = write(&bucket, put("one.more", vec![0; 500]));
    bucket.round_now().expect("nothing to do");
    assert!(waiting.answer().is_none());
    let refused = loop {
        let later = write(&bucket, put("much", vec![0; 1 << 20]));
        if let Some(answer) = later.answer() {
            break answer.expect_err("there is no room");
        }
    };
    assert!(matches!(refused, Error::Busy { .. }) && refused.is_retryable(), "{refused}");
    bucket.apply_now().expect("applied");
    bucket.round_now().expect("stored");
    assert_eq!(waiting.answer().expect("there is room").expect("put").revisions, [laters.len() as u64 + 1]);
}

#[tokio::test]
async fn a_configuration_is_altered_and_kept() {
    let (disk, clock, engine, bucket) = bucket_with(&BucketConfig::default());
    write_now(&bucket, put("a", "1")).expect("put");
    let altered = BucketConfig { history: 3, durability: crate::Durability::Written, ..BucketConfig::default() };
    assert!(matches!(engine.create(&name("b"), &altered).await, Err(Error::BucketExists { .. })));
    assert_eq!(engine.alter(&name("b"), &altered).await.expect("altered").level, Level::Written);
    assert_eq!(write_now(&bucket, put("a", "2")).expect("put").level, Level::Written);
    assert_eq!(bucket.history(&key("a")).expect("read").len(), 2);
    assert!(matches!(engine.alter(&name("c"), &altered).await, Err(Error::UnknownBucket { .. })));
    engine.close().await.expect("closed");
    assert!(matches!(engine.bucket(&name("b")).await, Err(Error::Ended { .. })));
    assert!(matches!(bucket.get(&key("a")), Found::Failed(Error::Ended { .. })));
    assert!(matches!(write(&bucket, put("a", "3")).answer(), Some(Err(Error::Ended { .. }))));
    drop((bucket, engine));
    let engine = engine_on(disk.clone(), &clock, &SimulatedStores::new(&disk)).expect("opened");
    let bucket = engine.opened(&name("b")).expect("opened");
    assert_eq!((bucket.config(), value_of(&bucket, "a")), (altered, Some(b"2".to_vec())));
}

#[tokio::test]
async fn a_bucket_is_deleted_and_made_again_without_what_was_in_it() {
    let (disk, clock, engine, bucket) = bucket_with(&BucketConfig::default());
    write_now(&bucket, put("a", "1")).expect("put");
    bucket.apply_now().expect("applied");
    let range = bucket.range.subscribe();
    engine.delete(&name("b")).await.expect("deleted");
    assert!(range.borrow().ended);
    assert!(matches!(write(&bucket, put("a", "2")).answer(), Some(Err(Error::Ended { .. }))));
    drop(bucket);
    assert!(matches!(engine.delete(&name("b")).await, Err(Error::UnknownBucket { .. })));
    assert!(engine.names(None, 10).await.expect("names").is_empty());
    engine.create(&name("b"), &BucketConfig::default()).await.expect("made again");
    let bucket = engine.opened(&name("b")).expect("opened");
    assert_eq!((value_of(&bucket, "a"), bucket.info().expect("there").revision), (None, 0));
    drop(bucket);
    engine.close().await.expect("closed");
    drop(engine);
    let engine = engine_on(disk.clone(), &clock, &SimulatedStores::new(&disk)).expect("opened");
    assert_eq!(value_of(&engine.opened(&name("b")).expect("opened"), "a"), None);
}

#[tokio::test]
async fn a_backup_is_a_bucket_again_beside_the_first() {
    let (.., engine, bucket) = bucket_with(&forgetful(2));
    let id = Some(crate::OperationId { client: 7, sequence: 9 });
    for number in 0..100 {
        write_now(&bucket, put(&(number % 7).to_string(), vec![number; 200])).expect("put");
    }
    let first = write_now(&bucket, Write { id, ..put("last", "v") }).expect("put");
    bucket.compact(&mut |_| true).expect("compacted");
    let target = Path::new("/backup");
    let of = JournalBucket::new(bucket.clone());
    assert_eq!(of.backup(target, silent()).await.expect("copied").revision, 101);
    let refused = of.backup(target, silent()).await.expect_err("something is there");
    assert!(matches!(refused, Error::Backup { .. }), "{refused}");
    write_now(&bucket, put("later", "v")).expect("put");
    assert!(matches!(engine.restore(&name("b"), target, silent()).await, Err(Error::BucketExists { .. })));
    let refused = engine.restore(&name("c"), Path::new("/nowhere"), silent()).await.expect_err("there is none");
    assert!(matches!(refused, Error::Backup { .. }), "{refused}");
    let info = engine.restore(&name("c"), target, silent()).await.expect("restored");
    assert_eq!((info.revision, info.keys, &info.config), (101, 8, &forgetful(2)));
    let restored = engine.opened(&name("c")).expect("opened");
    for of in ["0", "6", "last", "later"] {
        let expected = if of == "later" { None } else { value_of(&bucket, of) };
        assert_eq!(value_of(&restored, of), expected, "{of}");
    }
    assert_eq!(info.first, locked(&bucket.shown).first);
    let again = write_now(&restored, Write { id, ..put("last", "w") }).expect("known");
    assert_eq!(again, Written { duplicate: true, ..first });
}

#[test]
fn compaction_bounds_what_is_overwritten() {
    let (_disk, _clock, _engine, bucket) = bucket_with(&forgetful(1));
    for number in 0..3_000_u64 {
        write_now(&bucket, put(&(number % 10).to_string(), vec![number as u8; 100])).expect("put");
        bucket.maintain(&mut |_| true).expect("maintained");
    }
    let info = bucket.info().expect("there");
    // Ten keys, twenty changes, and segments of 4 KiB that are not full of what can go.
    assert!(info.disk_bytes < 32 << 10, "{info:?}");
    assert_eq!((info.keys, info.revision), (10, 3_000));
    assert!(info.first > 2_000, "{info:?}");
    let refused = bucket.changes(info.first - 1, ALL).expect_err("they are gone");
    assert!(matches!(refused, Error::Compacted { first, .. } if first == info.first), "{refused}");
    for number in 0..10 {
        write_now(&bucket, delete(&number.to_string())).expect("deleted");
    }
    for number in 0..100 {
        write_now(&bucket, put("other", vec![number; 100])).expect("put");
    }
    bucket.compact(&mut |_| true).expect("compacted");
    let verified = super::super::verify::verify(&bucket, &mut |_| true).expect("verified");
    assert_eq!((verified.keys, verified.problems.as_slice()), (1, &[][..]));
    assert!(verified.changes < 60, "{verified:?}");
}

#[test]
fn verify_tells_of_a_table_that_does_not_fit() {
    let disk = SimulatedDisk::new(1);
    let stores = SimulatedStores::new(&disk);
    let engine = engine_on(disk.clone(), &HandClock::new(), &stores).expect("opened");
    engine.create_now(&name("b"), &BucketConfig::default()).expect("created");
    let bucket = engine.opened(&name("b")).expect("opened");
    for of in ["a", "b", "c"] {
        write_now(&bucket, put(of, "1")).expect("put");
    }
    let verify = || super::super::verify::verify(&bucket, &mut |_| true).expect("verified");
    assert!(verify().problems.is_empty());
    let row = super::super::row::encode(&bucket.row(&key("a")).expect("read").expect("there"));
    stores.damage("b", b"b", row);
    let problems = verify().problems;
    assert!(problems[0].contains("the table has `b` as of 1, and the journal a change 2 of it"), "{problems:?}");
    // What is no row at all ends it: the table is made again at the next start.
    stores.damage("b", b"b", vec![0xff]);
    let failed = super::super::verify::verify(&bucket, &mut |_| true).expect_err("it cannot go on");
    assert!(failed.to_string().contains("restart the server: it is made again from the journal"), "{failed}");
    assert!(bucket.host.failure.told().borrow().is_some());
}
