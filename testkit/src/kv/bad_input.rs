//! Bad input: each its own clear error, word for word.

use std::sync::Arc;
use std::time::Duration;

use sinew_kvstore::{BucketConfig, BucketLimits, Key, Level, PutOptions, WatchFrom};
use sinew_session::{Pattern, ResourceName};

use super::{key, name, pattern};
use crate::setup::{Setup, soon};

#[track_caller]
fn check<T: std::fmt::Debug, E: std::fmt::Display + std::fmt::Debug>(refused: Result<T, E>, words: &str) {
    assert_eq!(refused.expect_err("it is refused").to_string(), words);
}

/// What cannot be is refused with what is wrong and what to do.
///
/// # Panics
/// If it is not so.
pub async fn bad_input(setup: &Setup) {
    let kv = setup.kv(0).await;
    check(
        ResourceName::try_from("a.b"),
        "`a.b` cannot name a queue, bucket or stream: it contains `.`, and it must be one token that can also be a \
         folder; use `-` or `_`",
    );
    check(
        Key::try_from("$KV.a"),
        "`$KV.a` cannot be a key: names that begin with `$` belong to the server; choose another beginning",
    );
    check(
        Key::try_from("k".repeat(300).as_str()),
        &format!("`{}…` cannot be a key: it has 300 bytes and a key has at most 255; shorten it", "k".repeat(60)),
    );
    check(Key::try_from("a..b"), "`a..b` is not a subject: token 2 is empty; remove the dot beside it");
    check(
        Key::try_from("a.*"),
        "`a.*` is not a subject: token 2 contains the wildcard `*`, which only a pattern may have; write the subject in full",
    );
    assert!(Pattern::try_from("a.>.b").is_err());

    let (a, unknown) = (key("a"), kv.bucket(&name("none")));
    let words =
        "there is no bucket `none`; create it with `sinew kv bucket create none`, or see `sinew kv bucket list`";
    check(soon("a get", unknown.get(&a)).await, words);
    check(soon("several", unknown.get_many(std::slice::from_ref(&a))).await, words);
    check(soon("the bucket", unknown.info()).await, words);
    check(soon("watching", unknown.watch(&pattern(">"), WatchFrom::Now)).await.map(drop), words);

    let bucket = kv.bucket(&name("config"));
    let limits = BucketLimits { value_bytes_max: 1_000, ..BucketLimits::default() };
    let config = BucketConfig { limits, ..BucketConfig::default() };
    soon("making it", bucket.make(&config)).await.expect("it is made");
    check(
        soon("making it", bucket.make(&BucketConfig::default())).await,
        "bucket `config` exists with another configuration; alter it, or choose another name",
    );
    let stored = soon("a put", bucket.put(&a, "1")).await.expect("it is written");
    check(
        soon("an update", bucket.update(&a, "2", 7)).await,
        &format!(
            "nothing was written to `config`: `a` has revision {}, and revision 7 was expected; read it and try again",
            stored.revision
        ),
    );
    let many = |count: usize| (0..count).fold(bucket.transaction(), |all, n| all.put(&key(&format!("k{n}")), "x"));
    check(
        soon("a large one", many(1_025).commit()).await,
        "nothing was written to `config`: it has 1025 conditions and actions, and may have 1024; split it",
    );
    let zero = PutOptions { time_to_live: Some(Duration::ZERO), ..PutOptions::default() };
    let higher = PutOptions { required: Some(Level::Replicated), ..PutOptions::default() };
    let oversize =
        "a value of 1001 bytes for `config`; the limit is 1000: split it, or raise `value_bytes_max` of the bucket";
    check(soon("an oversize value", bucket.put(&a, vec![0_u8; 1_001])).await, oversize);
    let no_life = "nothing was written to `config`: `a` is to live for no time at all; leave it out for ever";
    check(soon("no life", bucket.put_with(&a, "x", &zero)).await, no_life);
    check(
        soon("nothing", bucket.transaction().commit()).await,
        "nothing was written to `config`: there is no action in it; a transaction has at least one",
    );
    check(
        soon("a key twice", bucket.transaction().put(&a, "1").delete(&a).commit()).await,
        "nothing was written to `config`: `a` stands in it twice; a write changes each key once",
    );
    let level = soon("the bucket", bucket.info()).await.expect("it is there").level;
    check(
        soon("a level", bucket.put_with(&a, "x", &higher)).await,
        &format!(
            "nothing was written to `config`: it acknowledges when a write is {level}, and replicated was required; alter \
             the bucket"
        ),
    );
    let relative = "is relative, and the server has another working directory; name it from the root";
    check(soon("a backup", bucket.backup("here", Arc::new(|_| {}))).await, &format!("`here` {relative}"));
    check(soon("a restore", bucket.restore("../here", Arc::new(|_| {}))).await, &format!("`../here` {relative}"));
    soon("a word", bucket.put(&a, "many")).await.expect("it is written");
    let counted = soon("an add", bucket.add(&a, 1)).await.expect_err("it is no number").to_string();
    assert!(counted.starts_with("nothing was written to `config`: `a` cannot be counted up: "), "{counted}");
}
