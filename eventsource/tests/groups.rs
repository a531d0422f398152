//! Consumer groups over `mem://`: shared work, redelivery, key order, cuts, restarts, and what managers do.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sinew_eventsource::{
    Error, GroupEvent, GroupOptions, GroupSettings, Log, LogLimits, Member, MemoryEngine, NewEvent, Position,
    Redelivery, Retention, StreamConfig,
};
use sinew_session::{ResourceName, Server};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};

struct World {
    net: Net,
    setup: Setup,
    engine: Arc<MemoryEngine>,
    server: Server,
    log: Log,
    stream: ResourceName,
    group: ResourceName,
}

impl World {
    async fn new() -> Self {
        Self::with(StreamConfig::default()).await
    }

    async fn with(config: StreamConfig) -> Self {
        let net = Net::default();
        let mut setup = Setup::on(&net, "wide://here");
        let engine = Arc::new(MemoryEngine::default());
        let server = setup.serve_log_on(engine.clone(), LogLimits::default()).await;
        let log = setup.log(0).await;
        let (stream, group): (ResourceName, ResourceName) = ("orders".parse().unwrap(), "crew".parse().unwrap());
        log.create(&stream, &config).await.unwrap();
        Self { net, setup, engine, server, log, stream, group }
    }

    /// Appends so many events under these keys in turn.
    async fn append(&self, count: u32, keys: u8) {
        for number in 0..count {
            let event = NewEvent::new(number.to_le_bytes().to_vec()).key(vec![(number % u32::from(keys)) as u8]);
            soon("an append", self.log.append(&self.stream, event)).await.unwrap();
        }
    }

    async fn join(&self, options: GroupOptions) -> Member {
        let log = self.setup.log(0).await;
        soon("joining", log.join(&self.stream, &self.group, options)).await.unwrap()
    }

    async fn info(&self) -> sinew_eventsource::GroupInfo {
        soon("the group", self.log.group(&self.stream, &self.group)).await.unwrap()
    }
}

async fn next(member: &mut Member) -> GroupEvent {
    let next = soon("the next event", member.next()).await;
    next.unwrap_or_else(|| panic!("the membership ended: {:?}", member.end()))
}

