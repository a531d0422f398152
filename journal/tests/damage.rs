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

/// What was lost must be named; everything else must be as it was. Says how much was lost.
fn check(good: &SimulatedDisk, expected: &Contents, last_commit: u64, disk: &SimulatedDisk) -> Result<usize, String> {
    let (journal, recovery) = match open(disk) {
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
    // A segment that lost its header and all its batches is set aside, and that is told.
    let is_aside = |segment: u64| {
        let name = format!("damaged-{segment:020}");
        recovery.suspect.iter().any(|(path, _)| path.to_string_lossy().contains(&name))
    };
    let lost: Vec<_> = expected.iter().filter(|(place, _)| !found.contains_key(place)).collect();
    for ((segment, position), (base, span, _)) in &lost {
        let next = base + u64::from(*span);
        let is_named = damaged.iter().any(|damage| damage.from <= *base && next <= damage.to);
        let may_be_torn = is_cut(*segment, *position) && *base >= last_commit;
        if !is_named && !may_be_torn && !is_aside(*segment) {
            return Err(format!("{base} to {next} is lost without a word; {damaged:?}, {recovery:?}"));
        }
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
    Ok(lost.len())
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
        match check(&good, &expected, last_commit, &with_bit_changed(&good, path, bit)) {
            // Without a close, a bit in the last commit costs all of it.
            Ok(lost) if lost <= if is_closed { 1 } else { 3 } => losses += lost.min(1),
            Ok(lost) => panic!("seed {seed}, bit {bit} of {}: {lost} batches are lost", path.display()),
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

/// The same with more than a bit: files cut anywhere, and stretches of them overwritten.
fn check_stretches(seed: u64, is_closed: bool, count: usize) {
    let good = journal(seed, is_closed);
    let (opened, _) = open(&good).expect("opened");
    let (expected, _) = read_all(&opened.reader()).expect("readable");
    drop(opened);
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "segment");
    let segments: Vec<_> = good.files().into_iter().filter(is_segment).collect();
    let mut dice = Dice::new(seed);
    let mut losses = 0;
    for number in 0..count {
        // The last one twice as often.
        let path = &segments[(number % (segments.len() + 1)).min(segments.len() - 1)];
        let disk = with_bit_changed(&good, path, 0);
        let mut bytes = good.contents(path).expect("a segment");
        let from = dice.below(bytes.len());
        let end = (from + 1 + dice.below(400)).min(bytes.len());
        match dice.below(4) {
            0 => bytes.truncate(from),
            1 => bytes[from..end].fill(0),
            2 => bytes[from..end].fill_with(|| dice.next() as u8),
            _ => {
                let other = dice.below(bytes.len() - (end - from) + 1);
                bytes.copy_within(from..end, other);
            }
        }
        disk.damage(path, bytes);
        // Without a close, whatever follows the first bad place may be taken for a torn end where nothing good is left
        // behind it that says otherwise.
        let last_commit = if is_closed { u64::MAX } else { 0 };
        match check(&good, &expected, last_commit, &disk) {
            Ok(lost) => losses += lost,
            Err(why) => panic!("seed {seed}, case {number}, {}, {from} to {end}: {why}", path.display()),
        }
    }
    assert!(losses > count / 2, "{losses} batches lost in {count} cases");
}

#[test]
fn cut_and_overwritten_segments_are_told() {
    (20..24).for_each(|seed| check_stretches(seed, true, 500));
    (30..34).for_each(|seed| check_stretches(seed, false, 500));
}

#[test]
fn a_lost_segment_is_told_and_the_rest_is_read() {
    let good = journal(5, true);
    let (opened, _) = open(&good).expect("opened");
    let (segments, next) = (opened.segments(), opened.next_offset());
    drop(opened);
    for (at, segment) in segments.iter().enumerate().skip(1) {
        let path = Path::new(DIRECTORY).join(format!("{:020}.segment", segment.first));
        let disk = with_bit_changed(&good, &path, 0);
        disk.delete(&path);
        let (mut journal, recovery) = open(&disk).expect("opened");
        // A rewrite says itself how far it goes; of any other the next one tells.
        let damage = recovery.damaged[0];
        assert_eq!((damage.from, damage.to), (segment.first, segment.next), "segment {at}: {recovery:?}");
        assert_eq!(journal.next_offset(), next, "its offsets are not given out again");
        let (_, damaged) = read_all(&journal.reader()).expect("readable");
        assert_eq!(damaged.len(), 1);
        assert_eq!((damaged[0].from, damaged[0].to), (segment.first, segment.next));
        let more = PreparedBatch::new("more", 1, 1).expect("small enough");
        assert_eq!(journal.commit(&mut [more], 0).expect("committed").first, next);
        assert_eq!(journal.reader().read(next, 100).expect("readable")[0].body, "more");
        drop(journal);
        let (journal, _) = open(&disk).expect("opened again");
        assert_eq!(journal.reader().read(next, 100).expect("readable")[0].body, "more");
    }
}
