//! The cached reader through cuts and restarts: in the end it has what is there, and it never goes back.

use std::collections::BTreeMap;
use std::time::Duration;

use sinew_kvstore::{BucketConfig, BucketLimits, CachedBucket, Key, PageLimits, Range, WatchOptions};
use sinew_testkit::random::Random;
use tokio::time::sleep;

use crate::storm::storm;

fn key(number: usize) -> Key {
    format!("k.{number}").parse().expect("a key of this test")
}

fn stays_true(seed: u64, changes_kept: u64, window_bytes: usize) -> (u64, u64) {
    let limits = BucketLimits { changes_kept, ..BucketLimits::default() };
    storm(seed, 100, &BucketConfig { limits, ..BucketConfig::default() }, async |storm| {
        let writer = storm.bucket().await;
        for number in 0..50 {
            writer.put(&key(number), "0").await.expect("it is written");
        }
        let options = WatchOptions { window_bytes, ..WatchOptions::default() };
        let reader = CachedBucket::open_with(&storm.bucket().await, &"k.>".parse().unwrap(), options).await;
        let reader = reader.expect("it stands");
        assert_eq!(reader.len(), 50);
        let (mut random, mut seen, mut stale) = (Random::new(seed), BTreeMap::new(), 0);
        let mut last = 0;
        while !storm.is_calm() {
            let key = key(random.below(60));
            let stored = match random.below(4) {
                0 => writer.delete(&key).await,
                _ => writer.put(&key, random.bytes(20)).await,
            };
            let stored = stored.expect("it is done");
            last = last.max(stored.revision);
            // What is read here never goes back, whatever the connection did.
            for number in 0..60 {
                let revision = reader.get(&self::key(number)).map_or(0, |entry| entry.revision);
                let before = seen.insert(number, revision).unwrap_or(0);
                assert!(revision == 0 || revision >= before, "from {before} back to {revision}");
            }
            stale += u64::from(!reader.freshness().is_current());
            let pause = random.millis(60);
            sleep(pause).await;
        }
        writer.put(&key(0), "last").await.expect("it is written");
        let stored = writer.put(&key(1), "last").await.expect("it is written");
        reader.reached(stored.revision).await.expect("it goes on");
        while !reader.freshness().is_current() {
            sleep(Duration::from_millis(10)).await;
        }
        let limits = PageLimits { bytes_max: 1 << 20, items_max: 1_000, keys_only: false };
        let page = writer.scan_page(&Range::default(), limits).await.expect("it is calm");
        assert_eq!(reader.with_prefix(""), page.entries);
        assert_eq!(reader.freshness().revision, page.revision);
        (storm.cuts(), stale)
    })
}

#[test]
fn a_cached_reader_stays_true_through_a_hundred_cuts() {
    let (cuts, stale) = stays_true(1, 100_000, 1 << 20);
    assert!(cuts >= 100 && stale > 0, "{cuts} cuts, {stale} looks while it was behind");
}

#[test]
fn and_where_so_much_is_missed_that_it_begins_anew() {
    let (cuts, stale) = stays_true(2, 2, 500);
    assert!(cuts >= 100 && stale > 0, "{cuts} cuts, {stale} looks while it was behind");
}
