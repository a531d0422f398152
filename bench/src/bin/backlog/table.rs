//! The tables: what was found, and what was promised beside it.

use std::fmt::Write as _;
use std::time::Duration;

use sinew::Level;

/// Bytes of memory that a waiting task takes at most, beside its payload.
const RESIDENT_MAX: f64 = 1_024.0;
/// How much of the first step's rate a later one must have, so that it counts as not decayed: what is below the noise of one
/// run. What takes time may take as much more.
const RATE_KEPT_MIN: f64 = 0.75;

/// So many tasks that wait in a queue of this level.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) level: Level,
    pub(crate) waiting: u64,
    pub(crate) rounds: Vec<Round>,
}

/// What was found in one server.
#[derive(Debug)]
pub(crate) struct Round {
    /// Per second: the last thousand, and all.
    pub(crate) submitted: f64,
    pub(crate) submitted_all: f64,
    /// Bytes of memory for each waiting task beside its payload.
    pub(crate) resident: f64,
    /// Bytes on disk for each waiting task.
    pub(crate) disk: f64,
    /// Of each urgent task, from submitting it until it is begun.
    pub(crate) urgent: Vec<Duration>,
    /// Per second.
    pub(crate) drained: f64,
}

impl Step {
    /// The median of all rounds.
    fn median(&self, of: fn(&Round) -> f64) -> f64 {
        middle(self.rounds.iter().map(of).collect())
    }

    /// Milliseconds of which this share of all urgent tasks took at most as many.
    fn urgent(&self, share: f64) -> f64 {
        let mut all: Vec<_> = self.rounds.iter().flat_map(|round| &round.urgent).copied().collect();
        all.sort_unstable();
        let at = (all.len().saturating_sub(1) as f64 * share).round() as usize;
        all.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn name(level: Level) -> &'static str {
    if level == Level::Memory { "in memory" } else { "on disk" }
}

/// All tables.
pub(crate) fn render(steps: &[Step]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "| queue | tasks that wait | submit, the last 1,000, tasks/s | all of them, tasks/s | memory for each beside its \
         payload, bytes | on disk for each, bytes | an urgent task is begun, p50, ms | p99, ms | working off, tasks/s |"
    );
    let _ = writeln!(out, "|---|---|---|---|---|---|---|---|---|");
    for step in steps {
        let disk = if step.level == Level::Memory { "-".into() } else { format!("{:.0}", step.median(|of| of.disk)) };
        let _ = writeln!(
            out,
            "| {} | {} | {:.0} | {:.0} | {:.0} | {disk} | {:.2} | {:.2} | {:.0} |",
            name(step.level),
            step.waiting,
            step.median(|of| of.submitted),
            step.median(|of| of.submitted_all),
            step.median(|of| of.resident),
            step.urgent(0.5),
            step.urgent(0.99),
            step.median(|of| of.drained),
        );
    }
    let _ = writeln!(out, "\n## What was promised\n\n| queue | promised | found | |\n|---|---|---|---|");
    for level in [Level::Memory, Level::Fsynced] {
        let steps: Vec<_> = steps.iter().filter(|step| step.level == level).collect();
        for (promised, found, holds) in verdicts(&steps) {
            let verdict = if holds { "holds" } else { "**missed**" };
            let _ = writeln!(out, "| {} | {promised} | {found} | {verdict} |", name(level));
        }
    }
    out
}

/// What was promised, what was found, and whether it holds.
fn verdicts(steps: &[&Step]) -> Vec<(String, String, bool)> {
    let most = steps.iter().map(|step| (step.median(|of| of.resident), step.waiting));
    let most = most.max_by(|left, right| left.0.total_cmp(&right.0)).unwrap_or_default();
    let kept = |what: &str, unit: &str, rate: &dyn Fn(&Step) -> f64| {
        let first = steps.first().map_or(0.0, |step| rate(step));
        let least = steps.iter().map(|step| (rate(step), step.waiting));
        let (least, waiting) = least.min_by(|left, right| left.0.total_cmp(&right.0)).unwrap_or_default();
        let share = least / first;
        let promised = format!("{what}: at each step at least {RATE_KEPT_MIN} of the first step's rate");
        let found = format!("{first:.0} {unit} first; least {share:.2}, at {waiting} tasks");
        (promised, found, share >= RATE_KEPT_MIN)
    };
    vec![
        (
            format!("a waiting task takes at most {RESIDENT_MAX:.0} bytes of memory beside its payload"),
            format!("{:.0} bytes at most, at {} tasks", most.0, most.1),
            most.0 <= RESIDENT_MAX,
        ),
        kept("submitting does not decay", "tasks/s", &|step| step.median(|of| of.submitted)),
        kept("handing out an urgent task does not decay, p50", "in a second", &|step| 1e3 / step.urgent(0.5)),
        kept("working off does not decay", "tasks/s", &|step| step.median(|of| of.drained)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(submitted: f64, resident: f64, urgent: u64) -> Round {
        Round {
            submitted,
            submitted_all: submitted / 2.0,
            resident,
            disk: 250.0,
            urgent: vec![Duration::from_millis(urgent); 100],
            drained: 9_000.0,
        }
    }

    #[test]
    fn tables_say_what_was_missed() {
        let step = |level, waiting, rounds| Step { level, waiting, rounds };
        let few = vec![round(20_000.0, 600.0, 1), round(10_000.0, 700.0, 1), round(30_000.0, 2_000.0, 1)];
        let steps = [
            step(Level::Memory, 1_000, few),
            step(Level::Memory, 100_000, vec![round(16_000.0, 1_100.0, 2)]),
            step(Level::Fsynced, 1_000, vec![round(8_000.0, 1_000.0, 4)]),
            step(Level::Fsynced, 100_000, vec![round(5_000.0, 900.0, 5)]),
        ];
        let page = render(&steps);
        for line in [
            "| in memory | 1000 | 20000 | 10000 | 700 | - | 1.00 | 1.00 | 9000 |",
            "| on disk | 100000 | 5000 | 2500 | 900 | 250 | 5.00 | 5.00 | 9000 |",
            "| 1100 bytes at most, at 100000 tasks | **missed** |",
            "| 20000 tasks/s first; least 0.80, at 100000 tasks | holds |",
            "| 1000 in a second first; least 0.50, at 100000 tasks | **missed** |",
            "| 1000 bytes at most, at 1000 tasks | holds |",
            "| 8000 tasks/s first; least 0.62, at 100000 tasks | **missed** |",
            "| 250 in a second first; least 0.80, at 100000 tasks | holds |",
            "| 9000 tasks/s first; least 1.00",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }
}
