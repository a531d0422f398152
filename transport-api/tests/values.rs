//! The small values of the contract: lane sets and blocks.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use sinew_transport_api::{Block, Lane, LaneSet};

#[test]
fn a_lane_set_of_the_first_lanes() {
    for count in 0..=Lane::COUNT_MAX {
        let lanes: Vec<u8> = LaneSet::first(count).iter().map(|lane| lane.0).collect();
        assert_eq!(lanes, (0..count).collect::<Vec<_>>());
    }
    assert_eq!(LaneSet::first(200), LaneSet::first(Lane::COUNT_MAX));
    assert!(LaneSet::EMPTY.is_empty() && !LaneSet::from(Lane(31)).is_empty());
}

#[test]
fn a_lane_out_of_range_is_never_in_a_set() {
    for lane in [32, 33, 64, 255].map(Lane) {
        let mut set = LaneSet::first(32);
        set.insert(lane);
        assert!(!set.contains(lane));
        set.remove(lane);
        assert_eq!(set, LaneSet::first(32));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_set_is_a_set(operations in proptest::collection::vec((any::<bool>(), 0u8..32), 0..60), other in any::<u32>()) {
        let (mut set, mut model) = (LaneSet::EMPTY, BTreeSet::new());
        for (insert, lane) in operations {
            if insert { set.insert(Lane(lane)) } else { set.remove(Lane(lane)) }
            if insert { model.insert(Lane(lane)) } else { model.remove(&Lane(lane)) };
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), model.clone());
            prop_assert_eq!(set.contains(Lane(lane)), insert);
        }
        let mut others = LaneSet::EMPTY;
        (0..32).filter(|lane| other & (1 << lane) != 0).for_each(|lane| others.insert(Lane(lane)));
        prop_assert!(set.and(others).iter().all(|lane| set.contains(lane) && others.contains(lane)));
        prop_assert_eq!(set.and(others).iter().count(), set.iter().filter(|lane| others.contains(*lane)).count());
    }

    #[test]
    fn a_block_is_its_chunks(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8)) {
        let mut block = Block::default();
        chunks.iter().for_each(|chunk| block.push(Bytes::from(chunk.clone())));
        let whole = chunks.concat();
        prop_assert_eq!(block.len(), whole.len());
        prop_assert_eq!(block.is_empty(), whole.is_empty());
        prop_assert!(block.chunks().iter().all(|chunk| !chunk.is_empty()));
        prop_assert_eq!(block.clone().into_chunks().concat(), whole.clone());
        prop_assert_eq!(block.clone().into_bytes(), Bytes::from(whole));
        let taken = block.take();
        prop_assert!(block.is_empty() && block.chunks().is_empty());
        prop_assert_eq!(taken.into_bytes().len(), chunks.concat().len());
    }
}

#[test]
fn a_single_chunk_is_not_copied() {
    let chunk = Bytes::from(vec![1; 100]);
    assert_eq!(Block::from(chunk.clone()).into_bytes().as_ptr(), chunk.as_ptr());
}
