//! A million keys of 128 bytes: what they take on disk, how soon they are there after a start, and that overwriting them
//! does not grow for ever. Without `SINEW_LONG=1` there are twenty thousand.
//!
//! Memory is shown and not bounded here: this process also holds what the test itself keeps, every write under way with
//! its value and answer, and what the allocator has not given back of it. `cargo xtask bench store` measures a real server.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sinew_kvstore::{
    Action, Bucket, BucketConfig, Engine, Found, JournalEngine, Key, KvEngineOptions, Operation, PageLimits, Range,
    Write,
};
use sinew_session::ResourceName;
use tokio::sync::Semaphore;

const VALUE_BYTES: usize = 128;
/// Puts under way at one time.
const IN_FLIGHT: u32 = 256;
const MEBI: u64 = 1 << 20;

fn is_long() -> bool {
    std::env::var_os("SINEW_LONG").is_some()
}

fn name() -> ResourceName {
    ResourceName::try_from("b").expect("a name")
}

fn key(number: u64) -> Key {
    Key::try_from(format!("key.{number:010}").as_str()).expect("a key")
}

/// Bytes that do not repeat.
fn value(number: u64, turn: u64) -> Vec<u8> {
    let mut state = number << 8 | turn;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..VALUE_BYTES).map(|_| next()).collect()
}

/// Puts keys below `count`, each with this turn's value, in an order that jumps about.
async fn put_all(bucket: &Arc<dyn Bucket>, count: u64, turn: u64) {
    let (room, began) = (Arc::new(Semaphore::new(IN_FLIGHT as usize)), Instant::now());
    for at in 0..count {
        let number = at * 7_919 % count;
        let operation = Operation::Put { value: value(number, turn).into(), time_to_live: None };
        let write = Write { actions: vec![Action { key: key(number), operation }], ..Write::default() };
        let permit = room.clone().acquire_owned().await.expect("never closed");
        bucket.write(
            write,
            Box::new(move |written| {
                written.expect("put");
                drop(permit);
            }),
        );
    }
    let _all = room.acquire_many(IN_FLIGHT).await.expect("never closed");
    println!("turn {turn}: {:.0} puts/s", count as f64 / began.elapsed().as_secs_f64());
}

/// Bytes of a folder on disk, as its blocks count.
fn disk_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("listed").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            // A file that was there a moment ago.
            Err(_) => 0,
        })
        .sum()
}

/// Bytes of memory that this process has, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1_024)
}

fn tell(what: &str, path: &Path) -> u64 {
    let (disk, table) = (disk_bytes(path), disk_bytes(&path.join("kv-table")));
    println!(
        "{what}: {} MiB on disk ({} of it the table), {} MiB resident",
        disk / MEBI,
        table / MEBI,
        resident_bytes().unwrap_or(0) / MEBI
    );
    disk
}

async fn check_values(bucket: &Arc<dyn Bucket>, count: u64, turn: u64) {
    for number in (0..count).step_by((count / 1_000) as usize) {
        let found = match bucket.get(&key(number)) {
            Found::Now(entry) => entry,
            _ => bucket.load(&[key(number)]).await.expect("read").pop().flatten(),
        };
        assert_eq!(found.expect("it is there").value, value(number, turn), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_take_little_and_are_soon_there() {
    let count: u64 = if is_long() { 1_000_000 } else { 20_000 };
    let data_bytes = count * (14 + VALUE_BYTES as u64);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    let engine = JournalEngine::open(&path, KvEngineOptions::default()).expect("opened");
    engine.create(&name(), &BucketConfig::default()).await.expect("created");
    let bucket = engine.bucket(&name()).await.expect("opened");
    put_all(&bucket, count, 0).await;
    tell("once", &path);

    let began = Instant::now();
    let (mut range, mut items) = (Range::default(), 0);
    loop {
        let limits = PageLimits { bytes_max: 1 << 20, items_max: 10_000, keys_only: false };
        let page = bucket.scan(&range, limits).await.expect("scanned");
        items += page.entries.len() as u64;
        range.after = page.entries.last().map(|entry| entry.key.to_string());
        if !page.more {
            break;
        }
    }
    assert_eq!(items, count);
    println!("scan: {:.0} keys/s", count as f64 / began.elapsed().as_secs_f64());
    check_values(&bucket, count, 0).await;
    drop(bucket);
    engine.close().await.expect("closed");
    drop(engine);
    let disk = tell("closed", &path);
    if is_long() {
        assert!(disk <= 3 * data_bytes, "{disk} bytes on disk for {data_bytes}");
    }

    let began = Instant::now();
    let engine = JournalEngine::open(&path, KvEngineOptions::default()).expect("opened");
    println!("the engine is there after {:?}", began.elapsed());
    let bucket = engine.bucket(&name()).await.expect("opened");
    check_values(&bucket, count, 0).await;
    println!("the bucket is read after {:?}", began.elapsed());

    let turns = if is_long() { 10 } else { 3 };
    let mut most = 0;
    for turn in 1..=turns {
        put_all(&bucket, count, turn).await;
        most = most.max(tell("overwritten", &path));
    }
    check_values(&bucket, count, turns).await;
    let compacted = bucket.compact(Arc::new(|_| {})).await.expect("compacted");
    println!("{compacted:?}");
    tell("compacted", &path);
    assert_eq!(bucket.info().await.expect("there").keys, count);
    if is_long() {
        assert!(most <= 8 * data_bytes, "{most} bytes on disk for {data_bytes}");
    }
    engine.close().await.expect("closed");
}
