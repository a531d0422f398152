//! Bad input: each its own clear error, word for word.

use sinew_bus::{Bus, Headers, Pattern, Subject};

use super::{pattern, publish, subject, subscribe};
use crate::setup::{Setup, soon};

#[track_caller]
fn check<T: std::fmt::Debug, E: std::fmt::Display + std::fmt::Debug>(refused: Result<T, E>, words: &str) {
    assert_eq!(refused.expect_err("it is refused").to_string(), words);
}

/// What cannot be is refused where it is said, with what is wrong and what to do.
///
/// # Panics
/// If it is not so. The server has [`small_limits`](super::small_limits).
pub async fn bad_input(setup: &Setup) {
    let alice = setup.bus(0).await;
    names();
    headers();
    payloads(&alice).await;
    check(
        soon("publishing", alice.publish(&subject("$SYS.x"), "no")).await,
        "cannot publish to `$SYS.x`: names that begin with `$` belong to the server; choose another first token",
    );
    let callbacks = alice.callbacks();
    let once = pattern("once");
    let registered = callbacks.register(&once, |_: sinew_bus::Message| ());
    let registration = soon("registering", registered).await.expect("it stands");
    registration.unregister().expect("the first time");
    check(registration.unregister(), "the callback for `once` is not registered any more; unregister it once");
    callbacks.shutdown();
    soon("the end", callbacks.wait()).await.expect("we are no callback");
    too_many_subscriptions(setup).await;
}

fn names() {
    let wildcard = "which only a pattern may have; write the subject in full";
    check(Subject::try_from("a.*"), &format!("`a.*` is not a subject: token 2 contains the wildcard `*`, {wildcard}"));
    check(Subject::try_from(">"), &format!("`>` is not a subject: token 1 contains the wildcard `>`, {wildcard}"));
    let empty = "it is empty; write one or more tokens joined by dots, such as `orders.new`";
    check(Subject::try_from(""), &format!("`` is not a subject: {empty}"));
    check(Pattern::try_from(""), &format!("`` is not a pattern: {empty}"));
    let long = Subject::try_from("x".repeat(513)).expect_err("it is refused").to_string();
    assert!(long.ends_with("is not a subject: it has 513 bytes and a name has at most 512; shorten it"), "{long}");
}

fn headers() {
    let mut headers = Headers::default();
    check(
        headers.insert("two words", "v"),
        "`two words` cannot be a header: a name has 1 to 255 visible ASCII characters; rename it",
    );
    check(
        headers.insert("big", vec![0; 16 * 1024]),
        "`big` cannot be a header: all headers would have 16390 bytes and may have 16384; put it into the payload",
    );
    for _ in 0..64 {
        headers.insert("n", "v").expect("there is room");
    }
    check(
        headers.insert("n", "v"),
        "`n` cannot be a header: a message has at most 64 headers; put it into the payload",
    );
}

async fn payloads(alice: &Bus) {
    let body = vec![0; 8 << 20];
    check(
        soon("publishing", alice.publish(&subject("a"), body)).await,
        "a record of 8388627 bytes; the limit is 8388608: send it in parts, or raise `record_bytes_max` at both ends",
    );
    let mut heard = subscribe(alice, "a").await;
    publish(alice, "a", &b"\x18"[..]).await;
    let message = super::next_message(&mut heard).await;
    check(
        message.value::<u8>(),
        "a message of 1 bytes on `a` is no u8: it ends too early; read its `body`, or agree on the type",
    );
}

/// One too many is refused with the limit; when one ends there is room again.
async fn too_many_subscriptions(setup: &Setup) {
    let bob = setup.bus(1).await;
    let mut standing = Vec::new();
    for index in 0..8 {
        standing.push(subscribe(&bob, &format!("s.{index}")).await);
    }
    check(
        soon("subscribing", bob.subscribe(&pattern("s.8"))).await.map(|_| ()),
        "the server's limit: this session has 8 subscriptions, the limit; end some, or raise `subscriptions_max` at the server",
    );
    let last = standing.pop().expect("eight stand");
    soon("unsubscribing", last.unsubscribe()).await.expect("it is there");
    standing.push(subscribe(&bob, "s.8").await);
}
