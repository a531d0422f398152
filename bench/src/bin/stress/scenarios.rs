//! The three scenarios, each with a server of its own, over each transport.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;
use crate::process::Process;
use crate::report::{Row, mebibytes, milliseconds, table};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program under test
    #[arg(long)]
    sinew: PathBuf,
    /// How long each disturbance lasts; a third of it is measured undisturbed before
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Only this transport
    #[arg(long)]
    transport: Option<String>,
    /// Only these scenarios: `slow`, `idle`, `hostile`
    #[arg(long)]
    only: Vec<String>,
}

const SUBSCRIBERS: usize = 100;
const IDLE: usize = 1_000;
const HOSTILE: usize = 2_000;
/// Messages a second to a hundred subscribers: half of what two cores carry with room for everybody's scheduling.
const RATE: u32 = 100;
const BYTES: usize = 1_024;
const WINDOW: usize = 16 * 1024;
const QUEUE: usize = 128 * 1024;
/// Descriptors that the clients of one process need.
const DESCRIPTORS: u64 = 16_384;

pub(crate) fn run(options: &Options) -> Result<()> {
    raise_open_files()?;
    let mut rows = Vec::new();
    for transport in ["zmq", "quic"] {
        if options.transport.as_deref().is_some_and(|only| only != transport) {
            continue;
        }
        for (name, scenario) in [("slow", slow as Scenario), ("idle", idle), ("hostile", hostile)] {
            if options.only.is_empty() || options.only.iter().any(|only| only == name) {
                let home = tempfile::tempdir()?;
                let home = home.path().join("home");
                let (server, urls) = Process::server(&options.sinew, &home)?;
                let url = urls.iter().find(|url| url.starts_with(transport)).ok_or("no such listener")?;
                eprintln!("stress: {name} over {transport}");
                rows.extend(scenario(&server, url, &home, options.seconds)?);
            }
        }
    }
    println!("{}", table(&rows));
    match rows.iter().all(|row| row.holds) {
        true => Ok(()),
        false => Err("not everything holds".into()),
    }
}

type Scenario = fn(&Process, &str, &Path, f64) -> Result<Vec<Row>>;

/// The children inherit it.
fn raise_open_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        return Err(format!("{DESCRIPTORS} open files are needed, {maximum:?} allowed; raise `ulimit -Hn`").into());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum })?)
}

fn row(scenario: &'static str, url: &str, promise: impl Into<String>, found: impl Into<String>, holds: bool) -> Row {
    let transport = url.split(':').next().unwrap_or_default().to_owned();
    Row { scenario, transport, promise: promise.into(), found: found.into(), holds }
}

fn load(url: &str, home: &Path) -> Result<Process> {
    let arguments =
        ["--subscribers", &(SUBSCRIBERS - 1).to_string(), "--rate", &RATE.to_string(), "--bytes", &BYTES.to_string()];
    Process::role("load", url, home, &arguments.map(str::to_owned))?.ready()
}

/// What an honest load said of a span.
struct Figures {
    p50: u64,
    p99: u64,
    failures: u64,
    rate: u64,
}

fn figures(load: &mut Process) -> Result<Figures> {
    match load.numbers()?[..] {
        [p50, p99, _, failures, rate] => Ok(Figures { p50, p99, failures, rate }),
        _ => Err("five figures".into()),
    }
}

fn measure(load: &mut Process, seconds: f64) -> Result<Figures> {
    load.tell(&format!("measure {seconds}"))?;
    figures(load)
}

/// How the others fared beside a disturbance.
fn others(scenario: &'static str, url: &str, before: &Figures, during: &Figures) -> Vec<Row> {
    let found = format!(
        "p50 {} → {}, p99 {} → {}; {} deliveries/s",
        milliseconds(before.p50),
        milliseconds(during.p50),
        milliseconds(before.p99),
        milliseconds(during.p99),
        during.rate
    );
    let failures = before.failures + during.failures;
    vec![
        row(scenario, url, "others' p99 at most twice the undisturbed", found, during.p99 <= 2 * before.p99),
        row(scenario, url, "no error or loss of others, newcomers included", format!("{failures}"), failures == 0),
    ]
}

/// One of a hundred subscribers stops reading.
fn slow(server: &Process, url: &str, home: &Path, seconds: f64) -> Result<Vec<Row>> {
    const NAME: &str = "1 of 100 stops reading";
    let seconds = (seconds / 2.0).max(2.0);
    let mut load = load(url, home)?;
    let sizes = ["--window".into(), WINDOW.to_string(), "--queue".into(), QUEUE.to_string()];
    let mut stalled = Process::role("stalled", url, home, &sizes)?.ready()?;
    measure(&mut load, 1.0)?;
    let before = measure(&mut load, seconds / 1.5)?;
    let resident = server.resident()?;
    stalled.tell(&format!("stall {}", seconds + 0.5))?;
    let during = measure(&mut load, seconds)?;
    let grown = server.resident()?.saturating_sub(resident);
    let [heard, told, waited, wrong, dropped] = stalled.numbers()?[..] else { return Err("five figures".into()) };
    let mut rows = others(NAME, url, &before, &during);
    let waited = waited * BYTES as u64;
    let found = format!("at most {} KiB waited; the server grew by {}", waited / 1024, mebibytes(grown));
    let within = waited > 0 && waited <= QUEUE as u64;
    rows.push(row(NAME, url, format!("its queue stays within {} KiB", QUEUE / 1024), found, within));
    let found =
        format!("{heard} heard, {told} told lost, {dropped} dropped at the server, {wrong} told at a wrong place");
    let exact = told > 0 && told == dropped && wrong == 0;
    rows.push(row(NAME, url, "what it lost is told exactly", found, exact));
    Ok(rows)
}

