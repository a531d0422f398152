//! Watches that fall too far behind: they cost their window and no more, and are told.

use std::time::Duration;

use sinew_kvstore::{BucketConfig, BucketLimits, Error, Key, WatchEvent, WatchFrom, WatchOptions};
use tokio::time::sleep;

use crate::storm::storm;

fn config(changes_kept: u64) -> BucketConfig {
    BucketConfig { limits: BucketLimits { changes_kept, ..BucketLimits::default() }, ..BucketConfig::default() }
}

#[test]
fn too_old_a_revision_is_told() {
    storm(1, 0, &config(10), async |storm| {
        let bucket = storm.bucket().await;
        let key: Key = "k".parse().unwrap();
        for number in 0..50 {
            bucket.put(&key, vec![number]).await.unwrap();
        }
        let refused = bucket.watch(&">".parse().unwrap(), WatchFrom::Revision(5)).await.map(drop).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the changes of `sea` since revision 5 are not all kept: they are from 41 on; read the bucket anew, and watch \
             from there"
        );
        assert!(matches!(refused, Error::Compacted { requested: 5, first: 41, .. }));
        let mut kept = bucket.watch(&">".parse().unwrap(), WatchFrom::Revision(41)).await.unwrap();
        assert!(matches!(kept.next().await, Some(WatchEvent::Change(change)) if change.revision == 41));
        let ahead = bucket.watch(&">".parse().unwrap(), WatchFrom::Revision(52)).await.map(drop);
        assert!(matches!(ahead, Err(Error::Compacted { requested: 52, .. })), "{ahead:?}");
    });
}

#[test]
fn a_watcher_that_does_not_read_costs_its_window_and_is_told() {
    storm(2, 0, &config(100), async |storm| {
        let (writer, reader) = (storm.bucket().await, storm.bucket().await);
        let window_bytes = 20_000;
        let options = WatchOptions { window_bytes, from: WatchFrom::Now, ..WatchOptions::default() };
        let mut stuck = reader.watch_with(&">".parse().unwrap(), options).await.unwrap();
        let options = WatchOptions { from: WatchFrom::Now, restarts: true, window_bytes, ..WatchOptions::default() };
        let mut again = reader.watch_with(&">".parse().unwrap(), options).await.unwrap();
        let key: Key = "k".parse().unwrap();
        for _ in 0..2_000 {
            writer.put(&key, vec![0_u8; 100]).await.unwrap();
        }
        sleep(Duration::from_secs(10)).await;
        let mut bytes = 0;
        while let Some(event) = stuck.next().await {
            if let WatchEvent::Change(change) = event {
                bytes += 100 + 50 + change.key.as_bytes().len();
            }
        }
        assert!(bytes > window_bytes / 2 && bytes < 2 * window_bytes, "{bytes} bytes of a window of {window_bytes}");
        assert!(matches!(stuck.end(), Some(Error::Compacted { .. })), "{:?}", stuck.end());

        // The other one begins anew, and says so.
        let (mut restarted, mut last) = (false, 0);
        while last < 2_000 {
            match again.next().await.expect("it goes on") {
                WatchEvent::Restarted => restarted = true,
                WatchEvent::Entry(entry) => {
                    assert!(restarted && entry.revision > last);
                    last = entry.revision;
                }
                WatchEvent::Change(change) => {
                    assert!(change.revision > last);
                    last = change.revision;
                }
                WatchEvent::CaughtUp { .. } => {}
            }
        }
        assert!(restarted);
    });
}
