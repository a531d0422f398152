//! The real disk: what was committed is there, in order, for readers beside the writer and after a restart.

use std::path::Path;
use std::sync::Arc;

use sinew_journal::{
    Committer, Disk, Durability, Error, Journal, JournalOptions, JournalReader, PreparedBatch, Recovery,
};

fn options() -> JournalOptions {
    JournalOptions { segment_bytes: 4096, index_interval_bytes: 256, ..JournalOptions::default() }
}

fn open(path: &Path, options: JournalOptions) -> (Journal, Recovery) {
    Journal::open(Arc::new(Disk), path, options).expect("a journal")
}

fn batch(text: &str) -> PreparedBatch {
    PreparedBatch::new(text.to_owned(), 1, 1).expect("a small batch")
}

/// All bodies from an offset, by the way of `read`.
fn texts(reader: &JournalReader, from: u64) -> Vec<String> {
    let (mut at, mut texts) = (from, Vec::new());
    loop {
        let batches = reader.read(at, 1000).expect("readable");
        let Some(last) = batches.last() else { return texts };
        at = last.header.next_offset();
        texts.extend(batches.iter().map(|batch| String::from_utf8(batch.body.to_vec()).expect("text")));
    }
}

#[test]
fn what_was_committed_is_read_in_order_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, recovery) = open(folder.path(), options());
    assert!(recovery.is_new);
    let all: Vec<String> = (0..500).map(|number| format!("record {number}")).collect();
    for (number, text) in all.iter().enumerate() {
        let committed = journal.commit(&mut [batch(text)], 1_000 + number as u64).expect("committed");
        assert_eq!((committed.first, committed.next), (number as u64, number as u64 + 1));
    }
    let reader = journal.reader();
    assert!(journal.segments().len() > 5);
    assert_eq!(texts(&reader, 0), all);
    assert_eq!(texts(&reader, 123), all[123..]);
    assert_eq!(reader.offset_at(1_321).expect("found"), 321);
    assert_eq!(reader.offset_at(0).expect("found"), 0);
    assert_eq!(reader.offset_at(9_999).expect("none"), 500);
    let refused = reader.read(501, 1).expect_err("not there yet");
    assert!(matches!(refused, Error::OutOfRange { requested: 501, first: 0, next: 500 }));

    drop(journal);
    let (journal, recovery) = open(folder.path(), options());
    assert!(!recovery.is_clean && recovery.cut.is_none() && recovery.damaged.is_empty(), "{recovery:?}");
    assert_eq!(recovery.indexes_rebuilt, 0);
    assert_eq!(texts(&journal.reader(), 0), all);
    journal.close().expect("closed");
    let (journal, recovery) = open(folder.path(), options());
    assert!(recovery.is_clean, "{recovery:?}");
    assert_eq!((journal.next_offset(), journal.timestamp()), (500, 1_499));
}

#[test]
fn retention_removes_whole_segments_and_tells_readers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path(), options());
    for number in 0..200 {
        journal.commit(&mut [batch(&number.to_string())], 0).expect("committed");
    }
    let reader = journal.reader();
    let second = journal.segments()[1];
    assert_eq!(journal.remove_before(second.next - 1).expect("removed"), second.first);
    assert_eq!(reader.range(), (second.first, 200));
    let refused = reader.read(0, 1).expect_err("gone");
    assert!(matches!(refused, Error::OutOfRange { requested: 0, .. }));
    assert_eq!(journal.remove_before(u64::MAX).expect("removed"), journal.segments()[0].first);
    assert_eq!(journal.segments().len(), 1);
    journal.roll().expect("rolled");
    assert_eq!(journal.remove_before(200).expect("removed"), 200);
    drop(journal);
    let (mut journal, _) = open(folder.path(), options());
    assert_eq!(journal.reader().range(), (200, 200));
    assert_eq!(journal.commit(&mut [batch("more")], 0).expect("committed").first, 200);
}

#[test]
fn batches_without_offsets_are_read_once_by_a_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path(), options());
    let control = |number: u32| PreparedBatch::new(format!("c{number}"), 0, 0).expect("a small batch").kind(7);
    let mut expected = Vec::new();
    for number in 0..100 {
        journal.commit(&mut [control(number), control(number)], 0).expect("committed");
        journal.commit(&mut [batch("data")], 0).expect("committed");
        expected.extend([(7, format!("c{number}")), (7, format!("c{number}")), (0, "data".to_owned())]);
    }
    journal.commit(&mut [control(100)], 0).expect("committed");
    expected.push((7, "c100".to_owned()));
    for bytes_max in [1, 100, 500, 1 << 20] {
        let reader = journal.reader();
        let mut cursor = reader.cursor(0);
        let mut found = Vec::new();
        loop {
            let batches = reader.read_on(&mut cursor, bytes_max).expect("readable");
            if batches.is_empty() {
                break;
            }
            let text = |body: &[u8]| String::from_utf8(body.to_vec()).expect("text");
            found.extend(batches.iter().map(|batch| (batch.header.kind, text(&batch.body))));
        }
        assert_eq!(found, expected, "{bytes_max} bytes at a time");
    }
}

#[test]
fn written_is_read_at_once_and_the_committer_syncs_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let committer = Committer::new(1).expect("a committer");
    let options = JournalOptions { durability: Durability::Written, ..options() };
    let (mut journal, _) = open(folder.path(), options);
    journal.attach(&committer);
    let mut changed = journal.reader().changed();
    for number in 0..100_u64 {
        let committed = journal.commit(&mut [batch(&number.to_string())], 0).expect("committed");
        assert_eq!(committed.durability, Durability::Written);
        assert_eq!(*changed.borrow_and_update(), number + 1);
    }
    journal.sync().expect("synced");
    assert_eq!(texts(&journal.reader(), 0).len(), 100);
    assert!(committer.failed().borrow().is_none());
}

#[test]
fn the_newest_snapshot_that_can_be_read_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path(), options());
    assert_eq!(journal.latest_snapshot().expect("none"), None);
    for number in 0..5_u64 {
        journal.commit(&mut [batch("x")], 0).expect("committed");
        journal.save_snapshot(number + 1, format!("state {number}").as_bytes()).expect("saved");
    }
    let refused = journal.save_snapshot(6, b"").expect_err("ahead");
    assert!(matches!(refused, Error::SnapshotAhead { offset: 6, next: 5 }));
    let (offset, state) = journal.latest_snapshot().expect("read").expect("one");
    assert_eq!((offset, &state[..]), (5, b"state 4".as_slice()));
    std::fs::write(folder.path().join("snapshot-00000000000000000005"), "rubbish").expect("written");
    let (offset, state) = journal.latest_snapshot().expect("read").expect("the one before");
    assert_eq!((offset, &state[..]), (4, b"state 3".as_slice()));
}

#[test]
fn batches_without_offsets_are_read_from_the_offset_where_they_stand() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path(), options());
    let mark = |number: u64| PreparedBatch::new(format!("mark {number:04}"), 0, 0).expect("a small batch");
    for offset in 0..3 {
        for number in 0..100 {
            journal.commit(&mut [mark(offset * 100 + number)], 1_000).expect("committed");
        }
        journal.commit(&mut [batch("event")], 1_000).expect("committed");
    }
    let reader = journal.reader();
    for offset in 0..3 {
        let batches = reader.read(offset, 1 << 20).expect("readable");
        assert_eq!(batches[0].body, format!("mark {:04}", offset * 100), "from {offset}");
    }
}
