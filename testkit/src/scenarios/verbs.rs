//! The verbs of the original: mailbox, callbacks, and calls that wait.

use std::time::Duration;

use sinew_bus::{Delivery, Error, Message, Subject, blocking};
use tokio::sync::mpsc::unbounded_channel;

use super::{pattern, publish, subject};
use crate::setup::{PATIENCE, Setup, soon};

/// A mailbox hears all that it is subscribed to, and after `unsubscribe_all` nothing.
///
/// # Panics
/// If it is not so.
pub async fn mailbox(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut mailbox = bob.mailbox();
    for text in ["m.a", "m.b.*"] {
        soon("subscribing", mailbox.subscribe(&pattern(text))).await.expect("it stands");
    }
    publish(&alice, "m.c", "unheard").await;
    for (name, body) in [("m.a", "1"), ("m.b.x", "2")] {
        publish(&alice, name, body).await;
        let message = soon("a message", mailbox.receive()).await.expect("it comes");
        assert_eq!((message.subject, &message.body[..]), (subject(name), body.as_bytes()));
    }
    soon("unsubscribing", mailbox.unsubscribe_all()).await.expect("they were there");
    assert!(matches!(mailbox.receive().await, Err(Error::NothingSubscribed)));
    soon("subscribing", mailbox.subscribe_all()).await.expect("it stands");
    publish(&alice, "m.c", "heard").await;
    assert_eq!(soon("a message", mailbox.receive()).await.expect("it comes").body, "heard");
}

/// Callbacks of all forms are called, one that panics hurts no other, and unregistering ends exactly one.
///
/// # Panics
/// If it is not so.
pub async fn callbacks(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let callbacks = bob.callbacks();
    let (sender, mut heard) = unbounded_channel();
    let speaks = sender.clone();
    let one = move |message: Message| drop(sender.send(format!("{:?}", message.body)));
    let panics = move |_: Message, subject: Subject| {
        speaks.send(format!("panics at {subject}")).expect("the test waits");
        panic!("a callback of this test");
    };
    let passes_on = |message: Message, subject: Subject, bus: &blocking::Bus| {
        bus.publish(&"c.one".parse().expect("a subject"), [subject.as_bytes(), &message.body].concat()).expect("room");
    };
    let first = soon("registering", callbacks.register(&pattern("c.one"), one)).await.expect("it stands");
    soon("registering", callbacks.register(&pattern("c.two"), panics)).await.expect("it stands");
    soon("registering", callbacks.register(&pattern("c.two"), passes_on)).await.expect("it stands");
    publish(&alice, "c.two", "!").await;
    let mut said = Vec::new();
    for _ in 0..2 {
        said.push(soon("a call", heard.recv()).await.expect("it comes"));
    }
    said.sort();
    assert_eq!(said, ["b\"c.two!\"", "panics at c.two"]);
    first.unregister().expect("the first time");
    assert!(matches!(first.unregister(), Err(Error::NotRegistered { .. })));
    callbacks.shutdown();
    soon("the end", callbacks.wait()).await.expect("we are no callback");
    assert_eq!((callbacks.counts().called, callbacks.counts().panicked), (3, 1));
}

/// A thread without a runtime says and hears, with a timeout; inside a runtime it is told.
///
/// # Panics
/// If it is not so.
pub async fn blocking(setup: &Setup) {
    let (alice, bob) = (blocking::Bus::new(setup.bus(0).await), blocking::Bus::new(setup.bus(1).await));
    assert!(alice.publish(&subject("b"), "x").is_err(), "this is a runtime");
    let (done, finished) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut heard = bob.subscribe(&pattern("b")).expect("it stands");
        assert_eq!(heard.next_within(Duration::from_millis(1)).expect("no end"), None);
        let speaker = std::thread::spawn(move || (0..50_u32).try_for_each(|n| alice.publish_value(&subject("b"), &n)));
        for expected in 0..50 {
            let Some(Delivery::Message(message)) = heard.next_within(PATIENCE).expect("no end") else { panic!() };
            assert_eq!(message.value::<u32>().expect("a number"), expected);
        }
        speaker.join().expect("no panic").expect("it is packed");
        bob.close().expect("it closes in order");
        done.send(()).expect("the test waits");
    });
    soon("the threads", finished).await.expect("no panic");
}
