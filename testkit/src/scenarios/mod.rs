//! What the bus promises, as scenarios over whatever transports a [`Setup`](crate::setup::Setup) names: peers take its
//! endpoints in turn. One file a feature; what they say it with is here.

use bytes::Bytes;
use sinew_bus::{
    BacklogLimits, Bus, BusLimits, Delivery, Message, Overflow, Pattern, RetainedLimits, Subject, SubscribeOptions,
    Subscription,
};

use crate::setup::soon;

mod plain;
pub use plain::{basic_and_wildcards, large_messages, round_trip, slow_subscriber, subscribe_then_publish};
mod ends;
pub use ends::{closing_loses_nothing, drained_subscription, flushing_loses_nothing};
mod restarts;
pub use restarts::{drains, restarts};
mod groups;
pub use groups::{queue_group, queue_group_member_leaves};
mod requests;
pub use requests::{nobody_answers, request_and_answer, responder_leaves};
mod forgery;
pub use forgery::forged_answers;
mod headers;
pub use headers::headers;
mod kept;
pub use kept::{kept_values, kept_values_are_bounded};
mod receipts;
pub use receipts::receipts;
mod overflow;
pub use overflow::{disconnecting, dropping_newest, dropping_oldest, holding, holding_not_for_ever};
mod payloads;
pub use payloads::{streams, typed_payloads};
mod verbs;
pub use verbs::{blocking, callbacks, mailbox};
mod accounts;
pub use accounts::accounts;
mod bad_input;
pub use bad_input::bad_input;

/// Limits so small that a scenario reaches them at once.
pub fn small_limits() -> BusLimits {
    BusLimits {
        subscriptions_max: 8,
        retained: RetainedLimits { subjects_max: 3, bytes_max: 16 * 1024 },
        ..BusLimits::default()
    }
}

pub(crate) fn subject(text: &str) -> Subject {
    Subject::try_from(text.to_owned()).expect("a subject of this test")
}

pub(crate) fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).expect("a pattern of this test")
}

pub(crate) async fn next(subscription: &mut Subscription) -> Delivery {
    let next = soon("the next delivery", subscription.next()).await;
    next.unwrap_or_else(|| panic!("the subscription ended: {:?}", subscription.end()))
}

pub(crate) async fn next_message(subscription: &mut Subscription) -> Message {
    match next(subscription).await {
        Delivery::Message(message) => message,
        other => panic!("a message was expected, not {other:?}"),
    }
}

pub(crate) async fn publish(bus: &Bus, name: &str, body: impl Into<Bytes>) {
    soon("publishing", bus.publish(&subject(name), body)).await.expect("it is packed");
}

pub(crate) async fn subscribe(bus: &Bus, text: &str) -> Subscription {
    subscribe_with(bus, text, SubscribeOptions::default()).await
}

pub(crate) async fn subscribe_with(bus: &Bus, text: &str, options: SubscribeOptions) -> Subscription {
    soon("subscribing", bus.subscribe_with(&pattern(text), options)).await.expect("it stands")
}

/// Publishes these numbers, and waits until they are routed.
pub(crate) async fn publish_numbers(bus: &Bus, name: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        publish(bus, name, number.to_le_bytes().to_vec()).await;
    }
    soon("flushing", bus.flush()).await.expect("all is routed");
}

pub(crate) fn number_in(message: &Message) -> u32 {
    u32::from_le_bytes(message.body[..].try_into().expect("four bytes"))
}

/// One record is on its way, and so many wait at the server.
pub(crate) fn narrow(records_max: usize, overflow: Overflow) -> SubscribeOptions {
    let queue = BacklogLimits { records_max, ..BacklogLimits::default() };
    SubscribeOptions { window_bytes: 1, queue, overflow, ..SubscribeOptions::default() }
}
