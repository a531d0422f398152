//! What the event log promises, as scenarios over whatever transports a [`Setup`] names: clients take its endpoints in
//! turn. The engine is the caller's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sinew_auth::Operation;
use sinew_eventsource::{
    AppendOptions, Engine, Error, EventBatchBuilder, Filter, FollowOptions, Followed, GroupOptions, GroupSettings, Log,
    LogLimits, Member, NewEvent, Position, ReadLimits, StreamConfig,
};
use sinew_session::{ResourceName, Server};

use crate::rules::Rules;
use crate::setup::{Setup, soon};

mod bad_input;
mod group_restarts;
pub use bad_input::bad_input;
pub use group_restarts::groups_through_restarts;

const LIMITS: ReadLimits = ReadLimits { bytes_max: 1 << 20, events_max: 1_000 };

fn name(text: &str) -> ResourceName {
    text.parse().expect("a name of this test")
}

/// Client number `number`, and a stream of this name.
async fn stream(setup: &Setup, number: usize, text: &str) -> (Log, ResourceName) {
    let (log, stream) = (setup.log(number).await, name(text));
    soon("making the stream", log.create(&stream, &StreamConfig::default())).await.expect("it is made");
    (log, stream)
}

fn numbered(number: u32) -> NewEvent {
    NewEvent::new(number.to_le_bytes().to_vec()).key(vec![(number % 3) as u8])
}

/// What one appends another reads, in pages and live, whole and filtered, and a cursor keeps where it was.
///
/// # Panics
/// If it is not so.
pub async fn append_read_follow(setup: &Setup) {
    let (log, stream) = stream(setup, 0, "plain").await;
    let reader = setup.log(1).await;
    let mut live =
        soon("following", reader.follow(&stream, Position::Start, FollowOptions::default())).await.expect("it stands");
    assert_eq!(soon("the mark", live.next()).await, Some(Followed::CaughtUp { next: 0 }));
    let mut batch = EventBatchBuilder::default();
    (0..10).for_each(|number| batch.push(&numbered(number)).expect("it is small"));
    let options = AppendOptions::default();
    let stored = soon("the batch", log.append_batch(&stream, batch.finish(), &options)).await.expect("it is stored");
    assert_eq!((stored.first, stored.count), (0, 10));
    for number in 10..300 {
        let stored = soon("an append", log.append(&stream, numbered(number))).await.expect("it is stored");
        assert_eq!((stored.first, stored.duplicate), (u64::from(number), false));
    }
    for number in 0..300_u32 {
        let event = soon("an event", live.next_event()).await.expect("it goes on");
        assert_eq!((event.offset, &event.payload[..]), (u64::from(number), &number.to_le_bytes()[..]));
    }
    let large = vec![7; 900_000];
    soon("a large one", log.append(&stream, large.clone())).await.expect("it is stored");
    assert_eq!(soon("an event", live.next_event()).await.expect("it goes on").payload, large);
    let page = soon("a page", reader.read(&stream, Position::Offset(295), LIMITS)).await.expect("it is there");
    assert_eq!((page.events.len(), page.next, page.end), (6, 301, 301));
    let options =
        FollowOptions { filter: Filter::key(vec![2]), live: false, to: Some(300), ..FollowOptions::default() };
    let mut filtered = soon("following", reader.follow(&stream, Position::Start, options)).await.expect("it stands");
    let mut seen = Vec::new();
    while let Some(event) = soon("an event", filtered.next_event()).await {
        seen.push(event.offset);
    }
    assert!(filtered.end().is_none());
    assert_eq!(seen, (0..300).filter(|offset| offset % 3 == 2).collect::<Vec<_>>());
    soon("the cursor", reader.commit_cursor(&stream, &name("reader"), 42)).await.expect("it is kept");
    assert_eq!(soon("the cursor", log.cursor(&stream, &name("reader"))).await.expect("it is there"), Some(42));
    assert!(soon("the list", log.list()).await.expect("we may see it").contains(&stream));
}

/// A server is killed and started again on the same engine `restarts` times, while a producer appends and a reader
/// follows: each event is stored once and in order, and read once.
///
/// # Panics
/// If it is not so.
pub async fn producer_through_restarts(setup: &mut Setup, engine: Arc<dyn Engine>, restarts: u32) {
    let mut server = setup.serve_log_on(engine.clone(), LogLimits::default()).await;
    let (log, stream) = stream(setup, 0, "restarts").await;
    let reader = setup.log(1).await;
    let producer = soon("the producer", log.producer(&stream, &name("till"))).await.expect("it is opened");
    let mut follower =
        soon("following", reader.follow(&stream, Position::Start, FollowOptions::default())).await.expect("it stands");
    let total = restarts * 20;
    let appending = tokio::spawn(async move {
        for number in 0..total {
            let stored = producer.append(numbered(number)).await.expect("it is stored");
            assert_eq!(stored.first, u64::from(number));
        }
    });
    for number in 0..total {
        if number % 20 == 10 {
            server.abort().await;
            server = setup.serve_log_on(engine.clone(), LogLimits::default()).await;
        }
        let event = soon("an event", follower.next_event()).await;
        let event = event.unwrap_or_else(|| panic!("the follow ended: {:?}", follower.end()));
        assert_eq!((event.offset, &event.payload[..]), (u64::from(number), &number.to_le_bytes()[..]));
    }
    soon("the appends", appending).await.expect("each was stored once");
    assert_eq!(soon("the stream", log.info(&stream)).await.expect("it is there").next, u64::from(total));
    server.abort().await;
}

