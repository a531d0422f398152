//! Compare-and-set by many at once, through reconnects: nothing that was acknowledged is lost, and nothing is done twice.

use std::time::Duration;

use sinew_kvstore::{BucketConfig, Error, Key, KvBucket};
use sinew_testkit::random::Random;
use tokio::time::sleep;

use crate::storm::storm;

const CLIENTS: u64 = 8;
/// Increments of each.
const EACH: u64 = 125;

async fn number(bucket: &KvBucket, key: &Key) -> (u64, u64) {
    match bucket.get(key).await {
        Ok(Some(entry)) => (u64::from_le_bytes(entry.value[..].try_into().expect("a number")), entry.revision),
        Ok(None) => (0, 0),
        Err(error) if error.is_retryable() => Box::pin(number(bucket, key)).await,
        Err(error) => panic!("a get: {error}"),
    }
}

async fn increment(bucket: KvBucket, key: Key, mut random: Random) -> (u64, u64) {
    let (mut done, mut duplicates) = (0, 0);
    while done < EACH {
        let (value, revision) = number(&bucket, &key).await;
        let next = (value + 1).to_le_bytes().to_vec();
        let written = match revision {
            0 => bucket.create(&key, next).await,
            revision => bucket.update(&key, next, revision).await,
        };
        match written {
            Ok(stored) => (done, duplicates) = (done + 1, duplicates + u64::from(stored.duplicate)),
            Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("a compare-and-set: {error}"),
        }
        let pause = random.millis(60);
        sleep(pause).await;
    }
    (done, duplicates)
}

#[test]
fn a_thousand_increments_of_eight_end_at_exactly_what_was_acknowledged() {
    let (cuts, duplicates) = storm(7, u64::MAX, &BucketConfig::default(), async |storm| {
        let key: Key = "count".parse().unwrap();
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let bucket = storm.bucket().await;
            clients.push(tokio::spawn(increment(bucket, key.clone(), Random::new(number))));
        }
        let (mut done, mut duplicates) = (0, 0);
        for client in clients {
            let (each, twice) = client.await.expect("no panic");
            (done, duplicates) = (done + each, duplicates + twice);
        }
        let (value, revision) = number(&storm.bucket().await, &key).await;
        assert_eq!((done, value, revision), (CLIENTS * EACH, CLIENTS * EACH, CLIENTS * EACH));
        (storm.cuts(), duplicates)
    });
    println!("{cuts} cuts and restarts, {duplicates} lost replies settled by their operation ids");
    assert!(cuts > 20 && duplicates > 0, "too fair a weather: {cuts} cuts, {duplicates} lost replies");
}

#[test]
fn counters_end_at_what_was_acknowledged() {
    storm(8, u64::MAX, &BucketConfig::default(), async |storm| {
        let key: Key = "count".parse().unwrap();
        let mut clients = Vec::new();
        for number in 0..4 {
            let (bucket, key, mut random) = (storm.bucket().await, key.clone(), Random::new(number));
            clients.push(tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..100 {
                    let counted = bucket.add(&key, 1).await.expect("it is counted");
                    assert!(counted > last, "{counted} behind {last}");
                    last = counted;
                    let pause = random.millis(30);
                    sleep(pause).await;
                }
            }));
        }
        for client in clients {
            client.await.expect("no panic");
        }
        let mut bucket = storm.bucket().await.get(&key).await;
        while matches!(&bucket, Err(error) if error.is_retryable()) {
            sleep(Duration::from_millis(10)).await;
            bucket = storm.bucket().await.get(&key).await;
        }
        assert_eq!(&bucket.unwrap().unwrap().value[..], b"400");
    });
}
