//! `docs/BENCHMARKS.md`, made from results and from nothing else.

use std::fmt::Write as _;
use std::path::Path;

use crate::results::{Results, Spread, Summary};
use crate::system::System;
use crate::targets::{self, Verdict};
use crate::workload::{ALL, Unit, Workload};
use crate::{Outcome, chart};

/// Versions of the client libraries stand here.
const LOCK: &str = include_str!("../Cargo.lock");
const CLIENTS: [&str; 5] = ["async-nats", "zenoh", "zmq", "redis", "tonic"];

/// Writes the page and its chart below `root`.
pub(crate) fn write(results: &Results, root: &Path) -> Outcome {
    let (page, chart) = (root.join("docs/BENCHMARKS.md"), root.join("docs/benchmarks.svg"));
    std::fs::write(&page, render(results))?;
    std::fs::write(&chart, chart::render(results))?;
    println!("written: {} and {}", page.display(), chart.display());
    Ok(())
}

/// The whole page.
fn render(results: &Results) -> String {
    let Results { rounds, seconds, warm_seconds, command, machine, .. } = results;
    format!(
        "# Sinew beside others

Made by `{command}` on {date}, commit {commit}; nothing on this page is written by hand.
{added}
![Medians of each system and workload](benchmarks.svg)

## How it is measured

One machine, one run, interleaved: {rounds} rounds, each of which goes through every workload, and each workload through every system.
Each measurement has a fresh server in a process of its own and one client process apart from it; each side of it (a publisher, a subscriber, one who asks, one who answers) has a thread and a connection of its own there, and a current-thread runtime on that thread where its library wants one (zenoh's refuses that and gets one worker thread beside it).
Server and clients share the cores of the machine, so what a client costs counts too.
At most 8,192 messages or 8 MiB are outstanding, whichever is fewer, for all systems: published and not yet heard by the slowest subscriber.
Messages are counted at the subscribers, which check every number: a run in which a single one is lost, doubled or out of order fails.
{warm_seconds} s of warm-up, then {seconds} s are measured.
A figure is the median of the rounds, with the least and the greatest behind it.
Ping-pong is one message at a time from one client to another and back, so each round trip passes the server twice; request/reply has one client that asks and two that answer.
Differences below 20 % are noise on a machine that does anything else.

QUIC always encrypts; \"no keys\" means that nobody proves who he is.
The `lan` and `wan` presets are made for other networks than the loopback they are measured on here.
NATS, zenoh and Redis run with the configurations in `bench/peers/config`, which are their defaults but for ports and what the cap needs.
zenoh's router gives requests to one of those who answer as it chooses; Redis has no request/reply.

Appends are counted when they are acknowledged, and afterwards the stream is read from its start: a run in which an acknowledged event is lost or doubled fails.
Sinew acknowledges what is synced to disk; NATS JetStream and Redis are measured as they come (`sync_interval` two minutes, `appendfsync everysec`) and with `always`.
Batches are each system's own: atomic batch publish of NATS, `MULTI` of Redis; 16 of them are under way.
A replay reads 300,000 events from the start, over and over; when they were synced does not matter there.
Gets and puts go over 10,000 keys in turn; each value that is read is checked, and after putting every key is read once more.
etcd has one member and its defaults, and syncs before it acknowledges.
A task is submitted by one client, done by one of two workers with its own body as its result, and told to who submitted it; NATS and the raw proxy do it with request/reply, which is what they have for it.
A durable task is on disk before a worker has it, and its outcome before it is told; a durable submit is acknowledged from disk while nobody works, and afterwards every task is taken once.
Sinew does both with a queue of level `fsynced`; Redis with a stream and a consumer group, the result by a second stream, and `XACK`; NATS with a work-queue stream, the result by the client's inbox, which is not stored.
Celery stands there for context: its worker has two prefork children, its client is Python, and what is in flight is awaited in turn; Redis, its server here, stores nothing.
An `fdatasync` after a write of 4 KiB takes {sync} where the servers store.

The clients are those of each system: `async-nats`, `zenoh` (callbacks; `express` for ping-pong), the `redis` crate's blocking connection (pipelines of 128), blocking sockets of the `zmq` crate, and Sinew's own.
Sinew's subscribers ask for a window of 16 MiB, since a subscription's queue at the server is as large as the cap.

{tables}
## Machine

{processor}, {cores} cores, {memory:.0} GiB of memory, Linux {kernel}, {rustc}.
Load average {before} at the beginning, {after} at the end.

{versions}
## To repeat it

```
cargo xtask bench peers                               # everything, and writes this page
cargo xtask bench peers --quick                       # does everything work? about three minutes
cargo xtask bench peers --system sinew-zmq --system nats --workload 16B --seconds 5
cargo xtask bench peers --render                      # this page again from the last results
```

Peers are taken from PATH; a missing one is installed below `target/peers/tools` (Redis: by `apt-get`) with the command printed, and left out with `--no-install`.
Raw results are kept as JSON in `target/peers/results`.
",
        added = added(results),
        date = machine.date,
        commit = machine.commit,
        tables = tables(results),
        sync = sync(machine.sync_micros),
        processor = machine.processor,
        cores = machine.cores,
        memory = machine.memory_gib,
        kernel = machine.kernel,
        rustc = machine.rustc,
        before = machine.load.0,
        after = machine.load.1,
        versions = versions(results),
    )
}

/// Everything that has figures.
pub(crate) fn tables(results: &Results) -> String {
    let mut out = String::new();
    let of =
        |wanted: fn(Workload) -> bool| ALL.iter().map(|(_, _, workload)| *workload).filter(move |one| wanted(*one));
    target_table(&mut out, &targets::judge(results));
    let streams = of(|workload| matches!(workload, Workload::Stream { .. })).collect::<Vec<_>>();
    table(&mut out, "Publish and subscribe", "delivered to the subscribers", results, &streams, |summary, workload| {
        shown(summary.value, workload.unit())
    });
    for workload in of(|workload| workload.unit() == Unit::Microseconds) {
        times(&mut out, results, workload);
    }
    let many = of(|workload| workload.is_request() && workload.unit() != Unit::Microseconds).collect::<Vec<_>>();
    table(&mut out, "Request/reply, many in flight", "answers", results, &many, |summary, workload| {
        shown(summary.value, workload.unit())
    });
    let logs = of(|workload| workload.is_log() && workload.unit() != Unit::Microseconds).collect::<Vec<_>>();
    table(&mut out, "Event log", "events acknowledged, or read", results, &logs, |summary, workload| {
        shown(summary.value, workload.unit())
    });
    let stores = of(|workload| workload.is_store() && workload.unit() != Unit::Microseconds).collect::<Vec<_>>();
    table(
        &mut out,
        "Key-value store",
        "reads answered, or writes acknowledged",
        results,
        &stores,
        |summary, workload| shown(summary.value, workload.unit()),
    );
    let tasks =
        of(|workload| (workload.is_task() || workload.is_durable_task()) && workload.unit() != Unit::Microseconds);
    let tasks = tasks.collect::<Vec<_>>();
    table(&mut out, "Task queue", "tasks done, or submits acknowledged", results, &tasks, |summary, workload| {
        shown(summary.value, workload.unit())
    });
    let all = of(|_| true).collect::<Vec<_>>();
    let title = "Server processor time";
    table(
        &mut out,
        title,
        "seconds for a million messages, round trips, answers, events or tasks",
        results,
        &all,
        |summary, _| format!("{:.2}", summary.server_cpu.median),
    );
    memory(&mut out, results);
    results.apart().for_each(|apart| apart_table(&mut out, apart));
    left_out(&mut out, results);
    out
}

/// Where workloads come from that were measured again later.
fn added(results: &Results) -> String {
    let mut out = String::new();
    for later in &results.added {
        let Results { command, machine, rounds, seconds, .. } = later;
        let titles: Vec<_> = later.workloads().into_iter().map(Workload::title).collect();
        let _ = writeln!(
            out,
            "Made apart from it, by `{command}` on {}, commit {} ({rounds} rounds of {seconds} s, load {} to {}, `fdatasync` {}): {}.",
            machine.date,
            machine.commit,
            machine.load.0,
            machine.load.1,
            sync(machine.sync_micros),
            titles.join("; ")
        );
    }
    out
}

/// What was measured for longer.
fn apart_table(out: &mut String, apart: &Results) {
    let title = format!("Over {} s", apart.seconds);
    table(out, &title, "messages, answers, or writes acknowledged", apart, &apart.workloads(), |summary, workload| {
        let time = summary.p99.map_or(String::new(), |p99| format!("; p99 {:.1} ms", p99.median / 1e3));
        format!("{}{time}", shown(summary.value, workload.unit()))
    });
}

fn sync(micros: f64) -> String {
    if micros > 0.0 { format!("{micros:.0} µs (median)") } else { "an unknown time".into() }
}

fn target_table(out: &mut String, verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    out.push_str("## Targets\n\nOurs divided by theirs, medians; for a time less is better.\n\n");
    out.push_str("| workload | ours | theirs | wanted | ratio | verdict |\n|---|---|---|---|---|---|\n");
    for verdict in verdicts {
        let Verdict { title, ours, theirs, wanted, ratio, .. } = verdict;
        let ratio = if theirs.is_empty() { number(*ratio) } else { format!("{ratio:.2}") };
        let _ = writeln!(out, "| {title} | {ours} | {theirs} | {wanted} | {ratio} | {} |", verdict.text());
    }
    out.push('\n');
}

/// Systems down, workloads across.
fn table(
    out: &mut String,
    title: &str,
    what: &str,
    results: &Results,
    workloads: &[Workload],
    cell: impl Fn(&Summary, Workload) -> String,
) {
    let figure = |system: &System, workload: &Workload| {
        results.summary(system.name, *workload).map(|summary| cell(&summary, *workload))
    };
    let has = |workload: &Workload| results.systems().iter().any(|system| figure(system, workload).is_some());
    let workloads: Vec<_> = workloads.iter().filter(|workload| has(workload)).collect();
    if workloads.is_empty() {
        return;
    }
    let _ = write!(out, "## {title}\n\nIn {what}.\n\n| |");
    workloads.iter().for_each(|workload| {
        let _ = write!(out, " {} |", workload.title());
    });
    let _ = writeln!(out, "\n|---|{}", "---|".repeat(workloads.len()));
    for system in results.systems() {
        let cells: Vec<_> = workloads.iter().map(|workload| figure(&system, workload)).collect();
        if cells.iter().any(Option::is_some) {
            let cells: Vec<_> = cells.into_iter().map(Option::unwrap_or_default).collect();
            let _ = writeln!(out, "| {} | {} |", system.title, cells.join(" | "));
        }
    }
    out.push('\n');
}

/// One workload's times: quantiles across.
fn times(out: &mut String, results: &Results, workload: Workload) {
    let rows = results.systems().into_iter();
    let rows = rows.filter_map(|system| Some((system.title, results.summary(system.name, workload)?)));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "## {}\n\nIn µs.\n\n| | p50 | p99 | p99.9 | a second |\n|---|---|---|---|---|\n",
        capital(workload)
    );
    for (title, summary) in rows {
        let time = |spread: Option<Spread>| spread.map_or_else(String::new, |one| shown(one, Unit::Microseconds));
        let (p50, p99, p999) = (time(Some(summary.value)), time(summary.p99), time(summary.p999));
        let rate = number(summary.rate.median);
        let _ = writeln!(out, "| {title} | {p50} | {p99} | {p999} | {rate} |");
    }
    out.push('\n');
}