async fn next(member: &mut Member) -> sinew_eventsource::GroupEvent {
    let next = soon("the next event", member.next()).await;
    next.unwrap_or_else(|| panic!("the membership ended: {:?}", member.end()))
}

/// Members of a group share its events: each is dealt with, one that is handed back comes again, and those of a key come in
/// order.
///
/// # Panics
/// If it is not so.
pub async fn groups(setup: &Setup) {
    let (log, stream) = stream(setup, 0, "groups").await;
    let group = name("crew");
    for number in 0..60 {
        soon("an append", log.append(&stream, numbered(number))).await.expect("it is stored");
    }
    let settings = GroupSettings { key_order: true, ..GroupSettings::default() };
    let options = GroupOptions { settings, in_flight_max: 2, ..GroupOptions::default() };
    let mut members = Vec::new();
    for number in 0..2 {
        let log = setup.log(number).await;
        members.push(soon("joining", log.join(&stream, &group, options.clone())).await.expect("it is one"));
    }
    let (mut done, mut again, mut last) = (BTreeSet::new(), BTreeSet::new(), HashMap::new());
    while done.len() < 60 {
        for member in &mut members {
            let Ok(event) = tokio::time::timeout(Duration::from_millis(20), member.next()).await else { continue };
            let event = event.expect("it goes on");
            if event.offset % 10 == 5 && again.insert(event.offset) {
                member.nack(&event, Duration::from_millis(1));
                continue;
            }
            assert_eq!(event.attempt, 1 + u32::from(again.contains(&event.offset)));
            let before = last.insert(event.offset % 3, event.offset);
            assert!(before.is_none_or(|before: u64| before + 3 == event.offset), "{before:?} before {}", event.offset);
            assert!(done.insert(event.offset), "once");
            member.ack(&event);
        }
    }
    for member in members {
        soon("leaving", member.leave()).await.expect("all is durable");
    }
    let info = soon("the group", log.group(&stream, &group)).await.expect("it is there");
    assert_eq!((info.offset, info.lag, info.members, info.in_flight), (60, 0, 0, 0));
    let reset = log.reset_group(&stream, &group, Position::Offset(58));
    assert_eq!(soon("the reset", reset).await.expect("it is done").lag, 2);
    let mut member = soon("joining", log.join(&stream, &group, options)).await.expect("it is one");
    assert_eq!([next(&mut member).await.offset, next(&mut member).await.offset], [58, 59]);
    soon("the end", log.delete_group(&stream, &group)).await.expect("it is gone");
}

/// What a policy denies of one stream is refused, and what it takes away ends; another stream is not touched.
///
/// # Panics
/// If it is not so.
pub async fn permissions(setup: &mut Setup, engine: Arc<dyn Engine>) -> Server {
    let rules = Arc::new(Rules::default());
    setup.authorize = rules.clone();
    let server = setup.serve_log_on(engine, LogLimits::default()).await;
    let (log, open) = stream(setup, 0, "open").await;
    let (_, shut) = stream(setup, 1, "shut").await;
    let mut follower =
        soon("following", log.follow(&shut, Position::Start, FollowOptions::default())).await.expect("it stands");
    rules.deny(Operation::LogAppend, "shut");
    // Each append waits for its answer; one of them comes behind the change.
    let seen = async {
        loop {
            if let Err(error) = log.append(&shut, "x").await {
                return error;
            }
        }
    };
    let denied = soon("the server to see the change", seen).await;
    assert!(matches!(&denied, Error::Denied { reason } if reason.contains("log.append")), "{denied}");
    soon("an append", log.append(&open, "x")).await.expect("another stream");
    rules.deny(Operation::LogRead, "shut");
    while soon("its end", follower.next()).await.is_some() {}
    assert!(matches!(follower.end(), Some(Error::Denied { .. })), "{:?}", follower.end());
    for result in [
        soon("a page", log.read(&shut, Position::Start, LIMITS)).await.map(drop),
        soon("the stream", log.info(&shut)).await.map(drop),
        soon("a group", log.join(&shut, &name("crew"), GroupOptions::default())).await.map(drop),
        soon("a cursor", log.cursor(&shut, &name("reader"))).await.map(drop),
    ] {
        assert!(matches!(result, Err(Error::Denied { .. })), "{result:?}");
    }
    rules.deny(Operation::LogManage, "shut");
    let removed = soon("removing", log.delete(&shut)).await;
    assert!(matches!(removed, Err(Error::Denied { .. })), "{removed:?}");
    assert_eq!(soon("the list", log.list()).await.expect("we may see one"), [open], "what is denied is not shown");
    server
}
