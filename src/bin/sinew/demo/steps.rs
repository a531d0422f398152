//! The steps of a demonstration, one after the other: what is started, in which order, and what must come out.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sinew::{Endpoint, Home};

use super::append::IN_FLIGHT;
use super::children::Child;
use super::report::{LogRow, PingPong, Report, Row, StoreRow, TaskRow, Throughput};
use super::words::Word;
use super::{store, tasks};
use crate::failure::{Outcome, chain};

/// Payload sizes in bytes.
pub(super) const SIZES: [usize; 3] = [16, 128, 1024];

/// How long each throughput measurement takes where there is time.
const LOAD: Duration = Duration::from_secs(5);
/// The same for the comparison, which needs less to be a comparison.
const RAW_LOAD: Duration = Duration::from_secs(2);
/// How long events are appended over each transport.
const LOG: Duration = Duration::from_secs(2);
/// Bytes of each.
const EVENT_BYTES: usize = 128;
/// How long keys are put over each transport, and how long they are got.
const STORE: Duration = Duration::from_secs(1);
/// Bytes of each value.
const VALUE_BYTES: usize = 128;
/// How long tasks are submitted over each transport, calls included.
const TASKS: Duration = Duration::from_secs(1);
/// Bytes of each payload.
const TASK_BYTES: usize = 128;
/// Those who do them.
const WORKERS: usize = 2;
/// The longest a ping-pong goes on; it also ends after [`ROUNDS`].
const PING_PONG: Duration = Duration::from_millis(2_500);
/// The rounds of a ping-pong.
const ROUNDS: u32 = 5_000;
/// The longest measurement of a brief demonstration.
const BRIEF: Duration = Duration::from_millis(200);
/// The row of the comparison.
const RAW: &str = "libzmq XPUB/XSUB proxy";

/// How much time there is, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) began: Instant,
    /// After the beginning: measurements are over by then.
    pub(super) deadline: Duration,
    pub(super) compare: bool,
    /// Each measurement takes [`BRIEF`] at most.
    pub(super) brief: bool,
}

impl Plan {
    fn time_left(&self) -> Duration {
        self.deadline.saturating_sub(self.began.elapsed())
    }

    /// What a measurement takes that would like to take `wish`.
    fn cut(&self, wish: Duration) -> Duration {
        wish.min(if self.brief { BRIEF } else { self.time_left() })
    }
}

/// Two programs, and where each connects.
struct Way {
    name: String,
    security: &'static str,
    one: String,
    other: String,
}

/// Runs all of it. What fails within a step is in the report, and the next step goes on.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Outcome {
    let directory = tempfile::Builder::new().prefix("sinew-demo-").tempdir()?;
    let home = Home::at(directory.path().join("home"))?;
    progress("starting a server");
    let mut server = Child::start(home.path(), "server", &["serve", "--port", "0", "--until-stdin-ends"])?;
    while !server.line().await?.starts_with("serving") {}
    let urls = home.running()?;
    let ways = ways(&urls);
    report.rows.extend(ways.iter().map(|way| Row::new(&way.name, way.security)));
    if plan.compare {
        report.rows.push(Row::new(RAW, "none"));
    }
    for way in &ways {
        progress(&format!("ping-pong over {}", way.name));
        let result = ping_pong(home.path(), way, plan.cut(PING_PONG)).await;
        keep(report, &way.name, "ping-pong", result, |row, result| row.ping_pong = Some(result));
    }
    if plan.compare {
        progress("ping-pong over libzmq alone");
        let result = raw_ping_pong(home.path(), plan.cut(PING_PONG)).await;
        keep(report, RAW, "ping-pong", result, |row, result| row.ping_pong = Some(result));
    }
    for url in &urls {
        progress(&format!("event log over {}", url.scheme()));
        match log(home.path(), url, plan.cut(LOG)).await {
            Ok(row) => report.logs.push(row),
            Err(error) => report.failures.push(format!("event log over {}: {}", url.scheme(), chain(&*error))),
        }
    }
    for url in &urls {
        progress(&format!("key-value store over {}", url.scheme()));
        match keys(home.path(), url, plan.cut(STORE)).await {
            Ok(row) => report.stores.push(row),
            Err(error) => report.failures.push(format!("key-value store over {}: {}", url.scheme(), chain(&*error))),
        }
    }
    for url in &urls {
        progress(&format!("tasks over {}", url.scheme()));
        match submissions(home.path(), url, plan.cut(TASKS)).await {
            Ok(row) => report.tasks.push(row),
            Err(error) => report.failures.push(format!("tasks over {}: {}", url.scheme(), chain(&*error))),
        }
    }
    loads(plan, report, home.path(), &urls).await;
    progress("ending the server");
    server.end().await?;
    progress("");
    Ok(())
}

