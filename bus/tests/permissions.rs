//! What each thing that a client does on the bus needs, held against a table: every action with every single operation
//! taken away; and what is derived from a permission (answers, copies of requests, kept values) or ends with it.

use std::sync::Arc;
use std::time::Duration;

use sinew_bus::{
    Broker, Bus, Delivery, Error, Overflow, Pattern, PublishOptions, Result, Subject, SubscribeOptions, Subscription,
};
use sinew_session::{Operation, Server};
use sinew_testkit::net::Net;
use sinew_testkit::rules::Rules;
use sinew_testkit::setup::{Setup, soon};

/// Subject and pattern of every action.
const NAME: &str = "room.lamp";

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Publish,
    PublishConfirmed,
    PublishKept,
    Request,
    Subscribe,
    SubscribeInGroup,
    SubscribeHolding,
    Respond,
    Accounting,
    ListKept,
    LastValue,
    ClearKept,
}

use Action::{
    Accounting, ClearKept, LastValue, ListKept, Publish, PublishConfirmed, PublishKept, Request, Respond, Subscribe,
    SubscribeHolding, SubscribeInGroup,
};

const ACTIONS: [Action; 12] = [
    Publish,
    PublishConfirmed,
    PublishKept,
    Request,
    Subscribe,
    SubscribeInGroup,
    SubscribeHolding,
    Respond,
    Accounting,
    ListKept,
    LastValue,
    ClearKept,
];

/// The model: what an action needs.
fn needs(action: Action) -> &'static [Operation] {
    match action {
        Publish | PublishConfirmed => &[Operation::BusPublish],
        PublishKept => &[Operation::BusPublish, Operation::BusRetain],
        Request => &[Operation::BusRequest],
        Subscribe | SubscribeInGroup | ListKept | LastValue => &[Operation::BusSubscribe],
        SubscribeHolding => &[Operation::BusSubscribe, Operation::BusHold],
        Respond => &[Operation::BusRespond],
        Accounting => &[Operation::BusInspect],
        ClearKept => &[Operation::BusRetain],
    }
}

fn bus_operations() -> impl Iterator<Item = Operation> {
    Operation::ALL.iter().copied().filter(|operation| operation.service() == "bus")
}

fn subject() -> Subject {
    Subject::try_from(NAME).unwrap()
}

fn pattern() -> Pattern {
    Pattern::try_from(NAME).unwrap()
}

fn options(group: Option<&str>, overflow: Overflow) -> SubscribeOptions {
    SubscribeOptions { group: group.map(str::to_owned), overflow, ..SubscribeOptions::default() }
}

async fn act(bus: &Bus, action: Action) -> Result<()> {
    let keep = PublishOptions { retain: true, ..PublishOptions::default() };
    match action {
        Publish => {
            bus.publish(&subject(), "x").await?;
            bus.flush().await
        }
        PublishConfirmed => bus.publish_confirmed(&subject(), "x", &PublishOptions::default()).await.map(drop),
        PublishKept => bus.publish_with(&subject(), "x", &keep).await,
        Request => bus.request(&subject(), "x").await.map(drop),
        Subscribe => bus.subscribe(&pattern()).await.map(drop),
        SubscribeInGroup => bus.subscribe_with(&pattern(), options(Some("g"), Overflow::DropOldest)).await.map(drop),
        SubscribeHolding => bus.subscribe_with(&pattern(), options(None, Overflow::Hold)).await.map(drop),
        Respond => bus.respond(&pattern()).await.map(drop),
        Accounting => bus.accounting(Some(&pattern())).await.map(drop),
        ListKept => bus.retained(&pattern()).await.map(drop),
        LastValue => bus.last_value(&subject()).await.map(drop),
        ClearKept => bus.clear_retained(&pattern()).await.map(drop),
    }
}

struct World {
    setup: Setup,
    rules: Arc<Rules>,
    broker: Arc<Broker>,
    _server: Server,
}

impl World {
    async fn new() -> Self {
        let rules = Arc::new(Rules::default());
        let mut setup = Setup { authorize: rules.clone(), ..Setup::on(&Net::default(), "wide://here") };
        let broker = Arc::new(Broker::default());
        let server = setup.serve(vec![broker.clone()]).await;
        Self { setup, rules, broker, _server: server }
    }

    async fn bus(&self) -> Bus {
        self.setup.bus(0).await
    }
}

async fn next(subscription: &mut Subscription) -> Delivery {
    soon("a delivery", subscription.next()).await.expect("it goes on")
}

