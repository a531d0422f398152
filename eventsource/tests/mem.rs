//! The event log over `mem://`: what is promised when nothing fails, and that a cut costs nothing.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sinew_eventsource::{
    AppendOptions, Engine, Error, Event, EventBatch, EventBatchBuilder, Filter, FollowOptions, Followed, Follower,
    Level, Log, LogLimits, MemoryEngine, NewEvent, Position, ReadLimits, Retention, StreamConfig,
};
use sinew_session::{ResourceName, Server, Subject};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};

const LIMITS: ReadLimits = ReadLimits { bytes_max: 1 << 20, events_max: 1_000 };

struct World {
    net: Net,
    setup: Setup,
    engine: Arc<MemoryEngine>,
    _server: Server,
}

impl World {
    async fn new() -> Self {
        let net = Net::default();
        let mut setup = Setup::on(&net, "wide://here");
        let engine = Arc::new(MemoryEngine::default());
        let server = setup.serve_log_on(engine.clone(), LogLimits::default()).await;
        Self { net, setup, engine, _server: server }
    }

    async fn log(&self) -> Log {
        self.setup.log(0).await
    }

    /// A client, and a stream of this configuration.
    async fn stream(&self, config: StreamConfig) -> (Log, ResourceName) {
        let (log, stream) = (self.log().await, name("orders"));
        log.create(&stream, &config).await.unwrap();
        (log, stream)
    }

    fn cut(&self) {
        self.net.faults("here").cut();
    }
}

fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

fn number(event: &Event) -> u32 {
    u32::from_le_bytes(event.payload[..].try_into().expect("four bytes"))
}

fn one(event: NewEvent) -> EventBatch {
    let mut batch = EventBatchBuilder::default();
    batch.push(&event).unwrap();
    batch.finish()
}

async fn append_numbers(log: &Log, stream: &ResourceName, numbers: std::ops::Range<u32>) {
    let numbered = |number: u32| one(NewEvent::new(number.to_le_bytes().to_vec()));
    let options = AppendOptions::default();
    let tickets: Vec<_> = numbers.map(|number| log.append_start(stream, numbered(number), &options)).collect();
    for ticket in tickets {
        soon("an append", ticket).await.unwrap();
    }
}

async fn event(follower: &mut Follower) -> Event {
    let next = soon("the next event", follower.next_event()).await;
    next.unwrap_or_else(|| panic!("the follow ended: {:?}", follower.end()))
}

