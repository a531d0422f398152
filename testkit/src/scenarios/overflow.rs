//! A full queue: each policy loses what it says, and tells it exactly and in its place.

use std::time::Duration;

use sinew_bus::{Bus, BusLimits, Delivery, Error, Overflow, Subscription};

use super::{narrow, next, next_message, number_in, publish, publish_numbers, subscribe_with};
use crate::setup::{PATIENCE, Setup, soon};

/// A subscription with one message on its way and three in its queue, for which ten were published.
async fn flooded(setup: &Setup, overflow: Overflow) -> (Subscription, Bus) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let slow = subscribe_with(&bob, "o", narrow(3, overflow)).await;
    publish_numbers(&alice, "o", 0..10).await;
    (slow, alice)
}

/// The oldest go: the first on its way, six lost, the newest three.
///
/// # Panics
/// If it is not so.
pub async fn dropping_oldest(setup: &Setup) {
    let (mut slow, _alice) = flooded(setup, Overflow::DropOldest).await;
    assert_eq!(number_in(&next_message(&mut slow).await), 0);
    assert_eq!(next(&mut slow).await, Delivery::Lagged(6));
    for expected in 7..10 {
        assert_eq!(number_in(&next_message(&mut slow).await), expected);
    }
}

/// The newest go: the first four, then six lost, then what comes later.
///
/// # Panics
/// If it is not so.
pub async fn dropping_newest(setup: &Setup) {
    let (mut slow, alice) = flooded(setup, Overflow::DropNewest).await;
    for expected in 0..4 {
        assert_eq!(number_in(&next_message(&mut slow).await), expected);
    }
    assert_eq!(next(&mut slow).await, Delivery::Lagged(6));
    publish_numbers(&alice, "o", 10..11).await;
    assert_eq!(number_in(&next_message(&mut slow).await), 10);
}

/// The subscription ends with the loss and why; the session goes on.
///
/// # Panics
/// If it is not so.
pub async fn disconnecting(setup: &Setup) {
    let bob = setup.bus(1).await;
    let alice = setup.bus(0).await;
    let mut slow = subscribe_with(&bob, "o", narrow(3, Overflow::Disconnect)).await;
    publish_numbers(&alice, "o", 0..10).await;
    assert_eq!(number_in(&next_message(&mut slow).await), 0);
    assert_eq!(next(&mut slow).await, Delivery::Lagged(4), "three that waited, and the one too many");
    assert_eq!(soon("the end", slow.next()).await, None);
    assert!(matches!(slow.end(), Some(Error::Overflowed { lost: 4, .. })), "{:?}", slow.end());
    let mut again = subscribe_with(&bob, "o", narrow(3, Overflow::Disconnect)).await;
    publish_numbers(&alice, "o", 10..11).await;
    assert_eq!(number_in(&next_message(&mut again).await), 10);
}

/// Publishers wait for a slow reader that reads, however long, and lose nothing.
///
/// # Panics
/// If it is not so.
pub async fn holding(setup: &mut Setup) {
    let server = setup.serve_bus_with(hold_at_most(10 * PATIENCE)).await;
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut slow = subscribe_with(&bob, "o", narrow(4, Overflow::Hold)).await;
    let publishing = tokio::spawn(async move { publish_much(&alice).await });
    for expected in 0..COUNT {
        assert_eq!(next_message(&mut slow).await.body[..4], expected.to_le_bytes());
    }
    soon("the publisher", publishing).await.expect("no panic");
    soon("the drain", server.drain()).await;
}

/// For a reader that stands still they wait a while and go on; what is lost is told.
///
/// # Panics
/// If it is not so.
pub async fn holding_not_for_ever(setup: &mut Setup) {
    let server = setup.serve_bus_with(hold_at_most(Duration::from_millis(50))).await;
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut slow = subscribe_with(&bob, "o", narrow(4, Overflow::Hold)).await;
    soon("the publisher", publish_much(&alice)).await;
    let (mut expected, mut lost) = (0, 0);
    while expected < COUNT {
        match next(&mut slow).await {
            Delivery::Message(message) => {
                assert_eq!(message.body[..4], expected.to_le_bytes());
                expected += 1;
            }
            Delivery::Lagged(count) => (expected, lost) = (expected + count as u32, lost + count),
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 0 && expected == COUNT, "{lost} lost, {expected} in all");
    drop(slow);
    soon("the drain", server.drain()).await;
}

/// Messages of a publisher that is held.
const COUNT: u32 = 100;

/// A window that some twenty of its messages fill.
fn hold_at_most(hold_max: Duration) -> BusLimits {
    BusLimits { publish_window_bytes: 4_000, hold_max, ..BusLimits::default() }
}

async fn publish_much(bus: &Bus) {
    for index in 0..COUNT {
        publish(bus, "o", [&index.to_le_bytes()[..], &[0; 200]].concat()).await;
        if index == 0 {
            // The server tells its window at the first publish.
            bus.flush().await.expect("it is routed");
        }
    }
    bus.flush().await.expect("all is routed");
}
