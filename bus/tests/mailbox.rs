//! The mailbox: everything subscribed through it comes to one place, and nothing is lost in silence.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc::channel;

use futures_core::Stream;
use sinew_bus::{
    BacklogLimits, Bus, Delivery, Error, LossCause, LossCounts, Mailbox, Pattern, Subject, SubscribeOptions,
};
use sinew_testkit::memory;
use sinew_testkit::setup::soon;

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

async fn publish(bus: &Bus, name: &str, body: &str) {
    bus.publish(&Subject::try_from(name).unwrap(), body.to_owned()).await.unwrap();
}

/// The next messages, as `subject body`.
async fn check(mailbox: &mut Mailbox, expected: &[&str]) {
    for expected in expected {
        let message = soon("the next message", mailbox.receive()).await.unwrap();
        assert_eq!(format!("{} {}", message.subject, String::from_utf8_lossy(&message.body)), *expected);
    }
}

fn slow() -> SubscribeOptions {
    let queue = BacklogLimits { records_max: 3, ..BacklogLimits::default() };
    let narrow = SubscribeOptions { window_bytes: 40, ..SubscribeOptions::default() };
    SubscribeOptions { queue, ..narrow }
}

#[tokio::test]
async fn it_hears_what_it_is_subscribed_to_and_nothing_else() {
    let (_server, bus) = memory::bus().await;
    let mut mailbox = bus.mailbox();
    mailbox.subscribe(&pattern("room.*")).await.unwrap();
    mailbox.subscribe(&pattern("hall")).await.unwrap();
    mailbox.subscribe(&pattern("hall")).await.unwrap();
    publish(&bus, "yard", "unheard").await;
    publish(&bus, "room.1", "on").await;
    check(&mut mailbox, &["room.1 on"]).await;
    publish(&bus, "hall", "dark").await;
    check(&mut mailbox, &["hall dark"]).await;
    mailbox.unsubscribe(&pattern("hall")).await.unwrap();
    publish(&bus, "hall", "unheard").await;
    publish(&bus, "room.2", "off").await;
    check(&mut mailbox, &["room.2 off"]).await;
    assert_eq!(mailbox.losses(), LossCounts::default());
}

#[tokio::test]
async fn all_is_everything_and_none_is_nothing() {
    let (_server, bus) = memory::bus().await;
    let mut mailbox = bus.mailbox();
    mailbox.subscribe_all().await.unwrap();
    publish(&bus, "a.b.c", "1").await;
    publish(&bus, "d", "2").await;
    check(&mut mailbox, &["a.b.c 1", "d 2"]).await;
    mailbox.subscribe(&pattern("d")).await.unwrap();
    mailbox.unsubscribe_all().await.unwrap();
    let error = mailbox.receive().await.unwrap_err();
    assert_eq!(error.to_string(), "the mailbox is subscribed to nothing, so nothing can come; subscribe first");
    let error = mailbox.unsubscribe(&pattern("d")).await.unwrap_err();
    assert_eq!(error.to_string(), "the mailbox is not subscribed to `d`; subscribe first, with exactly this pattern");
}

#[tokio::test]
async fn losses_reach_the_handler_and_are_counted() {
    let (_server, bus) = memory::bus().await;
    let mut mailbox = bus.mailbox();
    let (sender, told) = channel();
    mailbox.on_loss(move |loss| sender.send(loss).unwrap());
    mailbox.subscribe_with(&pattern("n"), slow()).await.unwrap();
    for index in 0..100 {
        publish(&bus, "n", &index.to_string()).await;
    }
    bus.flush().await.unwrap();
    let mut received = 0;
    loop {
        let message = soon("the next message", mailbox.receive()).await.unwrap();
        received += 1;
        if &message.body[..] == b"99" {
            break;
        }
    }
    let told: Vec<_> = told.try_iter().collect();
    assert!(told.iter().all(|loss| loss.pattern == "n" && loss.cause == LossCause::Slow));
    let lost: u64 = told.iter().filter_map(|loss| loss.count).sum();
    assert_eq!((received + lost, mailbox.losses()), (100, LossCounts { messages: lost, unknown: 0 }));
    assert!(lost > 50, "{lost}");
}

#[tokio::test]
async fn a_busy_subscription_holds_up_no_other() {
    let (_server, bus) = memory::bus().await;
    let mut mailbox = bus.mailbox();
    mailbox.subscribe(&pattern("busy")).await.unwrap();
    mailbox.subscribe(&pattern("quiet")).await.unwrap();
    publish(&bus, "quiet", "word").await;
    for _ in 0..1_000 {
        publish(&bus, "busy", "word").await;
    }
    let mut before = 0;
    while soon("the next message", mailbox.receive()).await.unwrap().subject.as_str() == "busy" {
        before += 1;
    }
    assert!(before <= 64, "{before}");
}

#[tokio::test]
async fn the_end_of_the_session_is_told_once_for_each_and_after_what_came() {
    let (_server, bus) = memory::bus().await;
    let mut mailbox = bus.mailbox();
    mailbox.subscribe(&pattern("a")).await.unwrap();
    publish(&bus, "a", "last").await;
    check(&mut mailbox, &["a last"]).await;
    bus.close().await.unwrap();
    assert!(matches!(mailbox.receive().await, Err(Error::Session(_))));
    assert!(matches!(mailbox.receive().await, Err(Error::NothingSubscribed)));
    assert!(poll_fn(|cx| Pin::new(&mut mailbox).poll_next(cx)).await.is_none());
}

#[tokio::test]
async fn as_a_stream_it_has_losses_in_their_places() {
    let (_server, bus) = memory::bus().await;
    let mut mailbox = bus.mailbox();
    mailbox.subscribe_with(&pattern("n"), slow()).await.unwrap();
    for index in 0..100 {
        publish(&bus, "n", &index.to_string()).await;
    }
    bus.flush().await.unwrap();
    let mut sum = 0;
    while sum < 100 {
        let next = poll_fn(|cx| Pin::new(&mut mailbox).poll_next(cx));
        match soon("the next delivery", next).await.unwrap().unwrap() {
            Delivery::Message(message) => {
                assert_eq!(message.body[..], *sum.to_string().as_bytes());
                sum += 1;
            }
            Delivery::Lagged(count) => sum += count,
            other => panic!("{other:?}"),
        }
    }
}