fn settings(settings: GroupSettings) -> GroupOptions {
    GroupOptions { settings, ..GroupOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn members_share_the_work_and_what_is_acknowledged_is_over() {
    let world = World::new().await;
    world.append(100, 1).await;
    let few = GroupOptions { in_flight_max: 10, ..GroupOptions::default() };
    let (mut alice, mut bob) = (world.join(few.clone()).await, world.join(few).await);
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        for member in [&mut alice, &mut bob] {
            let event = next(member).await;
            assert!(seen.insert(event.offset), "{} comes once", event.offset);
            assert_eq!(event.attempt, 1);
            member.ack(&event);
        }
    }
    alice.flush().await.unwrap();
    bob.flush().await.unwrap();
    assert_eq!(seen.len(), 100);
    let info = world.info().await;
    assert_eq!((info.offset, info.lag, info.members, info.in_flight), (100, 0, 2, 0));
    alice.leave().await.unwrap();
    bob.leave().await.unwrap();
    assert_eq!(world.info().await.members, 0);
    assert_eq!(world.log.groups(&world.stream).await.unwrap(), ["crew"]);
    assert_eq!(world.log.cursors(&world.stream).await.unwrap(), [], "readers' cursors are others");
    // Who joins later gets what comes later.
    let mut carol = world.join(GroupOptions::default()).await;
    world.append(1, 1).await;
    assert_eq!(next(&mut carol).await.offset, 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_is_handed_out_again() {
    let world = World::new().await;
    world.append(2, 1).await;
    let mut alice = world.join(GroupOptions::default()).await;
    let (first, second) = (next(&mut alice).await, next(&mut alice).await);
    let mut bob = world.join(GroupOptions::default()).await;
    alice.nack(&first, Duration::from_secs(5));
    let again = next(&mut bob).await;
    assert_eq!((again.offset, again.attempt), (first.offset, 2));
    // Thirty seconds later it is the other one's turn.
    let again = next(&mut bob).await;
    assert_eq!((again.offset, again.attempt), (second.offset, 2));
    alice.ack(&second);
    alice.flush().await.unwrap();
    assert_eq!(alice.late(), 1, "somebody else has it");
    drop(bob);
    let mut left = [next(&mut alice).await, next(&mut alice).await];
    left.sort_by_key(|event| event.offset);
    assert_eq!(left.map(|event| (event.offset, event.attempt)), [(0, 2), (1, 2)], "leaving costs no attempt");
}

#[tokio::test(start_paused = true)]
async fn what_fails_too_often_is_given_up_and_listed() {
    let world = World::new().await;
    world.append(2, 1).await;
    let mut member = world.join(settings(GroupSettings { deliveries_max: Some(3), ..GroupSettings::default() })).await;
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let event = next(&mut member).await;
        if event.offset == 0 {
            attempts.push(event.attempt);
            member.nack(&event, Duration::ZERO);
        } else {
            member.ack(&event);
        }
    }
    member.flush().await.unwrap();
    assert_eq!(attempts, [1, 2, 3]);
    let info = world.info().await;
    assert_eq!((info.offset, info.given_up, info.given_up_last), (2, 1, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn events_of_a_key_are_dealt_with_in_order_by_one_member_at_a_time() {
    let world = World::new().await;
    world.append(200, 5).await;
    let options = settings(GroupSettings { key_order: true, ..GroupSettings::default() });
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(world.join(options.clone()).await);
    }
    let (mut last, mut seen): (HashMap<u8, u64>, _) = (HashMap::new(), 0);
    while seen < 200 {
        for member in &mut members {
            // Whoever has nothing now has it later.
            let Ok(event) = tokio::time::timeout(Duration::from_millis(10), member.next()).await else { continue };
            let event = event.expect("it goes on");
            let key = event.key.as_ref().unwrap()[0];
            let before = last.insert(key, event.offset);
            assert_eq!(before.map_or(u64::from(key), |before| before + 5), event.offset);
            seen += 1;
            member.ack(&event);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn through_cuts_and_restarts_everything_is_dealt_with() {
    let mut world = World::new().await;
    world.append(300, 3).await;
    let options = GroupOptions { in_flight_max: 20, ..GroupOptions::default() };
    let mut member = world.join(options).await;
    let mut seen = BTreeSet::new();
    let mut doubled = 0;
    let mut round = 0;
    while seen.len() < 300 {
        let event = next(&mut member).await;
        if !seen.insert(event.offset) {
            doubled += 1;
        }
        member.ack(&event);
        round += 1;
        if round % 20 == 10 {
            world.net.faults("here").cut();
        }
        if round == 150 {
            assert_eq!(doubled, 0, "a member that comes back in time is handed nothing twice");
            member.flush().await.unwrap();
            world.server.abort().await;
            world.server = world.setup.serve_log_on(world.engine.clone(), LogLimits::default()).await;
        }
    }
    soon("the last word", member.flush()).await.unwrap();
    assert_eq!(world.info().await.offset, 300);
    assert!(doubled <= 20, "a server that has restarted hands out again what members had, and no more: {doubled}");
}

/// What is altered counts from the next event on, for members that are there, that come back and after a restart.
#[tokio::test(start_paused = true)]
async fn how_a_group_hands_out_again_can_be_altered() {
    let mut world = World::new().await;
    world.append(3, 1).await;
    let mut alice = world.join(GroupOptions { in_flight_max: 1, ..GroupOptions::default() }).await;
    let first = next(&mut alice).await;
    let redelivery = Redelivery { acknowledge_within: Duration::from_secs(2), deliveries_max: Some(2) };
    let info = world.log.alter_group(&world.stream, &world.group, redelivery).await.unwrap();
    let altered = GroupSettings { acknowledge_within: Duration::from_secs(2), ..GroupSettings::default() };
    let altered = GroupSettings { deliveries_max: Some(2), ..altered };
    assert_eq!(info.settings, altered);
    // A member that comes back wants what it wanted when it joined.
    world.net.faults("here").cut();
    alice.ack(&first);
    alice.flush().await.unwrap();
    // Who is new has to want what is.
    let log = world.setup.log(0).await;
    let refused = soon("joining", log.join(&world.stream, &world.group, GroupOptions::default())).await;
    assert!(matches!(refused, Err(Error::GroupExists { .. })), "{refused:?}");

    let second = next(&mut alice).await;
    let began = tokio::time::Instant::now();
    let again = next(&mut alice).await;
    assert_eq!((second.offset, again.offset, again.attempt), (1, 1, 2));
    let waited = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
    // And after the second time it is given up.
    assert_eq!(next(&mut alice).await.offset, 2);
    assert_eq!(world.info().await.given_up_last, [1]);

    world.server.abort().await;
    world.server = world.setup.serve_log_on(world.engine.clone(), LogLimits::default()).await;
    assert_eq!(world.info().await.settings, altered, "it is kept with the cursor");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_come_back_loses_its_events_to_the_others() {
    let world = World::new().await;
    world.append(1, 1).await;
    let mut alice = world.join(GroupOptions::default()).await;
    assert_eq!(next(&mut alice).await.offset, 0);
    let mut bob = world.join(GroupOptions::default()).await;
    // As if its machine was gone: nothing is said any more, and no leave.
    let stalled = world.net.faults("here");
    std::mem::forget(alice);
    stalled.cut();
    let again = next(&mut bob).await;
    assert_eq!((again.offset, again.attempt), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn managers_pause_reset_and_remove() {
    let world = World::new().await;
    world.append(3, 1).await;
    let mut member = world.join(GroupOptions::default()).await;
    let first = next(&mut member).await;
    assert!(world.log.pause_group(&world.stream, &world.group).await.unwrap().paused);
    member.ack(&first);
    member.flush().await.unwrap();
    world.append(1, 1).await;
    assert_eq!(world.log.resume_group(&world.stream, &world.group).await.unwrap().offset, 1);
    let reset = world.log.reset_group(&world.stream, &world.group, Position::Offset(1)).await.unwrap();
    assert_eq!((reset.offset, reset.lag), (1, 3));
    let again: Vec<u64> = [next(&mut member).await, next(&mut member).await].map(|event| event.offset).into();
    assert_eq!(again, [1, 2]);
    let beyond = world.log.reset_group(&world.stream, &world.group, Position::Offset(9)).await;
    assert!(matches!(beyond, Err(Error::OutOfRange { requested: 9, .. })), "{beyond:?}");
    world.log.delete_group(&world.stream, &world.group).await.unwrap();
    while soon("its end", member.next()).await.is_some() {}
    assert!(matches!(member.end(), Some(Error::GroupEnded { .. })), "{:?}", member.end());
    assert!(matches!(world.log.group(&world.stream, &world.group).await, Err(Error::UnknownGroup { .. })));
    assert_eq!(world.log.groups(&world.stream).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn who_wants_another_group_is_refused_and_a_filter_is_kept() {
    let world = World::new().await;
    world.append(4, 2).await;
    let odd = GroupSettings { filter: sinew_eventsource::Filter::key(vec![1]), ..GroupSettings::default() };
    let mut member = world.join(settings(odd.clone())).await;
    assert_eq!([next(&mut member).await.offset, next(&mut member).await.offset], [1, 3]);
    let other = world.setup.log(0).await.join(&world.stream, &world.group, GroupOptions::default()).await;
    assert!(matches!(other, Err(Error::GroupExists { .. })), "{other:?}");
    assert_eq!(world.info().await.settings, odd);
    let end = GroupSettings { start: Position::End, ..GroupSettings::default() };
    let late = world.setup.log(0).await;
    let mut late = late.join(&world.stream, &"late".parse().unwrap(), settings(end)).await.unwrap();
    world.append(1, 1).await;
    assert_eq!(next(&mut late).await.offset, 4);
}

#[tokio::test(start_paused = true)]
async fn a_member_with_many_events_comes_back_with_all_of_them() {
    let world = World::new().await;
    world.append(1_500, 1).await;
    let odd = GroupSettings { start: Position::Offset(1), ..GroupSettings::default() };
    let mut member = world.join(GroupOptions { in_flight_max: 1_024, ..settings(odd) }).await;
    let mut events = Vec::new();
    for _ in 0..1_024 {
        events.push(next(&mut member).await);
    }
    // Of what it has, nothing stands beside another one.
    for event in events.iter().filter(|event| event.offset % 2 == 0) {
        member.ack(event);
    }
    soon("the acknowledgements", member.flush()).await.unwrap();
    let before = world.info().await.in_flight;
    world.net.faults("here").cut();
    for event in events.iter().filter(|event| event.offset % 2 == 1) {
        member.ack(event);
    }
    soon("the acknowledgements", member.flush()).await.unwrap();
    assert_eq!((member.late(), member.end().is_none()), (0, true), "of {before}");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_retention_has_overtaken_says_so_and_waits_to_be_reset() {
    let retention = Retention { events_max: Some(10), ..Retention::default() };
    let world = World::with(StreamConfig { retention, ..StreamConfig::default() }).await;
    world.append(5, 1).await;
    let mut member = world.join(GroupOptions { in_flight_max: 1, ..GroupOptions::default() }).await;
    assert_eq!(next(&mut member).await.offset, 0);
    member.leave().await.unwrap();
    world.append(50, 1).await;
    // It begins again where its cursor is, which is gone.
    world.log.pause_group(&world.stream, &world.group).await.unwrap();
    world.log.reset_group(&world.stream, &world.group, Position::Offset(45)).await.unwrap();
    world.append(10, 1).await;
    world.log.resume_group(&world.stream, &world.group).await.unwrap();
    let mut member = world.join(GroupOptions::default()).await;
    assert_eq!(soon("its end", member.next()).await, None);
    assert!(matches!(member.end(), Some(Error::OutOfRange { requested: 45, first: 55, .. })), "{:?}", member.end());
    assert!(world.info().await.halted.is_some());
    // Who joins it now is told the same, and does not wait for ever.
    let mut late = world.join(GroupOptions::default()).await;
    assert_eq!(soon("its end", late.next()).await, None);
    assert!(matches!(late.end(), Some(Error::OutOfRange { requested: 45, first: 55, .. })), "{:?}", late.end());
    world.log.reset_group(&world.stream, &world.group, Position::Start).await.unwrap();
    let mut member = world.join(GroupOptions::default()).await;
    assert_eq!(next(&mut member).await.offset, 55);
}
