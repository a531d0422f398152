//! Callbacks: each form of closure, exactly one unregistered, and one that panics.

use std::sync::Arc;

use sinew_bus::{
    BacklogLimits, Bus, CallbackCounts, Callbacks, Error, LossCounts, Message, Pattern, Subject, SubscribeOptions,
    blocking,
};
use sinew_testkit::memory;
use sinew_testkit::setup::soon;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

fn subject(text: &str) -> Subject {
    Subject::try_from(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

async fn publish(bus: &Bus, name: &str, body: &str) {
    bus.publish(&subject(name), body.to_owned()).await.unwrap();
}

fn said(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// A callback that passes on what it hears, with a name before it.
fn echo(name: &'static str, heard: &UnboundedSender<String>) -> impl FnMut(Message) + use<> {
    let heard = heard.clone();
    move |message| heard.send(format!("{name} {}", said(&message))).unwrap()
}

async fn check(heard: &mut UnboundedReceiver<String>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(soon("a call", heard.recv()).await.unwrap(), *expected);
    }
}

#[tokio::test]
async fn closures_of_one_two_and_three_arguments_are_called() {
    let (_server, bus) = memory::bus().await;
    let (sender, mut heard) = unbounded_channel();
    let callbacks = bus.callbacks();
    callbacks.register(&pattern("a"), echo("one", &sender)).await.unwrap();
    let two = sender.clone();
    let two = move |message: Message, subject: Subject| two.send(format!("two {subject} {}", said(&message))).unwrap();
    callbacks.register(&pattern("b"), two).await.unwrap();
    let three = |message: Message, subject: Subject, bus: &blocking::Bus| {
        bus.publish(&"a".parse().unwrap(), format!("of {subject} {}", said(&message))).unwrap();
    };
    callbacks.register(&pattern("c"), three).await.unwrap();
    for name in ["a", "b", "c"] {
        publish(&bus, name, "x").await;
    }
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(soon("a call", heard.recv()).await.unwrap());
    }
    all.sort();
    assert_eq!(all, ["one of c x", "one x", "two b x"]);
}

#[tokio::test]
async fn unregistering_ends_exactly_that_one_and_once() {
    let (_server, bus) = memory::bus().await;
    let (sender, mut heard) = unbounded_channel();
    let callbacks = bus.callbacks();
    let first = callbacks.register(&pattern("a"), echo("first", &sender)).await.unwrap();
    callbacks.register(&pattern("b"), echo("second", &sender)).await.unwrap();
    publish(&bus, "a", "1").await;
    check(&mut heard, &["first 1"]).await;
    first.unregister().unwrap();
    publish(&bus, "a", "2").await;
    publish(&bus, "b", "3").await;
    check(&mut heard, &["second 3"]).await;
    let again = first.unregister().unwrap_err();
    assert_eq!(again.to_string(), "the callback for `a` is not registered any more; unregister it once");
    assert_eq!(callbacks.counts().called, 2);
}

#[tokio::test]
async fn one_that_panics_is_counted_and_goes_on_and_so_do_the_others() {
    let (_server, bus) = memory::bus().await;
    let (sender, mut heard) = unbounded_channel();
    let callbacks = bus.callbacks();
    let mut echo_odd = echo("odd", &sender);
    let odd = move |message: Message| {
        assert!(said(&message) != "2", "an even number");
        echo_odd(message);
    };
    callbacks.register(&pattern("n"), odd).await.unwrap();
    for body in ["1", "2", "3"] {
        publish(&bus, "n", body).await;
    }
    check(&mut heard, &["odd 1", "odd 3"]).await;
    callbacks.register(&pattern("a"), echo("other", &sender)).await.unwrap();
    publish(&bus, "a", "4").await;
    check(&mut heard, &["other 4"]).await;
    let counts = callbacks.counts();
    assert_eq!((counts.called, counts.panicked, counts.lost), (4, 1, LossCounts::default()));
}

#[tokio::test]
async fn a_callback_may_register_unregister_and_shut_down_but_not_wait_for_itself() {
    let (_server, bus) = memory::bus().await;
    let (sender, mut heard) = unbounded_channel();
    let callbacks = Arc::new(bus.callbacks());
    let inside = Arc::downgrade(&callbacks);
    let tell = sender.clone();
    let call = move |message: Message| {
        let callbacks = inside.upgrade().expect("the test holds it");
        match &said(&message)[..] {
            "register" => {
                let registered = sinew_session::block_on(callbacks.register(&pattern("new"), echo("new", &sender)));
                tell.send(format!("{:?}", registered.unwrap().map(|new| new.pattern().clone()))).unwrap();
            }
            "wait" => {
                let waited = sinew_session::block_on(callbacks.wait()).unwrap();
                tell.send(format!("{}", waited.unwrap_err())).unwrap();
            }
            _ => callbacks.shutdown(),
        }
    };
    callbacks.register(&pattern("do"), call).await.unwrap();
    publish(&bus, "do", "register").await;
    check(&mut heard, &["Ok(\"new\")"]).await;
    publish(&bus, "new", "heard").await;
    check(&mut heard, &["new heard"]).await;
    publish(&bus, "do", "wait").await;
    let no = "a callback cannot wait for the end of the callbacks, since that waits for the callback; do it elsewhere";
    check(&mut heard, &[no]).await;
    publish(&bus, "do", "end").await;
    soon("the end", callbacks.wait()).await.unwrap();
    let late = callbacks.register(&pattern("a"), |_: Message| ()).await;
    assert!(matches!(late, Err(Error::CallbacksEnded)), "{late:?}");
}

#[tokio::test]
async fn they_end_with_the_session_also_when_none_is_left() {
    for left in [true, false] {
        let (_server, bus) = memory::bus().await;
        let callbacks = bus.callbacks();
        let registration = callbacks.register(&pattern("a"), |_: Message| ()).await.unwrap();
        if !left {
            registration.unregister().unwrap();
        }
        bus.close().await.unwrap();
        soon("the end", callbacks.wait()).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_callback_there_is_nothing_to_wait_for() {
    let (_server, bus) = memory::bus().await;
    let callbacks = bus.callbacks();
    soon("the end", callbacks.wait()).await.unwrap();
    assert_eq!(callbacks.counts(), CallbackCounts::default());
}

#[tokio::test]
async fn losses_reach_the_handler_among_the_calls() {
    let (_server, bus) = memory::bus().await;
    let (sender, mut told) = unbounded_channel();
    let callbacks: Callbacks = bus.callbacks();
    let queue = BacklogLimits { records_max: 3, ..BacklogLimits::default() };
    let narrow = SubscribeOptions { window_bytes: 40, ..SubscribeOptions::default() };
    let options = SubscribeOptions { queue, ..narrow };
    let (losses, (gate, open)) = (sender.clone(), std::sync::mpsc::channel::<()>());
    callbacks.on_loss(move |loss| losses.send(loss.count).unwrap());
    // Stands still until everything was published.
    let hear = move |_: Message| {
        let _ = open.recv();
        sender.send(Some(1)).unwrap();
    };
    callbacks.register_with(&pattern("n"), options, hear).await.unwrap();
    for _ in 0..100 {
        publish(&bus, "n", "x").await;
    }
    bus.flush().await.unwrap();
    drop(gate);
    let mut sum = 0;
    while sum < 100 {
        sum += soon("the rest", told.recv()).await.flatten().unwrap();
    }
    let counts = callbacks.counts();
    assert_eq!((sum, counts.called + counts.lost.messages), (100, 100));
    assert!(counts.lost.messages > 50, "{counts:?}");
}
