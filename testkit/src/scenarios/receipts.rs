//! Confirmed publish: what became of a message.

use sinew_bus::{Bus, Overflow, PublishOptions, Receipt, SubscribeOptions};

use super::{narrow, next_message, subject, subscribe, subscribe_with};
use crate::setup::{Setup, soon};

async fn confirmed(bus: &Bus) -> (u64, u64, u64) {
    let (name, options) = (subject("c"), PublishOptions::default());
    let publishing = bus.publish_confirmed(&name, "x", &options);
    let Receipt { delivered, queued, dropped, retained, .. } = soon("the receipt", publishing).await.expect("it comes");
    assert!(!retained);
    (delivered, queued, dropped)
}

/// A receipt says to how many it was handed, for how many it waits, and how many lost it; a group counts once.
///
/// # Panics
/// If the numbers are wrong.
pub async fn receipts(setup: &Setup) {
    let (alice, bob, carol) = (setup.bus(0).await, setup.bus(1).await, setup.bus(2).await);
    assert_eq!(confirmed(&alice).await, (0, 0, 0));
    let mut heard = subscribe(&bob, "c").await;
    let group = || SubscribeOptions { group: Some("g".into()), ..SubscribeOptions::default() };
    let _members = [subscribe_with(&bob, "c", group()).await, subscribe_with(&carol, "c", group()).await];
    let _slow = subscribe_with(&carol, "c", narrow(1, Overflow::DropNewest)).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(confirmed(&alice).await);
    }
    assert_eq!(seen, [(3, 0, 0), (2, 1, 0), (2, 0, 1)]);
    for _ in 0..3 {
        assert_eq!(next_message(&mut heard).await.body, "x");
    }
}