fn capital(workload: Workload) -> String {
    let mut letters = workload.title().chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn memory(out: &mut String, results: &Results) {
    let rows = results.systems().into_iter();
    let rows: Vec<_> = rows.filter_map(|system| Some((system.title, results.memory(system.name)?))).collect();
    if rows.is_empty() {
        return;
    }
    out.push_str("## Server memory\n\nResident, in MiB.\n\n| | idle | most, under any workload |\n|---|---|---|\n");
    for (title, (idle, most)) in rows {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let _ = writeln!(out, "| {title} | {:.1} | {:.1} |", mib(idle.median), mib(most as f64));
    }
    out.push('\n');
}

fn left_out(out: &mut String, results: &Results) {
    let skipped = results.skipped.iter().map(|(system, reason)| format!("- skipped: {system}: {reason}\n"));
    let failed = results.failures().into_iter().map(|text| format!("- failed: {text}\n"));
    let lines: String = skipped.chain(failed).collect();
    if !lines.is_empty() {
        let _ = writeln!(out, "## Left out\n\n{lines}");
    }
}

fn versions(results: &Results) -> String {
    let mut out = String::from("| server | version |\n|---|---|\n");
    for (system, version) in &results.versions {
        let _ = writeln!(out, "| {system} | {version} |");
    }
    out.push_str("\n| client library | version |\n|---|---|\n");
    for client in CLIENTS {
        let _ = writeln!(out, "| {client} | {} |", locked(LOCK, client).unwrap_or("unknown"));
    }
    out
}

/// The version of a package in a lock file.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let rest = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
    rest.split_once('"').map(|(version, _)| version)
}

