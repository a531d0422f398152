//! What each call promises, one after the other, over the async face and threads of the real engine.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::{Compaction, Engine, Retention};

fn real(path: &Path) -> JournalEngine {
    JournalEngine::open(path, EngineOptions::default()).expect("opened")
}

async fn appended(stream: &Arc<dyn Stream>, append: Append) -> Result<Appended> {
    let (done, answer) = tokio::sync::oneshot::channel();
    stream.append(append, Box::new(move |result| drop(done.send(result))));
    answer.await.expect("it is answered")
}

async fn committed(stream: &Arc<dyn Stream>, updates: Vec<CursorUpdate>) -> Result<()> {
    let (done, answer) = tokio::sync::oneshot::channel();
    stream.commit(updates, Box::new(move |result| drop(done.send(result))));
    answer.await.expect("it is answered")
}

fn quiet() -> ProgressSink {
    Arc::new(|_| {})
}

fn at(offset: u64) -> Option<Cursor> {
    Some(Cursor { offset, ..Cursor::default() })
}

fn update(name: &str, cursor: Option<Cursor>) -> CursorUpdate {
    CursorUpdate { name: name.into(), cursor }
}

async fn texts(stream: &Arc<dyn Stream>, from: u64) -> Vec<String> {
    let (mut at, mut texts) = (from, Vec::new());
    loop {
        let page = stream.read(at, ALL).await.expect("readable");
        for event in page.batches.iter().flat_map(|batch| batch.events.events(batch.first, batch.timestamp)) {
            if event.offset >= from {
                texts.push(String::from_utf8_lossy(&event.payload).into_owned());
            }
        }
        if page.next == at {
            return texts;
        }
        at = page.next;
    }
}

#[tokio::test]
async fn streams_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = real(folder.path());
    let (orders, audit) = (name("Orders"), name("audit"));
    let info = engine.create(&orders, &config()).await.expect("created");
    assert_eq!((info.first, info.next, info.level), (0, 0, Level::Fsynced));
    engine.create(&orders, &config()).await.expect("the same again");
    let other = StreamConfig { producers_max: 5, ..config() };
    assert!(matches!(engine.create(&orders, &other).await, Err(Error::StreamExists { .. })));
    engine.create(&audit, &StreamConfig::default()).await.expect("created");
    assert_eq!(engine.names(None, 10).await.expect("named"), [orders.clone(), audit.clone()]);
    assert_eq!(engine.names(Some(&orders), 10).await.expect("named"), std::slice::from_ref(&audit));
    assert_eq!(engine.names(None, 1).await.expect("named"), std::slice::from_ref(&orders));
    assert_eq!(engine.alter(&orders, &other).await.expect("altered").config, other);
    let stream = engine.stream(&orders).await.expect("there");
    appended(&stream, append_of(&["a".into()])).await.expect("appended");
    let range = stream.range();
    engine.delete(&orders).await.expect("deleted");
    assert!(range.borrow().ended);
    assert!(matches!(appended(&stream, append_of(&["b".into()])).await, Err(Error::Ended { .. })));
    assert!(matches!(stream.read(0, ALL).await, Err(Error::Ended { .. })));
    assert!(matches!(committed(&stream, vec![update("c", at(0))]).await, Err(Error::Ended { .. })));
    assert!(matches!(engine.stream(&orders).await, Err(Error::UnknownStream { .. })));
    assert!(matches!(engine.delete(&orders).await, Err(Error::UnknownStream { .. })));
    assert_eq!(engine.create(&orders, &config()).await.expect("anew").next, 0);
    engine.close().await.expect("closed");
    assert!(matches!(engine.stream(&orders).await, Err(Error::Ended { .. })));
    // Who has a stream has the directory.
    drop((engine, stream));
    let engine = real(folder.path());
    assert_eq!(engine.names(None, 10).await.expect("named"), [orders, audit.clone()]);
    assert_eq!(engine.stream(&audit).await.expect("there").info().await.expect("told").config, StreamConfig::default());
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let all: Vec<String> = (0..400).map(|number| format!("event {number}")).collect();
    let (orders, worker) = (name("orders"), name("worker"));
    let grant = {
        let engine = real(folder.path());
        engine.create(&orders, &config()).await.expect("created");
        let stream = engine.stream(&orders).await.expect("there");
        let grant = stream.open_producer(&worker).await.expect("opened");
        assert_eq!((grant.epoch, grant.sequence, grant.last_offset), (1, 0, None));
        for (sequence, text) in all.iter().enumerate() {
            let producer = Some(ProducerStamp { id: grant.id, epoch: 1, sequence: sequence as u64 });
            let append = Append { producer, ..append_of(&[text.clone().into()]) };
            let stored = appended(&stream, append).await.expect("stored");
            assert_eq!((stored.first, stored.duplicate, stored.level), (sequence as u64, false, Level::Fsynced));
        }
        committed(&stream, vec![update("a", at(7)), update("b", at(9))]).await.expect("committed");
        committed(&stream, vec![update("b", None)]).await.expect("committed");
        grant
        // Not closed in order.
    };
    let engine = real(folder.path());
    let stream = engine.stream(&orders).await.expect("there");
    assert_eq!(texts(&stream, 0).await, all);
    assert_eq!(stream.cursor("a").await.expect("read"), at(7));
    assert_eq!(stream.cursors(None, 10).await.expect("read"), [("a".to_owned(), at(7).expect("one"))]);
    let again = ProducerStamp { id: grant.id, epoch: 1, sequence: 399 };
    let append = Append { producer: Some(again), ..append_of(&["event 399".into()]) };
    let first = appended(&stream, append.clone()).await.expect("known");
    assert_eq!((first.first, first.duplicate), (399, true));
    let grant = stream.open_producer(&worker).await.expect("opened");
    assert_eq!((grant.epoch, grant.sequence, grant.last_offset), (2, 400, Some(399)));
    assert!(matches!(appended(&stream, append).await, Err(Error::ProducerFenced { current: 2, .. })));
    let ahead = ProducerStamp { id: grant.id, epoch: 2, sequence: 401 };
    let append = Append { producer: Some(ahead), ..append_of(&["x".into()]) };
    assert!(matches!(appended(&stream, append).await, Err(Error::SequenceGap { expected: 400, .. })));
    let wrong = Append { expected_next: Some(7), ..append_of(&["x".into()]) };
    assert!(matches!(appended(&stream, wrong).await, Err(Error::WrongOffset { next: 400, .. })));
    assert!(matches!(stream.read(401, ALL).await, Err(Error::OutOfRange { requested: 401, first: 0, next: 400, .. })));
}