/// Idle connections and ten times the rate that is delivered.
fn idle(server: &Process, url: &str, home: &Path, seconds: f64) -> Result<Vec<Row>> {
    const NAME: &str = "1,000 idle and ten times the load";
    const PAIRS: u64 = 4;
    let alone = server.resident()?;
    let mut crowd = Process::role("crowd", url, home, &["--count".into(), IDLE.to_string()])?.ready()?;
    let flood = |rate: u64, seconds: f64| {
        let arguments = [
            ("--pairs", PAIRS.to_string()),
            ("--bytes", BYTES.to_string()),
            ("--rate", rate.to_string()),
            ("--seconds", seconds.to_string()),
        ];
        let arguments: Vec<String> = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        Process::role("flood", url, home, &arguments)
    };
    let first = server.resident()?;
    let before = rest(server)?;
    let calibrating = (seconds / 10.0).max(1.0);
    let [_, most, _] = flood(0, calibrating)?.numbers()?[..] else { return Err("three figures".into()) };
    let rate = (most as f64 / calibrating) as u64;
    let mut flooding = flood(rate * 10 / PAIRS, seconds)?;
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let most = server.resident_most(|| Instant::now() >= until)?;
    let [published, delivered, lost] = flooding.numbers()?[..] else { return Err("three figures".into()) };
    drop(flooding);
    let after = settle(server, before + before / 5);
    crowd.end_input();
    let gone = crowd.numbers()?[0];
    // For each of the busy connections: an outbox, a transport's queue each way, and for subscribers their own queue.
    let queues = PAIRS * ((8 + 4 + 4 + 8) << 20) + PAIRS * ((8 + 4 + 4) << 20);
    let bound = (24 << 20) + IDLE as u64 * (64 << 10) + queues;
    let idle = (24 << 20) + IDLE as u64 * (64 << 10);
    Ok(vec![
        row(
            NAME,
            url,
            format!("at most {} with idle connections", mebibytes(idle)),
            format!(
                "{} at rest, {} when the last had come ({} alone)",
                mebibytes(before),
                mebibytes(first),
                mebibytes(alone)
            ),
            before <= idle,
        ),
        row(
            NAME,
            url,
            format!("at most {} under load", mebibytes(bound)),
            format!(
                "{}; {published} published at {} asked for, {delivered} delivered, {lost} told lost",
                mebibytes(most),
                rate * 10 / PAIRS
            ),
            most <= bound,
        ),
        row(
            NAME,
            url,
            "back to within 20 % of the start",
            format!("{} → {}", mebibytes(before), mebibytes(after)),
            after <= before + before / 5,
        ),
        row(NAME, url, "no idle connection lost", format!("{gone}"), gone == 0),
    ])
}

/// What idle connections take once they grow no more. In the first half minute each heartbeat of theirs takes the next
/// place in some buffer, so that right after the last has come they take less than they are going to.
fn rest(server: &Process) -> Result<u64> {
    const LOOK: Duration = Duration::from_secs(10);
    const LOOKS_MAX: u32 = 12;
    let mut before = server.resident()?;
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(LOOK);
        let now = server.resident()?;
        if now <= before + before / 100 {
            return Ok(now);
        }
        before = now;
    }
    Err(format!("idle connections still take 1 % more every {LOOK:?}, {:?} after they came", LOOK * LOOKS_MAX).into())
}

/// Waits until memory is at most this, or comes down no more.
fn settle(server: &Process, wanted: u64) -> u64 {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let now = server.resident().unwrap_or(u64::MAX);
        if now <= wanted || Instant::now() > until {
            return now;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Silent, half-open and garbage-sending peers.
fn hostile(server: &Process, url: &str, home: &Path, seconds: f64) -> Result<Vec<Row>> {
    const NAME: &str = "2,000 hostile peers";
    let mut load = load(url, home)?;
    measure(&mut load, 1.0)?;
    let before = measure(&mut load, (seconds / 3.0).max(2.0))?;
    let resident = server.resident()?;
    let arguments = ["--count".into(), HOSTILE.to_string(), "--hostile".into()];
    let _crowd = Process::role("crowd", url, home, &arguments)?.ready()?;
    load.tell(&format!("measure {seconds}"))?;
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let most = server.resident_most(|| Instant::now() >= until)?;
    let during = figures(&mut load)?;
    let mut rows = others(NAME, url, &before, &during);
    let bound = resident + HOSTILE as u64 * (64 << 10);
    rows.push(row(
        NAME,
        url,
        "at most 64 KiB for each",
        format!("{} → {}", mebibytes(resident), mebibytes(most)),
        most <= bound,
    ));
    Ok(rows)
}
