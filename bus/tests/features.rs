//! What the bus offers beyond publish and subscribe, over `mem` and in virtual time: groups, requests, headers, kept
//! values, receipts, overflow policies, drains, accounts.

use std::sync::Arc;
use std::time::Duration;

use sinew_bus::{
    Accounting, BacklogLimits, Broker, Bus, BusLimits, Delivery, Error, Headers, Message, Overflow, Pattern,
    PublishOptions, RequestOptions, Subject, SubscribeOptions, Subscription,
};
use sinew_session::{Server, Session};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};

fn subject(text: &str) -> Subject {
    Subject::try_from(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

/// A bus with clients.
struct World {
    net: Net,
    setup: Setup,
    broker: Arc<Broker>,
    _server: Server,
}

impl World {
    async fn new() -> Self {
        Self::with(BusLimits::default()).await
    }

    async fn with(limits: BusLimits) -> Self {
        let net = Net::default();
        let mut setup = Setup::on(&net, "wide://here");
        let broker = Arc::new(Broker::new(limits));
        let server = setup.serve(vec![broker.clone()]).await;
        Self { net, setup, broker, _server: server }
    }

    async fn bus(&self) -> Bus {
        Bus::new(&self.setup.session().await).unwrap()
    }

    fn accounting(&self, text: &str) -> Accounting {
        let sums = self.broker.accounting(Some(&pattern(text)));
        assert!(sums.is_balanced(), "{sums:?}");
        sums
    }
}

async fn next(subscription: &mut Subscription) -> Delivery {
    soon("a delivery", subscription.next()).await.expect("it goes on")
}

async fn message(subscription: &mut Subscription) -> Message {
    match next(subscription).await {
        Delivery::Message(message) => message,
        other => panic!("a message was expected, not {other:?}"),
    }
}

async fn numbered(bus: &Bus, name: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        bus.publish(&subject(name), number.to_le_bytes().to_vec()).await.unwrap();
    }
    bus.flush().await.unwrap();
}

fn number(message: &Message) -> u32 {
    u32::from_le_bytes(message.body[..].try_into().unwrap())
}

fn grouped(name: &str) -> SubscribeOptions {
    SubscribeOptions { group: Some(name.into()), ..SubscribeOptions::default() }
}

/// One record is on its way, and `records` wait at the server.
fn small(records: usize, overflow: Overflow) -> SubscribeOptions {
    let queue = BacklogLimits { records_max: records, bytes_max: 1 << 20 };
    SubscribeOptions { window_bytes: 1, queue, overflow, ..SubscribeOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_group_hears_each_message_once_and_its_members_share() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.bus().await, world.bus().await, world.bus().await);
    let mut members = [
        bob.subscribe_with(&pattern("work.*"), grouped("g")).await.unwrap(),
        carol.subscribe_with(&pattern("work.a"), grouped("g")).await.unwrap(),
    ];
    let mut all = bob.subscribe(&pattern("work.>")).await.unwrap();
    for index in 0..100_u32 {
        alice.publish(&subject("work.a"), index.to_le_bytes().to_vec()).await.unwrap();
        alice.flush().await.unwrap();
    }
    let mut heard = Vec::new();
    for member in &mut members {
        for _ in 0..50 {
            heard.push(number(&message(member).await));
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..100).collect::<Vec<_>>(), "each once, half of them each");
    for index in 0..100 {
        assert_eq!(number(&message(&mut all).await), index);
    }
    let sums = world.accounting("work.*");
    assert_eq!((sums.published, sums.copies, sums.delivered, sums.queued), (100, 200, 200, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_member_that_is_cut_goes_to_the_others() {
    let world = World::new().await;
    let (alice, slow) = (world.bus().await, world.bus().await);
    let options = SubscribeOptions { group: Some("g".into()), ..small(100, Overflow::DropOldest) };
    let stuck = slow.subscribe_with(&pattern("w"), options).await.unwrap();
    numbered(&alice, "w", 0..10).await;
    let fast = world.bus().await;
    let mut heard = fast.subscribe_with(&pattern("w"), grouped("g")).await.unwrap();
    stuck.unsubscribe().await.unwrap();
    for index in 1..10 {
        assert_eq!(number(&message(&mut heard).await), index, "the first had been delivered");
    }
    let sums = world.accounting("w");
    assert_eq!((sums.copies, sums.delivered, sums.dropped.total()), (10, 10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_by_one_responder_and_nobody_else_can() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let nobody = alice.request(&subject("math.add"), "1+1").await.unwrap_err();
    assert!(matches!(nobody, Error::NoResponders { .. }), "{nobody}");
    let mut wiretap = alice.subscribe(&pattern("math.>")).await.unwrap();
    assert!(matches!(alice.request(&subject("math.add"), "").await, Err(Error::NoResponders { .. })));
    assert!(message(&mut wiretap).await.request);
    let mut responder = bob.respond(&pattern("math.*")).await.unwrap();
    let answering = tokio::spawn(async move {
        let first = responder.next().await.unwrap();
        assert_eq!((&first.message.body[..], first.message.headers.get("unit")), (&b"1+1"[..], Some(&b"m"[..])));
        let headers = Headers::default().with("kind", "sum").unwrap();
        first.answer_with("2", &headers).await.unwrap();
        responder.next().await.unwrap().fail("division by zero");
        drop(responder.next().await.unwrap());
        responder
    });
    let headers = Headers::default().with("unit", "m").unwrap();
    let options = RequestOptions { headers, ..RequestOptions::default() };
    let answer = alice.request_with(&subject("math.add"), "1+1", &options).await.unwrap();
    assert_eq!((&answer.body[..], answer.headers.get("kind")), (&b"2"[..], Some(&b"sum"[..])));
    for reason in ["division by zero", "without an answer"] {
        let failed = alice.request(&subject("math.divide"), "1/0").await.unwrap_err();
        assert!(matches!(&failed, Error::ResponderFailed { reason: said, .. } if said.contains(reason)), "{failed}");
    }
    drop(answering.await.unwrap());
    assert!(matches!(alice.request(&subject("math.add"), "").await, Err(Error::NoResponders { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_requester_is_told_when_its_responder_leaves() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let mut responder = bob.respond(&pattern("slow")).await.unwrap();
    let name = subject("slow");
    let asking = tokio::spawn(async move { alice.request(&name, "x").await });
    let asked = responder.next().await.unwrap();
    bob.session().close().await.unwrap();
    let lost = soon("being told", asking).await.unwrap().unwrap_err();
    assert!(matches!(lost, Error::ResponderLost { .. }), "{lost}");
    drop(asked);
}

#[tokio::test(start_paused = true)]
async fn while_a_responder_is_cut_requests_wait_for_it() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let mut responder = bob.respond(&pattern("r")).await.unwrap();
    world.net.faults("here").cut();
    let answering = tokio::spawn(async move { responder.next().await.unwrap().answer("here again").await });
    let answer = loop {
        // Our own connection is cut as well, and comes back whenever it does.
        match alice.request(&subject("r"), "").await {
            Err(Error::Session(error)) if error.is_retryable() => continue,
            answer => break answer,
        }
    };
    assert_eq!(answer.unwrap().body, "here again");
    answering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn late_subscribers_hear_the_kept_value_first() {
    let world = World::with(BusLimits {
        retained: sinew_bus::RetainedLimits { subjects_max: 2, bytes_max: 1 << 20 },
        ..BusLimits::default()
    })
    .await;
    let bus = world.bus().await;
    let keep = PublishOptions { retain: true, headers: Headers::default().with("at", "noon").unwrap() };
    for (name, body) in [("state.a", "old"), ("state.a", "new"), ("state.b", "b")] {
        let receipt = bus.publish_confirmed(&subject(name), body, &keep).await.unwrap();
        assert!(receipt.retained);
    }
    let full = bus.publish_with(&subject("state.c"), "c", &keep).await.unwrap_err();
    assert!(matches!(full, Error::RetainedFull { .. }), "{full}");
    let mut late = bus.subscribe(&pattern("state.*")).await.unwrap();
    bus.publish(&subject("state.a"), "live").await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..3 {
        let message = message(&mut late).await;
        assert_eq!(message.headers.get("at").is_some(), message.retained);
        heard.push((message.subject.to_string(), message.body, message.retained));
    }
    heard.sort();
    let expected = [("state.a", "live", false), ("state.a", "new", true), ("state.b", "b", true)];
    assert_eq!(heard, expected.map(|(name, body, kept)| (name.to_owned(), body.into(), kept)));
    let live_only = SubscribeOptions { retained: false, ..SubscribeOptions::default() };
    let mut live = bus.subscribe_with(&pattern("state.*"), live_only).await.unwrap();
    bus.publish(&subject("state.x"), "x").await.unwrap();
    assert_eq!(message(&mut live).await.body, "x");
    assert_eq!(bus.last_value(&subject("state.a")).await.unwrap().unwrap().body, "new");
    assert_eq!(bus.last_value(&subject("state.x")).await.unwrap(), None);
    let kept: Vec<_> = bus.retained(&pattern(">")).await.unwrap().into_iter().map(|kept| kept.subject).collect();
    assert_eq!(kept, ["state.a", "state.b"]);
    assert_eq!(bus.clear_retained(&pattern("state.a")).await.unwrap(), 1);
    assert_eq!(bus.last_value(&subject("state.a")).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_says_who_got_it() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let options = PublishOptions::default();
    let receipt = alice.publish_confirmed(&subject("c"), "", &options).await.unwrap();
    assert_eq!((receipt.delivered, receipt.queued, receipt.dropped), (0, 0, 0));
    let _heard = bob.subscribe(&pattern("c")).await.unwrap();
    let _slow = bob.subscribe_with(&pattern("c"), small(1, Overflow::DropNewest)).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let receipt = alice.publish_confirmed(&subject("c"), "", &options).await.unwrap();
        seen.push((receipt.delivered, receipt.queued, receipt.dropped));
    }
    assert_eq!(seen, [(2, 0, 0), (1, 1, 0), (1, 0, 1)]);
}

#[tokio::test(start_paused = true)]
async fn each_overflow_policy_loses_what_it_says_and_tells() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let mut oldest = bob.subscribe_with(&pattern("o"), small(3, Overflow::DropOldest)).await.unwrap();
    let mut newest = bob.subscribe_with(&pattern("o"), small(3, Overflow::DropNewest)).await.unwrap();
    let mut ended = bob.subscribe_with(&pattern("o"), small(3, Overflow::Disconnect)).await.unwrap();
    numbered(&alice, "o", 0..10).await;
    assert_eq!(number(&message(&mut oldest).await), 0);
    assert_eq!(next(&mut oldest).await, Delivery::Lagged(6));
    assert_eq!(number(&message(&mut oldest).await), 7);
    for index in 0..4 {
        assert_eq!(number(&message(&mut newest).await), index);
    }
    assert_eq!(next(&mut newest).await, Delivery::Lagged(6));
    assert_eq!(number(&message(&mut ended).await), 0);
    assert_eq!(next(&mut ended).await, Delivery::Lagged(4), "three that waited and the one too many");
    assert_eq!(soon("the end", ended.next()).await, None);
    assert!(matches!(ended.end(), Some(Error::Overflowed { lost: 4, .. })), "{:?}", ended.end());
    let sums = world.accounting("o");
    assert_eq!((sums.dropped.oldest, sums.dropped.newest, sums.dropped.ended), (6, 7, 3));
}

#[tokio::test(start_paused = true)]
async fn a_held_publisher_waits_until_there_is_room_and_not_for_ever() {
    let limits = BusLimits { publish_window_bytes: 2_000, hold_max: Duration::from_secs(1), ..BusLimits::default() };
    let world = World::with(limits).await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let mut held = bob.subscribe_with(&pattern("h"), small(4, Overflow::Hold)).await.unwrap();
    // The first publish tells the window.
    alice.publish(&subject("h"), vec![0; 100]).await.unwrap();
    alice.flush().await.unwrap();
    let publishing = tokio::spawn(async move {
        let start = tokio::time::Instant::now();
        for index in 1..200_u8 {
            alice.publish(&subject("h"), vec![index; 100]).await.unwrap();
        }
        alice.flush().await.unwrap();
        start.elapsed()
    });
    for index in 0..200_u8 {
        assert_eq!(message(&mut held).await.body[0], index, "nothing is lost");
        // A slow subscriber: its pace is what is tested.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = publishing.await.unwrap();
    assert!(took >= Duration::from_millis(500), "the publisher went at its subscriber's pace: {took:?}");
    // Nobody reads now: after the longest hold the publisher goes on, and what is lost is counted and told.
    let alice = world.bus().await;
    let start = tokio::time::Instant::now();
    for index in 0..200_u8 {
        alice.publish(&subject("h"), vec![index; 100]).await.unwrap();
    }
    alice.flush().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let (mut got, mut lost) = (0, 0);
    while got + lost < 200 {
        match next(&mut held).await {
            Delivery::Message(_) => got += 1,
            Delivery::Lagged(count) => lost += count,
            Delivery::Gap(gap) => panic!("{gap:?}"),
        }
    }
    assert!(lost > 0 && world.accounting("h").dropped.newest == lost);
}

#[tokio::test(start_paused = true)]
async fn a_drained_subscription_gives_out_what_waits_and_ends() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let mut draining = bob.subscribe_with(&pattern("d.*"), small(100, Overflow::DropOldest)).await.unwrap();
    for index in 0..20_u32 {
        alice.publish(&subject(&format!("d.{}", index % 3)), index.to_le_bytes().to_vec()).await.unwrap();
    }
    alice.flush().await.unwrap();
    draining.drain().await.unwrap();
    numbered(&alice, "d.0", 20..30).await;
    let mut heard = Vec::new();
    while let Some(delivery) = soon("the rest", draining.next()).await {
        let Delivery::Message(message) = delivery else { panic!("{delivery:?}") };
        heard.push(number(&message));
    }
    heard.sort_unstable();
    assert_eq!((heard, draining.end().is_none()), ((0..20).collect(), true));
    assert_eq!(world.broker.subscriptions(), 0);
}

#[tokio::test(start_paused = true)]
async fn accounts_are_kept_by_subject_and_told_over_the_bus() {
    let world = World::new().await;
    let bus = world.bus().await;
    let _heard = bus.subscribe(&pattern("a.*")).await.unwrap();
    numbered(&bus, "a.1", 0..3).await;
    numbered(&bus, "b.1", 0..4).await;
    let (a, b) =
        (bus.accounting(Some(&pattern("a.>"))).await.unwrap(), bus.accounting(Some(&pattern("b.1"))).await.unwrap());
    assert_eq!((a.published, a.copies, a.delivered, a.unheard, a.subjects), (3, 3, 3, 0, 1));
    assert_eq!((b.published, b.copies, b.unheard), (4, 0, 4));
    let all = bus.accounting(None).await.unwrap();
    assert_eq!((all.published, all.is_balanced()), (7, true));
}

#[tokio::test(start_paused = true)]
async fn two_buses_do_not_share_a_session() {
    let world = World::new().await;
    let session: Session = world.setup.session().await;
    let _first = Bus::new(&session).unwrap();
    assert!(Bus::new(&session).is_err());
}
