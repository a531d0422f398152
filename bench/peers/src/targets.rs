//! The targets for the bus, the log, the store and the task queue, and how near a run came to each.
//!
//! Where a target says "with security on" we compare our secured figure with the same system's plaintext figure where
//! the target is against NATS core, and with its TLS figure where the target says so: the harder reading of the two.

use crate::page::number;
use crate::results::Results;
use crate::workload::Workload;

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Figure {
    /// More is better.
    Rate,
    /// Less is better.
    P50,
    /// Less is better.
    P99,
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    workload: &'static str,
    figure: Figure,
    ours: &'static str,
    /// The best of these counts; where there is none, the factor is the rate itself.
    theirs: &'static [&'static str],
    /// Times theirs: at least for a rate, at most for a time.
    factor: f64,
}

/// A target against a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) workload: Workload,
    pub(crate) title: String,
    /// Our system.
    pub(crate) ours: &'static str,
    /// The one of theirs that counts.
    pub(crate) theirs: &'static str,
    /// Ours divided by theirs.
    pub(crate) ratio: f64,
    pub(crate) wanted: String,
    pub(crate) reached: bool,
    /// By which share of the target it was missed; 0 where it was reached.
    pub(crate) missed_by: f64,
}

const fn rate(workload: &'static str, ours: &'static str, theirs: &'static [&'static str], factor: f64) -> Target {
    Target { workload, figure: Figure::Rate, ours, theirs, factor }
}

const fn time(figure: Figure, ours: &'static str, theirs: &'static [&'static str], factor: f64) -> Target {
    Target { workload: "ping-pong", figure, ours, theirs, factor }
}

const PLAIN: &[&str] = &["nats"];
const TLS: &[&str] = &["nats-tls"];
const BEST_PLAIN: &[&str] = &["nats", "raw"];

/// All targets.
const TARGETS: &[Target] = &[
    rate("16B", "sinew-zmq", PLAIN, 5.0),
    rate("16B", "sinew-quic", PLAIN, 5.0),
    rate("16B", "sinew-zmq-secured", PLAIN, 3.0),
    rate("16B", "sinew-quic-secured", PLAIN, 3.0),
    rate("128B", "sinew-zmq", PLAIN, 3.0),
    rate("128B", "sinew-quic", PLAIN, 3.0),
    rate("128B", "sinew-zmq-secured", PLAIN, 2.0),
    rate("128B", "sinew-quic-secured", PLAIN, 2.0),
    rate("1KiB", "sinew-zmq", BEST_PLAIN, 1.0),
    rate("16KiB", "sinew-zmq", BEST_PLAIN, 1.0),
    rate("1MiB", "sinew-zmq", BEST_PLAIN, 1.0),
    rate("1KiB", "sinew-zmq-secured", TLS, 1.0),
    rate("16KiB", "sinew-zmq-secured", TLS, 1.0),
    rate("1MiB", "sinew-zmq-secured", TLS, 1.0),
    rate("1KiB", "sinew-quic-secured", TLS, 1.0),
    rate("16KiB", "sinew-quic-secured", TLS, 1.0),
    rate("1MiB", "sinew-quic-secured", TLS, 1.0),
    rate("fan-out", "sinew-zmq", PLAIN, 2.0),
    rate("fan-out", "sinew-quic", PLAIN, 2.0),
    rate("fan-out", "sinew-zmq-secured", TLS, 2.0),
    time(Figure::P50, "sinew-zmq", PLAIN, 1.0),
    time(Figure::P99, "sinew-zmq", PLAIN, 1.0),
    time(Figure::P50, "sinew-zmq-secured", TLS, 1.0),
    time(Figure::P99, "sinew-zmq-secured", TLS, 1.0),
    time(Figure::P50, "sinew-quic-secured", PLAIN, 1.4),
    rate("append-64", "sinew-zmq-secured", &["jetstream"], 1.5),
    rate("append-64", "sinew-quic-secured", &["jetstream"], 1.5),
    rate("append-64", "sinew-zmq-secured", &["redis-always"], 1.5),
    rate("append-64", "sinew-quic-secured", &["redis-always"], 1.5),
    rate("append-64", "sinew-zmq-secured", &["jetstream-always"], 25.0),
    rate("append-64", "sinew-quic-secured", &["jetstream-always"], 25.0),
    rate("batches", "sinew-zmq-secured", &[], 1e6),
    rate("batches", "sinew-quic-secured", &[], 1e6),
    rate("replay", "sinew-zmq-secured", &["jetstream"], 5.0),
    rate("replay", "sinew-quic-secured", &["jetstream"], 5.0),
    rate("get-64", "sinew-zmq-secured", &["jetstream"], 4.0),
    rate("get-64", "sinew-quic-secured", &["jetstream"], 4.0),
    rate("get-64", "sinew-quic-secured", &["redis-everysec"], 1.0),
    rate("put-64", "sinew-zmq-secured", &["redis-always"], 1.0),
    rate("put-64", "sinew-quic-secured", &["redis-always"], 1.0),
    rate("put-64", "sinew-zmq-secured", &["jetstream-always"], 10.0),
    rate("put-64", "sinew-quic-secured", &["jetstream-always"], 10.0),
    rate("task-64", "sinew-zmq", PLAIN, 3.0),
    rate("task-64", "sinew-quic", PLAIN, 3.0),
    rate("task-64", "sinew-zmq-secured", PLAIN, 3.0),
    rate("task-64", "sinew-quic-secured", PLAIN, 3.0),
    rate("task-64", "sinew-zmq", &["raw"], 1.0),
    rate("task-64", "sinew-quic", &["raw"], 1.0),
    rate("task-64", "sinew-zmq-secured", &["raw"], 1.0),
    rate("task-64", "sinew-quic-secured", &["raw"], 1.0),
    // Meant for a disk whose `fdatasync` takes at most 300 µs; the page says what it takes where this was measured.
    rate("durable-submit-64", "sinew-zmq-secured", &[], 50e3),
    rate("durable-submit-64", "sinew-quic-secured", &[], 50e3),
];

/// Every target for which the run has both sides.
pub(crate) fn judge(results: &Results) -> Vec<Verdict> {
    TARGETS.iter().filter_map(|target| target.judge(results)).collect()
}

impl Target {
    fn judge(&self, results: &Results) -> Option<Verdict> {
        let (_, title, workload) = *crate::workload::ALL.iter().find(|(name, ..)| *name == self.workload)?;
        let ours = self.figure(results, self.ours, workload)?;
        let theirs = self.theirs.iter().filter_map(|name| Some((*name, self.figure(results, name, workload)?)));
        let better = |left: &(&str, f64), right: &(&str, f64)| left.1.total_cmp(&right.1);
        let best = if self.more_is_better() { theirs.max_by(better) } else { theirs.min_by(better) };
        let (theirs, best) = if self.theirs.is_empty() { ("", 1.0) } else { best? };
        let ratio = ours / best;
        let share = if self.more_is_better() { ratio / self.factor } else { self.factor / ratio };
        Some(Verdict {
            workload,
            title: format!("{title}{}", self.figure.suffix()),
            ours: self.ours,
            theirs,
            ratio,
            wanted: self.wanted(),
            reached: share >= 1.0,
            missed_by: (1.0 - share).max(0.0),
        })
    }

    fn wanted(&self) -> String {
        let factor = if self.theirs.is_empty() { number(self.factor) } else { format!("{:.1}", self.factor) };
        format!("{} {factor}", if self.more_is_better() { "≥" } else { "≤" })
    }

    fn more_is_better(&self) -> bool {
        self.figure == Figure::Rate
    }

    fn figure(&self, results: &Results, system: &str, workload: Workload) -> Option<f64> {
        let summary = results.summary(system, workload)?;
        match self.figure {
            Figure::Rate => Some(summary.rate.median),
            Figure::P50 => Some(summary.value.median),
            Figure::P99 => Some(summary.p99?.median),
        }
    }
}

impl Figure {
    fn suffix(self) -> &'static str {
        match self {
            Self::Rate => "",
            Self::P50 => ", p50",
            Self::P99 => ", p99",
        }
    }
}

