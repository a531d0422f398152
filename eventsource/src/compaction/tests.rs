//! Compaction beside a model: after any number of passes, however small the map and wherever one was cut off, a reader of
//! the whole stream ends with the same value of each key, and sees no value that was replaced before it came back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{EventBatchBuilder, NewEvent};

/// A batch in a segment.
#[derive(Clone, Debug)]
struct Batch {
    first: u64,
    timestamp: u64,
    events: EventBatch,
}

/// One pass over segments of batches; it ends after `segments_max` rewrites, as a crash would end it. Gives the offset
/// from which the next pass has to learn.
fn pass(segments: &mut [Vec<Batch>], clean: u64, bytes_max: usize, until: Option<u64>, segments_max: usize) -> u64 {
    let mut keys = KeyMap::new(bytes_max);
    let mut covered = clean;
    'learn: for batch in segments.iter().flatten().filter(|batch| batch.first >= clean) {
        if !keys.learn(&batch.events, batch.first) {
            break 'learn;
        }
        covered = batch.first + 1;
    }
    let pass = Pass { keys: &keys, tombstones_until: until };
    for (number, segment) in segments.iter_mut().enumerate() {
        if segment.first().is_none_or(|batch| batch.first >= covered) {
            break;
        }
        if number >= segments_max {
            return clean;
        }
        for batch in segment.iter_mut().filter(|batch| batch.first < covered) {
            batch.events = pass.retain(&batch.events, batch.first, batch.timestamp);
        }
    }
    covered
}

fn read(segments: &[Vec<Batch>]) -> Vec<(u64, Option<String>, bool)> {
    let events = segments.iter().flatten().flat_map(|batch| batch.events.events(batch.first, batch.timestamp));
    let key = |key: bytes::Bytes| String::from_utf8_lossy(&key).into_owned();
    events.map(|event| (event.offset, event.body.key.map(key), event.body.tombstone)).collect()
}

/// Keys and the offset of what stands under them.
fn values(events: &[(u64, Option<String>, bool)]) -> BTreeMap<String, u64> {
    let mut values = BTreeMap::new();
    for (offset, key, is_tombstone) in events {
        match key {
            Some(key) if *is_tombstone => values.remove(key),
            Some(key) => values.insert(key.clone(), *offset),
            None => None,
        };
    }
    values
}

proptest! {
    #[test]
    fn values_stay(
        segments in proptest::collection::vec(proptest::collection::vec(
            proptest::collection::vec(proptest::option::weighted(0.8, (0_u8..8, prop::bool::weighted(0.3))), 1..4),
            1..5), 1..6),
        passes in proptest::collection::vec((1_usize..400, proptest::option::of(0_u64..30), 0_usize..8), 1..12),
    ) {
        let (mut offset, mut time) = (0, 0);
        let mut log: Vec<Vec<Batch>> = segments.iter().map(|segment| segment.iter().map(|events| {
            let mut builder = EventBatchBuilder::default();
            for event in events {
                let event = match event {
                    None => NewEvent::new("plain"),
                    Some((key, true)) => NewEvent::tombstone(key.to_string()),
                    Some((key, false)) => NewEvent::new("value").key(key.to_string()),
                };
                builder.push(&event).expect("small");
            }
            time += 1;
            let batch = Batch { first: offset, timestamp: time, events: builder.finish() };
            offset += events.len() as u64;
            batch
        }).collect()).collect();
        let before = read(&log);
        let mut clean = 0;
        for (bytes_max, until, segments_max) in passes {
            clean = pass(&mut log, clean, bytes_max, until, segments_max);
            let now = read(&log);
            prop_assert_eq!(values(&now), values(&before));
            prop_assert!(now.iter().all(|event| before.contains(event)));
            let plain = |events: &[(u64, Option<String>, bool)]| events.iter().filter(|of| of.1.is_none()).count();
            prop_assert_eq!(plain(&now), plain(&before));
        }
        // With room for all keys one more pass leaves one event of each key, and no tombstone.
        pass(&mut log, 0, usize::MAX, Some(u64::MAX), usize::MAX);
        let last: Vec<_> = read(&log).into_iter().filter_map(|(offset, key, _)| Some((key?, offset))).collect();
        prop_assert_eq!(last.len(), values(&before).len());
        prop_assert_eq!(last.into_iter().collect::<BTreeMap<_, _>>(), values(&before));
    }
}

#[test]
fn a_young_tombstone_stays() {
    let mut builder = EventBatchBuilder::default();
    builder.push(&NewEvent::new("value").key("k")).expect("small");
    builder.push(&NewEvent::tombstone("k")).expect("small");
    let events = builder.finish();
    let mut keys = KeyMap::new(KEY_MAP_BYTES_MAX);
    assert!(keys.learn(&events, 0));
    for (until, left) in [(None, 1), (Some(99), 1), (Some(100), 0)] {
        let pass = Pass { keys: &keys, tombstones_until: until };
        assert_eq!(pass.retain(&events, 0, 100).count(), left, "{until:?}");
    }
    assert_eq!(tombstones_until(Some(100), Duration::from_nanos(40)), Some(60));
    assert_eq!(tombstones_until(Some(10), Duration::from_nanos(40)), None);
    assert_eq!(tombstones_until(None, Duration::ZERO), None);
}

#[test]
fn a_pass_is_due_when_half_as_much_is_new() {
    for (clean, dirty, due) in [(0, 0, false), (0, 1, true), (100, 49, false), (100, 50, true), (100, 0, false)] {
        assert_eq!(is_due(clean, dirty), due, "{clean} {dirty}");
    }
}
