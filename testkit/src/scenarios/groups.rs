//! Queue groups: each message goes to one member.

use sinew_bus::{Bus, Overflow, SubscribeOptions, Subscription};

use super::{narrow, next_message, number_in, publish_numbers, subscribe, subscribe_with};
use crate::setup::{Setup, soon};

async fn member(bus: &Bus, text: &str) -> Subscription {
    subscribe_with(bus, text, SubscribeOptions { group: Some("crew".into()), ..SubscribeOptions::default() }).await
}

/// Two members share what comes, each message once; who is in no group hears all.
///
/// # Panics
/// If it is not so.
pub async fn queue_group(setup: &Setup) {
    let (alice, bob, carol) = (setup.bus(0).await, setup.bus(1).await, setup.bus(2).await);
    let mut members = [member(&bob, "work.*").await, member(&carol, "work.a").await];
    let mut all = subscribe(&bob, "work.>").await;
    for number in 0..60 {
        // One by one: a run of messages goes to one member.
        publish_numbers(&alice, "work.a", number..number + 1).await;
    }
    let mut heard = Vec::new();
    for member in &mut members {
        for _ in 0..30 {
            heard.push(number_in(&next_message(member).await));
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..60).collect::<Vec<_>>(), "each once, and half of them each");
    for expected in 0..60 {
        assert_eq!(number_in(&next_message(&mut all).await), expected);
    }
}

/// What waits at the server for a member that leaves goes to the one that stays.
///
/// # Panics
/// If something is missing, or comes twice.
pub async fn queue_group_member_leaves(setup: &Setup) {
    let (alice, bob, carol) = (setup.bus(0).await, setup.bus(1).await, setup.bus(2).await);
    let options = || SubscribeOptions { group: Some("crew".into()), ..narrow(100, Overflow::DropOldest) };
    let leaving = subscribe_with(&bob, "work", options()).await;
    publish_numbers(&alice, "work", 0..20).await;
    let mut stays = subscribe_with(&carol, "work", options()).await;
    let tally = soon("leaving", leaving.unsubscribe()).await.expect("it is there");
    publish_numbers(&alice, "work", 20..21).await;
    let taken = tally.delivered as u32;
    assert!((1..20).contains(&taken), "{tally:?}");
    for expected in taken..21 {
        assert_eq!(number_in(&next_message(&mut stays).await), expected);
    }
}