fn shown(spread: Spread, unit: Unit) -> String {
    let Spread { median, least, greatest } = spread;
    match unit {
        Unit::MegabytesPerSecond => {
            format!("{} MB/s ({} to {})", number(median), number(least), number(greatest))
        }
        _ => format!("{} ({} to {})", number(median), number(least), number(greatest)),
    }
}

/// Three digits that matter.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value >= 999_500.0 => format!("{:.2} M", value / 1e6),
        value if value >= 99_950.0 => format!("{:.0} k", value / 1e3),
        value if value >= 9_995.0 => format!("{:.1} k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{locked, number, render, tables};
    use crate::results::tests::made_up;
    use crate::workload::ALL;

    #[test]
    fn numbers_have_three_digits_or_four() {
        let shown = [5_123_456.0, 999_600.0, 123_456.0, 12_345.0, 1_234.0, 99.94].map(number);
        assert_eq!(shown, ["5.12 M", "1.00 M", "123 k", "12.3 k", "1234", "99.9"]);
    }

    #[test]
    fn a_version_is_read_from_a_lock_file() {
        let lock =
            "[[package]]\nname = \"zmq\"\nversion = \"0.10.0\"\n\n[[package]]\nname = \"zmq-sys\"\nversion = \"1\"\n";
        assert_eq!(locked(lock, "zmq"), Some("0.10.0"));
        assert_eq!(locked(lock, "z"), None);
        super::CLIENTS.iter().for_each(|client| assert!(locked(super::LOCK, client).is_some(), "{client}"));
    }

    #[test]
    fn a_table_has_what_was_measured_and_nothing_else() {
        let text = tables(&made_up(ALL[0].2, &[("sinew-zmq", 6e6), ("nats", 1e6)]));
        let lines = [
            "| pub/sub 1 to 1, 16 B | sinew-zmq | nats | ≥ 5.0 | 6.00 | reached |",
            "| Sinew zmq | 6.00 M (6.00 M to 6.00 M) |",
            "| NATS | 1.00 M (1.00 M to 1.00 M) |",
            "| NATS | 0.50 |",
            "| NATS | 8.0 | 9.0 |",
        ];
        lines.iter().for_each(|line| assert!(text.contains(line), "`{line}` is not in\n{text}"));
        assert!(!text.contains("zenoh") && !text.contains("Ping-pong") && !text.contains("Left out"), "{text}");
    }

    #[test]
    fn times_are_shown_by_quantile_and_what_failed_is_told() {
        let mut results = made_up(ALL[6].2, &[("nats", 5_000.0), ("redis", 4_000.0)]);
        results.runs[1].outcome = Err("it rained".into());
        results.skipped.push(("zenoh".into(), "not there".into()));
        let text = render(&results);
        let lines = [
            "| NATS | 200 (200 to 200) | 400 (400 to 400) | 600 (600 to 600) | 5000 |",
            "- skipped: zenoh: not there",
            "- failed: redis, ping-pong, round 1: it rained",
            "commit abc",
        ];
        lines.iter().for_each(|line| assert!(text.contains(line), "`{line}` is not in\n{text}"));
        assert!(!text.contains("{"), "something was not filled in:\n{text}");
    }
}
