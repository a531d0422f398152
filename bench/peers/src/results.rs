//! Raw results as they are kept, and what a reader compares: medians of the rounds with their spread.

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::machine::Machine;
use crate::measure::{Figures, Latency};
use crate::process::Memory;
use crate::system::System;
use crate::workload::{Unit, Workload};

/// Everything that a run has found; the page can be made from it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// What was typed.
    pub(crate) command: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) warm_seconds: f64,
    /// Version of each system's server and client, by system.
    pub(crate) versions: Vec<(String, String)>,
    /// Systems that were left out, and why.
    pub(crate) skipped: Vec<(String, String)>,
    pub(crate) runs: Vec<Run>,
    /// Runs of some workloads that were made later. Those that were measured for as long stand in the place of these here.
    #[serde(default)]
    pub(crate) added: Vec<Results>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) system: String,
    pub(crate) workload: Workload,
    pub(crate) round: u32,
    /// Of the server before anybody connected, and at the end.
    pub(crate) memory: (Memory, Memory),
    /// Figures, or why there are none.
    pub(crate) outcome: Result<Figures, String>,
}

/// The median of the rounds, and their least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

/// What all rounds of one system and workload say.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// In the workload's unit; for what is timed, the median time.
    pub(crate) value: Spread,
    pub(crate) p99: Option<Spread>,
    pub(crate) p999: Option<Spread>,
    /// Messages, round trips or answers a second.
    pub(crate) rate: Spread,
    /// Server processor seconds for a million of them.
    pub(crate) server_cpu: Spread,
}

impl Spread {
    /// Of at least one value.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, least: values[0], greatest: values[values.len() - 1] })
    }
}

impl Results {
    /// Reads what [`write`](Self::write) has written.
    pub(crate) fn read(path: &std::path::Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Keeps it at `path`.
    pub(crate) fn write(&self, path: &std::path::Path) -> Outcome {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)?)?)
    }

    /// Systems that have any result, in the order of the page.
    pub(crate) fn systems(&self) -> Vec<System> {
        let has = |system: &System| self.all_runs().any(|run| run.system == system.name);
        crate::system::ALL.into_iter().filter(has).collect()
    }

    /// Workloads that it was asked for itself, in the order of the page.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let workloads = crate::workload::ALL.into_iter().map(|(_, _, workload)| workload);
        workloads.filter(|workload| self.has(*workload)).collect()
    }

    /// Those that were measured for longer or shorter than these, and stand apart.
    pub(crate) fn apart(&self) -> impl Iterator<Item = &Results> {
        self.added.iter().filter(|added| added.seconds != self.seconds)
    }

    fn has(&self, workload: Workload) -> bool {
        self.runs.iter().any(|run| run.workload == workload)
    }

    /// Where the runs of a workload stand: all in one, so that what is compared was measured side by side.
    fn source(&self, workload: Workload) -> &Results {
        let later = self.added.iter().rev();
        let mut later = later.filter(|added| added.seconds == self.seconds && added.has(workload));
        later.next().unwrap_or(self)
    }

    fn all_runs(&self) -> impl Iterator<Item = &Run> {
        let here = self.runs.iter().filter(move |run| std::ptr::eq(self.source(run.workload), self));
        let later = self
            .added
            .iter()
            .flat_map(move |added| added.runs.iter().filter(move |run| std::ptr::eq(self.source(run.workload), added)));
        here.chain(later)
    }

    /// What all rounds say; `None` if there is none that succeeded.
    pub(crate) fn summary(&self, system: &str, workload: Workload) -> Option<Summary> {
        let figures: Vec<&Figures> = self.of(system, workload).filter_map(|run| run.outcome.as_ref().ok()).collect();
        let spread = |of: &dyn Fn(&Figures) -> f64| Spread::of(figures.iter().map(|figures| of(figures)));
        let timed = |of: fn(&Latency) -> f64| Spread::of(figures.iter().filter_map(|one| one.latency.as_ref()).map(of));
        Some(Summary {
            value: match workload.unit() {
                Unit::Microseconds => timed(|latency| latency.p50)?,
                Unit::MegabytesPerSecond => spread(&|one| rate(one) * workload.size() as f64 / 1e6)?,
                Unit::MessagesPerSecond => spread(&rate)?,
            },
            p99: timed(|latency| latency.p99),
            p999: timed(|latency| latency.p999),
            rate: spread(&rate)?,
            server_cpu: spread(&|one| one.server_cpu_seconds / one.messages as f64 * 1e6)?,
        })
    }

    /// Resident memory of a system's server: idle before anybody connected, and the most under any workload; bytes.
    pub(crate) fn memory(&self, system: &str) -> Option<(Spread, u64)> {
        let runs = || self.all_runs().filter(|run| run.system == system && run.outcome.is_ok());
        let idle = Spread::of(runs().map(|run| run.memory.0.now as f64))?;
        Some((idle, runs().map(|run| run.memory.1.peak).max()?))
    }

    /// What went wrong, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = self.all_runs().filter_map(|run| Some((run, run.outcome.as_ref().err()?)));
        let text = |(run, error): (&Run, &String)| {
            format!("{}, {}, round {}: {error}", run.system, run.workload.name(), run.round + 1)
        };
        failed.map(text).collect()
    }

    fn of(&self, system: &str, workload: Workload) -> impl Iterator<Item = &Run> {
        let runs = self.source(workload).runs.iter();
        runs.filter(move |run| run.system == system && run.workload == workload)
    }
}

