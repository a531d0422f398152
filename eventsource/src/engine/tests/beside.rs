//! What goes on beside a stream's appends (maintenance, copies, closing) and what it leaves when something is in its way.

use std::collections::HashSet;
use std::sync::mpsc;

use sinew_journal::{Disk, Fault, FaultKind, SimulatedDisk};

use super::*;
use crate::{BackedUp, Compaction, Retention};

fn cursor(offset: u64, bytes: usize) -> CursorUpdate {
    let cursor = Cursor { offset, state: vec![7; bytes], ..Cursor::default() };
    CursorUpdate { name: format!("c{}", offset % 10), cursor: Some(cursor) }
}

/// Paths below the stream `s` that have this in them.
fn paths(disk: &SimulatedDisk, text: &str) -> Vec<std::path::PathBuf> {
    disk.files().into_iter().filter(|path| path.to_string_lossy().contains(text)).collect()
}

#[test]
fn a_stream_that_is_removed_waits_for_no_copy_of_it() {
    let disk = SimulatedDisk::new(1);
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    disk.create_dir_all(Path::new("/data/copy")).expect("made");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    for _ in 0..100 {
        append_now(&stream, append_of(&[vec![0; 300].into()])).expect("appended");
    }
    let mut range = stream.range();
    let (begun, copying) = mpsc::channel();
    let backup = |stream: &StoredStream, go_on: GoOn<'_>| -> Result<BackedUp> {
        super::super::backup::backup(stream, Path::new("/data/copy"), go_on)
    };
    std::thread::scope(|scope| {
        let copy = scope.spawn(|| {
            let mut removed = |_| {
                if begun.send(()).is_ok() {
                    // As slow as it gets: until the stream is being removed.
                    sinew_session::block_on(range.wait_for(|range| range.ended)).expect("room").expect("it lives");
                }
                true
            };
            stream.while_it_lives(&mut removed, backup)
        });
        copying.recv().expect("it has begun");
        drop(copying);
        engine.delete_now(&name("s")).expect("removed");
        let copied = copy.join().expect("no panic");
        assert!(matches!(copied, Err(Error::Ended { .. })), "{copied:?}");
    });
}

#[test]
fn cursors_that_cannot_be_known_are_told_and_not_taken_for_none() {
    let disk = SimulatedDisk::new(1);
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    let snapshots = || paths(&disk, "/cursors/snapshot-");
    let mut number = 0;
    while snapshots().len() < 2 || paths(&disk, "/cursors/00000000000000000000.segment").len() == 1 {
        commit_now(&stream, vec![cursor(number, 200)]).expect("committed");
        number += 1;
    }
    drop(stream);
    engine.close_now().expect("closed");
    drop(engine);
    for path in snapshots() {
        disk.damage(&path, b"no snapshot".to_vec());
    }
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    let refused = engine.opened(&name("s")).expect_err("its cursors are not known");
    assert!(matches!(&refused, Error::Storage { why, .. } if why.contains("its cursors cannot be read")), "{refused}");
}

#[tokio::test]
async fn a_copy_has_the_cursors_whatever_is_committed_meanwhile() {
    let disk = SimulatedDisk::new(1);
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    append_now(&stream, append_of(&["event".into()])).expect("appended");
    for number in 0..50 {
        commit_now(&stream, vec![cursor(number, 200)]).expect("committed");
    }
    let mut number = 50;
    let mut commit_much = |_| {
        for _ in 0..50 {
            commit_now(&stream, vec![cursor(number, 200)]).expect("committed");
            number += 1;
        }
        true
    };
    let target = Path::new("/data/copy");
    disk.create_dir_all(target).expect("made");
    super::super::backup::backup(&stream, target, &mut commit_much).expect("copied");
    let all = stream.cursors.page(None, 100);
    let copy = name("copy");
    engine.restore(&copy, target, Arc::new(|_| {})).await.expect("restored");
    let copied = engine.opened(&copy).expect("its cursors make sense").cursors.page(None, 100);
    let names = |cursors: &[(String, Cursor)]| cursors.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&copied), names(&all));
    assert!(copied.iter().all(|(_, cursor)| cursor.offset >= 40), "not older than when the copy began");
    // It was put off for as long as that.
    commit_now(&stream, vec![cursor(number, 200)]).expect("committed");
    assert!(paths(&disk, "/log/s/cursors/").len() < 10, "{:?}", paths(&disk, "/log/s/cursors/"));
}

