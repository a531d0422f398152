//! A bucket that is deleted and made anew while who watches it is cut off: revisions of another bucket are not taken for
//! those of the one that was watched.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use sinew_kvstore::{
    BucketConfig, CachedBucket, Engine, Error, JournalEngine, Key, KvBucket, KvEngineOptions, KvLimits, MemoryEngine,
    Watch, WatchEvent, WatchFrom, WatchOptions,
};
use sinew_session::Server;
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use sinew_transport_api::FaultControl;

/// A server, somebody who is cut off now and then, and somebody who is not.
struct World {
    setup: Setup,
    server: Server,
    /// The reader's way to it.
    faults: FaultControl,
    reader: KvBucket,
    writer: KvBucket,
}

fn key(text: &str) -> Key {
    text.parse().expect("a key of this test")
}

async fn world(engine: Arc<dyn Engine>) -> World {
    let net = Net::default();
    let mut setup = Setup::plaintext(net.registry(), &["mem://sea", "mem://land"]);
    let server = setup.serve_kv_on(engine, KvLimits::default()).await;
    let name = "things".parse().expect("a name of this test");
    let (reader, writer) = (setup.kv(0).await.bucket(&name), setup.kv(1).await.bucket(&name));
    writer.make(&BucketConfig::default()).await.expect("it is made");
    World { setup, server, faults: net.faults("sea"), reader, writer }
}

/// Once with the engine in memory, once with the one on disk.
async fn on_both(test: impl AsyncFn(World)) {
    test(world(Arc::new(MemoryEngine::default())).await).await;
    let data = tempfile::tempdir().expect("a folder");
    let engine = JournalEngine::open(data.path(), KvEngineOptions::default()).expect("an empty folder");
    test(world(Arc::new(engine)).await).await;
}

impl World {
    async fn put(&self, keys: &[&str]) -> u64 {
        let mut last = 0;
        for text in keys {
            last = soon("a put", self.writer.put(&key(text), text.to_string())).await.expect("it is written").revision;
        }
        last
    }

    /// While the reader is cut off, the bucket is deleted, made anew, and has these keys.
    async fn make_anew(&self, keys: &[&str]) -> u64 {
        self.faults.down();
        soon("the deletion", self.writer.remove()).await.expect("it is there");
        soon("making it", self.writer.make(&BucketConfig::default())).await.expect("it is made");
        let last = self.put(keys).await;
        self.faults.up();
        last
    }
}

async fn next(watch: &mut Watch) -> Option<WatchEvent> {
    soon("the next event", watch.next()).await
}

async fn caught_up(watch: &mut Watch) -> u64 {
    loop {
        if let WatchEvent::CaughtUp { revision } = next(watch).await.expect("it goes on") {
            return revision;
        }
    }
}

#[tokio::test]
async fn a_watch_ends_that_was_cut_off_meanwhile() {
    on_both(async |world| {
        let all = ">".parse().expect("a pattern");
        let mut watch = soon("watching", world.reader.watch(&all, WatchFrom::Snapshot)).await.expect("it stands");
        world.put(&["a", "b"]).await;
        while !matches!(next(&mut watch).await, Some(WatchEvent::Change(change)) if change.key == key("b")) {}
        // More than it has seen: nothing but the bucket's identity tells that they are others.
        assert_eq!(world.make_anew(&["c", "d", "e", "f"]).await, 4);
        assert_eq!(next(&mut watch).await, None);
        assert!(matches!(watch.end(), Some(Error::Remade { .. })), "{:?}", watch.end());
        world.server.drain().await;
    })
    .await;
}

