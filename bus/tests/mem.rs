//! The bus over `mem://`: what is promised when nothing fails, and what is told when a connection is cut.

use std::sync::Arc;
use std::time::Duration;

use sinew_bus::{Broker, Bus, Delivery, Gap, Message, Pattern, Subject, SubscribeOptions, Subscription};
use sinew_session::{Executor, Server, ServerBuilder, Session, SessionOptions};
use sinew_transport_api::auth::AdmitEveryone;
use sinew_transport_api::{Endpoint, ListenOptions, Registry, Security};

const PATIENCE: Duration = Duration::from_secs(30);

async fn serve(endpoint: &Endpoint) -> Server {
    let options = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));
    ServerBuilder::new(Registry::linked().unwrap())
        .listen(endpoint.clone(), options)
        .service(Arc::new(Broker::default()))
        .executor(Executor::Current)
        .start()
        .await
        .unwrap()
}

async fn connect(endpoint: &Endpoint) -> Bus {
    let mut options = SessionOptions::new(Security::Plaintext, None).unwrap();
    options.executor = Executor::Current;
    Bus::new(&Session::connect(endpoint, options).await.unwrap()).unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::try_from(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("something comes").expect("the session lives")
}

fn message(name: &str, body: impl Into<bytes::Bytes>) -> Delivery {
    Delivery::Message(Message::new(subject(name), body))
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_who_subscribed_and_nobody_else() {
    let endpoint: Endpoint = "mem://bus-basic".parse().unwrap();
    let _server = serve(&endpoint).await;
    let (alice, bob) = (connect(&endpoint).await, connect(&endpoint).await);
    let mut all = bob.subscribe(&pattern("room.>")).await.unwrap();
    let mut one = bob.subscribe(&pattern("room.*.door")).await.unwrap();
    alice.publish(&subject("room.1.lamp"), "on").await.unwrap();
    alice.publish(&subject("hall"), "unheard").await.unwrap();
    alice.publish(&subject("room.1.door"), "open").await.unwrap();
    assert_eq!(next(&mut all).await, message("room.1.lamp", "on"));
    assert_eq!(next(&mut all).await, message("room.1.door", "open"));
    assert_eq!(next(&mut one).await, message("room.1.door", "open"));
    let tally = all.unsubscribe().await.unwrap();
    assert_eq!(tally.delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn large_messages_come_whole_and_too_large_ones_are_refused_at_once() {
    let endpoint: Endpoint = "mem://bus-large".parse().unwrap();
    let _server = serve(&endpoint).await;
    let bus = connect(&endpoint).await;
    let mut all = bus.subscribe(&pattern(">")).await.unwrap();
    for size in [0, 1, 8_191, 8_192, 130_000, 1 << 20, 5 << 20] {
        let body = vec![7_u8; size];
        bus.publish(&subject("big"), body.clone()).await.unwrap();
        assert_eq!(next(&mut all).await, message("big", body), "{size} bytes");
    }
    let error = bus.publish(&subject("big"), vec![0; 9 << 20]).await.unwrap_err().to_string();
    assert!(error.contains("limit"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_loses_the_oldest_and_is_told_exactly() {
    let endpoint: Endpoint = "mem://bus-slow".parse().unwrap();
    let _server = serve(&endpoint).await;
    let (alice, bob) = (connect(&endpoint).await, connect(&endpoint).await);
    let queue = sinew_bus::BacklogLimits { records_max: 10, bytes_max: 1 << 20 };
    let mut slow = bob
        .subscribe_with(&pattern("s"), SubscribeOptions { window_bytes: 200, queue, ..SubscribeOptions::default() })
        .await
        .unwrap();
    for index in 0..1_000_u32 {
        alice.publish(&subject("s"), index.to_le_bytes().to_vec()).await.unwrap();
    }
    alice.flush().await.unwrap();
    let (mut seen, mut lost, mut expected) = (0_u64, 0, 0_u32);
    while expected < 1_000 {
        match next(&mut slow).await {
            Delivery::Message(message) => {
                assert_eq!(message.body[..], expected.to_le_bytes());
                (seen, expected) = (seen + 1, expected + 1);
            }
            Delivery::Lagged(count) => (lost, expected) = (lost + count, expected + count as u32),
            Delivery::Gap(gap) => panic!("nothing was cut, but {gap:?}"),
        }
    }
    assert_eq!(seen + lost, 1_000);
    assert!((10..100).contains(&seen), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_healed_and_the_gap_is_exact() {
    let endpoint: Endpoint = "mem://bus-cut".parse().unwrap();
    let _server = serve(&endpoint).await;
    let bob = connect(&endpoint).await;
    let mut heard = bob.subscribe(&pattern("s")).await.unwrap();
    let faults = sinew_transport_api::Mem::shared().faults("bus-cut");
    let mut cursor = 0_u32;
    for round in 0..20 {
        let alice = connect(&endpoint).await;
        for index in 0..50_u32 {
            alice.publish(&subject("s"), (round * 50 + index).to_le_bytes().to_vec()).await.unwrap();
        }
        alice.close().await.unwrap();
        faults.cut();
        let target = (round + 1) * 50;
        while cursor < target {
            match next(&mut heard).await {
                Delivery::Message(message) => {
                    assert_eq!(message.body[..], cursor.to_le_bytes());
                    cursor += 1;
                }
                Delivery::Gap(Gap::Exact(count)) => cursor += count as u32,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(cursor, target);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_gap_is_unknown_and_what_follows_is_heard() {
    let endpoint: Endpoint = "mem://bus-restart".parse().unwrap();
    let server = serve(&endpoint).await;
    let bob = connect(&endpoint).await;
    let mut heard = bob.subscribe(&pattern("s")).await.unwrap();
    server.abort().await;
    let _server = serve(&endpoint).await;
    assert_eq!(next(&mut heard).await, Delivery::Gap(Gap::Unknown));
    let alice = connect(&endpoint).await;
    alice.publish(&subject("s"), "after").await.unwrap();
    assert_eq!(next(&mut heard).await, message("s", "after"));
}

#[tokio::test(start_paused = true)]
async fn a_drained_server_delivers_what_it_has_and_clients_come_back() {
    let endpoint: Endpoint = "mem://bus-drain".parse().unwrap();
    let server = serve(&endpoint).await;
    let (alice, bob) = (connect(&endpoint).await, connect(&endpoint).await);
    let mut heard = bob.subscribe(&pattern("s")).await.unwrap();
    for index in 0..100_u32 {
        alice.publish(&subject("s"), index.to_le_bytes().to_vec()).await.unwrap();
    }
    alice.flush().await.unwrap();
    server.drain().await;
    for index in 0..100_u32 {
        assert_eq!(next(&mut heard).await, message("s", index.to_le_bytes().to_vec()));
    }
    let _server = serve(&endpoint).await;
    assert_eq!(next(&mut heard).await, Delivery::Gap(Gap::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up_and_replaced() {
    let endpoint: Endpoint = "mem://bus-silent".parse().unwrap();
    let _server = serve(&endpoint).await;
    let bob = connect(&endpoint).await;
    let mut heard = bob.subscribe(&pattern("s")).await.unwrap();
    let faults = sinew_transport_api::Mem::shared().faults("bus-silent");
    faults.stall(sinew_transport_api::LaneSet::first(32));
    let mut state = bob.session().state();
    let reconnecting = state.wait_for(|state| matches!(state, sinew_session::State::Reconnecting));
    tokio::time::timeout(PATIENCE, reconnecting).await.expect("the silence is noticed").unwrap();
    faults.resume();
    bob.publish(&subject("s"), "again").await.unwrap();
    assert_eq!(next(&mut heard).await, message("s", "again"));
}
