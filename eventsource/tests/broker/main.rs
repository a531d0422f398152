//! What the server does where its engine is slow, fails or has no room, over `mem://`.

use std::sync::Arc;
use std::time::Duration;

use sinew_eventsource::{
    Broker, Engine, Error, FollowOptions, GroupOptions, Log, LogLimits, NewEvent, Position, StreamConfig,
};
use sinew_session::{Attachment, Link, ResourceName, Server, Service};
use sinew_testkit::net::{Net, WIDE_LANES};
use sinew_testkit::setup::{Setup, soon};
use sinew_transport_api::LaneSet;

mod wrapped;
use wrapped::Wrapped;

struct World {
    net: Net,
    setup: Setup,
    engine: Arc<Wrapped>,
    watch: Arc<Watch>,
    _server: Server,
}

/// The broker, and the links that it was given.
#[derive(Debug)]
struct Watch {
    broker: Broker,
    links: std::sync::Mutex<Vec<Arc<Link>>>,
}

impl Service for Watch {
    fn code(&self) -> u8 {
        self.broker.code()
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        self.links.lock().unwrap().push(link.clone());
        self.broker.open(link)
    }
}

impl World {
    async fn new(limits: LogLimits) -> Self {
        let net = Net::default();
        let mut setup = Setup::on(&net, "wide://here");
        let engine = Arc::new(Wrapped::default());
        let watch = Arc::new(Watch { broker: Broker::new(engine.clone(), limits), links: Default::default() });
        let server = setup.serve(vec![watch.clone()]).await;
        Self { net, setup, engine, watch, _server: server }
    }

    async fn log(&self) -> Log {
        self.setup.log(0).await
    }

    /// Streams of these names, and a client that made them.
    async fn streams<const N: usize>(&self, names: [&str; N]) -> (Log, [ResourceName; N]) {
        let (log, names) = (self.log().await, names.map(name));
        for name in &names {
            soon("a stream", log.create(name, &StreamConfig::default())).await.expect("made");
        }
        (log, names)
    }

    fn cut(&self) {
        self.net.faults("here").cut();
    }
}

fn name(text: &str) -> ResourceName {
    text.parse().expect("a name")
}

/// Until this is so; others have their turn meanwhile.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let turns = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, turns).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_loaded_holds_up_no_other() {
    let world = World::new(LogLimits::default()).await;
    let (log, [slow, fast]) = world.streams(["slow", "fast"]).await;
    let release = world.engine.hold_next(&slow);
    let crew = name("crew");
    let joining = tokio::spawn({
        let (log, slow, crew) = (world.log().await, slow.clone(), crew.clone());
        async move { log.join(&slow, &crew, GroupOptions::default()).await }
    });
    until("the slow one to be looked for", || world.engine.is_holding()).await;
    let fast = soon("another group", log.join(&fast, &crew, GroupOptions::default())).await.expect("joined");
    drop(release);
    let slow = soon("the slow one", joining).await.expect("no panic").expect("joined");
    assert_eq!((slow.stream().as_str(), fast.stream().as_str()), ("slow", "fast"));
}

#[tokio::test(start_paused = true)]
async fn a_group_without_members_lets_go_of_its_stream_and_goes_on_where_it_was() {
    let world = World::new(LogLimits::default()).await;
    let (log, [orders]) = world.streams(["orders"]).await;
    let crew = name("crew");
    let mut member = soon("joining", log.join(&orders, &crew, GroupOptions::default())).await.expect("joined");
    for text in ["one", "two"] {
        soon("an append", log.append(&orders, text)).await.expect("stored");
    }
    let first = soon("an event", member.next()).await.expect("there");
    member.ack(&first);
    soon("leaving", member.leave()).await.expect("left");
    // Whoever appends keeps it as well, until another stream needs the room.
    soon("another session", log.close()).await.expect("closed");
    let log = world.log().await;
    tokio::time::sleep(2 * LogLimits::default().group_idle).await;
    assert_eq!(world.engine.users(), 0);
    let info = soon("the group", log.group(&orders, &crew)).await.expect("there");
    assert_eq!((info.offset, info.lag, info.members), (1, 1, 0));
    let mut member = soon("joining", log.join(&orders, &crew, GroupOptions::default())).await.expect("joined");
    let second = soon("an event", member.next()).await.expect("there");
    assert_eq!((second.offset, &second.payload[..]), (1, &b"two"[..]));
    // One that has members stays.
    tokio::time::sleep(2 * LogLimits::default().group_idle).await;
    assert_eq!(world.engine.users(), 1);
}