impl Verdict {
    /// In words.
    pub(crate) fn text(&self) -> String {
        if self.reached { "reached".into() } else { format!("missed by {:.0} %", self.missed_by * 100.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, judge};
    use crate::results::tests::made_up;
    use crate::system::System;
    use crate::workload::ALL;

    #[track_caller]
    fn check(workload: usize, rates: &[(&str, f64)], expected: &[(&str, &str, &str)]) {
        let verdicts = judge(&made_up(ALL[workload].2, rates));
        let found: Vec<_> = verdicts.iter().map(|one| (one.ours, one.theirs, one.text())).collect();
        let found: Vec<_> = found.iter().map(|(ours, theirs, text)| (*ours, *theirs, text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn more_is_better_for_a_rate() {
        check(0, &[("sinew-zmq", 5e6), ("nats", 1e6)], &[("sinew-zmq", "nats", "reached")]);
        check(0, &[("sinew-zmq", 4e6), ("nats", 1e6)], &[("sinew-zmq", "nats", "missed by 20 %")]);
    }

    #[test]
    fn less_is_better_for_a_time() {
        check(6, &[("sinew-quic-secured", 7e3), ("nats", 1e4)], &[("sinew-quic-secured", "nats", "missed by 2 %")]);
        let both = [("sinew-zmq", "nats", "reached"), ("sinew-zmq", "nats", "reached")];
        check(6, &[("sinew-zmq", 2e4), ("nats", 1e4)], &both);
    }

    #[test]
    fn the_best_of_theirs_counts_and_what_was_not_measured_is_not_judged() {
        check(2, &[("sinew-zmq", 5e5), ("nats", 4e5), ("raw", 6e5)], &[("sinew-zmq", "raw", "missed by 17 %")]);
        check(2, &[("sinew-zmq", 5e5)], &[]);
        check(2, &[("nats", 5e5)], &[]);
    }

    #[test]
    fn a_target_without_a_peer_is_a_rate() {
        let batches = ALL.iter().position(|(name, ..)| *name == "batches").unwrap();
        check(batches, &[("sinew-zmq-secured", 8e5)], &[("sinew-zmq-secured", "", "missed by 20 %")]);
    }

    #[test]
    fn every_target_names_what_there_is() {
        for target in TARGETS {
            assert!(ALL.iter().any(|(name, ..)| *name == target.workload), "{target:?}");
            target.theirs.iter().chain([&target.ours]).for_each(|name| assert!(System::named(name).is_ok()));
        }
    }
}
