//! The blocking bus: from several threads, with timeouts, and not inside a runtime.

use std::thread;
use std::time::Duration;

use sinew_bus::{Delivery, Error, Message, Pattern, PublishOptions, Subject, blocking};
use sinew_session::Error as SessionError;
use sinew_testkit::memory;

const LONG: Duration = Duration::from_secs(60);

fn subject(text: &str) -> Subject {
    Subject::try_from(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

#[test]
fn several_threads_publish_and_one_hears_all() {
    let (_server, bus) = memory::bus_of_its_own();
    let bus = blocking::Bus::new(bus);
    let mut heard = bus.subscribe(&pattern("n.*")).unwrap();
    let threads = [0, 1, 2, 3].map(|number| {
        let bus = bus.clone();
        thread::spawn(move || {
            for index in 0..100_u32 {
                bus.publish_value(&subject(&format!("n.{number}")), &index).unwrap();
            }
            bus.flush().unwrap();
        })
    });
    let mut due = [0; 4];
    for delivery in heard.by_ref().take(400) {
        let Delivery::Message(message) = delivery.unwrap() else { panic!() };
        let number = usize::from(message.subject.as_bytes()[2] - b'0');
        assert_eq!(message.value::<u32>().unwrap(), due[number]);
        due[number] += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(heard.unsubscribe().unwrap().delivered, 400);
}

#[test]
fn what_does_not_come_in_time_is_none_and_nothing_is_lost_by_it() {
    let (_server, bus) = memory::bus_of_its_own();
    let bus = blocking::Bus::new(bus);
    let mut heard = bus.subscribe(&pattern("a")).unwrap();
    assert_eq!(heard.next_within(Duration::from_millis(1)).unwrap(), None);
    bus.publish(&subject("a"), "x").unwrap();
    assert!(matches!(heard.next_within(LONG).unwrap(), Some(Delivery::Message(_))));
}

#[test]
fn the_end_is_an_end_for_the_iterator_and_an_error_for_who_waits() {
    let (_server, bus) = memory::bus_of_its_own();
    let bus = blocking::Bus::new(bus);
    let mut heard = bus.subscribe(&pattern("a")).unwrap();
    bus.close().unwrap();
    assert!(heard.next().is_none() && heard.end().is_some());
    assert!(matches!(heard.next_within(LONG), Err(Error::Session(SessionError::Closed))));
}

#[tokio::test]
async fn inside_a_runtime_it_says_so() {
    let (_server, bus) = memory::bus().await;
    let bus = blocking::Bus::new(bus);
    let refused = bus.publish(&subject("a"), "x").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a blocking call inside an async runtime; use the async API there, or make the call on a thread of its own \
         (`std::thread::spawn`)"
    );
    assert!(matches!(bus.subscribe(&pattern("a")), Err(Error::Session(SessionError::InsideRuntime))));
    let own = bus.clone();
    let mut heard = thread::spawn(move || own.subscribe(&pattern("a"))).join().unwrap().unwrap();
    assert!(matches!(heard.next(), Some(Err(Error::Session(SessionError::InsideRuntime)))));
}

#[test]
fn a_script_needs_no_more_than_this() {
    let (_server, bus) = memory::bus_of_its_own();
    let bus = blocking::Bus::new(bus);
    let callbacks = bus.callbacks();
    let pongs = subject("pongs");
    let pong = move |_: Message, _: Subject, bus: &blocking::Bus| bus.publish(&pongs, "pong").unwrap();
    let registration = callbacks.register(&pattern("pings"), pong).unwrap();
    let mut mailbox = bus.mailbox();
    mailbox.subscribe_all().unwrap();
    bus.publisher(&subject("pings")).unwrap().publish("ping").unwrap();
    assert_eq!(mailbox.receive().unwrap().subject, subject("pings"));
    assert_eq!(mailbox.receive_within(LONG).unwrap().unwrap().subject, subject("pongs"));
    registration.unregister().unwrap();
    mailbox.unsubscribe_all().unwrap();
    callbacks.shutdown();
    callbacks.wait().unwrap();
    assert_eq!(callbacks.counts().called, 1);
}

#[test]
fn kept_values_receipts_and_accounts_need_no_runtime() {
    let (_server, bus) = memory::bus_of_its_own();
    let bus = blocking::Bus::new(bus);
    let keep = PublishOptions { retain: true, ..PublishOptions::default() };
    assert!(bus.publish_confirmed(&subject("a"), "1", &keep).unwrap().retained);
    bus.publish_with(&subject("a"), "2", &PublishOptions::default()).unwrap();
    bus.flush().unwrap();
    assert_eq!(bus.last_value(&subject("a")).unwrap().unwrap().body, "1");
    assert_eq!(bus.retained(&pattern(">")).unwrap().len(), 1);
    assert_eq!(bus.clear_retained(&pattern(">")).unwrap(), 1);
    assert_eq!(bus.accounting(None).unwrap().published, 2);
    assert!(matches!(bus.request(&subject("a"), "x"), Err(Error::NoResponders { .. })));
}
