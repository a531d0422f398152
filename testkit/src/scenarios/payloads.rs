//! Payloads as values, and subscriptions as streams.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use sinew_bus::{Delivery, Error};

use super::{pattern, publish, publish_numbers, subject, subscribe};
use crate::setup::{Setup, soon};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    room: String,
    celsius: f64,
    raw: Vec<u16>,
}

async fn item<S: Stream + Unpin>(stream: &mut S) -> S::Item {
    soon("an item", poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx))).await.expect("the stream goes on")
}

/// Values come as they were, small and large; one that cannot be read is told, and the next comes all the same.
///
/// # Panics
/// If it is not so.
pub async fn typed_payloads(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut readings = soon("subscribing", bob.subscribe_typed::<Reading>(&pattern("t"))).await.expect("it stands");
    let publisher = alice.publisher(&subject("t")).expect("anybody may publish there");
    for size in [0, 3, 200_000] {
        let reading = Reading { room: "hall".into(), celsius: 21.5, raw: vec![513; size] };
        publish(&alice, "t", "no such value").await;
        soon("publishing", publisher.publish_value(&reading)).await.expect("it is packed");
        let told = item(&mut readings).await.expect_err("that is no reading");
        assert!(matches!(told, Error::Undecodable { bytes: 13, .. }), "{told}");
        let Ok(Delivery::Message(typed)) = item(&mut readings).await else { panic!("a message was expected") };
        assert!(typed.value == reading && typed.message.value::<Reading>().is_ok_and(|again| again == reading));
    }
}

/// A subscription is a stream.
///
/// # Panics
/// If it is not so.
pub async fn streams(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut heard = subscribe(&bob, "s").await;
    publish_numbers(&alice, "s", 0..100).await;
    for expected in 0..100_u32 {
        let Delivery::Message(message) = item(&mut heard).await else { panic!("a message was expected") };
        assert_eq!(message.body[..], expected.to_le_bytes());
    }
}