#[tokio::test]
async fn a_follower_reads_what_is_appended_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = real(folder.path());
    engine.create(&name("s"), &config()).await.expect("created");
    let stream = engine.stream(&name("s")).await.expect("there");
    let follower = tokio::spawn({
        let stream = stream.clone();
        async move {
            let (mut range, mut at, mut found) = (stream.range(), 0, Vec::new());
            while found.len() < 1_000 {
                let page = stream.read(at, ReadLimits { bytes_max: 1_000, events_max: 7 }).await.expect("readable");
                if page.next == at {
                    range.wait_for(|range| range.next > at).await.expect("it lives");
                }
                let of_page = page.batches.iter().flat_map(|batch| batch.events.events(batch.first, batch.timestamp));
                found.extend(of_page.map(|event| event.offset).filter(|offset| *offset >= at));
                at = page.next;
            }
            found
        }
    });
    for number in 0..500 {
        appended(&stream, append_of(&[format!("{number}").into(), "second".into()])).await.expect("appended");
    }
    assert_eq!(follower.await.expect("no panic"), (0..1_000).collect::<Vec<_>>());
    assert_eq!(stream.offset_at(0).await.expect("found"), 0);
    assert_eq!(stream.offset_at(u64::MAX).await.expect("found"), 1_000);
}