/// Each transport of the server, and the first two across.
fn ways(urls: &[Endpoint]) -> Vec<Way> {
    let security = |url: &Endpoint| if url.scheme() == "quic" { "TLS 1.3" } else { "CURVE" };
    let mut ways: Vec<Way> = urls
        .iter()
        .map(|url| Way {
            name: url.scheme().to_owned(),
            security: security(url),
            one: url.to_string(),
            other: url.to_string(),
        })
        .collect();
    if let [one, other, ..] = urls {
        ways.push(Way {
            name: format!("{} and {}", one.scheme(), other.scheme()),
            security: "both",
            one: one.to_string(),
            other: other.to_string(),
        });
    }
    ways
}

async fn ping_pong(home: &Path, way: &Way, time: Duration) -> Outcome<PingPong> {
    let mut pong = client(home, "pong", &[&way.other])?;
    pong.ready().await?;
    let (rounds, seconds) = (ROUNDS.to_string(), time.as_secs_f64().to_string());
    let mut ping = client(home, "ping", &[&way.one, "--rounds", &rounds, "--seconds", &seconds])?;
    let result = round_trips(ping.word().await?)?;
    ping.end().await?;
    pong.end().await?;
    Ok(result)
}

async fn log(home: &Path, url: &Endpoint, time: Duration) -> Outcome<LogRow> {
    let options = ["--size", &EVENT_BYTES.to_string(), "--seconds", &time.as_secs_f64().to_string()];
    let mut child = client(home, "append", &[&[url.to_string().as_str()][..], &options].concat())?;
    let row = match child.word().await? {
        Word::Log { appended, append_seconds, replayed, replay_seconds } if appended == replayed => LogRow {
            transport: url.scheme().to_owned(),
            payload_bytes: EVENT_BYTES,
            in_flight: IN_FLIGHT,
            appended,
            appended_per_second: appended as f64 / append_seconds,
            replayed,
            replayed_per_second: replayed as f64 / replay_seconds,
        },
        word => return Err(format!("not all that was acknowledged was read again: {word:?}").into()),
    };
    child.end().await?;
    Ok(row)
}

async fn keys(home: &Path, url: &Endpoint, time: Duration) -> Outcome<StoreRow> {
    let options = ["--size", &VALUE_BYTES.to_string(), "--seconds", &time.as_secs_f64().to_string()];
    let mut child = client(home, "store", &[&[url.to_string().as_str()][..], &options].concat())?;
    let row = match child.word().await? {
        Word::Store { put, put_seconds, watched, got, get_seconds } if put == watched => StoreRow {
            transport: url.scheme().to_owned(),
            value_bytes: VALUE_BYTES,
            in_flight: store::IN_FLIGHT,
            put,
            put_per_second: put as f64 / put_seconds,
            watched,
            got,
            got_per_second: got as f64 / get_seconds,
        },
        word => return Err(format!("the watch did not tell every put: {word:?}").into()),
    };
    child.end().await?;
    Ok(row)
}

async fn submissions(home: &Path, url: &Endpoint, time: Duration) -> Outcome<TaskRow> {
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(client(home, "work", &[&url.to_string()])?);
    }
    for worker in &mut workers {
        worker.ready().await?;
    }
    let options = ["--size", &TASK_BYTES.to_string(), "--seconds", &time.as_secs_f64().to_string()];
    let mut child = client(home, "submit", &[&[url.to_string().as_str()][..], &options].concat())?;
    let row = match child.word().await? {
        Word::Tasks { submitted, done, seconds, workers: WORKERS, calls, call_p50_ns } if submitted == done => {
            TaskRow {
                transport: url.scheme().to_owned(),
                payload_bytes: TASK_BYTES,
                in_flight: tasks::IN_FLIGHT,
                submitted,
                done,
                done_per_second: done as f64 / seconds,
                workers: WORKERS,
                calls,
                call_p50_us: call_p50_ns as f64 / 1e3,
            }
        }
        word => return Err(format!("not each task was done once, or not by {WORKERS} workers: {word:?}").into()),
    };
    child.end().await?;
    for worker in workers {
        worker.end().await?;
    }
    Ok(row)
}

async fn raw_ping_pong(home: &Path, time: Duration) -> Outcome<PingPong> {
    let (proxy, publishers, subscribers) = raw_proxy(home).await?;
    let pong = client(home, "raw-pong", &[&publishers, "--back", &subscribers])?;
    let (rounds, seconds) = (ROUNDS.to_string(), time.as_secs_f64().to_string());
    let ping = ["--back", &subscribers, "--rounds", &rounds, "--seconds", &seconds];
    let mut ping = client(home, "raw-ping", &[&[publishers.as_str()][..], &ping].concat())?;
    let result = round_trips(ping.word().await?)?;
    for child in [ping, pong, proxy] {
        child.end().await?;
    }
    Ok(result)
}

