//! Last values: heard first by those who come late, listed, read, cleared, bounded.

use sinew_bus::{Bus, Error, Headers, PublishOptions, SubscribeOptions};

use super::{next_message, pattern, publish, subject, subscribe, subscribe_with};
use crate::setup::{Setup, soon};

async fn keep(bus: &Bus, name: &str, body: Vec<u8>) -> Result<(), Error> {
    let headers = Headers::default().with("kept", "yes").expect("a header");
    let options = PublishOptions { headers, retain: true };
    soon("keeping", bus.publish_with(&subject(name), body, &options)).await
}

/// A late subscriber hears the newest kept value of each subject, then what is live; who wants live ones alone does not.
///
/// # Panics
/// If it is not so.
pub async fn kept_values(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    for (name, body) in [("state.a", "old"), ("state.a", "new"), ("state.b", "b")] {
        keep(&alice, name, body.into()).await.expect("it is kept");
    }
    let mut late = subscribe(&bob, "state.*").await;
    let live_only = SubscribeOptions { retained: false, ..SubscribeOptions::default() };
    let mut live = subscribe_with(&bob, "state.*", live_only).await;
    let mut heard = Vec::new();
    for _ in 0..2 {
        let message = next_message(&mut late).await;
        assert!(message.retained && message.headers.get("kept").is_some());
        heard.push(format!("{} {}", message.subject, String::from_utf8_lossy(&message.body)));
    }
    heard.sort();
    assert_eq!(heard, ["state.a new", "state.b b"]);
    publish(&alice, "state.a", "live").await;
    for subscription in [&mut late, &mut live] {
        let message = next_message(subscription).await;
        assert_eq!((&message.body[..], message.retained), (&b"live"[..], false));
    }
    let last = soon("reading", bob.last_value(&subject("state.a"))).await.expect("an answer").expect("it is kept");
    assert_eq!((&last.body[..], last.retained), (&b"new"[..], true));
    let listed = soon("listing", bob.retained(&pattern("state.*"))).await.expect("a list");
    assert_eq!(listed.iter().map(|kept| &kept.subject[..]).collect::<Vec<_>>(), ["state.a", "state.b"]);
    assert_eq!(soon("clearing", bob.clear_retained(&pattern("state.a"))).await.expect("an answer"), 1);
    assert_eq!(soon("reading", bob.last_value(&subject("state.a"))).await.expect("an answer"), None);
}

/// What does not fit is refused with the limits, and neither published nor kept; a value in place of another fits.
///
/// # Panics
/// If it is not so. The server has [`small_limits`](super::small_limits).
pub async fn kept_values_are_bounded(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut heard = subscribe(&bob, "state.*").await;
    for name in ["state.a", "state.b", "state.c"] {
        keep(&alice, name, vec![1; 100]).await.expect("it is kept");
    }
    let full = keep(&alice, "state.d", vec![1; 100]).await.expect_err("three are the limit");
    assert!(matches!(full, Error::RetainedFull { .. }), "{full}");
    assert!(full.to_string().contains("at most 3 values of 16384 bytes"), "{full}");
    let large = keep(&alice, "state.a", vec![1; 20_000]).await.expect_err("it is larger than all may be");
    assert!(matches!(large, Error::RetainedFull { .. }), "{large}");
    keep(&alice, "state.a", vec![2; 100]).await.expect("it takes the place of another");
    for expected in [1, 1, 1, 2] {
        assert_eq!(next_message(&mut heard).await.body[0], expected, "and the refused ones were not published");
    }
}
