//! Watches through cuts and restarts: of all keys, of some, of one; from a snapshot that takes many pages, from a revision;
//! by readers that are slow. Nothing is missed, doubled or out of order.

use std::time::Duration;

use sinew_kvstore::{
    BucketConfig, Entry, Key, KvBucket, PageLimits, Range, Watch, WatchEvent, WatchFrom, WatchOptions,
};
use sinew_session::Pattern;
use sinew_testkit::kv::Seen;
use sinew_testkit::random::Random;
use tokio::time::sleep;

use crate::storm::{Storm, storm};

/// Cuts and restarts in each storm.
const CUTS: u64 = 120;
const STORMS: u64 = 5;
/// Keys that there are before anybody watches: many pages of a small window.
const KEYS: usize = 400;

fn key(number: usize) -> Key {
    format!("{}.{number:03}", ["a", "b", "c.d"][number % 3]).parse().expect("a key of this test")
}

async fn write_one(bucket: &KvBucket, random: &mut Random) -> u64 {
    let key = key(random.below(KEYS));
    let value = vec![0_u8; 1 + random.below(200)];
    let revision = match random.below(5) {
        0 => bucket.delete(&key).await.expect("it is done").revision,
        1 => {
            let other = self::key(random.below(KEYS));
            let both = bucket.transaction().put(&key, value);
            let both = if other == key { both } else { both.delete(&other) };
            both.commit().await.expect("it is written").revisions.into_iter().max().unwrap_or(0)
        }
        _ => bucket.put(&key, value).await.expect("it is written").revision,
    };
    let pause = random.millis(40);
    sleep(pause).await;
    revision
}

/// Writes until the storm is over; gives the last revision.
async fn write(storm: Storm, bucket: KvBucket, mut random: Random) -> u64 {
    let mut last = 0;
    while !storm.is_calm() {
        last = last.max(write_one(&bucket, &mut random).await);
    }
    // What everybody hears in the end.
    for text in ["a.end", "b.end", "c.d.end"] {
        last = bucket.put(&text.parse().unwrap(), "end").await.expect("it is written").revision;
    }
    last
}

async fn next(watch: &mut Watch) -> WatchEvent {
    watch.next().await.unwrap_or_else(|| panic!("it ended: {:?}", watch.end()))
}

/// Watches until it has seen the end; what it saw, and the number of changes.
async fn watch(bucket: KvBucket, pattern: Pattern, window_bytes: usize, mut random: Random) -> (Pattern, Seen) {
    let options = WatchOptions { window_bytes, ..WatchOptions::default() };
    let mut watch = bucket.watch_with(&pattern, options).await.expect("it stands");
    let (mut seen, mut ends) = (Seen::new(), 0);
    let wanted = if pattern.as_str() == ">" { 3 } else { 1 };
    while ends < wanted {
        let event = next(&mut watch).await;
        ends += usize::from(matches!(&event, WatchEvent::Change(change) if change.key.as_str().ends_with("end")));
        seen.take(event).unwrap_or_else(|wrong| panic!("{pattern} by {window_bytes}: {wrong}"));
        if random.once_in(30) {
            let pause = random.millis(500);
            sleep(pause).await;
        }
    }
    (pattern, seen)
}

async fn all(bucket: &KvBucket) -> Vec<Entry> {
    let mut scan = bucket.scan_by(Range::default(), PageLimits { bytes_max: 5_000, items_max: 50, keys_only: false });
    let mut all = Vec::new();
    while let Some(entry) = scan.next().await {
        match entry {
            Ok(entry) => all.push(entry),
            Err(error) if error.is_retryable() => {}
            Err(error) => panic!("a scan: {error}"),
        }
    }
    all
}

fn of(pattern: &Pattern, entries: &[Entry]) -> Vec<Entry> {
    entries.iter().filter(|entry| pattern.matches(entry.key.as_subject())).cloned().collect()
}

