//! The table on a real disk: `sled`'s files as they were left, lost, older, damaged, or of a system that ended.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::{JournalEngine, PageLimits};

fn written(bucket: &dyn Bucket, of: Write) -> impl Future<Output = Result<Written>> {
    let (done, answer) = tokio::sync::oneshot::channel();
    bucket.write(of, Box::new(move |result| drop(done.send(result))));
    async { answer.await.expect("it is answered") }
}

/// Puts numbered keys, each with this value.
async fn fill(engine: &JournalEngine, numbers: std::ops::Range<usize>, value: &str) {
    engine.create(&name("b"), &BucketConfig::default()).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("opened");
    let puts: Vec<_> = numbers.map(|number| written(&*bucket, put(&format!("k.{number:05}"), long(value)))).collect();
    for put in puts {
        put.await.expect("put");
    }
    // The table has all of it.
    bucket.verify(Arc::new(|_| {})).await.expect("verified");
}

/// Too long for a row.
fn long(value: &str) -> String {
    value.repeat(100)
}

async fn check(path: &Path, expected: &[(std::ops::Range<usize>, &str)]) {
    let engine = JournalEngine::open(path, KvEngineOptions::default()).expect("opened");
    let bucket = engine.bucket(&name("b")).await.expect("opened");
    let page = bucket.scan(&Range::default(), PageLimits { bytes_max: 1 << 24, ..ALL }).await.expect("scanned");
    let found = page.entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_vec()));
    let key = |number| format!("k.{number:05}");
    let expected =
        expected.iter().flat_map(|(numbers, value)| numbers.clone().map(move |at| (key(at), long(value).into())));
    assert!(found.eq(expected));
    let verified = bucket.verify(Arc::new(|_| {})).await.expect("verified");
    assert!(verified.problems.is_empty(), "{verified:?}");
    engine.close().await.expect("closed");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// A data directory whose table has the first half, and one that has all: the older files can be put under the newer journal.
async fn grown() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, older) = (folder.path().join("data"), folder.path().join("older"));
    let engine = JournalEngine::open(&data, KvEngineOptions::default()).expect("opened");
    fill(&engine, 0..500, "a").await;
    engine.close().await.expect("closed");
    drop(engine);
    copy(&data.join("kv-table"), &older);
    let engine = JournalEngine::open(&data, KvEngineOptions::default()).expect("opened");
    fill(&engine, 250..1_000, "b").await;
    engine.close().await.expect("closed");
    (folder, data, older)
}

const EXPECTED: [(std::ops::Range<usize>, &str); 2] = [(0..250, "a"), (250..1_000, "b")];

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_believed_when_it_was_closed_and_made_again_when_it_is_lost() {
    let (_folder, data, _) = grown().await;
    check(&data, &EXPECTED).await;
    fs::remove_dir_all(data.join("kv-table")).expect("removed");
    check(&data, &EXPECTED).await;
    // Nothing says who wrote it.
    fs::remove_file(data.join("kv-table.state")).expect("removed");
    check(&data, &EXPECTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_table_is_brought_up_to_the_journal() {
    let (_folder, data, older) = grown().await;
    fs::remove_dir_all(data.join("kv-table")).expect("removed");
    copy(&older, &data.join("kv-table"));
    check(&data, &EXPECTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_is_made_again_or_ends_the_server_once() {
    let (_folder, data, _) = grown().await;
    let mut dice = sinew_journal::Dice::new(1);
    let (table, good) = (data.join("kv-table"), data.with_file_name("good"));
    copy(&table, &good);
    let mut ended = 0;
    for turn in 0..12 {
        fs::remove_dir_all(&table).expect("removed");
        copy(&good, &table);
        for entry in fs::read_dir(&table).expect("listed").map(|entry| entry.expect("listed")) {
            if !entry.file_type().expect("known").is_file() {
                continue;
            }
            let mut bytes = fs::read(entry.path()).expect("read");
            match turn % 3 {
                0 => bytes.truncate(dice.below(bytes.len().max(1))),
                1 => bytes.fill(0),
                _ => (0..200).for_each(|_| {
                    let at = dice.below(bytes.len().max(1));
                    bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << dice.below(8));
                }),
            }
            fs::write(entry.path(), bytes).expect("written");
        }
        // Damage that shows only when a row is read ends the server, and the next start makes the table again.
        let engine = JournalEngine::open(&data, KvEngineOptions::default()).expect("opened");
        let is_sound = match engine.bucket(&name("b")).await {
            Ok(bucket) => {
                bucket.scan(&Range::default(), ALL).await.is_ok() && bucket.verify(Arc::new(|_| {})).await.is_ok()
            }
            Err(_) => false,
        };
        ended += usize::from(!is_sound);
        let _ = engine.close().await;
        drop(engine);
        check(&data, &EXPECTED).await;
    }
    println!("{ended} of 12 ended the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_a_system_that_ended_is_not_believed() {
    let (_folder, data, older) = grown().await;
    // Older files under a mark that says: written by another start of the system, and never closed.
    fs::remove_dir_all(data.join("kv-table")).expect("removed");
    copy(&older, &data.join("kv-table"));
    let directory = sinew_journal::DataDirectory::open(Arc::new(sinew_journal::Disk), &data).expect("opened");
    directory.write_whole("kv-table.state", &super::super::tables::marked("another", false)).expect("written");
    drop(directory);
    check(&data, &EXPECTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_s_table_is_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let engine = JournalEngine::open(&data, KvEngineOptions::default()).expect("opened");
    fill(&engine, 0..500, "a").await;
    // As if the process ended here: the files as they are now.
    let copied = folder.path().join("copied");
    copy(&data, &copied);
    check(&copied, &[(0..500, "a")]).await;
    engine.close().await.expect("closed");
}
