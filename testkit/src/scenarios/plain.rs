//! Publish and subscribe: names and wildcards, sizes, a slow reader.

use sinew_bus::{BacklogLimits, Delivery, Error, NameError, SubscribeOptions};

use super::{next, next_message, pattern, publish, subject};
use crate::setup::{Setup, soon};

/// One message from one new client to another over endpoint `index`.
///
/// # Panics
/// If it does not arrive.
pub async fn round_trip(setup: &Setup, index: usize) {
    let (alice, bob) = (setup.bus(index).await, setup.bus(index).await);
    let mut heard = soon("subscribing", bob.subscribe(&pattern("honest.*"))).await.expect("it stands");
    publish(&alice, "honest.word", "of a kind").await;
    assert_eq!(next_message(&mut heard).await.body[..], b"of a kind"[..]);
    soon("closing", alice.close()).await.expect("it closes in order");
    soon("closing", bob.close()).await.expect("it closes in order");
}

/// Every peer hears every peer once and in order, by name and by wildcard, and nobody hears what he did not ask for.
///
/// # Panics
/// If it is not so.
pub async fn basic_and_wildcards(setup: &Setup) {
    let mut buses = Vec::new();
    for number in 0..4 {
        buses.push(setup.bus(number).await);
    }
    let mut heard = Vec::new();
    for bus in &buses {
        for text in ["room.1.lamp", "room.*.lamp", "room.>", ">", "hall"] {
            heard.push(soon("subscribing", bus.subscribe(&pattern(text))).await.expect("it stands"));
        }
    }
    for (number, bus) in buses.iter().enumerate() {
        for index in 0..200_u32 {
            let name = ["room.1.lamp", "room.2.lamp", "room.2.door", "yard"][index as usize % 4];
            let body = [(number as u32).to_le_bytes(), index.to_le_bytes()].concat();
            publish(bus, name, body).await;
        }
        soon("flushing", bus.flush()).await.expect("all is routed");
    }
    for mut subscription in heard {
        let wished = pattern(subscription.pattern());
        let names = ["room.1.lamp", "room.2.lamp", "room.2.door", "yard"];
        let matching = names.iter().filter(|name| wished.matches(&subject(name))).count();
        // Order holds for each publisher and subject.
        let mut due = std::collections::HashMap::new();
        for _ in 0..4 * 50 * matching {
            let message = next_message(&mut subscription).await;
            let number = u32::from_le_bytes(*message.body.first_chunk().expect("four bytes"));
            let index = u32::from_le_bytes(*message.body.last_chunk().expect("four bytes"));
            assert_eq!(message.subject, subject(names[index as usize % 4]));
            assert!(wished.matches(&message.subject), "{} for {}", message.subject.as_str(), wished.as_str());
            let due = due.entry((number, index % 4)).or_insert(index % 4);
            assert_eq!(index, std::mem::replace(due, index + 4), "of publisher {number}");
        }
        let tally = soon("unsubscribing", subscription.unsubscribe()).await.expect("it is there");
        assert_eq!((tally.dropped, tally.missed, tally.queued), (0, 0, 0));
    }
    let refused = buses[0].publish(&subject("$SYS.x"), "no").await;
    assert!(matches!(refused, Err(Error::Name(NameError::ReservedSubject { .. }))), "{refused:?}");
}

/// Messages of all sizes up to megabytes come whole, through every pair of peers.
///
/// # Panics
/// If one does not.
pub async fn large_messages(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut heard = soon("subscribing", bob.subscribe(&pattern("big.*"))).await.expect("it stands");
    for size in [0, 1, 300, 8_191, 8_192, 65_000, 131_072, 300_000, 1_900_000, 5_000_000, 70_000] {
        let body: Vec<u8> = (0..size).map(|at| (at / 7 + size) as u8).collect();
        publish(&alice, "big.one", body.clone()).await;
        assert!(next_message(&mut heard).await.body == body, "{size} bytes");
    }
}

/// A subscriber that does not read loses the oldest, is told how many, and holds nobody up.
///
/// # Panics
/// If the sums do not add up.
pub async fn slow_subscriber(setup: &Setup) {
    let (alice, bob, carol) = (setup.bus(0).await, setup.bus(1).await, setup.bus(0).await);
    let options = SubscribeOptions {
        window_bytes: 4_000,
        queue: BacklogLimits { records_max: 50, bytes_max: 1 << 20 },
        ..SubscribeOptions::default()
    };
    let mut slow = soon("subscribing", bob.subscribe_with(&pattern("s"), options)).await.expect("it stands");
    let mut fast = soon("subscribing", carol.subscribe(&pattern("s"))).await.expect("it stands");
    for index in 0..5_000_u32 {
        publish(&alice, "s", index.to_le_bytes().to_vec()).await;
    }
    soon("flushing", alice.flush()).await.expect("all is routed");
    for index in 0..5_000_u32 {
        assert_eq!(next_message(&mut fast).await.body[..], index.to_le_bytes());
    }
    let (mut expected, mut lagged) = (0_u64, 0);
    while expected < 5_000 {
        match next(&mut slow).await {
            Delivery::Message(message) => {
                assert_eq!(message.body[..], (expected as u32).to_le_bytes());
                expected += 1;
            }
            Delivery::Lagged(lost) => (expected, lagged) = (expected + lost, lagged + lost),
            Delivery::Gap(gap) => panic!("nothing was cut, but {gap:?}"),
        }
    }
    assert!(expected == 5_000 && lagged > 3_000, "{lagged}");
}

/// One client subscribes, and as soon as that is confirmed another one publishes: nothing is lost, `rounds` times.
///
/// # Panics
/// If something is.
pub async fn subscribe_then_publish(setup: &Setup, rounds: u32) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    for round in 0..rounds {
        let name = format!("round.{}", round % 50);
        let mut heard = soon("subscribing", bob.subscribe(&pattern(&name))).await.expect("it stands");
        publish(&alice, &name, round.to_le_bytes().to_vec()).await;
        assert_eq!(next_message(&mut heard).await.body[..], round.to_le_bytes(), "round {round}");
    }
}
