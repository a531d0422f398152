//! The event log to and from everything else, over a server in memory: each pair, and each pair killed in its midst.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;

use sinew_bus::{Bus, BusLimits, Delivery, Subject, Subscription};
use sinew_connectors::{
    Address, BatchLimits, Connection, ConnectionOptions, Context, Item, Phase, Progress, Registry, Result,
    stream_from_file,
};
use sinew_eventsource::{
    Event, EventBatchBuilder, Log, LogLimits, MemoryEngine, NewEvent, Position, ReadLimits, StreamConfig,
};
use sinew_session::{Executor, ResourceName, Server};
use sinew_testkit::net::Net;
use sinew_testkit::random::Random;
use sinew_testkit::setup::{Setup, soon};

const KINDS: [&str; 2] = ["events.jsonl", "events.jsonl.gz"];
/// How often each connector is killed.
const KILLS: usize = 20;
/// What one run may move before it is killed at the latest, so that [`KILLS`] of them never come to the end of
/// what there is to move, however fast the machine is.
const MOVED_MAX: u64 = 150;

/// A server with bus and log in memory, and a client of both.
struct World {
    bus: Bus,
    log: Log,
    folder: tempfile::TempDir,
    _server: Server,
}

impl World {
    async fn new() -> Self {
        let mut setup = Setup::on(&Net::default(), "mem://here");
        setup.executor = Executor::Thread;
        let log = sinew_eventsource::Broker::new(Arc::new(MemoryEngine::default()), LogLimits::default());
        let bus = sinew_bus::Broker::new(BusLimits::default());
        let server = setup.serve(vec![Arc::new(bus), Arc::new(log)]).await;
        let session = setup.session().await;
        let (bus, log) = (Bus::new(&session).unwrap(), Log::new(&session).unwrap());
        for stream in ["a", "b"] {
            log.create(&name(stream), &StreamConfig::default()).await.unwrap();
        }
        Self { bus, log, folder: tempfile::tempdir().unwrap(), _server: server }
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.path().join(kind)
    }

    fn connection(&self, named: Option<&str>, from: &str, to: &str) -> Connection {
        self.try_connection(named, from, to).unwrap()
    }

    fn try_connection(&self, named: Option<&str>, from: &str, to: &str) -> Result<Connection> {
        let context = Context { name: named.map(name), bus: Some(self.bus.clone()), log: Some(self.log.clone()) };
        // Small batches, so that there is much to be killed between.
        let limits = BatchLimits { items_max: 8, ..BatchLimits::default() };
        let options = ConnectionOptions { limits, ..ConnectionOptions::default() };
        Connection::between(&Registry::linked()?, &from.parse::<Address>()?, &to.parse()?, &context, options)
    }

    async fn run(&self, named: Option<&str>, from: &str, to: &str) -> Result<Progress> {
        soon("moving", self.connection(named, from, to).run()).await
    }

    async fn fill(&self, stream: &str, numbers: std::ops::Range<u64>) {
        for start in numbers.clone().step_by(100) {
            let mut batch = EventBatchBuilder::default();
            for number in start..numbers.end.min(start + 100) {
                let event = NewEvent::new(number.to_string()).subject(subject(number)).key(format!("k{}", number % 5));
                batch.push(&event).unwrap();
            }
            self.log.append_batch(&name(stream), batch.finish(), &Default::default()).await.unwrap();
        }
    }

    async fn stored(&self, stream: &str) -> Vec<Event> {
        let (mut all, mut next) = (Vec::new(), 0);
        loop {
            let limits = ReadLimits { bytes_max: 1 << 20, events_max: 10_000 };
            let page = self.log.read(&name(stream), Position::Offset(next), limits).await.unwrap();
            all.extend(page.events);
            if page.next == page.end {
                return all;
            }
            next = page.next;
        }
    }

    async fn stored_numbers(&self, stream: &str) -> Vec<u64> {
        let events = self.stored(stream).await;
        let offsets: Vec<_> = events.iter().map(|event| event.offset).collect();
        assert_eq!(offsets, (0..events.len() as u64).collect::<Vec<_>>());
        events.iter().map(|event| number(&event.payload)).collect()
    }
}

fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

fn subject(number: u64) -> Subject {
    format!("n.{}", number % 3).parse().unwrap()
}

fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

fn file(path: &Path) -> String {
    format!("file:{}", path.display())
}

fn write_file(path: &Path, numbers: std::ops::Range<u64>) {
    use std::io::Write;

    let lines: String = numbers.map(|n| format!("{{\"subject\":\"n.{}\",\"payload\":\"{n}\"}}\n", n % 3)).collect();
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(lines.as_bytes()).unwrap();
        encoder.finish().unwrap();
    } else {
        file.write_all(lines.as_bytes()).unwrap();
    }
}

