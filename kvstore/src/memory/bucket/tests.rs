//! The engine in memory against the model, and what it alone does.

use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::model::{Model, Told, some_write};
use crate::{Action, BucketLimits, Engine, MemoryEngine, Operation, Removal};

fn name(text: &str) -> ResourceName {
    ResourceName::try_from(text).expect("a name")
}

async fn written(bucket: &dyn Bucket, write: Write) -> Result<Written> {
    let (done, answer) = oneshot::channel();
    bucket.write(write, Box::new(move |result| drop(done.send(result))));
    answer.await.expect("it is answered")
}

fn put(key: &str, value: Vec<u8>, time_to_live: Option<Duration>) -> Write {
    let operation = Operation::Put { value: value.into(), time_to_live };
    Write { actions: vec![Action { key: Key::try_from(key).expect("a key"), operation }], ..Write::default() }
}

/// Random operations beside the model.
async fn run(seed: u64, config: BucketConfig, pages: PageLimits) {
    // SplitMix64, as elsewhere.
    let mut state = seed;
    let mut below = move |count: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    };
    let engine = MemoryEngine::default();
    engine.create(&name("b"), &config).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("there");
    let (names, mut model) = (["a", "a.b", "b", "c.d", "c.e", "d", "e"], Model::default());
    for _ in 0..300 {
        if below(8) == 0 {
            let milliseconds = 1 + below(30) as u64;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            model.advance(milliseconds);
        } else {
            let write = some_write(&model, &names, &mut below);
            let told = Told::of(written(&*bucket, write.clone()).await);
            assert_eq!(told, model.write(&write, &config), "seed {seed}: {write:?}");
        }
        model.check(&*bucket, &config, &names, pages).await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_does_what_the_model_does() {
    for seed in 0..40 {
        let limits = BucketLimits { changes_kept: [5, 20, 100_000][seed as usize % 3], ..BucketLimits::default() };
        let time_to_live = (seed % 5 == 4).then_some(Duration::from_millis(25));
        let config =
            BucketConfig { history: [1, 2, 5][seed as usize / 3 % 3], time_to_live, limits, ..BucketConfig::default() };
        let pages = PageLimits { bytes_max: [60, 1 << 20][seed as usize % 2], items_max: 3, keys_only: seed % 7 == 6 };
        run(seed, config, pages).await;
    }
}

#[tokio::test(start_paused = true)]
async fn watchers_are_told_of_an_expiry_when_it_is_due() {
    let engine = MemoryEngine::default();
    engine.create(&name("b"), &BucketConfig::default()).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("there");
    written(&*bucket, put("later", vec![1], Some(Duration::from_secs(100)))).await.expect("put");
    written(&*bucket, put("sooner", vec![1], Some(Duration::from_secs(10)))).await.expect("put");
    let (mut range, began) = (bucket.range(), tokio::time::Instant::now());
    for (revision, seconds, key) in [(3, 10, "sooner"), (4, 100, "later")] {
        range.wait_for(|range| range.revision == revision).await.expect("told");
        assert_eq!(began.elapsed().as_secs(), seconds);
        let all = PageLimits { bytes_max: 1_000, items_max: 10, keys_only: false };
        let page = bucket.changes(revision, all).await.expect("kept");
        assert_eq!((page.changes[0].key.as_str(), &page.changes[0].change), (key, &Change::Gone(Removal::Expired)));
    }
}

#[tokio::test]
async fn what_is_full_refuses_puts_and_lets_go() {
    let engine = MemoryEngine::new(1_000);
    let limits = BucketLimits { changes_kept: 0, ..BucketLimits::default() };
    engine.create(&name("b"), &BucketConfig { limits, ..BucketConfig::default() }).await.expect("created");
    let bucket = engine.bucket(&name("b")).await.expect("there");
    written(&*bucket, put("a", vec![0; 500], None)).await.expect("there is room");
    let refused = written(&*bucket, put("b", vec![0; 500], None)).await.expect_err("there is none");
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    let delete = Action { key: Key::try_from("a").expect("a key"), operation: Operation::Delete };
    written(&*bucket, Write { actions: vec![delete], ..Write::default() }).await.expect("it needs none");
    written(&*bucket, put("b", vec![0; 500], None)).await.expect("there is room again");
    engine.delete(&name("b")).await.expect("deleted");
    assert_eq!(engine.room.bytes.load(Ordering::Relaxed), 0);
    assert!(bucket.range().borrow().ended);
    assert!(matches!(bucket.get(&Key::try_from("b").expect("a key")), Found::Failed(Error::Ended { .. })));
}

#[tokio::test]
async fn a_bucket_is_made_once_and_altered() {
    let engine = MemoryEngine::default();
    let config = BucketConfig::default();
    engine.create(&name("b"), &config).await.expect("created");
    engine.create(&name("b"), &config).await.expect("the same");
    let other = BucketConfig { history: 3, ..config.clone() };
    assert!(matches!(engine.create(&name("b"), &other).await, Err(Error::BucketExists { .. })));
    assert_eq!(engine.alter(&name("b"), &other).await.expect("altered").config, other);
    engine.create(&name("a"), &config).await.expect("created");
    assert_eq!(engine.names(None, 10).await.expect("names"), [name("a"), name("b")]);
    assert_eq!(engine.names(Some(&name("a")), 10).await.expect("names"), [name("b")]);
    assert!(matches!(engine.alter(&name("c"), &other).await, Err(Error::UnknownBucket { .. })));
    assert!(matches!(engine.bucket(&name("c")).await, Err(Error::UnknownBucket { .. })));
}