#[tokio::test]
async fn one_in_the_middle_of_its_snapshot_ends_too() {
    on_both(async |world| {
        world.put(&["a", "b", "c", "d"]).await;
        // A window of one entry: the others come once it is consumed.
        let options = WatchOptions { window_bytes: 1, ..WatchOptions::default() };
        let all = ">".parse().expect("a pattern");
        let mut watch = soon("watching", world.reader.watch_with(&all, options)).await.expect("it stands");
        assert!(matches!(next(&mut watch).await, Some(WatchEvent::Entry(entry)) if entry.key == key("a")));
        world.make_anew(&["c", "d", "e", "f", "g"]).await;
        // What had come before the cut is given out, and nothing of the other bucket.
        while let Some(event) = next(&mut watch).await {
            assert!(matches!(&event, WatchEvent::Entry(entry) if entry.key == key("b")), "{event:?}");
        }
        assert!(matches!(watch.end(), Some(Error::Remade { .. })), "{:?}", watch.end());
        world.server.drain().await;
    })
    .await;
}

#[tokio::test]
async fn one_that_restarts_begins_anew() {
    on_both(async |world| {
        let options = WatchOptions { restarts: true, ..WatchOptions::default() };
        let all = ">".parse().expect("a pattern");
        let mut watch = soon("watching", world.reader.watch_with(&all, options)).await.expect("it stands");
        world.put(&["a", "b"]).await;
        while !matches!(next(&mut watch).await, Some(WatchEvent::Change(change)) if change.key == key("b")) {}
        world.make_anew(&["c", "d", "e"]).await;
        while next(&mut watch).await.expect("it goes on") != WatchEvent::Restarted {}
        for text in ["c", "d", "e"] {
            assert!(matches!(next(&mut watch).await, Some(WatchEvent::Entry(entry)) if entry.key == key(text)));
        }
        assert_eq!(caught_up(&mut watch).await, 3);
        world.server.drain().await;
    })
    .await;
}

#[tokio::test]
async fn a_cached_reader_shows_the_new_bucket_and_nothing_of_the_old() {
    on_both(async |world| {
        let old = world.put(&["a", "b", "c", "d", "e"]).await;
        let all = ">".parse().expect("a pattern");
        let reader = soon("reading", CachedBucket::open(&world.reader, &all)).await.expect("it stands");
        assert_eq!((reader.len(), *reader.changes().borrow()), (5, old));
        // More than it has seen, and then fewer.
        for keys in [&["c", "d", "e", "f", "g", "x", "z"][..], &["c", "x"]] {
            let mut changes = reader.changes();
            let waiting = reader.reached(*changes.borrow() + 1);
            tokio::pin!(waiting);
            assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
            let new = world.make_anew(keys).await;
            soon("the new bucket", changes.wait_for(|revision| *revision == new)).await.expect("it goes on");
            let shown: Vec<_> = reader.with_prefix("").into_iter().map(|entry| entry.key.to_string()).collect();
            assert_eq!(shown, keys);
            let waited = soon("who waits for the old one", waiting).await;
            assert!(matches!(waited, Err(Error::Remade { .. })), "{waited:?}");
        }
        let last = world.put(&["y"]).await;
        soon("the next change", reader.reached(last)).await.expect("it goes on");
        assert!(reader.get(&key("y")).is_some());
        world.server.drain().await;
    })
    .await;
}

#[tokio::test]
async fn a_bucket_on_disk_is_the_same_after_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let mut world = world(sinew_testkit::kv::open_again(data.path()).await).await;
    let all = ">".parse().expect("a pattern");
    let mut watch = soon("watching", world.reader.watch(&all, WatchFrom::Snapshot)).await.expect("it stands");
    world.put(&["a"]).await;
    while !matches!(next(&mut watch).await, Some(WatchEvent::Change(change)) if change.key == key("a")) {}
    world.server.abort().await;
    let engine = sinew_testkit::kv::open_again(data.path()).await;
    world.server = world.setup.serve_kv_on(engine, KvLimits::default()).await;
    world.put(&["b"]).await;
    while !matches!(next(&mut watch).await, Some(WatchEvent::Change(change)) if change.key == key("b")) {}
    world.server.drain().await;
}