fn read_file(path: &Path) -> Vec<Item> {
    if path.exists() { stream_from_file(path).map(Result::unwrap).collect() } else { Vec::new() }
}

fn read_numbers(path: &Path) -> Vec<u64> {
    read_file(path).iter().map(|item| number(&item.payload)).collect()
}

/// Runs a connection until it is polled for the `polls`-th time or has moved `moved` items, whichever is first, and
/// drops it there, as a kill would.
async fn killed_after(polls: usize, moved: u64, connection: Connection) -> Option<Result<Progress>> {
    let progress = connection.progress();
    let mut running = Box::pin(connection.run());
    let mut left = polls;
    let killed = std::future::poll_fn(|cx| {
        if left == 0 || progress.borrow().moved >= moved {
            return Poll::Ready(None);
        }
        left -= 1;
        running.as_mut().poll(cx).map(Some)
    });
    soon("moving until it is killed", killed).await
}

/// Kills it again and again at random moments, then lets it run to its end. Gives how often it was killed.
async fn killed_again_and_again(world: &World, named: Option<&str>, from: &str, to: &str, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let mut kills = 0;
    while kills < KILLS {
        let polls = 1 + random.below(60);
        match killed_after(polls, MOVED_MAX, world.connection(named, from, to)).await {
            None => kills += 1,
            Some(outcome) => panic!("seed {seed}: it ended before it was killed {KILLS} times: {outcome:?}"),
        }
    }
    world.run(named, from, to).await.unwrap();
    kills
}

