//! The whole comparison: what is run, in which order, and where the results go.
//!
//! Interleaved: each round goes through every workload, and each workload through every system, so that a busy minute of
//! the machine hits all alike. Each measurement has a fresh server, and clients in a process apart from it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::measure::{Figures, Order};
use crate::results::{Results, Run};
use crate::server::{Programs, Server};
use crate::system::{self, System};
use crate::workload::{self, Workload};
use crate::{Outcome, page};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Only systems whose name begins with this; may be given more than once
    #[arg(long, value_name = "NAME")]
    system: Vec<String>,
    /// Only workloads whose name begins with this; may be given more than once
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Measured time of each run
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    seconds: f64,
    /// Rounds, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Does everything work? One round of 0.3 s each; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Leave a missing peer out instead of installing it
    #[arg(long)]
    no_install: bool,
    /// Print the systems and the workloads
    #[arg(long)]
    list: bool,
    /// Write the page even though this is not the whole comparison
    #[arg(long)]
    write: bool,
    /// Make the page again from these results, or from the last ones; of workloads that several have, the last counts
    #[arg(long, value_name = "FILE", num_args = 0..)]
    render: Option<Vec<PathBuf>>,
    /// The workspace
    #[arg(long, hide = true)]
    root: PathBuf,
    /// Where results and installed peers are kept
    #[arg(long, hide = true)]
    kept: PathBuf,
    /// Our own program
    #[arg(long, hide = true)]
    sinew: PathBuf,
}

/// Not measured before each run.
const WARM_SECONDS: f64 = 0.3;
/// What a run costs beside its own time, roughly: processes that start, connect, drain and end.
const EDGE_SECONDS: f64 = 0.35;
/// What a client may take beyond its own time before it is killed.
const CLIENT_EXTRA: Duration = Duration::from_secs(90);

/// Runs it.
pub(crate) fn run(options: &Options) -> Outcome {
    if options.list {
        system::ALL.iter().for_each(|system| println!("system    {:<24} {}", system.name, system.title));
        workload::ALL.iter().for_each(|(name, title, _)| println!("workload  {name:<24} {title}"));
        return Ok(());
    }
    let last = options.kept.join("results/last.json");
    if let Some(paths) = &options.render {
        let (first, later) = paths.split_first().unwrap_or((&last, &[]));
        let mut results = Results::read(first)?;
        for path in later {
            results.added.push(Results::read(path)?);
        }
        return page::write(&results, &options.root);
    }
    let results = compare(options)?;
    results.write(&last)?;
    let kept = options.kept.join(format!("results/{}.json", stamp(&results)));
    results.write(&kept)?;
    println!("\n{}", page::tables(&results));
    println!("results: {}", kept.display());
    if options.is_whole() || options.write {
        page::write(&results, &options.root)?;
    } else {
        println!(
            "docs/BENCHMARKS.md is left as it is: this was not the whole comparison (--write writes it all the same)"
        );
    }
    match results.failures().len() {
        0 => Ok(()),
        count => Err(format!("{count} runs failed, listed above").into()),
    }
}

fn compare(options: &Options) -> Outcome<Results> {
    let (systems, workloads) = (options.systems()?, options.workloads()?);
    let programs = Programs::find(&systems, &options.sinew, &options.kept.join("tools"), !options.no_install);
    let mut results = Results {
        machine: Machine::look(&options.root),
        command: command(),
        rounds: options.rounds(),
        seconds: options.seconds(),
        warm_seconds: WARM_SECONDS,
        versions: Vec::new(),
        skipped: Vec::new(),
        runs: Vec::new(),
        added: Vec::new(),
    };
    let mut present = Vec::new();
    for system in systems {
        match programs.version(system) {
            Ok(version) => {
                results.versions.push((system.name.to_owned(), version.to_owned()));
                present.push(system);
            }
            Err(reason) => {
                println!("skipped: {}: {reason}", system.title);
                results.skipped.push((system.name.to_owned(), reason.to_owned()));
            }
        }
    }
    let plan = plan(&present, &workloads, options.rounds());
    let took = plan.len() as f64 * (options.seconds() + WARM_SECONDS + EDGE_SECONDS);
    println!("{} runs, about {:.0} minutes", plan.len(), (took / 60.0).ceil());
    let began = Instant::now();
    for (index, (round, workload, system)) in plan.iter().enumerate() {
        let run = measure(*system, *workload, *round, &programs, options);
        println!("{}", line(index, plan.len(), began, &run));
        results.runs.push(run);
    }
    results.machine.end();
    Ok(results)
}

/// Every run, in order.
fn plan(systems: &[System], workloads: &[Workload], rounds: u32) -> Vec<(u32, Workload, System)> {
    let mut plan = Vec::new();
    for round in 0..rounds {
        for workload in workloads {
            let fits = systems.iter().filter(|system| system.does(*workload));
            plan.extend(fits.map(|system| (round, *workload, *system)));
        }
    }
    plan
}

fn measure(system: System, workload: Workload, round: u32, programs: &Programs, options: &Options) -> Run {
    let mut memory = Default::default();
    let outcome = measured(system, workload, programs, options, &mut memory).map_err(|error| error.to_string());
    Run { system: system.name.to_owned(), workload, round, memory, outcome }
}

