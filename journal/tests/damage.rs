//! Damage done from outside: a bit anywhere changes, an index is lost, cut, changed or out of date. Everything is told,
//! nothing is read wrong, nothing is removed, and what can be made again is made again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sinew_journal::{
    Damage, Dice, Durability, Error, Journal, JournalOptions, JournalReader, PreparedBatch, Recovery, Resources,
    Rewritten, SimulatedDisk,
};

const DIRECTORY: &str = "/data/journal";

fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 2_000,
        index_interval_bytes: 200,
        durability: Durability::Fsynced,
        first_offset: 0,
        // Of its own: nothing is remembered from one opening to the next.
        resources: Resources::new(1 << 20, 4),
    }
}

fn open(disk: &SimulatedDisk) -> Result<(Journal, Recovery), Error> {
    Journal::open(Arc::new(disk.clone()), DIRECTORY, options())
}

/// Offset, place and contents of each batch, by segment and byte.
type Contents = BTreeMap<(u64, u64), (u64, u32, Vec<u8>)>;

/// A journal of everything: many segments, one of them rewritten, snapshots; closed in order or not.
fn journal(seed: u64, is_closed: bool) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    let mut dice = Dice::new(seed);
    let (mut journal, _) = open(&disk).expect("opened");
    for number in 0..70_u64 {
        let mut batches: Vec<_> = (0..1 + dice.below(3))
            .map(|_| {
                let body: Vec<u8> = (0..dice.below(150)).map(|_| dice.next() as u8).collect();
                let span = [0, 1, 3][dice.below(3)];
                PreparedBatch::new(body, span, span).expect("small enough")
            })
            .collect();
        journal.commit(&mut batches, 1_000 + number).expect("committed");
        if number.is_multiple_of(30) {
            journal.save_snapshot(journal.next_offset(), b"the state").expect("saved");
        }
    }
    let sealed: Vec<_> = journal.segments().into_iter().filter(|segment| segment.is_sealed).collect();
    let mut count = 0;
    let mut decide = |_: &_| {
        count += 1;
        if count % 3 == 0 { Rewritten::Drop } else { Rewritten::Keep }
    };
    let prepared = journal.reader().prepare_rewrite(&sealed[1..3], &mut decide).expect("prepared");
    journal.install(prepared).expect("installed");
    if is_closed {
        journal.close().expect("closed");
    }
    disk
}

/// Everything that can be read, and what is damaged. After damage the cursor goes on behind it.
fn read_all(reader: &JournalReader) -> Result<(Contents, Vec<Damage>), Error> {
    let (mut contents, mut damaged) = (Contents::new(), Vec::new());
    let mut cursor = reader.cursor(reader.range().0);
    loop {
        match reader.read_on(&mut cursor, 700) {
            Ok(batches) if batches.is_empty() => return Ok((contents, damaged)),
            Ok(batches) => contents.extend(batches.iter().map(|batch| {
                let header = &batch.header;
                ((batch.segment, batch.position), (header.base_offset, header.span, batch.body.to_vec()))
            })),
            Err(Error::Damaged(damage)) => damaged.push(damage),
            Err(error) => return Err(error),
        }
    }
}

fn with_bit_changed(good: &SimulatedDisk, path: &Path, bit: usize) -> SimulatedDisk {
    let history = good.history();
    let mut replay = history.replay();
    replay.go_to(history.moments() - 1);
    let disk = replay.crash(sinew_journal::Crash::Keep);
    let mut bytes = disk.contents(path).expect("a file");
    bytes[bit / 8] ^= 1 << (bit % 8);
    disk.damage(path, bytes);
    disk
}

