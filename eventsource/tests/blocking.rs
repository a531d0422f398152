//! The event log for callers that wait: groups, cursors, and what only a disk can do.

use std::sync::Arc;

use sinew_eventsource::{Error, GroupOptions, Position, ProgressSink, StreamConfig, blocking};

#[test]
fn groups_cursors_and_maintenance_are_there_without_a_runtime() {
    let (_server, log) = sinew_testkit::memory::log_of_its_own();
    let log = blocking::Log::new(log);
    let (orders, crew, reader) = ("orders".parse().unwrap(), "crew".parse().unwrap(), "reader".parse().unwrap());
    log.create(&orders, &StreamConfig::default()).unwrap();
    for text in ["one", "two"] {
        log.append(&orders, text).unwrap();
    }
    drop(log.join(&orders, &crew, GroupOptions::default()).unwrap());
    assert_eq!(log.groups(&orders).unwrap(), ["crew"]);
    assert!(log.pause_group(&orders, &crew).unwrap().paused);
    assert!(!log.resume_group(&orders, &crew).unwrap().paused);
    assert_eq!(log.reset_group(&orders, &crew, Position::Offset(1)).unwrap().offset, 1);
    assert_eq!(log.group(&orders, &crew).unwrap().lag, 1);
    log.delete_group(&orders, &crew).unwrap();
    assert!(matches!(log.group(&orders, &crew), Err(Error::UnknownGroup { .. })));
    log.commit_cursor(&orders, &reader, 1).unwrap();
    assert_eq!(log.cursors(&orders).unwrap(), [("reader".to_owned(), 1)]);
    log.remove_cursor(&orders, &reader).unwrap();
    assert_eq!(log.cursors(&orders).unwrap(), []);
    let quiet: ProgressSink = Arc::new(|_| {});
    for unsupported in [
        log.verify(&orders, quiet.clone()).map(drop),
        log.compact(&orders, quiet.clone()).map(drop),
        log.backup(&orders, "/nowhere", quiet.clone()).map(drop),
        log.restore(&orders, "/nowhere", quiet.clone()).map(drop),
        log.import(&orders, &StreamConfig::default(), "/nowhere", quiet).map(drop),
    ] {
        assert!(matches!(unsupported, Err(Error::Unsupported { .. })), "{unsupported:?}");
    }
}