fn measured(
    system: System,
    workload: Workload,
    programs: &Programs,
    options: &Options,
    memory: &mut (crate::process::Memory, crate::process::Memory),
) -> Outcome<Figures> {
    let server = Server::start(system, programs)?;
    memory.0 = server.memory()?;
    let (place, seconds) = (server.place.clone(), options.seconds());
    let order = Order { place, server: server.id(), workload, seconds, warm_seconds: WARM_SECONDS };
    let figures = client(system, &order)?;
    memory.1 = server.memory()?;
    server.stop()?;
    Ok(figures)
}

/// The client in a process apart.
fn client(system: System, order: &Order) -> Outcome<Figures> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["client", system.name, &serde_json::to_string(order)?])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs_f64(order.seconds + order.warm_seconds) + CLIENT_EXTRA;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err("the client did not end and was killed".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(complaint.trim().trim_start_matches("peers: ").replace('\n', "; ").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn line(index: usize, count: usize, began: Instant, run: &Run) -> String {
    let value = match &run.outcome {
        Ok(figures) => match figures.latency {
            Some(latency) => format!("{:.0} µs p50, {:.0} µs p99", latency.p50, latency.p99),
            None => format!("{:.0} messages/s", figures.messages as f64 / figures.seconds),
        },
        Err(error) => format!("FAILED: {error}"),
    };
    let seconds = began.elapsed().as_secs();
    format!("{:>4} s  [{}/{count}] {:<10} {:<24} {value}", seconds, index + 1, run.workload.name(), run.system)
}

/// What the person typed, as far as it says what was measured.
fn command() -> String {
    let mut words = std::env::args().skip(2).collect::<Vec<_>>();
    for hidden in ["--root", "--kept", "--sinew"] {
        if let Some(at) = words.iter().position(|word| word == hidden) {
            words.drain(at..(at + 2).min(words.len()));
        }
    }
    let words: Vec<_> = std::iter::once("cargo xtask bench peers".to_owned()).chain(words).collect();
    words.join(" ")
}

/// A file name that sorts by time.
fn stamp(results: &Results) -> String {
    let text = format!("{}-{}", results.machine.date.trim_end_matches(" UTC"), results.machine.commit);
    text.replace([' ', ':', ','], "-")
}

impl Options {
    fn is_whole(&self) -> bool {
        !self.quick && self.system.is_empty() && self.workload.is_empty() && self.rounds >= 3
    }

    fn seconds(&self) -> f64 {
        if self.quick { 0.3 } else { self.seconds.clamp(0.1, 600.0) }
    }

    fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds.clamp(1, 100) }
    }

    fn systems(&self) -> Outcome<Vec<System>> {
        chosen("system", &self.system, system::ALL.iter().map(|system| (system.name, *system)))
    }

    fn workloads(&self) -> Outcome<Vec<Workload>> {
        chosen("workload", &self.workload, workload::ALL.iter().map(|(name, _, workload)| (*name, *workload)))
    }
}

/// Those whose name is a wanted one, or begins with it where none is exactly it; all where nothing is wanted.
fn chosen<T: Copy>(
    what: &str,
    wanted: &[String],
    all: impl Iterator<Item = (&'static str, T)> + Clone,
) -> Outcome<Vec<T>> {
    let fits = |wanted: &str, name: &str| {
        let exact = all.clone().any(|(name, _)| name == wanted);
        if exact { name == wanted } else { name.starts_with(wanted) }
    };
    if let Some(unknown) = wanted.iter().find(|wanted| !all.clone().any(|(name, _)| fits(wanted, name))) {
        let names: Vec<_> = all.clone().map(|(name, _)| name).collect();
        return Err(format!("no {what} `{unknown}`; there are {}", names.join(", ")).into());
    }
    let keep = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| fits(wanted, name));
    Ok(all.clone().filter(|(name, _)| keep(name)).map(|(_, one)| one).collect())
}

#[cfg(test)]
mod tests {
    use super::{chosen, plan};
    use crate::system;
    use crate::workload;

    #[test]
    fn rounds_are_interleaved_and_each_system_does_what_it_can() {
        let workloads = workload::ALL.map(|(_, _, workload)| workload);
        let plan = plan(&system::ALL, &workloads, 3);
        let able: Vec<_> =
            system::ALL.iter().filter(|system| system.does(workloads[0])).map(|system| system.name).collect();
        let first: Vec<_> = plan.iter().take(able.len()).map(|(_, _, system)| system.name).collect();
        assert_eq!(first, able);
        assert!(plan.iter().all(|(_, workload, system)| system.does(*workload)));
        assert_eq!(plan.iter().filter(|(round, ..)| *round == 2).count() * 3, plan.len());
    }

    #[test]
    fn a_name_chooses_itself_or_what_begins_with_it() {
        let all = [("nats", 1), ("nats-tls", 2), ("redis", 3)];
        let choose = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|text| (*text).to_owned()).collect();
            chosen("system", &wanted, all.into_iter())
        };
        assert_eq!(choose(&[]).unwrap(), [1, 2, 3]);
        assert_eq!(choose(&["nats"]).unwrap(), [1]);
        assert_eq!(choose(&["nat", "redis"]).unwrap(), [1, 2, 3]);
        assert_eq!(choose(&["kafka"]).unwrap_err().to_string(), "no system `kafka`; there are nats, nats-tls, redis");
    }
}