#[tokio::test]
async fn a_file_goes_into_a_stream_exactly_once_however_often_it_is_killed() {
    for (seed, kind) in (1..).zip(KINDS) {
        let world = World::new().await;
        let path = world.path(kind);
        write_file(&path, 0..6_000);
        assert_eq!(killed_again_and_again(&world, Some("import"), &file(&path), "log:a", seed).await, KILLS);
        assert_eq!(world.stored_numbers("a").await, (0..6_000).collect::<Vec<_>>(), "seed {seed}");
        // What is appended to the file later goes on where it was.
        write_file(&path, 6_000..6_010);
        assert_eq!(world.run(Some("import"), &file(&path), "log:a").await.unwrap().moved, 10);
        assert_eq!(world.stored_numbers("a").await, (0..6_010).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_stream_goes_into_a_file_exactly_once_however_often_it_is_killed() {
    for (seed, kind) in (11..).zip(KINDS) {
        let world = World::new().await;
        world.fill("a", 0..6_000).await;
        let path = world.path(kind);
        // No name: the file itself says how far it is.
        killed_again_and_again(&world, None, "log:a", &file(&path), seed).await;
        assert_eq!(read_numbers(&path), (0..6_000).collect::<Vec<_>>(), "seed {seed}");
        world.fill("a", 6_000..6_010).await;
        assert_eq!(world.run(None, "log:a", &file(&path)).await.unwrap().moved, 10);
        assert_eq!(read_numbers(&path), (0..6_010).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_stream_goes_into_another_exactly_once_however_often_it_is_killed() {
    let world = World::new().await;
    world.fill("a", 0..18_000).await;
    killed_again_and_again(&world, Some("copy"), "log:a?filter=n.1", "log:b", 21).await;
    let expected: Vec<_> = (0..18_000).filter(|n| n % 3 == 1).collect();
    assert_eq!(world.stored_numbers("b").await, expected);
}

async fn heard(subscription: &mut Subscription) -> u64 {
    match soon("hearing", subscription.next()).await {
        Some(Delivery::Message(message)) => number(&message.body),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_is_published_at_least_once_however_often_it_is_killed() {
    let world = World::new().await;
    world.fill("a", 0..6_000).await;
    let mut subscription = world.bus.subscribe(&"n.*".parse().unwrap()).await.unwrap();
    let hearing = tokio::spawn(async move {
        let (mut next, mut again) = (0, 0);
        while next < 6_000 {
            let number = heard(&mut subscription).await;
            assert!(number <= next, "{number} came, and {next} was left out");
            again += u64::from(number < next);
            next = next.max(number + 1);
        }
        again
    });
    killed_again_and_again(&world, Some("play"), "log:a", "bus:", 31).await;
    let again = soon("hearing the last", hearing).await.unwrap();
    // What was done and not remembered was done again; it is bounded by what is confirmed in between.
    assert!(again < 6_000, "{again}");
    // And nothing is left to do.
    assert_eq!(world.run(Some("play"), "log:a", "bus:").await.unwrap().moved, 0);
}

#[tokio::test]
async fn what_is_heard_is_stored_once_and_what_is_missed_while_it_is_dead_is_told() {
    let world = World::new().await;
    let mut random = Random::new(41);
    let mut published = 0;
    for round in 0..KILLS {
        let connection = world.connection(Some("record"), "bus:n.*", "log:a");
        let mut progress = connection.progress();
        // Half of them wherever it is by then, which may be before it listens; half with something stored.
        let (polls, moved) = match round % 2 {
            0 => (1 + random.below(80), u64::MAX),
            _ => (usize::MAX, 1 + random.below(40) as u64),
        };
        let killed = killed_after(polls, moved, connection);
        let publishing = async {
            // From when it listens on; a run that is killed before has heard nothing.
            while progress.wait_for(|progress| progress.phase == Phase::Moving).await.is_ok()
                && progress.has_changed().is_ok()
            {
                world.bus.publish(&subject(published), published.to_string()).await.unwrap();
                published += 1;
                tokio::task::yield_now().await;
            }
        };
        let (outcome, ()) = tokio::join!(killed, publishing);
        assert!(outcome.is_none(), "{outcome:?}");
    }
    let connection = world.connection(Some("record"), "bus:n.*", "log:a");
    let (stop, mut progress) = (connection.stopper(), connection.progress());
    let task = tokio::spawn(connection.run());
    soon("starting", progress.wait_for(|progress| progress.phase == Phase::Moving)).await.unwrap();
    let first = published;
    for number in first..first + 500 {
        world.bus.publish(&subject(number), number.to_string()).await.unwrap();
    }
    soon("recording", progress.wait_for(|progress| progress.moved == 500)).await.unwrap();
    stop.stop();
    let progress = soon("stopping", task).await.unwrap().unwrap();
    assert_eq!((progress.lost, progress.uncounted), (0, 1), "nobody listened for a while");
    let stored = world.stored_numbers("a").await;
    assert!(stored.is_sorted_by(|one, next| one < next), "in order, none twice");
    assert!(stored.len() >= 500 + KILLS / 2, "what was moved before it was killed is there: {}", stored.len());
    assert_eq!(stored[stored.len() - 500..], (first..first + 500).collect::<Vec<_>>());
    let (_, mark) = world.log.kept_cursor(&name("a"), &name("record")).await.unwrap().unwrap();
    let mark: serde_json::Value = serde_json::from_slice(&mark).unwrap();
    assert_eq!((mark["origin"].as_str(), mark["count"].as_u64()), (Some("bus:n.*"), Some(stored.len() as u64)));
    assert!(mark["uncounted"].as_u64().unwrap() >= 1, "{mark}");
}

#[tokio::test]
async fn everything_of_an_event_survives_a_file_and_comes_back() {
    for kind in KINDS {
        let world = World::new().await;
        let path = world.path(kind);
        let headers = sinew_session::Headers::default().with("unit", "°C").unwrap();
        let events = [
            NewEvent::new("21.5").subject("roof".parse().unwrap()).key("k").headers(headers),
            NewEvent::new(vec![0xff, 0, 10]),
            NewEvent::tombstone(vec![0xfe]),
        ];
        for event in &events {
            world.log.append(&name("a"), event.clone()).await.unwrap();
        }
        world.run(None, "log:a", &file(&path)).await.unwrap();
        world.run(Some("back"), &file(&path), "log:b").await.unwrap();
        let back: Vec<_> = world.stored("b").await.into_iter().map(|event| event.body).collect();
        assert_eq!(back, events);
        let offsets: Vec<_> = read_file(&path).iter().map(|item| item.offset).collect();
        assert_eq!(offsets, [Some(0), Some(1), Some(2)]);
        // Stamped, an event says where and when it first was.
        world.run(None, &file(&path), "log:b?stamp").await.unwrap();
        let stamped = world.stored("b").await;
        let (first, original) = (&stamped[3], &world.stored("a").await[0]);
        assert_eq!(first.headers.get("sinew-timestamp"), Some(original.timestamp.to_string().as_bytes()));
        assert_eq!(first.headers.get("sinew-offset"), Some(&b"0"[..]));
    }
}

#[tokio::test]
async fn a_part_of_a_stream_is_taken_by_offset_time_subject_and_key() {
    let world = World::new().await;
    world.fill("a", 0..100).await;
    let at = |index: usize| format!("{}", index);
    for (options, expected) in [
        (String::new(), (0..100).collect::<Vec<u64>>()),
        (format!("?from={}&to={}", at(10), at(20)), (10..20).collect()),
        ("?from=start&filter=n.2&to=9".into(), vec![2, 5, 8]),
        ("?key=k3&to=20".into(), vec![3, 8, 13, 18]),
        ("?from=end".into(), vec![]),
        ("?to=end&from=98".into(), vec![98, 99]),
        ("?from=2100-01-01".into(), vec![]),
        ("?to=2100-01-01T00:00:00Z&from=1970-01-02&filter=n.*".into(), (0..100).collect()),
    ] {
        let path = world.path("part.jsonl");
        let _ = std::fs::remove_file(&path);
        world.run(None, &format!("log:a{options}"), &file(&path)).await.unwrap();
        assert_eq!(read_numbers(&path), expected, "{options}");
    }
    let error = world.run(None, "log:a?from=101", "stdout:").await.unwrap_err().to_string();
    assert_eq!(error, "offset 101 of stream `a` is out of range: the first is 0 and the next event gets 100");
    let error = world.run(None, "log:nothing", "stdout:").await.unwrap_err().to_string();
    assert!(error.starts_with("there is no stream `nothing`"), "{error}");
    let error = world.try_connection(None, "log:a?from=noon", "stdout:").unwrap_err().to_string();
    assert!(
        error.ends_with("it is `noon`; write start, end, an offset, or a time as in 2026-11-25T16:00:00Z"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_is_followed_from_its_end_on_and_a_name_remembers_where_that_was() {
    let world = World::new().await;
    world.fill("a", 0..10).await;
    for round in 0..3_u64 {
        let connection = world.connection(Some("tail"), "log:a?from=end&follow", "log:b");
        let (stop, mut progress) = (connection.stopper(), connection.progress());
        let task = tokio::spawn(connection.run());
        soon("starting", progress.wait_for(|progress| progress.phase == Phase::Moving)).await.unwrap();
        if round > 0 {
            // What came while nobody followed is there as well.
            soon("catching up", progress.wait_for(|progress| progress.confirmed == round * 10)).await.unwrap();
        }
        stop.stop();
        soon("stopping", task).await.unwrap().unwrap();
        let next = 10 + round * 10;
        world.fill("a", next..next + 10).await;
    }
    assert_eq!(world.stored_numbers("b").await, (10..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_name_is_one_connection_s_own() {
    let world = World::new().await;
    world.fill("a", 0..10).await;
    world.run(Some("mine"), "log:a", "log:b").await.unwrap();
    let error = world.run(Some("mine"), "log:a?filter=n.1", "log:b").await.unwrap_err().to_string();
    assert_eq!(error, "connection `mine` was made for log:a, and this is log:a?filter=n.1; take another name");
    // Somebody else's cursor is not taken for a mark.
    world.log.commit_cursor(&name("a"), &name("reader"), 3).await.unwrap();
    let error = world.run(Some("reader"), "log:a", "bus:").await.unwrap_err().to_string();
    assert!(error.starts_with("cursor `reader` of stream `a` does not hold what a connection keeps"), "{error}");
    // Two at once: the later one fences the earlier.
    let first = world.connection(Some("twice"), "bus:n.*", "log:b");
    let mut progress = first.progress();
    let first = tokio::spawn(first.run());
    soon("starting", progress.wait_for(|progress| progress.phase == Phase::Moving)).await.unwrap();
    let second = world.connection(Some("twice"), "bus:n.*", "log:b");
    let (stop, mut progress) = (second.stopper(), second.progress());
    let second = tokio::spawn(second.run());
    soon("starting", progress.wait_for(|progress| progress.phase == Phase::Moving)).await.unwrap();
    world.bus.publish(&subject(0), "0").await.unwrap();
    let error = soon("being fenced", first).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("was opened again"), "{error}");
    soon("storing", progress.wait_for(|progress| progress.moved == 1)).await.unwrap();
    stop.stop();
    soon("stopping", second).await.unwrap().unwrap();
    assert_eq!(world.stored_numbers("b").await.len(), 11);
}

#[tokio::test]
async fn a_stream_that_is_missing_is_made_when_that_is_asked_for() {
    let world = World::new().await;
    let path = world.path(KINDS[0]);
    write_file(&path, 0..3);
    assert!(world.run(None, &file(&path), "log:new").await.is_err());
    assert_eq!(world.run(None, &file(&path), "log:new?create").await.unwrap().moved, 3);
    assert_eq!(world.stored_numbers("new").await, [0, 1, 2]);
}
