//! What the bus promises, as scenarios over whatever transports a [`Setup`] names: peers take its endpoints in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sinew_bus::{BacklogLimits, Bus, Delivery, Error, Gap, Message, Pattern, Subject, SubscribeOptions, Subscription};
use sinew_session::{Error as SessionError, State};

use crate::setup::{PATIENCE, Setup, soon};

fn subject(text: &str) -> Subject {
    Subject::try_from(text.to_owned()).expect("a subject of this test")
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).expect("a pattern of this test")
}

async fn next(subscription: &mut Subscription) -> Delivery {
    let next = soon("the next delivery", subscription.next()).await;
    next.unwrap_or_else(|| panic!("the subscription ended: {:?}", subscription.end()))
}

async fn next_message(subscription: &mut Subscription) -> Message {
    match next(subscription).await {
        Delivery::Message(message) => message,
        other => panic!("a message was expected, not {other:?}"),
    }
}

async fn publish(bus: &Bus, name: &str, body: impl Into<Bytes>) {
    soon("publishing", bus.publish(&subject(name), body)).await.expect("it is packed");
}

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
    assert!(matches!(refused, Err(Error::ReservedSubject { .. })), "{refused:?}");
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

/// What the restart scenario keeps count of, outside of the bus.
#[derive(Debug, Default)]
struct Outside {
    /// Numbers up to this one were published; those from `confirmed` on while the subscriber stood.
    published: AtomicU64,
    stop: AtomicBool,
}

/// A server is killed and started again `restarts` times while clients publish: subscribers come back by themselves,
/// are told of an unknown gap each time, and hear everything that was published after that and before the next kill.
///
/// # Panics
/// If it is not so.
pub async fn restarts(setup: &mut Setup, restarts: u32) {
    let mut server = setup.serve_bus().await;
    let mut subscribers = Vec::new();
    for number in 0..2 {
        let bus = setup.bus(number).await;
        subscribers.push(soon("subscribing", bus.subscribe(&pattern("r.>"))).await.expect("it stands"));
    }
    let outside = Arc::new(Outside::default());
    let mut tasks = Vec::new();
    for number in 0..2 {
        let bus = setup.bus(number).await;
        tasks.push(tokio::spawn(noise(bus, number, outside.clone())));
    }
    let probe = setup.bus(0).await;
    for restart in 0..restarts {
        // Now that all stand, nothing may be missing.
        let from = outside.published.load(Ordering::SeqCst);
        for index in 0..50_u32 {
            publish(&probe, "r.probe", [restart.to_le_bytes(), index.to_le_bytes()].concat()).await;
        }
        soon("flushing", probe.flush()).await.expect("nothing was cut");
        for subscription in &mut subscribers {
            expect_probes(subscription, restart).await;
        }
        assert!(outside.published.load(Ordering::SeqCst) >= from);
        server.abort().await;
        server = setup.serve_bus().await;
        for subscription in &mut subscribers {
            expect_gap(subscription).await;
        }
        let mut state = probe.session().state();
        soon("the probe's reconnect", async {
            while !matches!(*state.borrow_and_update(), State::Connected) {
                state.changed().await.expect("it lives");
            }
        })
        .await;
        // What the probe lost in the kill, if anything, is told once.
        match soon("flushing", probe.flush()).await {
            Ok(()) | Err(Error::Session(SessionError::Lost { .. })) => {}
            Err(error) => panic!("restart {restart}: {error}"),
        }
    }
    outside.stop.store(true, Ordering::SeqCst);
    for task in tasks {
        soon("the noise", task).await.expect("it made no trouble");
    }
    assert!(outside.published.load(Ordering::SeqCst) > 0);
    server.abort().await;
}

/// A server is drained `rounds` times while one client waits for messages, one publishes, and one leaves. No side waits
/// until the other one's time is up: the timeouts are so long that the test would fail if one did.
///
/// # Panics
/// If it is not so.
pub async fn drains(setup: &mut Setup, rounds: u32) {
    setup.close_timeout = 10 * PATIENCE;
    setup.limits.drain_timeout = 10 * PATIENCE;
    for _ in 0..rounds {
        let server = setup.serve_bus().await;
        let (alice, bob, carol) = (setup.bus(0).await, setup.bus(1).await, setup.bus(2).await);
        let heard = soon("subscribing", alice.subscribe(&pattern("d.>"))).await.expect("it stands");
        let outside = Arc::new(Outside::default());
        let noise = tokio::spawn(noise(bob, 0, outside.clone()));
        publish(&carol, "d.last", "word").await;
        // Not awaited: it leaves while the server says goodbye.
        drop(carol);
        soon("the drain", server.drain()).await;
        outside.stop.store(true, Ordering::SeqCst);
        soon("the noise", noise).await.expect("it made no trouble");
        drop(heard);
    }
}

async fn noise(bus: Bus, number: usize, outside: Arc<Outside>) {
    let mut own = 0_u64;
    while !outside.stop.load(Ordering::SeqCst) {
        match bus.publish(&subject(&format!("r.noise.{number}")), own.to_le_bytes().to_vec()).await {
            Ok(()) => {
                own += 1;
                outside.published.fetch_add(1, Ordering::SeqCst);
            }
            Err(Error::Session(SessionError::Disconnected { .. })) => {}
            Err(error) => panic!("noise {number}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Every probe of this restart, once and in order, among the noise, which itself is in order.
async fn expect_probes(subscription: &mut Subscription, restart: u32) {
    let mut expected = 0_u32;
    let mut newest = std::collections::HashMap::new();
    while expected < 50 {
        match next(subscription).await {
            Delivery::Message(message) if message.subject == subject("r.probe") => {
                assert_eq!(message.body[..], [restart.to_le_bytes(), expected.to_le_bytes()].concat());
                expected += 1;
            }
            Delivery::Message(message) => {
                let number = u64::from_le_bytes(*message.body.first_chunk().expect("eight bytes"));
                let before = newest.insert(message.subject, number);
                assert!(before.is_none_or(|before| before + 1 == number), "{before:?} before {number}");
            }
            other => panic!("restart {restart}: {other:?} where nothing may be missing"),
        }
    }
}

async fn expect_gap(subscription: &mut Subscription) {
    let gap = async {
        loop {
            match next(subscription).await {
                Delivery::Message(_) => {}
                Delivery::Gap(Gap::Unknown) => return,
                other => panic!("{other:?} instead of an unknown gap"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, gap).await.expect("the gap is told");
}