#[tokio::test]
async fn a_backup_is_a_stream_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = real(&folder.path().join("data"));
    let (orders, copy, target) = (name("orders"), name("copy"), folder.path().join("backup"));
    engine.create(&orders, &config()).await.expect("created");
    let stream = engine.stream(&orders).await.expect("there");
    let grant = stream.open_producer(&name("p")).await.expect("opened");
    for sequence in 0..200 {
        let producer = Some(ProducerStamp { id: grant.id, epoch: 1, sequence });
        let append = Append { producer, ..append_of(&[format!("event {sequence}").into()]) };
        appended(&stream, append).await.expect("stored");
    }
    committed(&stream, vec![update("a", at(7))]).await.expect("committed");
    let told = Arc::new(AtomicBool::new(false));
    let progress: ProgressSink = {
        let told = told.clone();
        Arc::new(move |progress| {
            assert!(progress.done <= progress.total);
            told.store(true, Ordering::Relaxed);
        })
    };
    let copied = stream.backup(&target, progress.clone()).await.expect("copied");
    assert_eq!((copied.first, copied.next), (0, 200));
    assert!(told.swap(false, Ordering::Relaxed));
    let again = stream.backup(&target, quiet()).await.expect_err("not over it");
    assert!(again.to_string().ends_with("backup is not empty; name a new directory"), "{again}");
    appended(&stream, append_of(&["later".into()])).await.expect("appended");
    let refused = engine.restore(&orders, &target, quiet()).await.expect_err("not over it");
    assert!(matches!(refused, Error::StreamExists { .. }));
    let nothing = engine.restore(&copy, &folder.path().join("nothing"), quiet()).await.expect_err("nothing there");
    assert!(nothing.to_string().contains("holds no backup of a stream"), "{nothing}");
    assert!(matches!(engine.stream(&copy).await, Err(Error::UnknownStream { .. })));
    assert_eq!(engine.restore(&copy, &target, progress).await.expect("restored").next, 200);
    assert!(told.load(Ordering::Relaxed));
    let restored = engine.stream(&copy).await.expect("there");
    assert_eq!(texts(&restored, 0).await, (0..200).map(|number| format!("event {number}")).collect::<Vec<_>>());
    assert_eq!(restored.cursor("a").await.expect("read"), at(7));
    let grant = restored.open_producer(&name("p")).await.expect("opened");
    assert_eq!((grant.epoch, grant.sequence, grant.last_offset), (2, 200, Some(199)));
    let verified = restored.verify(quiet()).await.expect("read");
    assert_eq!((verified.first, verified.next, verified.events), (0, 200, 200));
    assert!(verified.damaged.is_empty() && verified.problems.is_empty(), "{verified:?}");
}

#[tokio::test]
async fn damage_is_told_and_nothing_is_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nothing is read from memory.
    let options = EngineOptions { tail_bytes_max: 0, ..EngineOptions::default() };
    let engine = JournalEngine::open(folder.path(), options).expect("opened");
    engine.create(&name("s"), &config()).await.expect("created");
    let stream = engine.stream(&name("s")).await.expect("there");
    for number in 0..200 {
        appended(&stream, append_of(&[format!("event {number}").into()])).await.expect("appended");
    }
    let path = folder.path().join("log/s/events/00000000000000000000.segment");
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let verified = stream.verify(quiet()).await.expect("read");
    let [(from, to)] = verified.damaged[..] else { panic!("{verified:?}") };
    assert_eq!((to - from, verified.events), (1, 199));
    let refused = stream.read(from, ALL).await.expect_err("damaged");
    assert!(matches!(refused, Error::Damaged { from: told, to: behind, .. } if (told, behind) == (from, to)));
    assert_eq!(texts(&stream, to).await.len() as u64, 200 - to);
    assert_eq!(stream.info().await.expect("told").damaged, [(from, to)]);
    assert_eq!(std::fs::read(&path).expect("read"), bytes);
}

#[tokio::test]
async fn idle_streams_make_room_for_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EngineOptions { streams_open_max: 3, streams_max: 8, ..EngineOptions::default() };
    let engine = JournalEngine::open(folder.path(), options).expect("opened");
    let names: Vec<_> = (0..8).map(|number| name(&format!("s{number}"))).collect();
    for of in &names {
        engine.create(of, &config()).await.expect("created");
        let stream = engine.stream(of).await.expect("there");
        appended(&stream, append_of(&[of.as_str().to_owned().into()])).await.expect("appended");
    }
    let refused = engine.create(&name("one-more"), &config()).await.expect_err("too many");
    assert!(matches!(refused, Error::Limit { .. }), "{refused}");
    let mut held = Vec::new();
    for of in names.iter().take(3) {
        let stream = engine.stream(of).await.expect("opened again");
        assert_eq!(texts(&stream, 0).await, [of.as_str()]);
        held.push(stream);
    }
    let refused = engine.stream(&names[3]).await.expect_err("all are in use");
    assert!(matches!(refused, Error::Limit { .. }), "{refused}");
    held.pop();
    assert_eq!(texts(&engine.stream(&names[3]).await.expect("there is room"), 0).await, ["s3"]);
}