/// All sizes, interleaved, so that a machine that is busy for a while is so for all.
async fn loads(plan: &Plan, report: &mut Report, home: &Path, urls: &[Endpoint]) {
    let raw = u32::from(plan.compare);
    for (index, size) in SIZES.into_iter().enumerate() {
        for (nth, url) in urls.iter().enumerate() {
            let sizes_left = (SIZES.len() - index) as u32;
            let own_left = sizes_left * urls.len() as u32 - nth as u32;
            let share = plan.time_left().saturating_sub(raw * sizes_left * (RAW_LOAD + OVERHEAD)) / own_left;
            let time = plan.cut(LOAD.min(share.saturating_sub(OVERHEAD)));
            progress(&format!("throughput over {}, {size} bytes, {:.1} s", url.scheme(), time.as_secs_f64()));
            let result = load(home, &url.to_string(), size, time).await;
            keep(report, url.scheme(), "throughput", result, |row, result| row.throughput.push(result));
        }
        if plan.compare {
            progress(&format!("throughput over libzmq alone, {size} bytes"));
            let result = raw_load(home, size, plan.cut(RAW_LOAD)).await;
            keep(report, RAW, "throughput", result, |row, result| row.throughput.push(result));
        }
    }
}

/// What starting and ending the processes of a step may take.
const OVERHEAD: Duration = Duration::from_millis(300);

async fn load(home: &Path, url: &str, size: usize, time: Duration) -> Outcome<Throughput> {
    let mut subscriber = client(home, "subscribe", &[url, "--size", &size.to_string()])?;
    subscriber.ready().await?;
    let options = ["--size", &size.to_string(), "--seconds", &time.as_secs_f64().to_string()];
    let publisher = client(home, "publish", &[&[url][..], &options].concat())?;
    loaded(subscriber, publisher, size).await
}

async fn raw_load(home: &Path, size: usize, time: Duration) -> Outcome<Throughput> {
    let (proxy, publishers, subscribers) = raw_proxy(home).await?;
    let places = [publishers.as_str(), "--back", &subscribers, "--size", &size.to_string()];
    let subscriber = client(home, "raw-subscribe", &places)?;
    let seconds = time.as_secs_f64().to_string();
    let publisher = client(home, "raw-publish", &[&places[..], &["--seconds", &seconds]].concat())?;
    let result = loaded(subscriber, publisher, size).await?;
    proxy.end().await?;
    Ok(result)
}

async fn loaded(mut subscriber: Child, mut publisher: Child, size: usize) -> Outcome<Throughput> {
    let sent = match publisher.word().await? {
        Word::Sent { messages } => messages,
        word => return Err(format!("the publisher said {word:?}").into()),
    };
    let throughput = match subscriber.word().await? {
        Word::Received { messages, lost: 0, disordered: 0, seconds } if messages == sent => {
            Throughput { payload_bytes: size, messages, messages_per_second: messages as f64 / seconds }
        }
        word => return Err(format!("of {sent} messages not all arrived in order: {word:?}").into()),
    };
    publisher.end().await?;
    subscriber.end().await?;
    Ok(throughput)
}

async fn raw_proxy(home: &Path) -> Outcome<(Child, String, String)> {
    let mut proxy = client(home, "raw-proxy", &["tcp://127.0.0.1:*"])?;
    match proxy.word().await? {
        Word::Ports { publishers, subscribers } => Ok((proxy, publishers, subscribers)),
        word => Err(format!("the proxy said {word:?}").into()),
    }
}

fn client(home: &Path, role: &str, arguments: &[&str]) -> Outcome<Child> {
    Child::start(home, role, &[&["demo-client", role][..], arguments].concat())
}

fn round_trips(word: Word) -> Outcome<PingPong> {
    match word {
        Word::RoundTrips { rounds, p50_ns, p99_ns } => {
            Ok(PingPong { rounds, p50_us: p50_ns as f64 / 1e3, p99_us: p99_ns as f64 / 1e3 })
        }
        word => Err(format!("the ping said {word:?}").into()),
    }
}

fn keep<T>(report: &mut Report, way: &str, step: &str, result: Outcome<T>, enter: impl FnOnce(&mut Row, T)) {
    match result {
        Ok(result) => enter(report.row(way), result),
        Err(error) => report.failures.push(format!("{step} over {way}: {}", chain(&*error))),
    }
}

/// On a terminal one line that changes, elsewhere a line each; on standard error, so that the result stands alone.
fn progress(text: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody sees it then.
    let _ = match (out.is_terminal(), text) {
        (true, text) => write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush()),
        (false, "") => Ok(()),
        (false, text) => writeln!(out, "{text}"),
    };
}