#[tokio::test(start_paused = true)]
async fn groups_without_members_make_room_for_others() {
    let world = World::new(LogLimits { groups_max: 2, ..LogLimits::default() }).await;
    let (log, [orders]) = world.streams(["orders"]).await;
    let join = async |group: &str| soon("joining", log.join(&orders, &name(group), GroupOptions::default())).await;
    let (alice, bob) = (join("a").await.expect("joined"), join("b").await.expect("joined"));
    assert!(matches!(join("c").await, Err(Error::Limit { .. })));
    soon("leaving", alice.leave()).await.expect("left");
    let carol = join("c").await.expect("there is room");
    assert!(matches!(join("a").await, Err(Error::Limit { .. })));
    drop((bob, carol));
    let info = soon("a group", log.group(&orders, &name("a"))).await.expect("there is room");
    assert_eq!(info.members, 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_for_a_moment_is_read_again() {
    let world = World::new(LogLimits::default()).await;
    let (log, [orders]) = world.streams(["orders"]).await;
    let crew = name("crew");
    let mut member = soon("joining", log.join(&orders, &crew, GroupOptions::default())).await.expect("joined");
    world.engine.fail_reads(3);
    soon("an append", log.append(&orders, "one")).await.expect("stored");
    let event = soon("an event", member.next()).await;
    assert_eq!(event.unwrap_or_else(|| panic!("{:?}", member.end())).offset, 0);
    assert_eq!(soon("the group", log.group(&orders, &crew)).await.expect("there").halted, None);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_cut_while_it_joins_is_one_member() {
    let world = World::new(LogLimits::default()).await;
    let (log, [orders]) = world.streams(["orders"]).await;
    let crew = name("crew");
    let release = world.engine.hold_next(&orders);
    let joining = tokio::spawn({
        let (log, orders, crew) = (log.clone(), orders.clone(), crew.clone());
        async move { log.join(&orders, &crew, GroupOptions::default()).await }
    });
    until("the stream to be looked for", || world.engine.is_holding()).await;
    world.cut();
    // It is here again, and its second wish waits for the group as the first one does.
    soon("the names", async { while log.list().await.is_err() {} }).await;
    drop(release);
    let mut member = soon("joining", joining).await.expect("no panic").expect("joined");
    assert_eq!(soon("the group", log.group(&orders, &crew)).await.expect("there").members, 1);
    for number in 0..4_u8 {
        soon("an append", log.append(&orders, NewEvent::new(vec![number]))).await.expect("stored");
    }
    for expected in 0..4 {
        assert_eq!(soon("an event", member.next()).await.expect("there").offset, expected, "nobody else has it");
    }
}

#[tokio::test(start_paused = true)]
async fn maintenance_that_nobody_waits_for_ends() {
    let world = World::new(LogLimits::default()).await;
    let (log, [orders]) = world.streams(["orders"]).await;
    let mut under_way = world.engine.long_calls();
    let mut number = async |wanted: usize| {
        drop(soon("the calls", under_way.wait_for(|count| *count == wanted)).await.expect("the engine is there"));
    };
    let verify = |log: &Log| {
        let (log, orders) = (log.clone(), orders.clone());
        tokio::spawn(async move { log.verify(&orders, Arc::new(|_| {})).await })
    };
    // The caller gives up.
    let call = verify(&log);
    number(1).await;
    call.abort();
    number(0).await;
    // Its connection is cut.
    let call = verify(&log);
    number(1).await;
    world.cut();
    number(0).await;
    assert!(matches!(soon("the call", call).await.expect("no panic"), Err(Error::Session(_))));
    // Its session ends.
    let other = world.log().await;
    let call = verify(&other);
    number(1).await;
    soon("closing", other.close()).await.expect("closed");
    number(0).await;
    soon("the call", call).await.expect("no panic").expect_err("it ended");
}

#[tokio::test(start_paused = true)]
async fn a_directory_must_mean_the_same_to_client_and_server() {
    let world = World::new(LogLimits::default()).await;
    let (log, [orders]) = world.streams(["orders"]).await;
    let refused = [
        soon("backup", log.backup(&orders, "here", Arc::new(|_| {}))).await.map(drop),
        soon("restore", log.restore(&orders, "../here", Arc::new(|_| {}))).await.map(drop),
        soon("import", log.import(&orders, &StreamConfig::default(), "here/there", Arc::new(|_| {}))).await.map(drop),
    ];
    for error in refused.map(|refused| refused.expect_err("it is relative")) {
        assert!(matches!(&error, Error::Backup { .. }), "{error}");
        assert!(error.to_string().ends_with("name it from the root"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn appends_keep_their_order_while_a_session_forgets_streams() {
    let world = World::new(LogLimits { doors_max: 2, ..LogLimits::default() }).await;
    let (log, [slow, other, third]) = world.streams(["slow", "other", "third"]).await;
    let release = world.engine.hold_next(&slow);
    let append = |stream: &ResourceName, text: &'static str| {
        let (log, stream) = (log.clone(), stream.clone());
        tokio::spawn(async move { log.append(&stream, text).await })
    };
    let first = append(&slow, "first");
    until("the slow one to be looked for", || world.engine.is_holding()).await;
    for stream in [&other, &third] {
        soon("an append", log.append(stream, "x")).await.expect("stored");
    }
    let second = append(&slow, "second");
    soon("an append", log.append(&other, "y")).await.expect("stored, and the one before has arrived");
    drop(release);
    let offsets = [first, second].map(|append| async { soon("an append", append).await.expect("no panic") });
    let [first, second] = offsets;
    assert_eq!((first.await.expect("stored").first, second.await.expect("stored").first), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn many_follows_leave_the_outbox_within_its_bound() {
    let world = World::new(LogLimits::default()).await;
    let (log, [orders]) = world.streams(["orders"]).await;
    let mut followers = Vec::new();
    for _ in 0..100 {
        let options = FollowOptions::default();
        followers.push(soon("a follow", log.follow(&orders, Position::Start, options)).await.expect("it stands"));
    }
    let link = world.watch.links.lock().unwrap()[0].clone();
    // Nothing gets through to the reader.
    let stalled = world.net.faults("here");
    stalled.stall(LaneSet::first(1 + WIDE_LANES));
    let stream = world.engine.stream(&orders).await.expect("there");
    let event = vec![7; 200 << 10];
    let mut batch = sinew_eventsource::EventBatchBuilder::default();
    batch.push(&NewEvent::new(event)).expect("small enough");
    let events = batch.finish();
    for _ in 0..4 {
        let append = sinew_eventsource::Append { events: events.clone(), expected_next: None, producer: None };
        stream.append(append, Box::new(|stored| assert!(stored.is_ok(), "{stored:?}")));
    }
    // Time passes once nobody has anything to do any more.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (bytes, bound) = (link.outbox().bytes(), world.setup.limits.outbox_bytes_max);
    assert!(bytes >= bound, "{bytes} bytes: more would have been sent");
    assert!(bytes <= bound + (256 << 10), "{bytes} bytes, and the bound is {bound}");
}

/// A busy server is asked again and again, but not at once: with pauses that double, up to a bound, and differ.
#[tokio::test(start_paused = true)]
async fn a_producer_of_a_busy_server_backs_off_and_stores_all_in_order() {
    let world = World::new(LogLimits::default()).await;
    let (log, [stream]) = world.streams(["a"]).await;
    let producer = log.producer(&stream, &name("till")).await.unwrap();
    world.engine.be_busy(12);
    assert_eq!(producer.append("first").await.unwrap().first, 0);
    let asked = world.engine.asked();
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 12);
    for (turn, pause) in pauses.iter().enumerate() {
        let full = Duration::from_millis(5 << turn).min(Duration::from_secs(1));
        // A timer ends up to a millisecond late, and a block takes its way.
        assert!((full / 2..full + Duration::from_millis(5)).contains(pause), "turn {turn}: {pauses:?}");
    }
    // Where each was half or all of the bound, nothing would be left to chance.
    assert!(pauses[8..].windows(2).any(|pair| pair[0] != pair[1]), "{pauses:?}");

    world.engine.be_busy(3);
    let began = tokio::time::Instant::now();
    let mut tickets = Vec::new();
    for number in 0..20_u32 {
        let mut batch = sinew_eventsource::EventBatchBuilder::default();
        batch.push(&NewEvent::new(number.to_le_bytes().to_vec())).unwrap();
        tickets.push(producer.append_start(batch.finish()).await.unwrap());
    }
    for (number, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(soon("an append", ticket).await.unwrap().first, 1 + number as u64);
    }
    assert!(began.elapsed() < Duration::from_millis(100), "it begins anew: {:?}", began.elapsed());
}
