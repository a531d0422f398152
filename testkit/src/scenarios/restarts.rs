//! Servers that end, in order and not, while clients go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sinew_bus::{Bus, Delivery, Error, Gap, Subscription};
use sinew_session::{Error as SessionError, State};

use super::{next, pattern, publish, subject};
use crate::setup::{PATIENCE, Setup, soon};

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
