//! The same lives beside a plain list: after every call each way of reading gives what the list has.

use sinew_journal::{Dice, Durability, Error};

use crate::check;
use crate::life::Expected;
use crate::workload::Living;

fn check_readers(living: &mut Living, dice: &mut Dice) {
    let (state, reader) = (living.state.clone(), living.journal().reader());
    assert_eq!(reader.range(), (state.first, state.next));
    let all = check::read_all(&reader, state.first).expect("readable");
    let removed = state.batches.len() - all.len();
    assert_eq!(all, state.batches[removed..]);
    assert!(state.batches[..removed].iter().all(|batch| batch.next() <= state.first), "only what retention may remove");

    let from = state.first + dice.below((state.next - state.first + 1) as usize) as u64;
    let bytes_max = dice.below(3_000);
    let batches = reader.read(from, bytes_max).expect("readable");
    let found: Vec<_> = batches.iter().map(Expected::of).collect();
    // Those without offsets just at `from` may stand at the end of the segment before.
    let expected: Vec<_> = all.iter().filter(|batch| batch.next() > from || batch.base >= from).collect();
    let start = expected.iter().position(|batch| found.first().is_none_or(|first| *batch == first)).unwrap_or(0);
    assert!(expected[..start].iter().all(|batch| batch.span == 0 && batch.base == from), "from {from}: {found:?}");
    assert!(found.len() <= expected.len() - start);
    assert!(found.iter().zip(&expected[start..]).all(|(found, expected)| found == *expected));
    assert_eq!(found.is_empty(), expected.iter().all(|batch| batch.span == 0) && found.is_empty());
    let bytes: usize = found.iter().map(|batch| batch.body.len() + 80).sum();
    assert!(bytes <= bytes_max || found.len() <= 1, "{bytes} bytes for {bytes_max}");

    let time = 990 + dice.below(400) as u64;
    let expected = all.iter().find(|batch| batch.timestamp >= time).map_or(state.next, |batch| batch.base);
    assert_eq!(reader.offset_at(time).expect("found"), expected, "time {time}");

    let refused = reader.read(state.next + 1, 1).expect_err("not there yet");
    assert!(matches!(refused, Error::OutOfRange { .. }));
    if state.first > 0 {
        let refused = reader.read(state.first - 1, 1).expect_err("removed");
        assert!(matches!(refused, Error::OutOfRange { first, .. } if first == state.first));
    }
    check_segments(living, &all);
}

fn check_segments(living: &mut Living, all: &[Expected]) {
    let segments = living.journal().segments();
    let (last, sealed) = segments.split_last().expect("one is written to");
    assert!(!last.is_sealed && sealed.iter().all(|segment| segment.is_sealed));
    assert!(segments.windows(2).all(|pair| pair[0].next == pair[1].first && pair[0].first < pair[1].first));
    assert_eq!(last.next, living.state.next);
    assert_eq!(living.journal().next_offset(), living.state.next);
    let bytes: u64 = all.iter().map(|batch| batch.body.len() as u64 + 80).sum();
    assert_eq!(segments.iter().map(|segment| segment.bytes - 64).sum::<u64>(), bytes);
    let report = living.journal().reader().verify(&mut |_| std::ops::ControlFlow::Continue(())).expect("verified");
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.batches, report.segments), (all.len() as u64, segments.len()));
}

/// One life, compared after each call; panics where something differs.
pub(crate) fn compare(seed: u64, durability: Durability) {
    let mut living = Living::new(seed, durability);
    let mut dice = Dice::new(seed);
    living.begin().expect("opened");
    for step in 0..80 {
        living.any_step().unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
        check_readers(&mut living, &mut dice);
    }
}

#[test]
fn every_way_of_reading_gives_what_was_written() {
    for seed in 2_000..2_060 {
        compare(seed, Durability::Fsynced);
        compare(seed, Durability::Written);
    }
}