#[test]
fn a_clock_that_was_set_deletes_nothing_for_its_age() {
    let clock = HandClock::new();
    let disk = sinew_journal::SimulatedDisk::new(1);
    let engine = engine_on(disk, &clock).expect("opened");
    let hour = Duration::from_secs(3_600);
    let retention = Retention { age_max: Some(hour), ..Retention::default() };
    let stream = engine.open_now(&name("s"), &StreamConfig { retention, ..config() }).expect("opened");
    let maintain = || stream.maintain(&mut |_| true).expect("maintained").segments_expired;
    for _ in 0..100 {
        append_now(&stream, append_of(&[vec![0; 100].into()])).expect("appended");
    }
    assert_eq!(maintain(), 0);
    clock.set(START + 1_000 * hour.as_nanos() as u64);
    assert_eq!(maintain(), 0);
    clock.advance(hour / 2);
    assert_eq!(maintain(), 0);
    clock.advance(hour / 2);
    assert!(maintain() > 0);
    assert!(stream.current_range().first > 0);
    assert_eq!(
        read_all(&stream, stream.current_range().first, &ALL).expect("the rest").len() as u64,
        100 - stream.current_range().first
    );
}

#[test]
fn a_full_queue_is_busy_and_gets_on() {
    let disk = sinew_journal::SimulatedDisk::new(1);
    let options = EngineOptions { committer_threads: 0, queued_bytes_max: 1_000, ..EngineOptions::default() };
    let clock = Box::new(HandClock::new());
    let engine = JournalEngine::open_on(Arc::new(disk), Path::new(DATA), options, clock, Upkeep::idle());
    let engine = engine.expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    let laters: Vec<_> = (0..10).map(|_| append(&stream, append_of(&[vec![0; 200].into()]))).collect();
    let busy = |later: &Later<Appended>| matches!(later.answer(), Some(Err(Error::Busy { .. })));
    assert_eq!(laters.iter().map(busy).collect::<Vec<_>>(), [[false; 3].as_slice(), &[true; 7]].concat());
    engine.run_dirty();
    append(&stream, append_of(&[vec![0; 200].into()]));
    engine.run_dirty();
    assert_eq!(stream.current_range().next, 4);
}

#[test]
fn compaction_leaves_the_newest_of_each_key() {
    let clock = HandClock::new();
    let engine = engine_on(sinew_journal::SimulatedDisk::new(1), &clock).expect("opened");
    let compaction = Compaction::ByKey { tombstone_age: Duration::from_secs(60) };
    let stream = engine.open_now(&name("s"), &StreamConfig { compaction, ..config() }).expect("opened");
    for number in 0..300_u32 {
        append_now(&stream, append_of(&[NewEvent::new(vec![0; 50]).key((number % 7).to_string())])).expect("appended");
    }
    append_now(&stream, append_of(&[NewEvent::tombstone("3")])).expect("appended");
    for _ in 0..50 {
        append_now(&stream, append_of(&[NewEvent::new(vec![0; 100])])).expect("appended");
    }
    let compacted = stream.compact(&mut |_| true).expect("compacted");
    assert_eq!(compacted.events_superseded, 300 - 6);
    assert!(compacted.bytes_after < compacted.bytes_before);
    let keys = |stream: &StoredStream| -> Vec<String> {
        let events = read_all(stream, 0, &ALL).expect("readable");
        events.iter().filter_map(|event| event.key.as_deref()).map(|key| String::from_utf8_lossy(key).into()).collect()
    };
    assert_eq!(keys(&stream), ["6", "0", "1", "2", "4", "5", "3"]);
    clock.advance(Duration::from_secs(61));
    assert_eq!(stream.compact(&mut |_| true).expect("compacted").events_superseded, 1);
    assert_eq!(keys(&stream), ["6", "0", "1", "2", "4", "5"]);
    assert_eq!(stream.compact(&mut |_| true).expect("compacted").events_superseded, 0);
}