/// What was lost must be named; everything else must be as it was.
fn check_bit(
    good: &SimulatedDisk,
    expected: &Contents,
    last_commit: u64,
    path: &Path,
    bit: usize,
) -> Result<bool, String> {
    let disk = with_bit_changed(good, path, bit);
    let (journal, recovery) = match open(&disk) {
        Ok(opened) => opened,
        Err(error) => return Err(format!("it does not open: {error}")),
    };
    let (found, damaged) = read_all(&journal.reader()).map_err(|error| error.to_string())?;
    for (place, batch) in &found {
        if expected.get(place) != Some(batch) {
            return Err(format!("{place:?} is invented or changed"));
        }
    }
    let is_cut = |segment: u64, position: u64| {
        recovery.cut.as_ref().is_some_and(|cut| cut.segment == segment && cut.position <= position)
    };
    let lost: Vec<_> = expected.iter().filter(|(place, _)| !found.contains_key(place)).collect();
    for ((segment, position), (base, span, _)) in &lost {
        let next = base + u64::from(*span);
        let is_named = damaged.iter().any(|damage| damage.from <= *base && next <= damage.to);
        let may_be_torn = is_cut(*segment, *position) && *base >= last_commit;
        if !is_named && !may_be_torn {
            return Err(format!("{base} to {next} is lost without a word; {damaged:?}, {recovery:?}"));
        }
    }
    if lost.len() > 1 && recovery.cut.is_none() {
        return Err(format!("one bit, and {} batches are lost: {damaged:?}", lost.len()));
    }
    let left = disk.files();
    let is_set_aside = recovery.suspect.iter().any(|(_, why)| why.ends_with("set aside"));
    if let Some(gone) = good.files().iter().find(|path| !left.contains(path) && !is_set_aside) {
        return Err(format!("{} is gone", gone.display()));
    }
    let (offset, state) = journal.latest_snapshot().map_err(|error| error.to_string())?.ok_or("no snapshot is left")?;
    if state != "the state" {
        return Err(format!("the snapshot at {offset} is changed"));
    }
    let report =
        journal.reader().verify(&mut |_| std::ops::ControlFlow::Continue(())).map_err(|error| error.to_string())?;
    if report.damaged != damaged {
        return Err(format!("verify says {:?}, reading says {damaged:?}", report.damaged));
    }
    Ok(!lost.is_empty())
}

fn check_bits(seed: u64, is_closed: bool, count: usize) {
    let good = journal(seed, is_closed);
    let (journal, recovery) = open(&good).expect("opened");
    assert!(recovery.cut.is_none() && recovery.damaged.is_empty(), "{recovery:?}");
    let (expected, damaged) = read_all(&journal.reader()).expect("readable");
    assert!(damaged.is_empty() && expected.len() > 80);
    // Where no close said how far the disk had come, the last commit may be taken for a torn end.
    let last_commit = match is_closed {
        true => u64::MAX,
        false => {
            let last = expected.values().next_back().expect("batches");
            last.0.saturating_sub(10)
        }
    };
    let files = good.files();
    let mut dice = Dice::new(seed);
    let mut losses = 0;
    for number in 0..count {
        let path = &files[number % files.len()];
        let bytes = good.contents(path).expect("a file").len();
        let bit = dice.below(bytes * 8);
        match check_bit(&good, &expected, last_commit, path, bit) {
            Ok(is_lost) => losses += usize::from(is_lost),
            Err(why) => panic!("seed {seed}, bit {bit} of {}: {why}", path.display()),
        }
    }
    println!("{count} bits in {} files, {losses} of them cost a batch, each named", files.len());
    assert!(losses > count / 10, "{losses} of {count} bits did any harm");
}

#[test]
fn a_changed_bit_is_told_after_an_orderly_close() {
    (0..5).for_each(|seed| check_bits(seed, true, 1_200));
}

#[test]
fn a_changed_bit_is_told_after_a_crash() {
    (10..15).for_each(|seed| check_bits(seed, false, 1_200));
}

#[test]
fn an_index_that_is_lost_cut_changed_or_out_of_date_is_made_again_byte_for_byte() {
    let good = journal(77, true);
    drop(open(&good).expect("opened"));
    let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "index");
    let indexes: Vec<_> = good.files().into_iter().filter(is_index).collect();
    assert!(indexes.len() > 3);
    let mut dice = Dice::new(77);
    for case in 0..200 {
        let path = &indexes[dice.below(indexes.len())];
        let original = good.contents(path).expect("an index");
        let disk = with_bit_changed(&good, path, 0);
        match case % 4 {
            0 => disk.delete(path),
            1 => disk.damage(path, original[..dice.below(original.len())].to_vec()),
            2 => {
                let mut bytes = original.clone();
                let bit = dice.below(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                disk.damage(path, bytes);
            }
            _ => {
                let other = indexes.iter().cycle().skip_while(|other| *other != path).nth(1).expect("another");
                disk.damage(path, good.contents(other).expect("an index"));
            }
        }
        let (journal, recovery) = open(&disk).expect("opened");
        assert!(recovery.damaged.is_empty(), "{recovery:?}");
        for segment in journal.segments() {
            journal.reader().read(segment.first, 1).expect("readable");
        }
        for path in &indexes {
            assert_eq!(disk.contents(path), good.contents(path), "case {case}: {}", path.display());
        }
    }
}
