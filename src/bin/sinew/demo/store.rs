//! A client that puts into a bucket of its own, with many puts in flight, while it watches it; and then reads all of it again.

use std::time::{Duration, Instant};

use sinew::ResourceName;
use sinew::kvstore::{BucketConfig, Key, Kv, KvBucket, Watch, WatchEvent, WatchFrom};
use tokio::task::JoinSet;

use super::words::Word;
use crate::failure::Outcome;

/// Puts, and then gets, on their way at one time: each has a key of its own.
pub(super) const IN_FLIGHT: usize = 64;

/// What one of those that put, or get, has come to.
type Done = Result<Kept, String>;

/// A key as it was put last.
#[derive(Clone, Debug)]
struct Kept {
    key: Key,
    /// Of its last put.
    revision: u64,
    number: u64,
    /// Calls that were answered.
    count: u64,
}

/// Puts for `time`, gets for as long, and tells both. Every get must find what was put last, and the watch every put once
/// and in order.
pub(super) async fn store(kv: &Kv, size: usize, time: Duration) -> Outcome {
    let bucket = kv.bucket(&ResourceName::try_from(format!("demo-{}", std::process::id()).as_str())?);
    bucket.make(&BucketConfig::default()).await?;
    let mut watch = bucket.watch(&">".parse()?, WatchFrom::Now).await?;
    let (mut puts, began) = (JoinSet::new(), Instant::now());
    for number in 0..IN_FLIGHT {
        let key = format!("key.{number}").parse()?;
        puts.spawn(put(bucket.clone(), Kept { key, revision: 0, number: 0, count: 0 }, size, began + time));
    }
    let puts = async { (all(puts).await, began.elapsed().as_secs_f64()) };
    tokio::pin!(puts);
    // Read while it is written: it need not go back to what is kept.
    let mut seen = 0;
    let (done, put_seconds) = loop {
        tokio::select! {
            done = &mut puts => break done,
            event = watch.next() => see(&watch, event, &mut seen)?,
        }
    };
    let (kept, put) = done?;
    while seen < put {
        let event = watch.next().await;
        see(&watch, event, &mut seen)?;
    }
    let (mut gets, began) = (JoinSet::new(), Instant::now());
    for each in kept {
        gets.spawn(get(bucket.clone(), Kept { count: 0, ..each }, began + time));
    }
    let (_, got) = all(gets).await?;
    let get_seconds = began.elapsed().as_secs_f64();
    drop(watch);
    bucket.remove().await?;
    Word::Store { put, put_seconds, watched: seen, got, get_seconds }.say()?;
    Ok(())
}

/// What everybody has come to, and how many calls that were.
async fn all(mut tasks: JoinSet<Done>) -> Outcome<(Vec<Kept>, u64)> {
    let mut kept = Vec::new();
    while let Some(done) = tasks.join_next().await {
        kept.push(done??);
    }
    let count = kept.iter().map(|each| each.count).sum();
    Ok((kept, count))
}

/// Puts one number after the other, each once the one before is acknowledged.
async fn put(bucket: KvBucket, mut kept: Kept, size: usize, until: Instant) -> Done {
    while kept.count == 0 || Instant::now() < until {
        kept.number += 1;
        let mut value = kept.number.to_le_bytes().to_vec();
        value.resize(size.max(value.len()), 0x5a);
        let stored = bucket.put(&kept.key, value).await.map_err(|error| error.to_string())?;
        (kept.revision, kept.count) = (stored.revision, kept.count + 1);
    }
    Ok(kept)
}

/// Gets what was put last, again and again.
async fn get(bucket: KvBucket, mut kept: Kept, until: Instant) -> Done {
    while kept.count == 0 || Instant::now() < until {
        let found = bucket.get(&kept.key).await.map_err(|error| error.to_string())?;
        let found =
            found.map(|entry| (entry.revision, entry.value.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))));
        if found != Some((kept.revision, Some(kept.number))) {
            let Kept { key, revision, number, .. } = &kept;
            return Err(format!("under {key} stands {found:?}, not number {number} of revision {revision}"));
        }
        kept.count += 1;
    }
    Ok(kept)
}

/// Takes in what a watch tells: each revision once and in order.
fn see(watch: &Watch, event: Option<WatchEvent>, seen: &mut u64) -> Outcome {
    match event {
        Some(WatchEvent::Change(change)) if change.revision == *seen + 1 => *seen += 1,
        Some(WatchEvent::CaughtUp { .. }) => {}
        other => return Err(format!("behind change {seen} the watch told {other:?} ({:?})", watch.end()).into()),
    }
    Ok(())
}
