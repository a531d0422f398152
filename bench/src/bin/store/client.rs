//! The client: writes all keys, reads them, watches them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinew::kvstore::{Key, KvBucket, Range, WatchEvent, WatchFrom};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Result;

pub(crate) const VALUE_BYTES: usize = 128;
/// Bytes of a key: `key.` and ten digits.
pub(crate) const KEY_BYTES: usize = 14;
/// Puts under way at one time.
const IN_FLIGHT: usize = 256;
/// How long until the server must have been reached.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn connect(url: &str, home: &Path) -> Result<sinew::Client> {
    let home = sinew::Home::at(home)?;
    Ok(sinew::Client::builder(url).home(home).connect_timeout(CONNECTED_WITHIN).connect().await?)
}

pub(crate) fn bucket(client: &sinew::Client) -> Result<KvBucket> {
    Ok(client.kv().bucket(&"size".parse()?))
}

pub(crate) fn key(number: u64) -> Result<Key> {
    Ok(format!("key.{number:010}").parse()?)
}

/// Bytes that do not repeat, other ones in each turn.
pub(crate) fn value(number: u64, turn: u64) -> Vec<u8> {
    let mut state = number << 8 | turn;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..VALUE_BYTES).map(|_| next()).collect()
}

/// Puts keys below `count` in an order that jumps about, each acknowledged. Gives puts per second.
pub(crate) async fn put_all(bucket: &KvBucket, count: u64, turn: u64) -> Result<f64> {
    let (room, began, mut puts) = (Arc::new(Semaphore::new(IN_FLIGHT)), Instant::now(), JoinSet::new());
    for at in 0..count {
        let number = at * 7_919 % count;
        let permit = room.clone().acquire_owned().await?;
        let (bucket, key, value) = (bucket.clone(), key(number)?, value(number, turn));
        puts.spawn(async move {
            let stored = bucket.put(&key, value).await;
            drop(permit);
            stored.map(drop)
        });
        while let Some(done) = puts.try_join_next() {
            done??;
        }
    }
    while let Some(done) = puts.join_next().await {
        done??;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Reads a thousand of the keys and looks at their values.
pub(crate) async fn check(bucket: &KvBucket, count: u64, turn: u64) -> Result<()> {
    for number in (0..count).step_by((count / 1_000).max(1) as usize) {
        let found = bucket.get(&key(number)?).await?.ok_or_else(|| format!("key {number} is gone"))?;
        if found.value != value(number, turn) {
            return Err(format!("key {number} has another value than turn {turn} wrote").into());
        }
    }
    Ok(())
}

/// Reads all keys with their values in order. Gives keys per second.
pub(crate) async fn scan(bucket: &KvBucket, count: u64) -> Result<f64> {
    let (began, mut found, mut scan) = (Instant::now(), 0, bucket.scan(Range::default()));
    while let Some(entry) = scan.next().await {
        entry?;
        found += 1;
    }
    counted("scan", found, count)?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Watches all keys until everything that is there was told. Gives keys per second.
pub(crate) async fn watch(bucket: &KvBucket, count: u64) -> Result<f64> {
    let (began, mut found) = (Instant::now(), 0);
    let mut watch = bucket.watch(&"key.>".try_into()?, WatchFrom::Snapshot).await?;
    loop {
        match watch.next().await.ok_or("the watch ended")? {
            WatchEvent::Entry(_) => found += 1,
            WatchEvent::CaughtUp { .. } => break,
            other => return Err(format!("{other:?}, though nobody writes").into()),
        }
    }
    counted("watch", found, count)?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Changes of a prefix as they are written: keys below `count` are put and heard at the same time. Gives changes per second.
pub(crate) async fn watch_changes(bucket: &KvBucket, count: u64, turn: u64) -> Result<f64> {
    let mut watch = bucket.watch(&"key.>".try_into()?, WatchFrom::Now).await?;
    let began = Instant::now();
    let hearing = async {
        let mut heard = 0;
        while heard < count {
            if let WatchEvent::Change(_) = watch.next().await.ok_or("the watch ended")? {
                heard += 1;
            }
        }
        Ok(())
    };
    let (put, heard): (_, Result<()>) = tokio::join!(put_all(bucket, count, turn), hearing);
    put?;
    heard?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

fn counted(what: &str, found: u64, count: u64) -> Result<()> {
    if found == count { Ok(()) } else { Err(format!("{what}: {found} keys instead of {count}").into()) }
}
