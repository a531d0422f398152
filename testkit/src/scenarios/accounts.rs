//! Accounting: every message is somewhere.

use sinew_bus::Overflow;

use super::{narrow, next, next_message, pattern, publish_numbers, subscribe, subscribe_with};
use crate::setup::{Setup, soon};

/// What the server has counted, by pattern and in all, is what was published, heard, dropped and queued.
///
/// # Panics
/// If it is not.
pub async fn accounts(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut heard = subscribe(&bob, "acc.a.*").await;
    let mut slow = subscribe_with(&bob, "acc.a.1", narrow(3, Overflow::DropNewest)).await;
    publish_numbers(&alice, "acc.a.1", 0..10).await;
    publish_numbers(&alice, "acc.b", 0..5).await;
    for _ in 0..10 {
        next_message(&mut heard).await;
    }
    let sums = |text: &str| {
        let (bob, pattern) = (bob.clone(), pattern(text));
        async move { soon("the sums", bob.accounting(Some(&pattern))).await.expect("they come") }
    };
    let a = sums("acc.a.>").await;
    assert_eq!((a.published, a.copies, a.delivered, a.dropped.newest, a.queued), (10, 20, 11, 6, 3), "{a:?}");
    assert!(a.is_balanced(), "{a:?}");
    let b = sums("acc.b").await;
    assert_eq!((b.published, b.copies, b.unheard), (5, 0, 5), "{b:?}");
    // The reader catches up: what waited is delivered.
    for _ in 0..5 {
        next(&mut slow).await;
    }
    let a = sums("acc.a.1").await;
    assert_eq!((a.copies, a.delivered, a.dropped.total(), a.queued), (20, 14, 6, 0), "{a:?}");
    let all = soon("the sums", bob.accounting(None)).await.expect("they come");
    assert!(all.is_balanced() && all.published >= 15, "{all:?}");
}