#[test]
fn watches_miss_nothing_and_double_nothing_through_hundreds_of_cuts() {
    let (mut cuts, mut changes) = (0, 0);
    for seed in 0..STORMS {
        let (storm_cuts, storm_changes) = storm(seed, CUTS, &BucketConfig::default(), async |storm| {
            let writer = storm.bucket().await;
            for number in 0..KEYS {
                writer.put(&key(number), vec![0_u8; 100]).await.expect("it is written");
            }
            let writing = tokio::spawn(write(storm.clone(), writer, Random::new(seed)));
            let mut watching = Vec::new();
            for (number, (pattern, window)) in
                [(">", 4 << 20), (">", 2_000), ("a.*", 3_000), ("b.>", 20_000), ("c.*.*", 1)].into_iter().enumerate()
            {
                let (bucket, pattern) = (storm.bucket().await, pattern.parse().unwrap());
                watching.push(tokio::spawn(watch(bucket, pattern, window, Random::new(number as u64))));
            }
            let last = writing.await.expect("no panic");
            let there = all(&storm.bucket().await).await;
            let mut changes = 0;
            for each in watching {
                let (pattern, seen) = each.await.expect("no panic");
                seen.compare(&of(&pattern, &there)).unwrap_or_else(|wrong| panic!("{pattern}: {wrong}"));
                assert!(seen.revision() <= last);
                changes += seen.changes;
            }
            (storm.cuts(), changes)
        });
        (cuts, changes) = (cuts + storm_cuts, changes + storm_changes);
    }
    println!("{changes} changes seen through {cuts} cuts and restarts");
    assert!(cuts >= 500 && changes > 1_000, "{cuts} cuts, {changes} changes");
}

#[test]
fn a_watch_from_a_revision_sees_each_one_from_there() {
    let cuts = storm(99, 100, &BucketConfig::default(), async |storm| {
        let writer = storm.bucket().await;
        let mut random = Random::new(5);
        for _ in 0..50 {
            write_one(&writer, &mut random).await;
        }
        let bucket = storm.bucket().await;
        let from = 20;
        let mut watch = bucket.watch(&">".parse().unwrap(), WatchFrom::Revision(from)).await.expect("it stands");
        let writing = tokio::spawn(write(storm.clone(), writer, random));
        let (mut expected, mut last) = (from, None);
        while last.is_none_or(|last| expected <= last) {
            if let WatchEvent::Change(change) = next(&mut watch).await {
                assert_eq!(change.revision, expected, "each revision once, in order");
                expected += 1;
                if change.key.as_str() == "c.d.end" {
                    last = Some(change.revision);
                }
            }
        }
        assert_eq!(last, Some(writing.await.expect("no panic")));
        storm.cuts()
    });
    assert!(cuts >= 100);
}

#[test]
fn one_key_is_watched_without_the_others() {
    storm(3, 0, &BucketConfig::default(), async |storm| {
        let (writer, reader) = (storm.bucket().await, storm.bucket().await);
        let (one, longer): (Key, Key) = ("a.b".parse().unwrap(), "a.b.c".parse().unwrap());
        writer.put(&longer, "x").await.unwrap();
        let mut absent = reader.watch(&one.as_subject().into(), WatchFrom::Snapshot).await.unwrap();
        assert_eq!(next(&mut absent).await, WatchEvent::CaughtUp { revision: 1 });
        writer.put(&one, "y").await.unwrap();
        let mut there = reader.watch(&one.as_subject().into(), WatchFrom::Snapshot).await.unwrap();
        assert!(matches!(next(&mut there).await, WatchEvent::Entry(entry) if entry.key == one));
        assert_eq!(next(&mut there).await, WatchEvent::CaughtUp { revision: 2 });
        assert!(
            matches!(next(&mut absent).await, WatchEvent::Change(change) if change.key == one && change.revision == 2)
        );
        let mut now = reader.watch(&one.as_subject().into(), WatchFrom::Now).await.unwrap();
        assert_eq!(next(&mut now).await, WatchEvent::CaughtUp { revision: 2 });
        sleep(Duration::from_secs(1)).await;
    });
}
