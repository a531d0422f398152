//! Payloads as values, and the handle for one subject.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use sinew_bus::{BacklogLimits, Bus, Delivery, Error, NameError, Pattern, Subject, SubscribeOptions, TypedMessage};
use sinew_testkit::memory;
use sinew_testkit::setup::soon;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    room: String,
    celsius: f64,
    tags: BTreeMap<String, Vec<u8>>,
}

fn reading(celsius: f64) -> Reading {
    Reading { room: "hall".into(), celsius, tags: BTreeMap::from([("raw".into(), vec![1, 2])]) }
}

fn subject(text: &str) -> Subject {
    Subject::try_from(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> S::Item {
    let next = poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx));
    soon("the next item", next).await.expect("the stream goes on")
}

async fn publish_count(bus: &Bus, count: u32) {
    for index in 0..count {
        bus.publish_value(&subject("n"), &index).await.unwrap();
    }
    bus.flush().await.unwrap();
}

#[tokio::test]
async fn values_come_as_they_were_with_their_bytes_beside_them() {
    let (_server, bus) = memory::bus().await;
    let mut readings = bus.subscribe_typed::<Reading>(&pattern("hall.*")).await.unwrap();
    let publisher = bus.publisher(&subject("hall.sensor")).unwrap();
    for celsius in [-3.5, 21.0] {
        publisher.publish_value(&reading(celsius)).await.unwrap();
        let Ok(Delivery::Message(TypedMessage { value, message })) = next(&mut readings).await else { panic!() };
        assert_eq!((value, &message.subject), (reading(celsius), publisher.subject()));
        assert_eq!(message.value::<Reading>().unwrap(), reading(celsius));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_what_follows_comes() {
    let (_server, bus) = memory::bus().await;
    let mut readings = bus.subscribe_typed::<Vec<u16>>(&pattern("n")).await.unwrap();
    bus.publish(&subject("n"), "no CBOR of that kind").await.unwrap();
    bus.publish_value(&subject("n"), &[1_u16, 2]).await.unwrap();
    let error = next(&mut readings).await.unwrap_err();
    let expected = std::any::type_name::<Vec<u16>>();
    let why = "invalid type: string, expected array; read its `body`, or agree on the type";
    assert_eq!(error.to_string(), format!("a message of 20 bytes on `n` is no {expected}: {why}"));
    let Ok(Delivery::Message(typed)) = next(&mut readings).await else { panic!() };
    assert_eq!(typed.value, [1, 2]);
}

#[tokio::test]
async fn losses_come_in_their_places() {
    let (_server, bus) = memory::bus().await;
    let queue = BacklogLimits { records_max: 3, ..BacklogLimits::default() };
    let narrow = SubscribeOptions { window_bytes: 40, ..SubscribeOptions::default() };
    let options = SubscribeOptions { queue, ..narrow };
    let mut numbers = bus.subscribe_typed_with::<u32>(&pattern("n"), options).await.unwrap();
    publish_count(&bus, 100).await;
    let (mut expected, mut lost) = (0, 0);
    while expected < 100 {
        match next(&mut numbers).await.unwrap() {
            Delivery::Message(typed) => {
                assert_eq!(typed.value, expected);
                expected += 1;
            }
            Delivery::Lagged(count) => (expected, lost) = (expected + count as u32, lost + count),
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 50, "{lost}");
}

#[tokio::test]
async fn a_value_that_cannot_be_written_is_told_before_anything_is_sent() {
    struct Shy;
    impl Serialize for Shy {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let (_server, bus) = memory::bus().await;
    let error = bus.publish_value(&subject("n"), &Shy).await.unwrap_err();
    assert!(matches!(&error, Error::Unencodable { why, .. } if why == "not today"), "{error}");
    assert!(error.to_string().ends_with("Shy for `n` cannot be written as CBOR: not today; publish its bytes instead"));
}

#[tokio::test]
async fn a_publisher_where_only_the_server_may_publish_is_refused_at_once() {
    let (_server, bus) = memory::bus().await;
    assert!(matches!(bus.publisher(&subject("$SYS.a")), Err(Error::Name(NameError::ReservedSubject { .. }))));
}
