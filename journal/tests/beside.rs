//! Readers beside the writer, the helper's thread, rolls, rewrites and retention, on the real disk: what is read is what
//! was written, without a gap that nobody told of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sinew_journal::{
    BatchView, Committer, Disk, Durability, Error, Journal, JournalOptions, JournalReader, PreparedBatch, Resources,
    Rewritten,
};

const COMMITS: u64 = 3_000;
/// Each batch takes this many offsets.
const SPAN: u64 = 3;

/// What the batch at this offset holds: enough to know whether it is the right one.
fn body(offset: u64) -> Vec<u8> {
    let length = 20 + (offset % 97) as usize;
    offset.to_le_bytes().into_iter().cycle().take(length).collect()
}

/// Follows from the beginning to the end; says how many batches it saw, and how often retention overtook it.
fn follow(reader: &JournalReader) -> (u64, u64) {
    let (mut cursor, mut seen, mut overtaken) = (reader.cursor(0), 0, 0);
    while cursor.next_offset() < COMMITS * SPAN {
        match reader.read_on(&mut cursor, 5_000) {
            Ok(batches) if batches.is_empty() => std::thread::yield_now(),
            Ok(batches) => {
                for batch in &batches {
                    assert_eq!(&batch.body[..], body(batch.header.base_offset), "at {}", batch.header.base_offset);
                    assert!(batch.header.base_offset.is_multiple_of(SPAN));
                }
                let offsets = batches.iter().map(|batch| batch.header.base_offset);
                assert!(offsets.is_sorted());
                seen += batches.len() as u64;
            }
            Err(Error::OutOfRange { first, .. }) => {
                assert!(first > cursor.next_offset());
                overtaken += 1;
                cursor = reader.cursor(first);
            }
            Err(error) => panic!("at {}: {error}", cursor.next_offset()),
        }
    }
    (seen, overtaken)
}

/// Reads anywhere, by offset and by time, until told to stop.
fn jump(reader: &JournalReader, stop: &AtomicBool) -> u64 {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let (first, next) = reader.range();
        let offset = first + (count * 7_919) % (next - first + 1);
        match reader.read(offset, 500) {
            Ok(batches) => batches.iter().for_each(|batch| {
                assert!(batch.header.next_offset() > offset, "{} for {offset}", batch.header.base_offset);
                assert_eq!(&batch.body[..], body(batch.header.base_offset));
            }),
            Err(Error::OutOfRange { .. }) => {}
            Err(error) => panic!("at {offset}: {error}"),
        }
        let at = reader.offset_at(offset / SPAN).expect("found");
        assert!(at >= first && at.is_multiple_of(SPAN));
        count += 1;
    }
    count
}

fn write(mut journal: Journal, durability: Durability) -> Journal {
    for number in 0..COMMITS {
        let batch = PreparedBatch::new(body(number * SPAN), 1, SPAN as u32).expect("small enough");
        journal.commit(&mut [batch], number).expect("committed");
        if number % 500 == 499 {
            let sealed: Vec<_> = journal.segments().into_iter().filter(|segment| segment.is_sealed).collect();
            // Every other batch of the middle goes, so that readers meet gaps that are none.
            let middle = &sealed[sealed.len() / 2..sealed.len() / 2 + 2];
            let mut decide = |batch: &BatchView| match batch.header.base_offset % 2 {
                0 => Rewritten::Drop,
                _ => Rewritten::Keep,
            };
            let prepared = journal.reader().prepare_rewrite(middle, &mut decide).expect("prepared");
            journal.install(prepared).expect("installed");
            let before = journal.segments()[2].first;
            assert_eq!(journal.remove_before(before).expect("removed"), before);
        }
    }
    if durability == Durability::Written {
        journal.sync().expect("synced");
    }
    journal
}

fn check(durability: Durability) {
    let folder = tempfile::tempdir().expect("a folder");
    let committer = Committer::new(1).expect("a thread");
    let options = JournalOptions {
        segment_bytes: 16 * 1024,
        index_interval_bytes: 1_000,
        durability,
        // So few that readers push each other's files and indexes out.
        resources: Resources::new(2_000, 2),
        ..JournalOptions::default()
    };
    let (journal, _) = Journal::open(Arc::new(Disk), folder.path(), options.clone()).expect("opened");
    journal.attach(&committer);
    let stop = AtomicBool::new(false);
    let (reader, other) = (journal.reader(), journal.reader());
    let journal = std::thread::scope(|scope| {
        let following: Vec<_> = (0..2).map(|_| scope.spawn(|| follow(&reader))).collect();
        let jumping = scope.spawn(|| jump(&other, &stop));
        let journal = write(journal, durability);
        for thread in following {
            let (seen, _) = thread.join().expect("no panic");
            assert!(seen > 0);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(jumping.join().expect("no panic") > 0);
        journal
    });
    assert!(committer.failed().borrow().is_none());
    let range = journal.reader().range();
    journal.close().expect("closed");
    drop((reader, other, committer));
    let (journal, recovery) = Journal::open(Arc::new(Disk), folder.path(), options).expect("opened");
    assert!(recovery.is_clean && recovery.damaged.is_empty(), "{recovery:?}");
    assert_eq!(journal.reader().range(), range);
    assert_eq!(follow(&journal.reader()).1, 1);
}

#[test]
fn readers_beside_a_writer_that_syncs() {
    check(Durability::Fsynced);
}

#[test]
fn readers_beside_a_writer_that_does_not() {
    check(Durability::Written);
}

#[test]
fn a_rewrite_that_was_prepared_before_the_journal_was_opened_again_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { segment_bytes: 4 * 1024, ..JournalOptions::default() };
    let open = || Journal::open(Arc::new(Disk), folder.path(), options.clone()).expect("opened").0;
    let commit = |journal: &mut Journal, number: u64| {
        let batch = PreparedBatch::new(body(number * SPAN), 1, SPAN as u32).expect("small enough");
        journal.commit(&mut [batch], number).expect("committed");
    };
    let mut journal = open();
    (0..200).for_each(|number| commit(&mut journal, number));
    let sealed: Vec<_> = journal.segments().into_iter().filter(|segment| segment.is_sealed).collect();
    let prepared = journal.reader().prepare_rewrite(&sealed[..2], &mut |_| Rewritten::Drop).expect("prepared");
    journal.close().expect("closed");
    // Opening removes what was being written when a writer ended: the prepared file is one of these.
    let mut journal = open();
    let refused = journal.install(prepared).expect_err("it is of the journal's last life");
    assert!(matches!(refused, Error::Rewrite { .. }), "{refused}");
    commit(&mut journal, 200);
    assert_eq!(journal.reader().range(), (0, 201 * SPAN));
}
