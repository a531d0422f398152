//! What the key-value store promises, as scenarios over whatever transports a [`Setup`] names: clients take its endpoints in
//! turn. The engine is the caller's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sinew_auth::Operation;
use sinew_kvstore::{
    BucketConfig, BucketInfo, Change, Engine, Entry, Error, JournalEngine, Key, KvBucket, KvEngineOptions, KvLimits,
    PutOptions, Range, Removal, Watch, WatchEvent, WatchFrom,
};
use sinew_session::{Pattern, ResourceName, Server};

use crate::random::Random;
use crate::rules::Rules;
use crate::setup::{Setup, soon};

mod bad_input;
pub use bad_input::bad_input;

/// A key of a test.
///
/// # Panics
/// If it is none.
pub fn key(text: &str) -> Key {
    text.parse().expect("a key of this test")
}

fn name(text: &str) -> ResourceName {
    text.parse().expect("a name of this test")
}

/// A pattern of a test.
///
/// # Panics
/// If it is none.
pub fn pattern(text: &str) -> Pattern {
    text.parse().expect("a pattern of this test")
}

/// Client number `number`, and the bucket of this name, which is there.
async fn bucket(setup: &Setup, number: usize, text: &str) -> KvBucket {
    let bucket = setup.kv(number).await.bucket(&name(text));
    let config = BucketConfig { history: 5, ..BucketConfig::default() };
    let made: BucketInfo = soon("making the bucket", bucket.make(&config)).await.expect("it is made");
    assert_eq!((made.name.as_str(), made.keys), (text, 0));
    bucket
}

async fn next(watch: &mut Watch) -> WatchEvent {
    let next = soon("the next event", watch.next()).await;
    next.unwrap_or_else(|| panic!("the watch ended: {:?}", watch.end()))
}

fn value(entry: &Option<Entry>) -> Option<&[u8]> {
    entry.as_ref().map(|entry| &entry.value[..])
}

