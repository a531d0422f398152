//! Ends that lose nothing: flush, close, and the drain of a subscription.

use sinew_bus::{Delivery, Overflow};

use super::{narrow, next_message, number_in, publish, publish_numbers, subscribe, subscribe_with};
use crate::setup::{Setup, soon};

/// What was published before a flush is routed after it, large and small.
///
/// # Panics
/// If something is missing.
pub async fn flushing_loses_nothing(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let heard = subscribe(&bob, "flush").await;
    for index in 0..200 {
        publish(&alice, "flush", vec![7; if index % 50 == 0 { 200_000 } else { 10 }]).await;
    }
    soon("flushing", alice.flush()).await.expect("all is routed");
    let tally = soon("unsubscribing", heard.unsubscribe()).await.expect("it is there");
    assert_eq!(tally.delivered + tally.queued, 200, "{tally:?}");
}

/// A client that publishes and closes at once has lost nothing.
///
/// # Panics
/// If something is missing.
pub async fn closing_loses_nothing(setup: &Setup) {
    let bob = setup.bus(1).await;
    let mut heard = subscribe(&bob, "close").await;
    for round in 0..5_u32 {
        let alice = setup.bus(0).await;
        for index in 0..100 {
            publish(&alice, "close", (round * 100 + index).to_le_bytes().to_vec()).await;
        }
        soon("closing", alice.close()).await.expect("it closes in order");
    }
    for expected in 0..500 {
        assert_eq!(number_in(&next_message(&mut heard).await), expected);
    }
}

/// A subscription that is drained still gives out what waits at the server, nothing newer, and ends.
///
/// # Panics
/// If it is not so.
pub async fn drained_subscription(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut draining = subscribe_with(&bob, "drain", narrow(100, Overflow::DropOldest)).await;
    publish_numbers(&alice, "drain", 0..20).await;
    soon("draining", draining.drain()).await.expect("the server says so");
    publish_numbers(&alice, "drain", 20..30).await;
    let mut heard = Vec::new();
    while let Some(delivery) = soon("the rest", draining.next()).await {
        let Delivery::Message(message) = delivery else { panic!("{delivery:?}") };
        heard.push(number_in(&message));
    }
    assert_eq!(heard, (0..20).collect::<Vec<_>>());
    assert!(draining.end().is_none(), "{:?}", draining.end());
}