#[test]
fn a_name_without_a_stream_leaves_nothing_behind() {
    let engine = engine_on(SimulatedDisk::new(1), &HandClock::new()).expect("opened");
    for number in 0..100 {
        let none = name(&format!("n{number}"));
        assert!(matches!(engine.delete_now(&none), Err(Error::UnknownStream { .. })));
        assert!(matches!(engine.opened(&none), Err(Error::UnknownStream { .. })));
        let source = Path::new("/data/nothing");
        engine.import_now(&none, &config(), source, &mut |_| true).expect_err("nothing is there");
    }
    assert_eq!(engine.slots(), 0);
    engine.open_now(&name("s"), &config()).expect("opened");
    assert_eq!(engine.slots(), 1);
    engine.delete_now(&name("s")).expect("removed");
    assert_eq!(engine.slots(), 0);
}

/// Alters a stream on a disk that is full from so many calls on, and says how many there were.
fn alter_on_a_full_disk(full_from: u64) -> u64 {
    let other = StreamConfig { segment_bytes_max: 8_192, ..config() };
    let disk = SimulatedDisk::new(1);
    let engine = engine_on(disk.clone(), &HandClock::new()).expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    for _ in 0..30 {
        append_now(&stream, append_of(&[vec![0; 300].into()])).expect("appended");
    }
    let before = disk.calls();
    disk.fail(Fault { kind: FaultKind::NoSpace, call: before.saturating_add(full_from), count: u64::MAX });
    let altered = engine.open_now(&name("s"), &other);
    let calls = disk.calls() - before;
    let place = format!("full from call {full_from} of {calls} on");
    assert!(matches!(altered, Ok(_) | Err(Error::NoSpace { .. })), "{place}: {altered:?}");
    assert!(stream.host.failure.told().borrow().is_none(), "{place}: the process need not end");
    disk.mend();
    drop((stream, altered));
    let stream = engine.open_now(&name("s"), &other).expect("there is room");
    assert_eq!(append_now(&stream, append_of(&["after".into()])).expect("appended").first, 30, "{place}");
    assert_eq!(read_all(&stream, 0, &ALL).expect("readable").len(), 31, "{place}");
    calls
}

#[test]
fn a_full_disk_ends_nothing_while_a_stream_is_altered() {
    let calls = alter_on_a_full_disk(u64::MAX);
    assert!(calls > 20, "it was opened again");
    for call in 0..calls {
        alter_on_a_full_disk(call);
    }
}

/// An engine that has one stream open at a time, `b` after `a`.
fn one_at_a_time(disk: &SimulatedDisk) -> JournalEngine {
    let options = EngineOptions { committer_threads: 0, streams_open_max: 1, ..EngineOptions::default() };
    let (files, clock) = (Arc::new(disk.clone()), Box::new(HandClock::new()));
    let engine = JournalEngine::open_on(files, Path::new(DATA), options, clock, Upkeep::idle()).expect("opened");
    for stream in ["a", "b"] {
        let stream = engine.open_now(&name(stream), &config()).expect("opened");
        append_now(&stream, append_of(&["event".into()])).expect("appended");
    }
    engine
}