fn rate(figures: &Figures) -> f64 {
    figures.messages as f64 / figures.seconds
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Results, Run, Spread};
    use crate::machine::Machine;
    use crate::measure::{Figures, Latency};
    use crate::process::Memory;
    use crate::workload::{self, Workload};

    /// One round of one workload for each `(system, messages a second)`; a time is its inverse, in microseconds.
    pub(crate) fn made_up(workload: Workload, rates: &[(&str, f64)]) -> Results {
        let machine = Machine {
            processor: "a processor".into(),
            cores: 2,
            memory_gib: 8.0,
            kernel: "6.1".into(),
            rustc: "rustc 1.95.0".into(),
            commit: "abc".into(),
            date: "2000-01-01 00:00 UTC".into(),
            load: ("0.1".into(), "0.2".into()),
            sync_micros: 200.0,
        };
        let memory = Memory { now: 8 << 20, peak: 9 << 20 };
        let run = |(system, rate): &(&str, f64)| Run {
            system: (*system).to_owned(),
            workload,
            round: 0,
            memory: (memory, memory),
            outcome: Ok(Figures {
                messages: (*rate * 2.0) as u64,
                seconds: 2.0,
                server_cpu_seconds: 1.0,
                client_cpu_seconds: 2.0,
                latency: (workload.unit() == workload::Unit::Microseconds).then(|| {
                    let took = 1e6 / rate;
                    Latency { p50: took, p99: took * 2.0, p999: took * 3.0, max: took * 4.0 }
                }),
            }),
        };
        Results {
            machine,
            command: "cargo xtask bench peers".into(),
            rounds: 1,
            seconds: 2.0,
            warm_seconds: 0.3,
            versions: vec![],
            skipped: vec![],
            runs: rates.iter().map(run).collect(),
            added: vec![],
        }
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, greatest: 3.0 }));
        assert_eq!(spread(&[4.0, 2.0]), Some(Spread { median: 3.0, least: 2.0, greatest: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_summary_is_in_the_unit_of_its_workload() {
        let [small, _, _, _, large, _, ping, ..] = workload::ALL.map(|(_, _, workload)| workload);
        let value =
            |workload, rate| made_up(workload, &[("nats", rate)]).summary("nats", workload).unwrap().value.median;
        assert_eq!(value(small, 1000.0), 1000.0);
        assert_eq!(value(large, 1000.0), 1048.576);
        assert_eq!(value(ping, 1000.0), 1000.0);
        let summary = made_up(small, &[("nats", 500_000.0)]).summary("nats", small).unwrap();
        assert_eq!(summary.server_cpu.median, 1.0);
        assert!(made_up(small, &[]).summary("nats", small).is_none());
    }

    #[test]
    fn what_is_added_stands_in_the_place_of_its_workloads() {
        let [small, larger, ..] = workload::ALL.map(|(_, _, workload)| workload);
        let mut results = made_up(small, &[("nats", 1000.0), ("zenoh", 1.0)]);
        results.runs.extend(made_up(larger, &[("nats", 10.0)]).runs);
        let long = Results { seconds: 600.0, ..made_up(small, &[("nats", 3.0)]) };
        results.added = vec![made_up(small, &[("nats", 2000.0), ("redis", 5.0)]), long];
        let rate = |system, workload| results.summary(system, workload).map(|summary| summary.rate.median);
        assert_eq!((rate("nats", small), rate("redis", small)), (Some(2000.0), Some(5.0)));
        assert_eq!((rate("nats", larger), rate("zenoh", small)), (Some(10.0), None), "all of one workload, or none");
        assert_eq!(results.systems().iter().map(|system| system.name).collect::<Vec<_>>(), ["nats", "redis"]);
        assert_eq!(results.apart().map(|apart| apart.workloads()).collect::<Vec<_>>(), [[small]]);
    }

    #[test]
    fn results_come_back_as_they_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/results.json");
        let mut results = made_up(workload::ALL[0].2, &[("nats", 1.0)]);
        results.runs[0].outcome = Err("it rained".into());
        results.write(&path).unwrap();
        let read = Results::read(&path).unwrap();
        assert_eq!(read.failures(), ["nats, 16B, round 1: it rained"]);
        assert_eq!((read.memory("nats"), read.systems().len()), (None, 1));
    }
}
