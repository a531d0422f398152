//! The log of one program: the original's tests written anew, and what it did not hold.

use std::fs;
use std::path::Path;

use super::*;

/// Small files, so that there are many.
fn options() -> LogOptions {
    LogOptions { max_log_size: 4_096, index_interval: 256, ..LogOptions::default() }
}

fn open(path: &Path) -> EventLog {
    EventLog::open(path, options()).expect("opened")
}

fn text(number: u64) -> String {
    format!("event {number} {}", "x".repeat(number as usize % 50))
}

/// A log with so many events.
fn filled(path: &Path, count: u64) -> EventLog {
    let log = open(path);
    let tickets: Vec<_> = (0..count).map(|number| log.write_start(text(number))).collect();
    for (number, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().expect("stored"), number as u64);
    }
    log
}

#[track_caller]
fn check(log: &EventLog, offset: u64) {
    let event = log.get(offset).expect("it is there");
    assert_eq!((event.offset, &event.data()[..]), (offset, text(offset).as_bytes()));
    assert_eq!(event.size(), text(offset).len());
    assert!(event.timestamp > 1_600_000_000_000_000_000);
}

#[track_caller]
fn check_out_of_range(log: &EventLog, offset: u64, first: u64, next: u64) {
    let told = log.get(offset).expect_err("it is not there").to_string();
    let expected = format!(
        "offset {offset} of stream `events` is out of range: the first is {first} and the next event gets {next}"
    );
    assert_eq!(told, expected);
    let told = log.get_batch(offset, 1).expect_err("it is not there").to_string();
    assert_eq!(told, expected);
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    check_out_of_range(&log, 0, 0, 0);
    for offset in 0..10 {
        assert_eq!(log.write(text(offset)).expect("written"), offset);
        check(&log, offset);
    }
    check_out_of_range(&log, 10, 0, 10);
}

#[test]
fn many_are_read_at_one_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = filled(folder.path(), 300);
    for (offset, count, expected) in [(0, 5, 0..5), (100, 100, 100..200), (290, 100, 290..300), (0, 1_000, 0..300)] {
        let events = log.get_batch(offset, count).expect("there");
        assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert!(events.iter().all(|event| event.data()[..] == *text(event.offset).as_bytes()));
    }
    assert_eq!(log.get_batch(7, 0).expect("nothing asked").len(), 0);
}

#[test]
fn each_is_found_in_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = filled(folder.path(), 500);
    assert!(log.stream.info().segments > 10, "{:?}", log.stream.info());
    for offset in (0..500).rev() {
        check(&log, offset);
    }
}

#[test]
fn it_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path(), 100).close().expect("closed");
    let log = open(folder.path());
    assert_eq!(log.range(), 0..100);
    assert_eq!(log.write(text(100)).expect("written"), 100);
    drop(log);
    let log = open(folder.path());
    (0..101).for_each(|offset| check(&log, offset));
}

#[test]
fn the_next_file_begins_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let mut segments = vec![log.stream.info().segments];
    for offset in 0..200 {
        log.write(text(offset)).expect("written");
        segments.push(log.stream.info().segments);
    }
    assert!(segments.windows(2).all(|pair| pair[1] - pair[0] <= 1) && *segments.last().expect("some") > 3);
}

/// Where the original fails.
#[test]
fn each_is_found_in_the_newest_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = filled(folder.path(), 130);
    let newest = || log.stream.reader().segments().last().expect("there is one").first;
    while log.range().end < newest() + 10 {
        log.write(text(log.range().end)).expect("written");
    }
    let (newest, next) = (newest(), log.range().end);
    assert!(newest > 0);
    // Read again from the file, not from memory.
    drop(log);
    let log = open(folder.path());
    (newest..next).for_each(|offset| check(&log, offset));
}

#[test]
fn one_process_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let refused = EventLog::open(folder.path(), options()).expect_err("it is in use");
    assert!(refused.to_string().contains("in use by process"), "{refused}");
    drop(log);
    open(folder.path());
}

#[test]
fn threads_share_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let mut offsets: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let log = log.clone();
                scope.spawn(move || -> Vec<u64> {
                    (0..50).map(|number| log.write(format!("{thread} {number}")).expect("written")).collect()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    offsets.sort_unstable();
    assert_eq!(offsets, (0..400).collect::<Vec<_>>());
    let events = log.get_batch(0, 400).expect("there");
    for thread in 0..8 {
        let of_it: Vec<_> =
            events.iter().filter(|event| event.data().starts_with(format!("{thread} ").as_bytes())).collect();
        let numbers: Vec<_> = (0..50).map(|number| Bytes::from(format!("{thread} {number}"))).collect();
        assert_eq!(of_it.iter().map(|event| event.data().clone()).collect::<Vec<_>>(), numbers);
    }
}

#[test]
fn a_batch_is_all_or_nothing_and_options_can_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    assert_eq!(log.write_batch(["a", "b", "c"]).expect("written"), 0..3);
    let large = "x".repeat(100);
    drop(log);
    let log = EventLog::open(folder.path(), LogOptions { event_bytes_max: 64, ..options() }).expect("altered");
    let refused = log.write_batch(["d".to_owned(), large]).expect_err("too large");
    assert!(matches!(refused, Error::TooLarge { bytes: 116, max: 64, .. }), "{refused}");
    let none: [&str; 0] = [];
    assert!(matches!(log.write_batch(none), Err(Error::Malformed(_))));
    assert_eq!(log.range(), 0..3);
}