#[tokio::test(start_paused = true)]
async fn what_is_appended_is_read() {
    let world = World::new().await;
    let (log, stream) = (world.log().await, name("orders"));
    let info = log.create(&stream, &StreamConfig::default()).await.unwrap();
    assert_eq!((info.first, info.next, info.level), (0, 0, Level::Memory));
    assert_eq!(log.create(&stream, &StreamConfig::default()).await.unwrap(), info, "making it again changes nothing");
    let subject = Subject::try_from("a.b").unwrap();
    let first = log.append(&stream, NewEvent::new("one").subject(subject).key("k")).await.unwrap();
    assert_eq!((first.first, first.count, first.level, first.duplicate), (0, 1, Level::Memory, false));
    let mut batch = EventBatchBuilder::default();
    ["two", "three"].iter().for_each(|text| batch.push(&NewEvent::new(*text)).unwrap());
    let second = log.append_batch(&stream, batch.finish(), &AppendOptions::default()).await.unwrap();
    assert_eq!((second.first, second.count), (1, 2));

    let page = log.read(&stream, Position::Start, LIMITS).await.unwrap();
    assert_eq!((page.events.len(), page.next, page.end), (3, 3, 3));
    assert_eq!(page.events[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(page.events[0].timestamp, first.timestamp);
    let texts: Vec<_> = page.events.iter().map(|event| event.payload.clone()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let one = log.read(&stream, Position::Offset(1), ReadLimits { events_max: 1, ..LIMITS }).await.unwrap();
    assert_eq!((one.events.len(), one.events[0].offset, one.next), (1, 1, 2), "a batch is cut to what was asked for");
    let end = log.read(&stream, Position::End, LIMITS).await.unwrap();
    assert_eq!((end.events.len(), end.next), (0, 3));
    let since = log.read(&stream, Position::Time(second.timestamp), LIMITS).await.unwrap();
    assert!(since.events.iter().any(|event| event.offset == 1), "{since:?}");
    let keyed = log.read_filtered(&stream, Position::Start, LIMITS, Filter::key("k")).await.unwrap();
    assert_eq!((keyed.events.len(), keyed.next), (1, 3));
    assert_eq!(log.list().await.unwrap(), std::slice::from_ref(&stream));

    log.delete(&stream).await.unwrap();
    assert!(matches!(log.info(&stream).await, Err(Error::UnknownStream { .. })));
    assert!(matches!(log.append(&stream, "late").await, Err(Error::UnknownStream { .. })));
    log.create(&stream, &StreamConfig::default()).await.unwrap();
    assert_eq!(log.append(&stream, "anew").await.unwrap().first, 0, "a stream made anew is another one");
}

#[tokio::test(start_paused = true)]
async fn conditions_of_an_append_hold_or_nothing_is_stored() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    let expecting = |next| AppendOptions { expected_next: Some(next), ..AppendOptions::default() };
    log.append_with(&stream, "one", &expecting(0)).await.unwrap();
    let wrong = log.append_with(&stream, "two", &expecting(0)).await;
    assert!(matches!(wrong, Err(Error::WrongOffset { expected: 0, next: 1, .. })), "{wrong:?}");
    let durable = AppendOptions { required: Some(Level::Fsynced), ..AppendOptions::default() };
    let unmet = log.append_with(&stream, "two", &durable).await;
    assert!(
        matches!(unmet, Err(Error::LevelUnmet { required: Level::Fsynced, level: Level::Memory, .. })),
        "{unmet:?}"
    );
    assert_eq!(log.info(&stream).await.unwrap().next, 1);
}

#[tokio::test(start_paused = true)]
async fn a_follow_has_no_seam_between_what_was_and_what_comes() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    let other = world.log().await;
    append_numbers(&log, &stream, 0..500).await;
    // A window that is used up many times over.
    let options = FollowOptions { window_bytes: 2_000, ..FollowOptions::default() };
    let mut follower = log.follow(&stream, Position::Start, options).await.unwrap();
    let appending = tokio::spawn({
        let stream = stream.clone();
        async move { append_numbers(&other, &stream, 500..1_000).await }
    });
    for expected in 0..1_000 {
        let event = event(&mut follower).await;
        assert_eq!((event.offset, number(&event)), (u64::from(expected), expected));
    }
    soon("the appends", appending).await.unwrap();
    let mut late = log.follow(&stream, Position::Offset(999), FollowOptions::default()).await.unwrap();
    assert!(matches!(soon("an event", late.next()).await, Some(Followed::Event(event)) if event.offset == 999));
    assert_eq!(soon("the mark", late.next()).await, Some(Followed::CaughtUp { next: 1_000 }));
    append_numbers(&log, &stream, 1_000..1_001).await;
    assert!(matches!(soon("an event", late.next()).await, Some(Followed::Event(event)) if event.offset == 1_000));
}

#[tokio::test(start_paused = true)]
async fn a_follow_that_ends_gives_exactly_what_was_asked_for() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    append_numbers(&log, &stream, 0..10).await;
    for (options, expected) in [
        (FollowOptions { live: false, ..FollowOptions::default() }, 3..10),
        (FollowOptions { to: Some(5), ..FollowOptions::default() }, 3..5),
        (FollowOptions { to: Some(3), ..FollowOptions::default() }, 3..3),
        (FollowOptions { to: Some(99), live: false, ..FollowOptions::default() }, 3..10),
    ] {
        let mut follower = log.follow(&stream, Position::Offset(3), options).await.unwrap();
        let mut seen = Vec::new();
        while let Some(event) = soon("the next event", follower.next_event()).await {
            seen.push(event.offset);
        }
        assert_eq!(seen, expected.collect::<Vec<_>>());
        assert!(follower.end().is_none(), "{:?}", follower.end());
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_is_applied_at_the_server_and_holds_through_a_cut() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    let writer = world.log().await;
    let keyed = |number: u32| NewEvent::new("x").key(if number.is_multiple_of(1_000) { "rare" } else { "plain" });
    for number in 0..3_000 {
        drop(writer.append_start(&stream, one(keyed(number)), &AppendOptions::default()));
    }
    let options = FollowOptions { filter: Filter::key("rare"), ..FollowOptions::default() };
    let mut follower = log.follow(&stream, Position::Start, options).await.unwrap();
    for expected in [0, 1_000, 2_000] {
        assert_eq!(event(&mut follower).await.offset, expected);
    }
    assert_eq!(writer.append(&stream, keyed(0)).await.unwrap().first, 3_000);
    assert_eq!(event(&mut follower).await.offset, 3_000);
    world.cut();
    assert_eq!(writer.append(&stream, keyed(0)).await.unwrap().first, 3_001);
    assert_eq!(event(&mut follower).await.offset, 3_001);
}

#[tokio::test(start_paused = true)]
async fn through_twenty_cuts_nothing_is_lost_doubled_or_out_of_order() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    let reader = world.log().await;
    let producer = log.producer(&stream, &name("till")).await.unwrap();
    let mut follower = reader.follow(&stream, Position::Start, FollowOptions::default()).await.unwrap();
    let appending = tokio::spawn(async move {
        let mut tickets = Vec::new();
        for number in 0..2_000_u32 {
            let batch = one(NewEvent::new(number.to_le_bytes().to_vec()));
            tickets.push(producer.append_start(batch).await.unwrap());
        }
        producer.flush().await.unwrap();
        for (number, ticket) in tickets.into_iter().enumerate() {
            assert_eq!(ticket.await.unwrap().first, number as u64);
        }
    });
    for expected in 0..2_000 {
        if expected % 100 == 50 {
            world.cut();
        }
        let event = event(&mut follower).await;
        assert_eq!((event.offset, number(&event)), (u64::from(expected), expected));
    }
    soon("the appends", appending).await.unwrap();
    assert_eq!(log.info(&stream).await.unwrap().next, 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_was_opened_again_is_fenced() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    let till = name("till");
    let old = log.producer(&stream, &till).await.unwrap();
    assert_eq!((old.grant().sequence, old.grant().last_offset), (0, None));
    old.append("one").await.unwrap();
    let new = log.producer(&stream, &till).await.unwrap();
    assert_eq!((new.grant().sequence, new.grant().last_offset), (1, Some(0)));
    let fenced = old.append("two").await.unwrap_err();
    assert!(matches!(fenced, Error::ProducerFenced { .. }), "{fenced}");
    assert!(matches!(old.flush().await, Err(Error::ProducerFenced { .. })));
    assert_eq!(new.append("two").await.unwrap().first, 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_does_not_hold_up_the_ones_behind_it() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig { event_bytes_max: 1_000, ..StreamConfig::default() }).await;
    let producer = log.producer(&stream, &name("till")).await.unwrap();
    let mut tickets = Vec::new();
    for size in [10, 2_000, 20, 30] {
        tickets.push(producer.append_start(one(NewEvent::new(vec![7; size]))).await.unwrap());
    }
    let mut offsets = Vec::new();
    for ticket in tickets {
        match soon("an append", ticket).await {
            Ok(appended) => offsets.push(appended.first),
            Err(Error::TooLarge { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(offsets, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_is_overtaken_by_retention_is_told() {
    let world = World::new().await;
    let retention = Retention { events_max: Some(100), ..Retention::default() };
    let (log, stream) = world.stream(StreamConfig { retention, ..StreamConfig::default() }).await;
    append_numbers(&log, &stream, 0..100).await;
    let options = FollowOptions { window_bytes: 200, ..FollowOptions::default() };
    let mut slow = log.follow(&stream, Position::Start, options).await.unwrap();
    assert_eq!(event(&mut slow).await.offset, 0);
    append_numbers(&log, &stream, 100..1_000).await;
    let mut expected = 1;
    while let Some(event) = soon("the next event", slow.next_event()).await {
        assert_eq!(event.offset, expected, "nothing is skipped in silence");
        expected += 1;
    }
    let end = slow.end();
    assert!(matches!(&end, Some(Error::OutOfRange { requested, first: 900, .. }) if *requested == expected), "{end:?}");
    assert!(matches!(log.read(&stream, Position::Offset(0), LIMITS).await, Err(Error::OutOfRange { first: 900, .. })));
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_stream_that_is_deleted_are_told() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    let mut follower = log.follow(&stream, Position::End, FollowOptions::default()).await.unwrap();
    assert!(matches!(soon("the mark", follower.next()).await, Some(Followed::CaughtUp { .. })));
    log.delete(&stream).await.unwrap();
    assert_eq!(soon("its end", follower.next()).await, None);
    assert!(matches!(follower.end(), Some(Error::Ended { .. })), "{:?}", follower.end());
    assert_eq!(world.engine.names(None, 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn cursors_are_kept_and_followed_from() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    append_numbers(&log, &stream, 0..10).await;
    let reader = name("reader");
    assert_eq!(log.cursor(&stream, &reader).await.unwrap(), None);
    log.commit_cursor(&stream, &reader, 7).await.unwrap();
    log.commit_cursor(&stream, &name("another"), 3).await.unwrap();
    assert_eq!(log.cursors(&stream).await.unwrap(), [("another".to_owned(), 3), ("reader".to_owned(), 7)]);
    let follower = log.follow_from_cursor(&stream, &reader, Position::Start, FollowOptions::default());
    assert_eq!(event(&mut follower.await.unwrap()).await.offset, 7);
    assert_eq!(log.kept_cursor(&stream, &reader).await.unwrap(), Some((7, Vec::new())));
    log.keep_cursor(&stream, &reader, 8, "place 8").await.unwrap();
    assert_eq!(log.kept_cursor(&stream, &reader).await.unwrap(), Some((8, b"place 8".to_vec())));
    assert_eq!(log.cursor(&stream, &reader).await.unwrap(), Some(8));
    log.remove_cursor(&stream, &reader).await.unwrap();
    assert_eq!(log.cursor(&stream, &reader).await.unwrap(), None);
    let beyond = log.commit_cursor(&stream, &reader, 11).await;
    assert!(matches!(beyond, Err(Error::OutOfRange { requested: 11, next: 10, .. })), "{beyond:?}");
}

#[tokio::test(start_paused = true)]
async fn large_events_and_batches_come_whole() {
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig { event_bytes_max: 8 << 20, ..StreamConfig::default() }).await;
    let mut follower = log.follow(&stream, Position::Start, FollowOptions::default()).await.unwrap();
    for size in [0, 1, 8_191, 8_192, 130_000, 1 << 20, 5 << 20] {
        log.append(&stream, vec![7_u8; size]).await.unwrap();
        let event = event(&mut follower).await;
        assert!(event.payload.len() == size && event.payload.iter().all(|byte| *byte == 7), "{size} bytes");
    }
    let mut batch = EventBatchBuilder::default();
    for number in 0..4_000_u32 {
        batch.push(&NewEvent::new([&number.to_le_bytes()[..], &[0; 1_000]].concat())).unwrap();
    }
    let stored = log.append_batch(&stream, batch.finish(), &AppendOptions::default()).await.unwrap();
    for index in 0..4_000_u64 {
        let event = event(&mut follower).await;
        assert_eq!(event.offset, stored.first + index);
        assert_eq!(event.payload[..4], (index as u32).to_le_bytes());
    }
    let limits = ReadLimits { bytes_max: 100_000, events_max: 9_999 };
    let page = log.read(&stream, Position::Offset(stored.first), limits).await.unwrap();
    assert!((90..100).contains(&page.events.len()) && page.next == stored.first + page.events.len() as u64);
    let too_large = log.append(&stream, vec![0_u8; 9 << 20]).await.unwrap_err().to_string();
    assert!(too_large.contains("limit"), "{too_large}");
}

/// What is there for a reader without waiting.
fn at_hand(follower: &mut Follower) -> Vec<Event> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut events = Vec::new();
    while let Poll::Ready(Some(event)) = pin!(follower.next_event()).poll(&mut cx) {
        events.push(event);
    }
    events
}

/// What a reader consumes while the connection is gone is in what it says to be free when it asks again. Its grants, which
/// go out behind that, do not free it a second time.
#[tokio::test(start_paused = true)]
async fn grants_from_before_a_cut_do_not_widen_the_window() {
    const EVENT_BYTES: usize = 4_096;
    const WINDOW_BYTES: usize = 16 * EVENT_BYTES;
    let world = World::new().await;
    let (log, stream) = world.stream(StreamConfig::default()).await;
    for _ in 0..100 {
        log.append(&stream, vec![7; EVENT_BYTES]).await.unwrap();
    }
    let options = FollowOptions { window_bytes: WINDOW_BYTES, ..FollowOptions::default() };
    let mut follower = log.follow(&stream, Position::Start, options).await.unwrap();
    let mut next = 0;
    for _ in 0..3 {
        // Time goes on once nothing else is to be done: the window is full then.
        tokio::time::sleep(Duration::from_secs(10)).await;
        // Nobody has seen the cut before the reader has consumed all and given it back.
        world.cut();
        let events = at_hand(&mut follower);
        let most = WINDOW_BYTES / EVENT_BYTES + 1;
        assert!((most / 2..=most).contains(&events.len()), "{} events wait, of a window of {most}", events.len());
        next += events.len() as u64;
        assert_eq!(events.last().unwrap().offset, next - 1);
    }
    while next < 100 {
        assert_eq!(event(&mut follower).await.offset, next);
        next += 1;
    }
}
