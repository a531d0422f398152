//! A server that keeps its log on disk, what there is to move there, and what is seen to arrive. Whoever kills something
//! does it by what is seen, never by time.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;
use sinew::connectors::stream_from_file;
use sinew::{
    AppendOptions, Bytes, Client, Delivery, EventBatchBuilder, FollowOptions, LogError, NewEvent, Position,
    PublishOptions, ReadLimits, ResourceName, StreamConfig, Subject, Subscription,
};
use sinew_testkit::random::{Random, Telltale, seeds};
use sinew_testkit::setup::soon;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::program::{Home, Running, Serving, schemes};

/// How often each connector is killed.
pub(super) const KILLS: u64 = 20;
/// Items that a source has more of, each time before something is killed: a run has that many to move at least.
pub(super) const MORE: u64 = 4_000;
/// Of these a run has moved one to so many when it is killed, and some more by then.
pub(super) const MOVED_MAX: usize = 2_000;
/// What is heard while nothing but whether somebody listens is asked.
const PROBE: &str = "probe";
/// Events of one append.
const APPENDED: u64 = 500;
/// Far more than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file of lines, and one of gzip members.
pub(super) const KINDS: [&str; 2] = ["lines.jsonl", "lines.jsonl.gz"];

/// A home, its server while it runs, and a client of it.
pub(super) struct World {
    pub(super) home: Home,
    folder: TempDir,
    server: Option<Serving>,
    client: Option<Client>,
    runtime: tokio::runtime::Runtime,
    random: Random,
    _seed: Telltale,
}

impl World {
    /// With a server that runs, and an empty stream `a`. `SINEW_SEED` takes the place of the seed.
    pub(super) fn new(seed: u64) -> Self {
        let seed = std::env::var("SINEW_SEED").map_or(seed, |_| seeds(1)[0]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
        let (random, seed) = (Random::new(seed), Telltale(seed));
        let mut world = Self { home, folder, server: None, client: None, runtime, random, _seed: seed };
        world.start();
        world.wait("making the stream", world.client().log().create(&name("a"), &StreamConfig::default())).unwrap();
        world
    }

    /// Starts the server on the same data.
    pub(super) fn start(&mut self) {
        let data = self.path("data");
        let server = self.home.serve(&["--data", data.to_str().unwrap()]);
        let keys = sinew::Home::at(self.home.path("")).unwrap();
        let connecting = Client::builder(server.url(schemes()[0])).home(keys).connect();
        self.client = Some(self.wait("connecting", connecting).unwrap());
        self.server = Some(server);
    }

    /// SIGKILL for the server.
    pub(super) fn kill(&mut self) {
        self.client = None;
        let server = self.server.take().expect("it runs");
        server.running.signal(Signal::KILL);
        check_killed(server.running);
    }

    /// An orderly end of the server.
    pub(super) fn stop(&mut self) {
        self.client = None;
        let server = self.server.take().expect("it runs");
        server.running.signal(Signal::TERM);
        let ended = server.running.end();
        assert!(ended.status.success(), "{}", ended.stderr);
    }

    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("the server runs")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A number from 1 on, up to this one.
    pub(super) fn one_to(&mut self, max: usize) -> u64 {
        1 + self.random.below(max) as u64
    }

    pub(super) fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(soon(what, future))
    }

    /// Starts a connection by the program, over one transport after the other.
    pub(super) fn connect(&self, round: u64, arguments: &[&str]) -> Running {
        let schemes = schemes();
        let scheme = schemes[round as usize % schemes.len()];
        let url = self.server.as_ref().expect("it runs").url(scheme);
        self.home.start([&["connect"], arguments, &["--url", &url]].concat())
    }

    /// Lets one run until it is seen that something was reached, and kills it there.
    pub(super) fn killed(&mut self, round: u64, arguments: &[&str], reached: impl FnMut(&mut Self) -> bool) {
        let mut running = self.connect(round, arguments);
        self.until(&mut running, reached);
        running.signal(Signal::KILL);
        check_killed(running);
    }

    /// Waits for something while a program runs.
    pub(super) fn until(&mut self, running: &mut Running, mut reached: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !reached(self) {
            assert!(running.is_running() && begun.elapsed() < PATIENCE, "it does not come that far");
            std::thread::yield_now();
        }
    }

