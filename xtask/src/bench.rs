//! `cargo xtask bench transports`: each transport through the session beside the bare libraries, in one run, as a table.
//! The comparison with other systems, `bench peers`, is in `peers.rs`, the event log's growth, `bench log`, in `growth.rs`,
//! a store's size, `bench store`, in `store_size.rs`, tasks that wait, `bench tasks`, in `backlog.rs`.
//!
//! Criterion measures and keeps its figures under `target/criterion`; this chore starts it and reads them back. The
//! machine is shared with whatever else runs, so ratios within one run count, not absolute figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::Result;
use crate::metadata::{self, Metadata};
use crate::{backlog, growth, peers, store_size};

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Throughput and round trip for each transport, preset and payload size, plain TCP, quinn and raw libzmq beside them
    Transports {
        /// Only the lines whose name contains this
        filter: Option<String>,
    },
    /// Sinew beside NATS, zenoh, raw libzmq and Redis, clients apart from servers; writes docs/BENCHMARKS.md
    Peers(peers::Options),
    /// One stream of the event log as it grows to 50 M events, and appends over many streams; writes docs/LOG-GROWTH.md
    Log(growth::Options),
    /// A million keys of the key-value store in a real server: memory, disk, starts; writes docs/STORE-SIZE.md
    Store(store_size::Options),
    /// Up to 100,000 waiting tasks in a real server: memory, disk, rates, the latency of an urgent one; writes
    /// docs/TASK-BACKLOG.md
    Tasks(backlog::Options),
    /// Slow subscribers, idle connections under overload, and hostile peers, against a real server; what was promised
    /// beside what was found
    Stress {
        /// How long each disturbance lasts
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// More for the program: `--transport zmq`, `--only slow`
        #[arg(last = true)]
        more: Vec<String>,
    },
}

/// Criterion's name of a measurement.
#[derive(Deserialize)]
struct Name {
    group_id: String,
    function_id: String,
}

/// Criterion's figures of a measurement, in nanoseconds for one record or round trip.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// Figures by line and column.
type Table = BTreeMap<String, BTreeMap<String, Estimate>>;

/// Runs the comparison and prints its tables.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    match &options.what {
        What::Transports { filter } => transports(shell, filter.as_deref()),
        What::Peers(options) => peers::run(shell, options),
        What::Log(options) => growth::run(shell, options),
        What::Store(options) => store_size::run(shell, options),
        What::Tasks(options) => backlog::run(shell, options),
        What::Stress { seconds, more } => stress(shell, *seconds, more),
    }
}

fn transports(shell: &Shell, filter: Option<&str>) -> Result<()> {
    let start = SystemTime::now();
    cmd!(shell, "cargo bench -p sinew-bench --bench transports -- --noplot {filter...}").run()?;
    let table = read(&Metadata::own(&metadata::root())?.target.join("criterion"), start)?;
    if table.is_empty() {
        return Err("no line of the comparison has this name; leave the filter out to run them all".into());
    }
    println!("\n{}\n{}", machine(shell)?, render(&table));
    Ok(())
}

/// The server as users run it and the clients apart from it, both built for release.
fn stress(shell: &Shell, seconds: u32, more: &[String]) -> Result<()> {
    cmd!(shell, "cargo build --release --bin sinew").run()?;
    cmd!(shell, "cargo build --release -p sinew-bench --bin stress").run()?;
    let folder = Metadata::own(&metadata::root())?.target.join("release");
    let (stress, sinew, seconds) = (folder.join("stress"), folder.join("sinew"), seconds.to_string());
    println!("{}", machine(shell)?);
    cmd!(shell, "{stress} all --sinew {sinew} --seconds {seconds} {more...}").run()?;
    Ok(())
}

/// Reads what criterion has written since `start`.
fn read(folder: &Path, start: SystemTime) -> Result<Table> {
    let mut table = Table::new();
    for group in std::fs::read_dir(folder)? {
        let group = group?.path();
        if !group.is_dir() {
            continue;
        }
        for line in std::fs::read_dir(&group)? {
            let new = line?.path().join("new");
            let estimates = new.join("estimates.json");
            let fresh = std::fs::metadata(&estimates).and_then(|meta| meta.modified()).is_ok_and(|at| at >= start);
            if fresh {
                let name: Name = serde_json::from_slice(&std::fs::read(new.join("benchmark.json"))?)?;
                let estimates: Estimates = serde_json::from_slice(&std::fs::read(estimates)?)?;
                table.entry(name.function_id).or_default().insert(name.group_id, estimates.median);
            }
        }
    }
    Ok(table)
}

fn render(table: &Table) -> String {
    let mut columns: Vec<&String> = table.values().flat_map(BTreeMap::keys).collect();
    columns.sort_by_key(|column| (column.starts_with("round"), column.len(), (*column).clone()));
    columns.dedup();
    let mut out = String::from("| median (95 % interval) |");
    columns.iter().for_each(|column| {
        let unit = if column.starts_with("round") { "µs" } else { "M/s" };
        let _ = write!(out, " {column} B, {unit} |");
    });
    out.push_str("\n|---|");
    columns.iter().for_each(|_| out.push_str("---|"));
    for (line, figures) in table {
        let _ = write!(out, "\n| {line} |");
        for column in &columns {
            let figure = figures.get(*column).map_or_else(String::new, |estimate| cell(column, estimate));
            let _ = write!(out, " {figure} |");
        }
    }
    out
}

/// Records a second where many are on their way, microseconds where one is.
fn cell(column: &str, estimate: &Estimate) -> String {
    let Interval { lower_bound: lower, upper_bound: upper } = estimate.confidence_interval;
    let middle = estimate.point_estimate;
    if column.starts_with("round") {
        format!("{:.0} ({:.0} to {:.0})", middle / 1e3, lower / 1e3, upper / 1e3)
    } else {
        format!("{:.3} ({:.3} to {:.3})", 1e3 / middle, 1e3 / upper, 1e3 / lower)
    }
}

/// What it was measured on, and how busy that was.
pub(crate) fn machine(shell: &Shell) -> Result<String> {
    let commit = cmd!(shell, "git rev-parse --short HEAD").quiet().read()?;
    let rustc = cmd!(shell, "rustc --version").quiet().read()?;
    let cores = std::thread::available_parallelism()?;
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    Ok(format!(
        "Commit {commit}, {rustc}, {cores} cores,{}; load at the end {load}.\n",
        model.trim_start_matches(['\t', ' ', ':'])
    ))
}
