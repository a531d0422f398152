//! Writers, readers, the table and compaction at the same time, with threads: nothing that was acknowledged is not seen, and
//! nothing is seen that is older than what was seen before.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::{Condition, Expected, JournalEngine};

async fn written(bucket: &dyn Bucket, of: Write) -> Result<Written> {
    let (done, answer) = tokio::sync::oneshot::channel();
    bucket.write(of, Box::new(move |result| drop(done.send(result))));
    answer.await.expect("it is answered")
}

fn options() -> KvEngineOptions {
    KvEngineOptions {
        overlay_bytes_max: 20_000,
        cache_bytes_max: 10_000,
        tail_bytes_max: 2_000,
        segment_bytes_max: 64 << 10,
        maintenance_interval: Duration::from_millis(1),
        ..KvEngineOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compare_and_sets_count_exactly_while_everything_runs() {
    const CLIENTS: usize = 8;
    const EACH: usize = 125;
    let folder = tempfile::tempdir().expect("a folder");
    let engine = JournalEngine::open(folder.path(), options()).expect("opened");
    engine.create(&name("b"), &forgetful(1)).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("opened");
    written(&*bucket, put("n", "0")).await.expect("put");
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (bucket, is_over) = (bucket.clone(), is_over.clone());
        readers.push(tokio::spawn(async move {
            let mut last = 0;
            while !is_over.load(Ordering::Acquire) {
                let entry = bucket.load(&[key("n")]).await.expect("read").pop().flatten().expect("it is there");
                let page = bucket.scan(&Range::default(), ALL).await.expect("scanned");
                let scanned = page.entries.iter().find(|entry| entry.key.as_str() == "n").expect("it is there");
                assert!(
                    last <= entry.revision && entry.revision <= scanned.revision && scanned.revision <= page.revision
                );
                last = scanned.revision;
            }
            last
        }));
    }
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let bucket = bucket.clone();
        clients.push(tokio::spawn(async move {
            for number in 0..EACH {
                loop {
                    let entry = bucket.load(&[key("n")]).await.expect("read").pop().flatten().expect("it is there");
                    let count: usize = std::str::from_utf8(&entry.value).expect("a text").parse().expect("a number");
                    let condition = Condition { key: key("n"), expected: Expected::Revision(entry.revision) };
                    let swap = Write { conditions: vec![condition], ..put("n", (count + 1).to_string()) };
                    match written(&*bucket, swap).await {
                        Ok(_) => break,
                        Err(Error::Conflict { revision, .. }) => assert!(revision > entry.revision),
                        Err(error) => panic!("{error}"),
                    }
                }
                written(&*bucket, put(&format!("c.{client}.{}", number % 10), vec![1; 100])).await.expect("put");
            }
        }));
    }
    for client in clients {
        client.await.expect("no panic");
    }
    is_over.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.await.expect("no panic") > 1);
    }
    let entry = bucket.load(&[key("n")]).await.expect("read").pop().flatten().expect("it is there");
    assert_eq!(entry.value, (CLIENTS * EACH).to_string());
    let verified = bucket.verify(Arc::new(|_| {})).await.expect("verified");
    assert!(verified.problems.is_empty(), "{verified:?}");
    engine.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_written_when_it_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = JournalEngine::open(folder.path(), KvEngineOptions::default()).expect("opened");
    engine.create(&name("b"), &BucketConfig::default()).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("opened");
    written(&*bucket, put_for("later", "v", 3_600_000)).await.expect("put");
    written(&*bucket, put_for("soon", "v", 20)).await.expect("put");
    let mut range = bucket.range();
    range.wait_for(|range| range.revision == 3).await.expect("told");
    assert_eq!(bucket.changes(3, ALL).await.expect("read").changes[0].key.as_str(), "soon");
    engine.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_for_the_table_are_stored_as_it_gets_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = JournalEngine::open(folder.path(), options()).expect("opened");
    engine.create(&name("b"), &BucketConfig::default()).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("opened");
    // Ten times what the overlay has room for.
    let puts: Vec<_> = (0..800).map(|number| written(&*bucket, put(&format!("k.{number}"), vec![7; 100]))).collect();
    for put in puts {
        put.await.expect("put");
    }
    assert_eq!(bucket.info().await.expect("there").keys, 800);
    engine.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_and_a_committer_are_shared() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = sinew_journal::DataDirectory::open(Arc::new(sinew_journal::Disk), folder.path()).expect("opened");
    let (directory, committer) = (Arc::new(directory), Arc::new(sinew_journal::Committer::new(2).expect("threads")));
    let engine = JournalEngine::open_in(directory.clone(), committer, KvEngineOptions::default()).expect("opened");
    engine.create(&name("b"), &BucketConfig::default()).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("opened");
    assert_eq!(written(&*bucket, put("a", "1")).await.expect("put").revisions, [1]);
    engine.close().await.expect("closed");
    drop((bucket, engine));
    // It is still ours.
    assert!(JournalEngine::open(folder.path(), KvEngineOptions::default()).is_err());
    drop(directory);
    let engine = JournalEngine::open(folder.path(), KvEngineOptions::default()).expect("opened again");
    let bucket = engine.bucket(&name("b")).await.expect("opened");
    assert_eq!(bucket.load(&[key("a")]).await.expect("read")[0].as_ref().expect("there").value, "1");
    engine.close().await.expect("closed");
}
