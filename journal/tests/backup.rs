//! Backup and verification: the copy is a journal of its own, and says what is wrong with it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use sinew_journal::{BatchView, Error, Journal, JournalOptions, PreparedBatch, Progress, Rewritten, SimulatedDisk};

fn open(disk: &SimulatedDisk, path: &str) -> Journal {
    let options = JournalOptions { segment_bytes: 2_000, index_interval_bytes: 200, ..JournalOptions::default() };
    let (journal, recovery) = Journal::open(Arc::new(disk.clone()), path, options).expect("opened");
    assert!(recovery.damaged.is_empty() && recovery.suspect.is_empty() && recovery.cut.is_none(), "{recovery:?}");
    journal
}

fn filled(disk: &SimulatedDisk) -> Journal {
    let mut journal = open(disk, "/data/journal");
    for number in 0..100_u32 {
        let one = PreparedBatch::new(format!("one {number}"), 1, 1).expect("small enough");
        let three = PreparedBatch::new(vec![number as u8; 100], 3, 3).expect("small enough");
        journal.commit(&mut [one, three], u64::from(number)).expect("committed");
        if number == 50 {
            journal.save_snapshot(journal.next_offset(), b"half").expect("saved");
        }
    }
    let sealed: Vec<_> = journal.segments().into_iter().filter(|segment| segment.is_sealed).collect();
    let mut decide = |batch: &BatchView| if batch.header.span == 1 { Rewritten::Drop } else { Rewritten::Keep };
    let prepared = journal.reader().prepare_rewrite(&sealed[2..5], &mut decide).expect("prepared");
    assert!(prepared.bytes_after() < prepared.bytes_before());
    journal.install(prepared).expect("installed");
    journal.save_snapshot(journal.next_offset(), b"all").expect("saved");
    journal
}

fn read_all(journal: &Journal) -> Vec<BatchView> {
    let reader = journal.reader();
    let mut cursor = reader.cursor(reader.range().0);
    let mut all = Vec::new();
    loop {
        let batches = reader.read_on(&mut cursor, 1_000).expect("readable");
        if batches.is_empty() {
            return all;
        }
        all.extend(batches);
    }
}

/// What of a batch a copy has too.
fn key(batch: &BatchView) -> (u64, u32, u64, Vec<u8>) {
    (batch.header.base_offset, batch.header.span, batch.header.timestamp, batch.body.to_vec())
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_copy_has_what_lies_below_the_offset_and_can_be_written_to() {
    let disk = SimulatedDisk::new(1);
    let journal = filled(&disk);
    let all = read_all(&journal);
    for (number, up_to) in [0, 1, 2, 3, 4, 37, 130, 203, 204, 205, 397, 400, u64::MAX].into_iter().enumerate() {
        let path = format!("/copies/{number}");
        let mut last = 0;
        let mut tell = |progress: &Progress| {
            last = progress.bytes_done;
            ControlFlow::Continue(())
        };
        let copied = journal.reader().copy_to(&path, up_to, &mut tell).expect("copied");
        assert_eq!(copied.bytes, last);
        assert!(copied.next <= up_to && copied.first == 0);
        let mut copy = open(&disk, &path);
        assert_eq!(copy.next_offset(), copied.next);
        let found = read_all(&copy);
        let expected: Vec<_> = all.iter().filter(|batch| batch.header.next_offset() <= copied.next).collect();
        assert!(all.iter().filter(|batch| batch.header.next_offset() <= up_to).count() == expected.len(), "{up_to}");
        assert!(found.iter().map(key).eq(expected.into_iter().map(key)), "up to {up_to}");
        let snapshot = copy.latest_snapshot().expect("read").map(|(_, bytes)| bytes);
        assert_eq!(
            snapshot.as_deref(),
            [None, Some(b"half".as_slice()), Some(b"all")][usize::from(up_to >= 204) + usize::from(up_to >= 400)]
        );
        let more = PreparedBatch::new("more", 1, 1).expect("small enough");
        assert_eq!(copy.commit(&mut [more], 0).expect("committed").first, copied.next);
        drop(copy);
        assert_eq!(open(&disk, &path).next_offset(), copied.next + 1);
    }
}

#[test]
fn a_copy_needs_an_empty_place_and_can_be_stopped() {
    let disk = SimulatedDisk::new(1);
    let journal = filled(&disk);
    let refused = journal.reader().copy_to("/data/journal", u64::MAX, &mut go_on).expect_err("it is in use");
    assert!(matches!(refused, Error::NotEmpty { .. }));
    let stopped = journal.reader().copy_to("/copy", u64::MAX, &mut |_| ControlFlow::Break(())).expect_err("stopped");
    assert!(matches!(stopped, Error::Cancelled));
    let stopped = journal.reader().verify(&mut |_| ControlFlow::Break(())).expect_err("stopped");
    assert!(matches!(stopped, Error::Cancelled));
}

#[test]
fn damage_at_the_end_of_a_copy_is_known_as_such() {
    let disk = SimulatedDisk::new(1);
    filled(&disk).reader().copy_to("/copy", u64::MAX, &mut go_on).expect("copied");
    let segments: Vec<_> = disk.files().into_iter().filter(|path| path.starts_with("/copy")).collect();
    let is_segment = |path: &&std::path::PathBuf| path.extension().is_some_and(|extension| extension == "segment");
    let last: &Path = segments.iter().rfind(is_segment).expect("a segment");
    let mut bytes = disk.contents(last).expect("its bytes");
    *bytes.last_mut().expect("some") ^= 1;
    disk.damage(last, bytes);
    let (journal, recovery) = Journal::open(Arc::new(disk), "/copy", JournalOptions::default()).expect("opened");
    let damage = recovery.damaged[0];
    assert_eq!((damage.from, damage.to, recovery.cut), (397, 400, None));
    assert_eq!(journal.next_offset(), 400);
    let report = journal.reader().verify(&mut go_on).expect("verified");
    assert_eq!(report.damaged, [damage]);
}

#[test]
fn a_copy_has_what_takes_no_offset_behind_the_last_that_does() {
    let disk = SimulatedDisk::new(3);
    let mut journal = open(&disk, "/data/journal");
    let is_alone =
        |journal: &Journal| journal.segments().last().is_some_and(|last| last.first == journal.next_offset());
    // Until it is the first of a segment.
    for number in 0..100_u64 {
        let event = PreparedBatch::new(vec![7; 100 + number as usize * 7 % 150], 1, 1).expect("small enough");
        journal.commit(&mut [event], number).expect("committed");
        let beside = PreparedBatch::new(number.to_le_bytes().to_vec(), 0, 0).expect("small enough");
        journal.commit(&mut [beside], number).expect("committed");
        if number > 0 && is_alone(&journal) {
            break;
        }
    }
    assert!(is_alone(&journal));
    let copied = journal.reader().copy_to("/copies/0", u64::MAX, &mut go_on).expect("copied");
    assert_eq!(copied.next, journal.next_offset());
    let copy = open(&disk, "/copies/0");
    assert!(read_all(&copy).iter().map(key).eq(read_all(&journal).iter().map(key)));
}