#[tokio::test(start_paused = true)]
async fn every_action_needs_exactly_what_the_table_says() {
    let world = World::new().await;
    for denied in bus_operations() {
        world.rules.deny(denied, NAME);
        for action in ACTIONS {
            let bus = world.bus().await;
            let result = act(&bus, action).await;
            let refused = matches!(result, Err(Error::Denied { .. } | Error::Refused { .. }));
            assert_eq!(refused, needs(action).contains(&denied), "{action:?} without {denied:?}: {result:?}");
            // Whoever asked for nothing forbidden is answered, if only that nobody responds.
            assert!(refused || matches!(result, Ok(()) | Err(Error::NoResponders { .. })), "{action:?}: {result:?}");
        }
        world.rules.allow(denied, NAME);
    }
}

#[test]
fn no_operation_of_the_bus_is_without_an_action() {
    for operation in bus_operations() {
        assert!(ACTIONS.iter().any(|action| needs(*action).contains(&operation)), "nothing needs {operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_needs_no_permission_of_its_own_and_a_copy_needs_that_of_a_subscriber() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let mut responder = bob.respond(&pattern()).await.unwrap();
    let answering = tokio::spawn(async move { responder.next().await.unwrap().answer("on").await.map(|()| responder) });
    let mut wiretap = bob.subscribe(&pattern()).await.unwrap();
    for operation in [Operation::BusPublish, Operation::BusInspect, Operation::BusRetain] {
        world.rules.deny(operation, NAME);
    }
    assert_eq!(alice.request(&subject(), "state?").await.unwrap().body, "on");
    let Delivery::Message(copy) = next(&mut wiretap).await else { panic!("a copy of the request") };
    assert!(copy.request);
    let _responder = answering.await.unwrap().unwrap();
    world.rules.deny(Operation::BusSubscribe, NAME);
    assert!(matches!(alice.subscribe(&pattern()).await, Err(Error::Denied { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_away_ends_and_what_was_published_before_stays_unheard() {
    let world = World::new().await;
    let (alice, bob) = (world.bus().await, world.bus().await);
    let mut heard = bob.subscribe(&pattern()).await.unwrap();
    let mut holding = bob.subscribe_with(&pattern(), options(None, Overflow::Hold)).await.unwrap();
    let mut responder = bob.respond(&pattern()).await.unwrap();
    act(&alice, PublishKept).await.unwrap();
    assert!(matches!(next(&mut heard).await, Delivery::Message(_)));

    // Only the one that holds publishers back ends.
    world.rules.deny(Operation::BusHold, NAME);
    assert!(matches!(next(&mut holding).await, Delivery::Message(_)));
    assert_eq!(soon("its end", holding.next()).await, None);
    assert!(matches!(holding.end(), Some(Error::Denied { .. })), "{:?}", holding.end());
    act(&alice, Publish).await.unwrap();
    assert!(matches!(next(&mut heard).await, Delivery::Message(_)));

    // The requester of a responder that may answer no more is told.
    let asker = alice.clone();
    let asking = tokio::spawn(async move { asker.request(&subject(), "").await });
    let asked = soon("the request", responder.next()).await.unwrap();
    world.rules.deny(Operation::BusRespond, NAME);
    let lost = soon("being told", asking).await.unwrap();
    assert!(matches!(lost, Err(Error::ResponderLost { .. })), "{lost:?}");
    assert!(soon("its end", responder.next()).await.is_none());
    assert!(matches!(responder.end(), Some(Error::Denied { .. })));
    drop(asked);
    // A copy of the request had come as well.
    assert!(matches!(next(&mut heard).await, Delivery::Message(_)));

    world.rules.deny(Operation::BusSubscribe, NAME);
    assert_eq!(soon("its end", heard.next()).await, None);
    assert!(matches!(heard.end(), Some(Error::Denied { .. })), "{:?}", heard.end());
    assert_eq!(world.broker.subscriptions(), 0);
    // Neither replayed nor told by another way.
    for action in [Subscribe, SubscribeInGroup, ListKept, LastValue] {
        assert!(matches!(act(&bob, action).await, Err(Error::Denied { .. })), "{action:?}");
    }

    // A publisher that goes on is told how much was refused, from when the server has seen the change.
    world.rules.deny(Operation::BusPublish, NAME);
    let told = loop {
        (0..5).for_each(|_| assert!(alice.try_publish(&subject(), &"x".into()).unwrap(), "there is room"));
        match alice.flush().await {
            Err(Error::Refused { count, .. }) => break count,
            result => result.unwrap(),
        }
        tokio::time::advance(Duration::from_millis(50)).await;
    };
    assert_eq!(world.broker.accounting(Some(&pattern())).refused, told);
}
