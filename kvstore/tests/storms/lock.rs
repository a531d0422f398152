//! The lock and the election through cuts and restarts: never two holders of one fence, and fences rise.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sinew_kvstore::recipes::{Election, Lock, LockOptions};
use sinew_kvstore::{BucketConfig, Key};
use sinew_testkit::random::Random;
use tokio::time::sleep;

use crate::storm::storm;

#[derive(Debug, Default)]
struct Record {
    /// Every holding, in the order in which they began.
    fences: Vec<(u64, usize)>,
    /// Who surely holds it now, by its own word.
    holder: Option<usize>,
    lost: u64,
}

#[test]
fn there_are_never_two_holders_of_one_fence() {
    let record = storm(11, 100, &BucketConfig::default(), async |storm| {
        let record = Arc::<Mutex<Record>>::default();
        let mut contenders = Vec::new();
        for number in 0..4 {
            let (bucket, storm, record) = (storm.bucket().await, storm.clone(), record.clone());
            contenders.push(tokio::spawn(async move {
                let key: Key = "lock".parse().unwrap();
                let time_to_live = Duration::from_millis(1_500);
                let options = LockOptions { time_to_live, holder: Bytes::from(format!("{number}")) };
                let lock = Lock::new(&bucket, &key, options);
                let mut random = Random::new(number as u64);
                while !storm.is_calm() {
                    let held = match lock.acquire().await {
                        Ok(held) => held,
                        Err(error) if error.is_retryable() => continue,
                        Err(error) => panic!("acquiring: {error}"),
                    };
                    record.lock().unwrap().fences.push((held.fence(), number));
                    for _ in 0..random.below(20) {
                        {
                            let mut record = record.lock().unwrap();
                            if !held.is_held() {
                                record.lost += 1;
                                break;
                            }
                            assert!(record.holder.is_none(), "{:?} and {number} hold it", record.holder);
                            record.holder = Some(number);
                            record.holder = None;
                            let newest = record.fences.iter().map(|(fence, _)| *fence).max();
                            assert_eq!(newest, Some(held.fence()), "held by its own word, and not the newest");
                        }
                        let pause = random.millis(300);
                        sleep(pause).await;
                    }
                    match random.below(3) {
                        0 => drop(held),
                        _ => held.release().await.expect("it is given back"),
                    }
                    let pause = random.millis(500);
                    sleep(pause).await;
                }
            }));
        }
        for contender in contenders {
            contender.await.expect("no panic");
        }
        Arc::try_unwrap(record).expect("everybody is gone").into_inner().unwrap()
    });
    let fences: Vec<u64> = record.fences.iter().map(|(fence, _)| *fence).collect();
    println!("{} holdings, {} of them lost on the way", fences.len(), record.lost);
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", record.fences);
    assert!(fences.len() >= 8, "{fences:?}");
}

#[test]
fn a_holder_that_is_gone_is_followed_by_the_next_and_told() {
    storm(12, 0, &BucketConfig::default(), async |storm| {
        let (bucket, other) = (storm.bucket().await, storm.bucket().await);
        let key: Key = "lock".parse().unwrap();
        let options = LockOptions { time_to_live: Duration::from_secs(3), holder: Bytes::from("first") };
        let first = Lock::new(&bucket, &key, options.clone()).acquire().await.unwrap();
        sleep(Duration::from_secs(20)).await;
        assert!(first.is_held(), "it was renewed");
        let lock = Lock::new(&other, &key, options);
        assert!(lock.try_acquire().await.unwrap().is_none());
        // Somebody removes it: the holder is told within a renewal.
        other.delete(&key).await.unwrap();
        first.lost().await;
        assert!(!first.is_held());
        let second = lock.acquire().await.unwrap();
        assert!(second.fence() > first.fence());
        drop(first);
        sleep(Duration::from_secs(10)).await;
        assert!(second.is_held(), "what the first gave back was not the second's");
        // Dropped, it is free long before its time is over.
        let begun = tokio::time::Instant::now();
        drop(second);
        lock.acquire().await.unwrap().release().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}

#[test]
fn everybody_hears_who_leads() {
    storm(13, 0, &BucketConfig::default(), async |storm| {
        let (bucket, other) = (storm.bucket().await, storm.bucket().await);
        let key: Key = "planner".parse().unwrap();
        let election = |bucket| Election::new(bucket, &key, Duration::from_secs(5));
        let mut leaders = election(&other).observe().await.unwrap();
        assert_eq!(leaders.next().await, Some(None));
        let ada = election(&bucket).campaign("ada").await.unwrap();
        let leader = leaders.next().await.flatten().expect("somebody leads");
        assert_eq!((&leader.name[..], leader.fence), (&b"ada"[..], ada.fence()));
        assert_eq!(election(&bucket).leader().await.unwrap(), Some(leader));
        sleep(Duration::from_secs(20)).await;
        assert!(ada.is_leading());
        ada.resign().await.unwrap();
        assert_eq!(leaders.next().await, Some(None), "renewals were no changes");
        let ben = election(&other).campaign("ben").await.unwrap();
        assert_eq!(&leaders.next().await.flatten().expect("somebody leads").name[..], b"ben");
        assert!(ben.is_leading());
    });
}