#[test]
fn a_full_disk_does_not_keep_an_idle_stream_open() {
    let disk = SimulatedDisk::new(1);
    let engine = one_at_a_time(&disk);
    let idle = engine.opened(&name("b")).expect("opened");
    let before = disk.calls();
    disk.fail(Fault { kind: FaultKind::NoSpace, call: before, count: u64::MAX });
    idle.close().expect_err("there is no room for its mark");
    let calls = disk.calls() - before;
    let disk = SimulatedDisk::new(1);
    let engine = one_at_a_time(&disk);
    // Looking for `a` takes a call or two before, which need no room.
    disk.fail(Fault { kind: FaultKind::NoSpace, call: disk.calls(), count: calls });
    let read = read_all(&engine.opened(&name("a")).expect("it has nothing to do with it"), 0, &ALL).expect("readable");
    assert_eq!(read.len(), 1);
    disk.mend();
    let again = engine.opened(&name("b")).expect("opened");
    assert_eq!(append_now(&again, append_of(&["event".into()])).expect("appended").first, 1);
}

#[test]
fn a_time_that_is_told_is_the_one_that_is_stored() {
    let clock = HandClock::new();
    let options = EngineOptions { committer_threads: 0, tail_bytes_max: 0, ..EngineOptions::default() };
    let files = Arc::new(SimulatedDisk::new(1));
    let engine = JournalEngine::open_on(files, Path::new(DATA), options, Box::new(clock.clone()), Upkeep::idle());
    let engine = engine.expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    append_now(&stream, append_of(&["one".into()])).expect("appended");
    // A round that stores nothing, a minute later by a clock that is set back then.
    clock.set(START + 60_000_000_000);
    let wrong = Append { expected_next: Some(7), ..append_of(&["two".into()]) };
    append_now(&stream, wrong).expect_err("another offset is next");
    clock.set(START + 1);
    let told = append_now(&stream, append_of(&["two".into()])).expect("appended").timestamp;
    let stored = read_all(&stream, 1, &ALL).expect("readable")[0].timestamp;
    assert_eq!((told, stored), (START + 1, START + 1));
}

#[test]
fn a_producer_is_known_from_the_log_alone_after_compaction() {
    let (disk, clock) = (SimulatedDisk::new(1), HandClock::new());
    let engine = engine_on(disk.clone(), &clock).expect("opened");
    let compaction = Compaction::ByKey { tombstone_age: Duration::from_secs(60) };
    let config = StreamConfig { compaction, ..config() };
    let stream = engine.open_now(&name("s"), &config).expect("opened");
    let grant = open_producer(&stream, "p").expect("opened");
    for sequence in 0..20 {
        let producer = Some(ProducerStamp { id: grant.id, epoch: grant.epoch, sequence });
        let event = NewEvent::new(vec![0; 300]).key("k");
        append_now(&stream, Append { producer, ..append_of(&[event]) }).expect("appended");
    }
    assert_eq!(open_producer(&stream, "p").expect("opened").sequence, 20);
    for _ in 0..40 {
        append_now(&stream, append_of(&[NewEvent::new(vec![0; 300]).key("k")])).expect("appended");
    }
    assert!(stream.compact(&mut |_| true).expect("compacted").events_superseded > 20);
    drop(stream);
    engine.forget();
    drop(engine);
    for path in paths(&disk, "/events/snapshot-") {
        disk.delete(&path);
    }
    let engine = engine_on(disk, &clock).expect("opened");
    let stream = engine.open_now(&name("s"), &config).expect("opened");
    let known = open_producer(&stream, "p").expect("opened");
    assert_eq!((known.id, known.epoch, known.sequence, known.last_offset), (grant.id, 3, 20, Some(19)));
}

#[test]
fn a_file_of_which_nothing_can_be_read_does_not_stop_compaction() {
    let (disk, clock) = (SimulatedDisk::new(1), HandClock::new());
    let engine = engine_on(disk.clone(), &clock).expect("opened");
    let compaction = Compaction::ByKey { tombstone_age: Duration::from_secs(60) };
    let config = StreamConfig { compaction, ..config() };
    let stream = engine.open_now(&name("s"), &config).expect("opened");
    for number in 0..60_u8 {
        append_now(&stream, append_of(&[NewEvent::new(vec![number; 300]).key("k")])).expect("appended");
    }
    drop(stream);
    engine.close_now().expect("closed");
    drop(engine);
    let segments = paths(&disk, ".segment");
    let lost = segments[segments.len() / 2].clone();
    let bytes = disk.contents(&lost).expect("there");
    disk.damage(&lost, vec![0xff; bytes.len()]);
    disk.delete(&lost.with_extension("index"));
    let engine = engine_on(disk, &clock).expect("opened");
    let stream = engine.open_now(&name("s"), &config).expect("opened");
    let damaged = stream.info().damaged;
    assert!(!damaged.is_empty());
    let done = stream.compact(&mut |_| true).expect("the others are compacted");
    assert!(done.events_superseded > 20, "{done:?}");
    assert_eq!(stream.info().damaged, damaged);
}