#[test]
fn what_is_on_its_way_is_awaited() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let tickets: Vec<_> = (0..100).map(|number| log.write_start(text(number))).collect();
    let offsets = block_on(async {
        let mut offsets = Vec::new();
        for ticket in tickets {
            offsets.push(ticket.await?);
        }
        Ok::<_, Error>(offsets)
    });
    assert_eq!(offsets.expect("outside of a runtime").expect("stored"), (0..100).collect::<Vec<_>>());
}

/// A file of the original.
fn original(records: &[(u64, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (offset, time, payload) in records {
        bytes.extend(offset.to_le_bytes());
        bytes.extend(time.to_le_bytes());
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(*payload);
    }
    bytes
}

#[test]
fn the_original_s_files_are_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, path) = (folder.path().join("old"), folder.path().join("new"));
    fs::create_dir(&source).expect("made");
    fs::write(source.join("0.log"), original(&[(0, 50, b"a"), (1, 60, b""), (2, 55, b"ccc")])).expect("written");
    fs::write(source.join("0.index"), 0_u64.to_le_bytes()).expect("written");
    fs::write(source.join("3.log"), original(&[(3, 70, b"d")])).expect("written");
    let log = EventLog::import(&path, &source, options()).expect("imported");
    let events = log.get_batch(0, 10).expect("there");
    let found: Vec<_> = events.iter().map(|event| (event.offset, event.timestamp, &event.data()[..])).collect();
    assert_eq!(found, [(0, 50, &b"a"[..]), (1, 60, b""), (2, 60, b"ccc"), (3, 70, b"d")]);
    assert_eq!(log.write("e").expect("written"), 4);
    drop(log);
    let again = EventLog::import(&path, &source, options()).expect_err("there already");
    assert!(matches!(again, Error::StreamExists { .. }), "{again}");
}

#[track_caller]
fn check_malformed(files: &[(&str, Vec<u8>)], text: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, path) = (folder.path().join("old"), folder.path().join("new"));
    fs::create_dir(&source).expect("made");
    files.iter().for_each(|(name, bytes)| fs::write(source.join(name), bytes).expect("written"));
    let refused = EventLog::import(&path, &source, options()).expect_err("malformed").to_string();
    assert_eq!(
        refused.replace(&format!("{}/", source.display()), "").replace(&source.display().to_string(), "OLD"),
        text
    );
    // Nothing of it stays.
    assert_eq!(open(&path).range(), 0..0);
}

#[test]
fn a_malformed_import_names_file_and_byte() {
    let good = original(&[(0, 50, b"abc"), (1, 60, b"de")]);
    check_malformed(
        &[],
        "nothing was imported: OLD is malformed at byte 0: 0 files are named like `0.log`; 1 to 1000000 can be imported",
    );
    check_malformed(
        &[("0.log", good[..good.len() - 1].to_vec())],
        "nothing was imported: 0.log is malformed at byte 23: the record has 2 bytes, and 1 are left",
    );
    check_malformed(
        &[("0.log", good[..30].to_vec())],
        "nothing was imported: 0.log is malformed at byte 23: a record's head has 20 bytes, and 7 are left",
    );
    check_malformed(
        &[("0.log", original(&[(0, 1, b"a"), (2, 1, b"c")]))],
        "nothing was imported: 0.log is malformed at byte 21: the record has offset 2, and 1 is due",
    );
    check_malformed(
        &[("0.log", good.clone()), ("5.log", original(&[(5, 1, b"")]))],
        "nothing was imported: 5.log is malformed at byte 0: its name says offset 5, and 2 is due",
    );
}

#[test]
fn every_cut_of_an_import_is_told_or_whole() {
    let good = original(&[(0, 50, b"abc"), (1, 60, b"de"), (2, 60, b"")]);
    let folder = tempfile::tempdir().expect("a folder");
    for cut in 0..=good.len() {
        let (source, path) = (folder.path().join(format!("old{cut}")), folder.path().join(format!("new{cut}")));
        fs::create_dir(&source).expect("made");
        fs::write(source.join("0.log"), &good[..cut]).expect("written");
        let imported = EventLog::import(&path, &source, options());
        match [0, 23, 45, 65].iter().position(|end| *end == cut) {
            Some(count) => assert_eq!(imported.expect("whole records").range(), 0..count as u64),
            None => assert!(matches!(imported, Err(Error::MalformedImport { .. })), "{cut}"),
        }
    }
}
