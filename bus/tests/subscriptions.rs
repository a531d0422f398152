//! Subscriptions at their edges: credit that is nearly used up, cuts at the worst moment, ends that get lost.

use std::sync::Arc;
use std::time::Duration;

use sinew_bus::{
    BacklogLimits, Broker, Bus, BusLimits, Delivery, Overflow, Pattern, PublishOptions, Subject, SubscribeOptions,
    Subscription,
};
use sinew_session::{Server, State};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use sinew_transport_api::LaneSet;
use tokio::time::sleep;

struct World {
    net: Net,
    setup: Setup,
    broker: Arc<Broker>,
    _server: Server,
}

impl World {
    async fn new(scheme: &str, limits: BusLimits) -> Self {
        let net = Net::default();
        let mut setup = Setup::on(&net, &format!("{scheme}://here"));
        let broker = Arc::new(Broker::new(limits));
        let server = setup.serve(vec![broker.clone()]).await;
        Self { net, setup, broker, _server: server }
    }
}

fn subject(text: &str) -> Subject {
    Subject::try_from(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

async fn next(subscription: &mut Subscription) -> Delivery {
    soon("the next delivery", subscription.next()).await.expect("the session lives")
}

async fn expect_body(subscription: &mut Subscription, bytes: usize) {
    match next(subscription).await {
        Delivery::Message(message) => assert_eq!(message.body.len(), bytes),
        other => panic!("{other:?} instead of {bytes} bytes"),
    }
}

async fn reconnected(bus: &Bus) {
    let mut state = bus.session().state();
    soon("the cut", state.wait_for(|state| matches!(state, State::Reconnecting))).await.unwrap();
    soon("the reconnect", state.wait_for(|state| matches!(state, State::Connected))).await.unwrap();
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Credit comes back by quarters of the window: what is held back of it must hold up no large record.
#[tokio::test(start_paused = true)]
async fn a_large_message_passes_behind_small_ones_that_were_not_granted_back_yet() {
    let world = World::new("mem", BusLimits::default()).await;
    let bus = world.setup.bus(0).await;
    let mut heard = bus.subscribe(&pattern("s")).await.unwrap();
    for bytes in [300_000, 1_900_000, 10, 2_000_000, 500_000, 3_000_000, 1] {
        bus.publish(&subject("s"), vec![0; bytes]).await.unwrap();
        expect_body(&mut heard, bytes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_the_server_cuts_down_still_comes_back() {
    let world = World::new("mem", BusLimits { window_bytes_max: 10_000, ..BusLimits::default() }).await;
    let bus = world.setup.bus(0).await;
    let mut heard = bus.subscribe(&pattern("s")).await.unwrap();
    for _ in 0..1_000 {
        bus.publish(&subject("s"), vec![0; 100]).await.unwrap();
    }
    for _ in 0..1_000 {
        expect_body(&mut heard, 100).await;
    }
}

/// The answer has come and the caller has not looked at it yet.
#[tokio::test(start_paused = true)]
async fn a_cut_right_behind_the_confirmation_restores_the_subscription() {
    for scheme in ["mem", "wide"] {
        let world = World::new(scheme, BusLimits::default()).await;
        let (alice, bob) = (world.setup.bus(0).await, world.setup.bus(0).await);
        let wished = pattern("s");
        let mut asking = Box::pin(bob.subscribe(&wished));
        tokio::select! {
            biased;
            _ = &mut asking => panic!("it takes a round trip"),
            () = std::future::ready(()) => {}
        }
        settle().await;
        assert_eq!(world.broker.subscriptions(), 1);
        world.net.faults("here").cut();
        reconnected(&bob).await;
        let mut heard = soon("the subscription", asking).await.unwrap();
        alice.publish(&subject("s"), vec![0; 7]).await.unwrap();
        expect_body(&mut heard, 7).await;
        assert_eq!(world.broker.subscriptions(), 1);
    }
}

/// The request is lost or its answer is: either way one subscription stands in the end, and it hears.
#[tokio::test(start_paused = true)]
async fn a_subscribe_that_is_cut_is_asked_again_and_leaves_no_second_one() {
    for turns in 0..40 {
        let world = World::new("wide", BusLimits::default()).await;
        let bus = world.setup.bus(0).await;
        let asker = bus.clone();
        let asking = tokio::spawn(async move { asker.subscribe(&pattern("s")).await });
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        world.net.faults("here").cut();
        let mut heard = soon("the subscription", asking).await.unwrap().unwrap();
        reconnected_or_never_cut(&bus).await;
        bus.publish(&subject("s"), vec![0; 7]).await.unwrap();
        bus.flush().await.unwrap();
        expect_body(&mut heard, 7).await;
        assert_eq!(world.broker.subscriptions(), 1, "cut after {turns} turns");
    }
}

async fn reconnected_or_never_cut(bus: &Bus) {
    sleep(Duration::from_secs(1)).await;
    let mut state = bus.session().state();
    soon("the connection", state.wait_for(|state| matches!(state, State::Connected))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_ends_at_the_server_even_if_the_word_is_lost() {
    for scheme in ["mem", "wide"] {
        let world = World::new(scheme, BusLimits::default()).await;
        let bus = world.setup.bus(0).await;
        let faults = world.net.faults("here");
        for round in 0..10 {
            let heard = bus.subscribe(&pattern("s.>")).await.unwrap();
            faults.stall(LaneSet::first(32));
            drop(heard);
            settle().await;
            faults.cut();
            faults.resume();
            reconnected(&bus).await;
            bus.flush().await.unwrap();
            assert_eq!(world.broker.subscriptions(), 0, "{scheme}, round {round}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_message_may_end_a_slow_subscription() {
    let world = World::new("mem", BusLimits::default()).await;
    let (alice, bob) = (world.setup.bus(0).await, world.setup.bus(1).await);
    let options = SubscribeOptions {
        window_bytes: 100,
        queue: BacklogLimits { records_max: 1, bytes_max: 1_000 },
        overflow: Overflow::Disconnect,
        ..SubscribeOptions::default()
    };
    let _slow = bob.subscribe_with(&pattern("s"), options).await.unwrap();
    let keep = PublishOptions { retain: true, ..PublishOptions::default() };
    for _ in 0..5 {
        soon("the receipt", alice.publish_confirmed(&subject("s"), vec![0; 90], &keep)).await.unwrap();
    }
    assert_eq!(world.broker.subscriptions(), 0, "it was too slow");
}