/// The real disk, whose syncs wait for one another.
#[derive(Debug, Default)]
struct Slow {
    state: Mutex<SlowState>,
    changed: std::sync::Condvar,
}

#[derive(Debug, Default)]
struct SlowState {
    /// Every sync waits until another thread has one as well.
    together: Option<HashSet<std::thread::ThreadId>>,
    /// Syncs of snapshots wait until they are let go.
    holds_snapshots: bool,
    /// One does.
    is_holding: bool,
}

#[derive(Debug)]
struct SlowFiles(Arc<Slow>);

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn sinew_journal::File>,
    is_snapshot: bool,
    slow: Arc<Slow>,
}

impl Slow {
    fn change(&self, change: impl FnOnce(&mut SlowState)) {
        change(&mut locked(&self.state));
        self.changed.notify_all();
    }

    /// Waits until a snapshot is held up.
    fn until_it_holds(&self) {
        let waits = |state: &mut SlowState| !state.is_holding;
        let patience = Duration::from_secs(60);
        let waited = self.changed.wait_timeout_while(locked(&self.state), patience, waits).expect("no panic");
        assert!(!waited.1.timed_out(), "no snapshot is written");
    }

    fn wait(&self, is_snapshot: bool) {
        let mut state = locked(&self.state);
        if let Some(together) = &mut state.together {
            together.insert(std::thread::current().id());
            self.changed.notify_all();
        }
        if is_snapshot && state.holds_snapshots {
            state.is_holding = true;
            self.changed.notify_all();
        }
        let waits = |state: &mut SlowState| {
            let alone = state.together.as_ref().is_some_and(|threads| threads.len() < 2);
            alone || (is_snapshot && state.holds_snapshots)
        };
        let waited = self.changed.wait_timeout_while(state, Duration::from_secs(60), waits).expect("no panic");
        assert!(!waited.1.timed_out(), "what it waits for waits for it");
    }
}

impl SlowFiles {
    fn file(&self, path: &Path, file: Arc<dyn sinew_journal::File>) -> Arc<dyn sinew_journal::File> {
        let is_snapshot = path.to_string_lossy().contains("snapshot");
        Arc::new(SlowFile { file, is_snapshot, slow: self.0.clone() })
    }
}

impl Files for SlowFiles {
    fn open(&self, path: &Path, mode: sinew_journal::OpenMode) -> std::io::Result<Arc<dyn sinew_journal::File>> {
        Ok(self.file(path, Disk.open(path, mode)?))
    }

    fn create_new(&self, path: &Path) -> std::io::Result<Arc<dyn sinew_journal::File>> {
        Ok(self.file(path, Disk.create_new(path)?))
    }