/// What one writes another reads, by key and in order, and sees change.
///
/// # Panics
/// If it is not so.
pub async fn write_read_watch(setup: &Setup) {
    let ours = bucket(setup, 0, "plain").await;
    let theirs = setup.kv(1).await.bucket(ours.name());
    let (a, b, c) = (key("a"), key("b.x"), key("b.y"));
    let mut watch = soon("watching", theirs.watch(&pattern("b.*"), WatchFrom::Snapshot)).await.expect("it stands");
    assert_eq!(next(&mut watch).await, WatchEvent::CaughtUp { revision: 0 });

    let first = soon("a put", ours.put(&a, "1")).await.expect("it is written");
    assert_eq!((first.revision, first.duplicate), (1, false));
    let found = soon("a get", theirs.get(&a)).await.expect("it is read").expect("it is there");
    assert_eq!((found.revision, found.created, &found.value[..], found.expires), (1, 1, &b"1"[..], None));
    assert_eq!(soon("a get", theirs.get(&b)).await.expect("it is read"), None);
    assert_eq!(soon("a create", ours.create(&b, "x")).await.expect("it is written").revision, 2);
    let again = soon("a create", ours.create(&b, "z")).await;
    assert!(matches!(again, Err(Error::Conflict { revision: 2, .. })), "{again:?}");
    assert_eq!(soon("an update", ours.update(&b, "xx", 2)).await.expect("it is written").revision, 3);
    let late = soon("an update", theirs.update(&b, "z", 2)).await;
    assert!(matches!(late, Err(Error::Conflict { revision: 3, .. })), "{late:?}");
    let counter = key("n");
    assert_eq!(soon("an add", ours.add(&counter, 5)).await.expect("it is counted"), 5);
    assert_eq!(soon("an add", theirs.add(&counter, -7)).await.expect("it is counted"), -2);
    let moved = ours.transaction().expect_revision(&b, 3).expect_absent(&c).put(&c, "y").delete(&b).add(&counter, 1);
    let moved = soon("a transaction", moved.commit()).await.expect("it is written");
    assert_eq!((moved.revisions, moved.counters), (vec![6, 7, 8], vec![-1]));
    assert_eq!(soon("a delete", ours.delete(&b)).await.expect("nothing is there").revision, 0);
    let found = soon("a get", theirs.get_many(&[b.clone(), c.clone(), a.clone()])).await.expect("they are read");
    assert_eq!(found.iter().map(value).collect::<Vec<_>>(), [None, Some(&b"y"[..]), Some(b"1")]);
    let removed = soon("a delete", ours.delete_if(&c, 6)).await.expect("it is of this revision");
    assert_eq!(removed.revision, 9);

    let mut seen = Vec::new();
    while seen.len() < 5 {
        match next(&mut watch).await {
            WatchEvent::Change(change) => seen.push((change.key.to_string(), change.revision, change.change)),
            WatchEvent::CaughtUp { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let put = |value: &'static str, created| Change::Put { value: Bytes::from(value), created, expires: None };
    let gone = || Change::Gone(Removal::Deleted);
    let x = || "b.x".to_owned();
    let y = || "b.y".to_owned();
    assert_eq!(
        seen,
        [(x(), 2, put("x", 2)), (x(), 3, put("xx", 2)), (y(), 6, put("y", 6)), (x(), 7, gone()), (y(), 9, gone())]
    );
    let history = soon("a history", theirs.history(&b)).await.expect("it is read");
    assert_eq!(history.iter().map(|change| change.revision).collect::<Vec<_>>(), [2, 3, 7]);
    soon("a purge", ours.purge(&b)).await.expect("it is done");
    assert_eq!(soon("a history", theirs.history(&b)).await.expect("it is read").len(), 0);

    let large = vec![7_u8; 900_000];
    soon("a large one", ours.put(&a, large.clone())).await.expect("it is written");
    assert_eq!(value(&soon("a get", theirs.get(&a)).await.expect("it is read")), Some(&large[..]));
}

/// Keys are scanned in order, in pages, whole and by what they begin with.
///
/// # Panics
/// If it is not so.
pub async fn scans(setup: &Setup) {
    let bucket = bucket(setup, 0, "scans").await;
    for number in 0..300_u32 {
        let key = key(&format!("k.{:03}", number * 7 % 300));
        soon("a put", bucket.put(&key, vec![0_u8; 10])).await.expect("it is written");
    }
    soon("a put", bucket.put(&key("z"), "last")).await.expect("it is written");
    let limits = sinew_kvstore::PageLimits { bytes_max: 1_000, items_max: 1_000, keys_only: false };
    let mut scan = bucket.scan_by(Range::default(), limits);
    let mut seen = Vec::new();
    while let Some(entry) = soon("an entry", scan.next()).await {
        seen.push(entry.expect("it is read").key.to_string());
    }
    let mut all: Vec<_> = (0..300).map(|number| format!("k.{number:03}")).collect();
    all.push("z".to_owned());
    assert_eq!(seen, all);
    let mut keys = bucket.keys(Range { prefix: "k.01".to_owned(), ..Range::default() });
    let mut seen = Vec::new();
    while let Some(key) = soon("a key", keys.next()).await {
        seen.push(key.expect("it is read").to_string());
    }
    assert_eq!(seen, all[10..20]);
    let keys: Vec<_> = all.iter().map(|text| key(text)).collect();
    let found = soon("all of them", bucket.get_many(&keys)).await.expect("they are read");
    assert!(found.iter().zip(&keys).all(|(entry, key)| entry.as_ref().is_some_and(|entry| entry.key == *key)));
}

/// What a watcher has seen, held against what is there: entries once, changes once and in the order of their revisions.
#[derive(Debug, Default)]
pub struct Seen {
    values: BTreeMap<String, (u64, Bytes)>,
    revision: u64,
    in_snapshot: bool,
    last_entry: Option<String>,
    /// Changes that were told.
    pub changes: u64,
}

impl Seen {
    /// Of a watch that begins with what there is.
    pub fn new() -> Self {
        Self { in_snapshot: true, ..Self::default() }
    }

    /// Takes in what came.
    ///
    /// # Errors
    /// What is doubled or out of order.
    pub fn take(&mut self, event: WatchEvent) -> Result<(), String> {
        match event {
            WatchEvent::Entry(entry) => {
                let key = entry.key.to_string();
                if !self.in_snapshot || self.last_entry.as_ref().is_some_and(|last| *last >= key) {
                    return Err(format!(
                        "entry `{key}` behind {:?}, in snapshot: {}",
                        self.last_entry, self.in_snapshot
                    ));
                }
                self.last_entry = Some(key.clone());
                self.values.insert(key, (entry.revision, entry.value));
            }
            WatchEvent::CaughtUp { revision } => {
                if revision < self.revision {
                    return Err(format!("caught up at {revision} behind a change of {}", self.revision));
                }
                (self.in_snapshot, self.revision) = (false, revision);
            }
            WatchEvent::Change(change) => {
                let key = change.key.to_string();
                let known = self.values.get(&key).map_or(0, |(revision, _)| *revision);
                if change.revision <= self.revision || change.revision <= known {
                    return Err(format!(
                        "a change of {} of `{key}` behind {} and {known}",
                        change.revision, self.revision
                    ));
                }
                (self.revision, self.changes) = (change.revision, self.changes + 1);
                match change.change {
                    Change::Put { value, .. } => drop(self.values.insert(key, (change.revision, value))),
                    Change::Gone(_) if self.values.remove(&key).is_none() => {
                        return Err(format!("`{key}` is gone at {}, and was not there", change.revision));
                    }
                    Change::Gone(_) => {}
                }
            }
            WatchEvent::Restarted => return Err("it restarted, and was not to".to_owned()),
        }
        Ok(())
    }

    /// Everything up to here was told.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Compares with what is there.
    ///
    /// # Errors
    /// What differs.
    pub fn compare(&self, entries: &[Entry]) -> Result<(), String> {
        let there: BTreeMap<_, _> =
            entries.iter().map(|entry| (entry.key.to_string(), (entry.revision, entry.value.clone()))).collect();
        if there == self.values { Ok(()) } else { Err(format!("{:?} was told, {there:?} is there", self.values)) }
    }
}

/// The engine on disk in a folder that another one has closed, or is about to have closed: what is left of its last server
/// holds it until it has ended.
///
/// # Panics
/// If it cannot be opened, for another reason than that.
pub async fn open_again(data: &Path) -> Arc<dyn Engine> {
    let opening = async {
        loop {
            match JournalEngine::open(data, KvEngineOptions::default()) {
                Ok(engine) => return Arc::new(engine),
                Err(error) => assert!(error.to_string().contains("in use"), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    soon("opening the engine", opening).await
}

/// A server is killed and started again `restarts` times, each time on what `open` gives: the same engine, or one that finds
/// what the last one had. Meanwhile one writes and another watches: each change is seen once and in order, and a counter ends
/// at what was acknowledged.
///
/// # Panics
/// If it is not so.
pub async fn through_restarts(setup: &mut Setup, open: impl AsyncFn() -> Arc<dyn Engine>, restarts: u64) {
    let mut server = setup.serve_kv_on(open().await, KvLimits::default()).await;
    let writer = bucket(setup, 0, "restarts").await;
    let reader = setup.kv(1).await.bucket(writer.name());
    let mut watch = soon("watching", reader.watch(&pattern(">"), WatchFrom::Snapshot)).await.expect("it stands");
    let total = restarts * 10;
    let writing = tokio::spawn(async move {
        let mut random = Random::new(restarts);
        for number in 0..total {
            let key = key(&format!("k{}", random.below(5)));
            match random.below(4) {
                0 => drop(writer.delete(&key).await.expect("it is done")),
                _ => drop(writer.put(&key, number.to_string()).await.expect("it is written")),
            }
            assert_eq!(writer.add(&self::key("count"), 1).await.expect("it is counted"), number as i64 + 1);
        }
        writer.get(&self::key("count")).await.expect("it is read").expect("it is there").revision
    });
    let mut seen = Seen::new();
    let mut counted = 0;
    while counted < total {
        let event = next(&mut watch).await;
        if matches!(&event, WatchEvent::Change(change) if change.key.as_str() == "count") {
            counted += 1;
            if counted % 10 == 5 {
                server.abort().await;
                server = setup.serve_kv_on(open().await, KvLimits::default()).await;
            }
        }
        seen.take(event).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    let last = soon("the writes", writing).await.expect("each was done once");
    assert_eq!(seen.revision(), last);
    let limits = sinew_kvstore::PageLimits { bytes_max: 1 << 20, items_max: 100, keys_only: false };
    let page = soon("what is there", reader.scan_page(&Range::default(), limits)).await.expect("it is read");
    seen.compare(&page.entries).unwrap_or_else(|wrong| panic!("{wrong}"));
    server.abort().await;
}

/// What a policy denies of one key is refused, and what it takes away ends; another key is not touched.
///
/// # Panics
/// If it is not so.
pub async fn permissions(setup: &mut Setup, engine: Arc<dyn Engine>) -> Server {
    let rules = Arc::new(Rules::default());
    setup.authorize = rules.clone();
    let server = setup.serve_kv_on(engine, KvLimits::default()).await;
    let bucket = bucket(setup, 0, "keys").await;
    let (open, shut) = (key("open.a"), key("shut.a"));
    soon("a put", bucket.put(&shut, "1")).await.expect("nothing denies it");
    let mut ended = soon("watching", bucket.watch(&pattern(">"), WatchFrom::Now)).await.expect("it stands");
    let mut stands = soon("watching", bucket.watch(&pattern("open.*"), WatchFrom::Now)).await.expect("it stands");
    assert!(matches!(next(&mut ended).await, WatchEvent::CaughtUp { .. }));
    assert!(matches!(next(&mut stands).await, WatchEvent::CaughtUp { .. }));
    // As a policy without these keys would have it: neither they, nor what has them within.
    for operation in [Operation::KvRead, Operation::KvWrite] {
        rules.deny(operation, "keys.>");
        rules.deny(operation, "keys.shut.a");
    }
    // Its end is what says that the server has seen the change.
    while soon("its end", ended.next()).await.is_some() {}
    assert!(matches!(ended.end(), Some(Error::Denied { .. })), "{:?}", ended.end());
    for refused in [
        soon("a get", bucket.get(&shut)).await.map(drop),
        soon("a get", bucket.get_many(&[open.clone(), shut.clone()])).await.map(drop),
        soon("a history", bucket.history(&shut)).await.map(drop),
        soon("a put", bucket.put(&shut, "2")).await.map(drop),
        soon("a put", bucket.put_with(&shut, "2", &PutOptions::default())).await.map(drop),
        soon("a delete", bucket.delete(&shut)).await.map(drop),
        soon("a transaction", bucket.transaction().put(&open, "2").delete(&shut).commit()).await.map(drop),
        soon("a transaction", bucket.transaction().expect_present(&shut).put(&open, "2").commit()).await.map(drop),
        soon("a scan", bucket.scan(Range::default()).next()).await.transpose().map(drop),
        soon("the bucket", bucket.info()).await.map(drop),
        soon("watching", bucket.watch(&pattern(">"), WatchFrom::Now)).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Denied { .. })), "{refused:?}");
    }
    let listed = soon("the list", setup.kv(0).await.list()).await.expect("it is shown");
    assert_eq!(listed, [bucket.name().clone()], "who may do something in a bucket sees that it is there");
    let stored = soon("a put", bucket.put(&open, "1")).await.expect("another key");
    assert_eq!(stored.revision, 2, "nothing of what was refused was written");
    assert!(matches!(next(&mut stands).await, WatchEvent::Change(change) if change.key == open));
    let range = Range { prefix: "open.".to_owned(), ..Range::default() };
    assert!(
        soon("a scan", bucket.scan(range).next()).await.is_some_and(|entry| entry.is_ok_and(|entry| entry.key == open))
    );
    server
}