    /// Waits for something while the server runs.
    pub(super) fn until_served(&mut self, what: &str, mut reached: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !reached(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} does not come");
            std::thread::yield_now();
        }
    }

    /// Runs one to its end.
    pub(super) fn finish(&self, arguments: &[&str]) {
        let ended = self.connect(0, arguments).end();
        assert!(ended.status.success(), "{}", ended.stderr);
    }

    /// The offset that a stream's next event gets; 0 where there is no such stream yet.
    pub(super) fn next(&self, stream: &str) -> u64 {
        match self.wait("the stream", self.client().log().info(&name(stream))) {
            Err(LogError::UnknownStream { .. }) => 0,
            info => info.unwrap().next,
        }
    }

    /// Appends numbers to stream `a`, each with so many bytes more.
    pub(super) fn fill(&self, numbers: std::ops::Range<u64>, bytes: usize) {
        for start in numbers.clone().step_by(APPENDED as usize) {
            let mut batch = EventBatchBuilder::default();
            for number in start..numbers.end.min(start + APPENDED) {
                let event = NewEvent::new(payload(number, bytes)).subject(subject("n"));
                batch.push(&event.key(format!("k{}", number % 5))).unwrap();
            }
            let (stream, options) = (name("a"), AppendOptions::default());
            let append = self.client().log().append_batch(&stream, batch.finish(), &options);
            self.wait("an append", append).unwrap();
        }
    }

    /// The numbers of a stream, probes left out.
    pub(super) fn stored(&self, stream: &str) -> Vec<u64> {
        self.wait("reading", async {
            let options = FollowOptions { live: false, ..FollowOptions::default() };
            let mut follower = self.client().log().follow(&name(stream), Position::Start, options).await.unwrap();
            let (mut numbers, mut next) = (Vec::new(), 0);
            while let Some(event) = follower.next_event().await {
                assert_eq!(event.offset, next, "offsets of {stream} follow each other");
                next += 1;
                numbers.extend(number(&event.payload));
            }
            follower.finish().unwrap();
            numbers
        })
    }

    /// The number of a stream's newest event.
    pub(super) fn newest(&self, stream: &str) -> Option<u64> {
        let (next, limits) = (self.next(stream), ReadLimits { bytes_max: 1, events_max: 1 });
        let place = Position::Offset(next.checked_sub(1)?);
        let page = self.wait("reading", self.client().log().read(&name(stream), place, limits)).unwrap();
        page.events.last().and_then(|event| number(&event.payload))
    }

    /// What a connection of this name keeps in a cursor of this stream.
    pub(super) fn mark(&self, stream: &str, named: &str) -> serde_json::Value {
        let kept = self.wait("the cursor", self.client().log().kept_cursor(&name(stream), &name(named)));
        serde_json::from_slice(&kept.unwrap().expect("it was kept").1).unwrap()
    }

    /// Hears numbers from now on, in a thread.
    pub(super) fn hear(&self, pattern: &str) -> Heard {
        let subscribing = async { self.client().bus().subscribe(&pattern.parse().unwrap()).await };
        Heard::new(self.wait("subscribing", subscribing).unwrap())
    }

    /// Publishes probes until so many hear it.
    pub(super) fn until_heard_by(&mut self, listeners: u64) {
        self.until_served("listeners", |world| {
            let options = PublishOptions::default();
            let subject = subject("n.probe");
            let publish = world.client().bus().publish_confirmed(&subject, PROBE, &options);
            let receipt = world.wait("a publish", publish).unwrap();
            receipt.delivered + receipt.queued >= listeners
        });
    }

    /// Publishes numbers; the server has them when this returns.
    pub(super) fn publish(&self, numbers: std::ops::Range<u64>) {
        self.wait("publishing", async {
            let bus = self.client().bus();
            for number in numbers {
                bus.publish(&subject("n.number"), payload(number, 0)).await.unwrap();
            }
            bus.flush().await.unwrap();
        });
    }
}

/// What a subscription has heard so far. It ends when this is dropped.
pub(super) struct Heard {
    numbers: Arc<Mutex<Vec<u64>>>,
    _hearing: oneshot::Sender<()>,
}

impl Heard {
    fn new(mut subscription: Subscription) -> Self {
        let numbers = Arc::<Mutex<Vec<u64>>>::default();
        let (hearing, mut over) = oneshot::channel();
        let heard = numbers.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                loop {
                    let delivery = tokio::select! {
                        _ = &mut over => return,
                        delivery = subscription.next() => delivery,
                    };
                    match delivery {
                        None => return,
                        Some(Delivery::Message(message)) => heard.lock().unwrap().extend(number(&message.body)),
                        // A loss shows as a hole.
                        Some(_) => {}
                    }
                }
            });
        });
        Self { numbers, _hearing: hearing }
    }

    pub(super) fn numbers(&self) -> MutexGuard<'_, Vec<u64>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn check_killed(running: Running) {
    let ended = running.end();
    assert_eq!(ended.status.signal(), Some(Signal::KILL.as_raw()), "it ended by itself: {}", ended.stderr);
}

pub(super) fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn payload(number: u64, bytes: usize) -> Bytes {
    format!("{number} {}", "x".repeat(bytes)).into()
}

/// The number of a payload; none for a probe.
pub(super) fn number(payload: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(payload).unwrap();
    let word = text.split(' ').next().unwrap();
    (word != PROBE).then(|| word.parse().unwrap())
}

pub(super) fn address(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// Bytes of a file; 0 where there is none yet.
pub(super) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// Appends numbers to a file of records.
pub(super) fn write_file(path: &Path, numbers: std::ops::Range<u64>) {
    let lines: String = numbers.map(|number| format!("{{\"subject\":\"n\",\"payload\":\"{number} \"}}\n")).collect();
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    if is_gzip(path) {
        let mut member = GzEncoder::new(file, Compression::fast());
        member.write_all(lines.as_bytes()).unwrap();
        member.finish().unwrap();
    } else {
        file.write_all(lines.as_bytes()).unwrap();
    }
}

pub(super) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// The numbers of a file of records, probes left out.
pub(super) fn recorded(path: &Path) -> Vec<u64> {
    let messages = path.exists().then(|| stream_from_file(path)).into_iter().flatten();
    messages.filter_map(|item| number(&item.unwrap().payload)).collect()
}

/// Numbers that were published once: in order, none twice, and what is missing was on its way when something was killed.
/// `killed_at` has the numbers that were to be published next at those times.
pub(super) fn check_heard(found: &[u64], killed_at: &[u64]) {
    for pair in found.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        assert!(before < after, "{after} stands behind {before}");
        let was_killed = killed_at.iter().any(|at| (before + 1..=after).contains(at));
        assert!(
            after == before + 1 || was_killed,
            "from {before} to {after} something is missing, and nobody was killed"
        );
    }
}