    fn list(&self, directory: &Path) -> std::io::Result<Vec<String>> {
        Disk.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> std::io::Result<()> {
        Disk.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        Disk.remove(path)
    }

    fn remove_dir(&self, directory: &Path) -> std::io::Result<()> {
        Disk.remove_dir(directory)
    }

    fn open_dir(&self, directory: &Path) -> std::io::Result<Box<dyn sinew_journal::Directory>> {
        Disk.open_dir(directory)
    }

    fn lock(&self, path: &Path) -> std::io::Result<Box<dyn sinew_journal::Lock>> {
        Disk.lock(path)
    }

    fn random(&self) -> u64 {
        Disk.random()
    }
}

impl sinew_journal::File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> std::io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> std::io::Result<usize> {
        self.file.write_at(bytes, position)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.slow.wait(self.is_snapshot);
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> std::io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
}

#[test]
fn many_streams_are_closed_beside_one_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = Arc::<Slow>::default();
    let files = Arc::new(SlowFiles(slow.clone()));
    let options = EngineOptions { committer_threads: 0, ..EngineOptions::default() };
    let clock = Box::new(HandClock::new());
    let engine = JournalEngine::open_on(files, folder.path(), options, clock, Upkeep::idle()).expect("opened");
    for number in 0..20 {
        let stream = engine.open_now(&name(&format!("s{number}")), &config()).expect("opened");
        append_now(&stream, append_of(&["event".into()])).expect("appended");
    }
    slow.change(|state| state.together = Some(HashSet::new()));
    engine.close_now().expect("closed");
    slow.change(|state| state.together = None);
    drop(engine);
    let engine = JournalEngine::open(folder.path(), EngineOptions::default()).expect("opened");
    for number in 0..20 {
        let stream = engine.opened(&name(&format!("s{number}"))).expect("opened");
        assert_eq!(stream.current_range().next, 1);
    }
}

#[test]
fn appends_go_on_while_producers_are_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = Arc::<Slow>::default();
    let files = Arc::new(SlowFiles(slow.clone()));
    let options = EngineOptions { committer_threads: 0, ..EngineOptions::default() };
    let clock = Box::new(HandClock::new());
    let engine = JournalEngine::open_on(files, folder.path(), options, clock, Upkeep::idle()).expect("opened");
    let stream = engine.open_now(&name("s"), &config()).expect("opened");
    for _ in 0..30 {
        append_now(&stream, append_of(&[vec![0; 300].into()])).expect("appended");
    }
    slow.change(|state| state.holds_snapshots = true);
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| stream.maintain(&mut |_| true));
        slow.until_it_holds();
        append_now(&stream, append_of(&["event".into()])).expect("appended");
        slow.change(|state| state.holds_snapshots = false);
        saving.join().expect("no panic").expect("saved");
    });
    let snapshots = std::fs::read_dir(folder.path().join("log/s/events")).expect("listed");
    let is_snapshot = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("snapshot-");
    assert_eq!(snapshots.map(|entry| entry.expect("read").file_name()).filter(is_snapshot).count(), 1);
}

#[test]
fn streams_that_nobody_opens_are_maintained_in_turn() {
    let (disk, clock) = (SimulatedDisk::new(1), HandClock::new());
    let engine = engine_on(disk.clone(), &clock).expect("opened");
    let hour = Duration::from_secs(3_600);
    let retention = Retention { age_max: Some(hour), ..Retention::default() };
    for (stream, retention) in [("a", retention), ("b", Retention::default()), ("c", retention), ("d", retention)] {
        let stream = engine.open_now(&name(stream), &StreamConfig { retention, ..config() }).expect("opened");
        for _ in 0..60 {
            append_now(&stream, append_of(&[vec![0; 300].into()])).expect("appended");
        }
    }
    engine.close_now().expect("closed");
    drop(engine);
    clock.advance(2 * hour);
    let engine = engine_on(disk.clone(), &clock).expect("opened");
    let held = engine.opened(&name("d")).expect("opened");
    let segments = |stream: &str| paths(&disk, &format!("/log/{stream}/events/0")).len();
    let before = ["a", "b", "c", "d"].map(segments);
    // Once around, and a half.
    (0..3).for_each(|_| engine.maintain_next());
    let after = ["a", "b", "c", "d"].map(segments);
    assert!(after[0] < before[0] && after[2] < before[2], "{before:?} {after:?}");
    assert_eq!((after[1], after[3]), (before[1], before[3]), "one keeps all, one is open and maintained as such");
    assert_eq!(engine.slots(), 3, "what was opened for it is closed again, and its place stays");
    drop(held);
    let first = engine.opened(&name("a")).expect("opened").current_range().first;
    assert!(first > 0);
}
