//! What was measured, as small Markdown tables, and beside what was promised.

use std::fmt::Write;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Events that were asked for; the disk may have had no room for them.
    pub(crate) asked: u64,
    pub(crate) sync_micros: f64,
    pub(crate) steps: Vec<Step>,
    pub(crate) spreads: Vec<Spread>,
}

/// The stream at one size.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) events: u64,
    /// Events that were appended on the way from the step before, and how long it took.
    pub(crate) appended: u64,
    pub(crate) append_micros: u64,
    /// How long it took to open it after each kill.
    pub(crate) open_killed_micros: Vec<u64>,
    pub(crate) open_closed_micros: u64,
    /// Events in the end, with those that were appended until the kills.
    pub(crate) stored: u64,
    pub(crate) replay_micros: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    /// Of all segments.
    pub(crate) index_bytes: u64,
    /// Of the process that has read everything.
    pub(crate) resident: u64,
    /// The same files read one after the other without looking at them, in bytes for each microsecond.
    pub(crate) disk_read_rate: f64,
    /// A file written one block after the other, each synced, in bytes for each microsecond.
    pub(crate) disk_write_rate: f64,
}

/// Appends over many streams.
#[derive(Debug)]
pub(crate) struct Spread {
    pub(crate) streams: usize,
    pub(crate) in_flight: usize,
    pub(crate) appended: u64,
    pub(crate) micros: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

/// How much of the first step's rate a later one must have, so that it counts as not decayed: what is below the noise of
/// one run. Where the disk itself gave less than the first step's rate at that time, of what it gave.
const RATE_KEPT_MIN: f64 = 0.75;
const OPEN_CLOSED_MAX: f64 = 1.0;
const OPEN_KILLED_MAX: f64 = 5.0;
const INDEX_BYTES_MAX: u64 = 64 << 20;

impl Step {
    fn append_rate(&self) -> f64 {
        self.appended as f64 / self.append_micros.max(1) as f64
    }

    fn replay_rate(&self) -> f64 {
        self.stored as f64 / self.replay_micros.max(1) as f64
    }

    /// As many events as the disk itself read at that time, in millions for each second.
    fn disk_reads(&self) -> f64 {
        self.disk_read_rate / self.event_bytes()
    }

    /// As many events as the disk itself wrote at that time, in millions for each second.
    fn disk_writes(&self) -> f64 {
        self.disk_write_rate / self.event_bytes()
    }

    fn event_bytes(&self) -> f64 {
        self.bytes as f64 / self.stored.max(1) as f64
    }

    fn open_killed(&self) -> f64 {
        seconds(self.open_killed_micros.iter().max().copied().unwrap_or(0))
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// All tables.
pub(crate) fn render(tables: &Tables) -> String {
    let mut out = String::new();
    let kills = tables.steps.iter().map(|step| step.open_killed_micros.len()).max().unwrap_or(0);
    let _ = writeln!(out, "## One stream\n");
    let _ = writeln!(
        out,
        "| events | on disk, GB | segments | append, M/s | the disk itself, M/s | replay, M/s | the disk itself, M/s | open after \
         a close, ms | open after a kill, ms (worst of {kills}) | indexes, MiB | resident after reading all, MiB |"
    );
    let _ = writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|");
    for step in &tables.steps {
        let _ = writeln!(
            out,
            "| {} M | {:.2} | {} | {:.2} | {:.1} | {:.2} | {:.1} | {:.0} | {:.0} | {:.2} | {:.0} |",
            step.events as f64 / 1e6,
            step.bytes as f64 / 1e9,
            step.segments,
            step.append_rate(),
            step.disk_writes(),
            step.replay_rate(),
            step.disk_reads(),
            seconds(step.open_closed_micros) * 1e3,
            step.open_killed() * 1e3,
            mebibytes(step.index_bytes),
            mebibytes(step.resident)
        );
    }
    if let Some(last) = tables.steps.last()
        && last.events < tables.asked
    {
        let _ = writeln!(out, "\n{} M events were asked for; there was no room for more.", tables.asked as f64 / 1e6);
    }
    let _ = writeln!(out, "\n## What was promised\n\n| promised | found | holds |\n|---|---|---|");
    for (promised, found, holds) in verdicts(tables) {
        let _ = writeln!(out, "| {promised} | {found} | {} |", if holds { "yes" } else { "**no**" });
    }
    let _ = writeln!(out, "\n## Over many streams\n");
    let _ = writeln!(out, "| streams | appends on their way | events/s | p50, ms | p99, ms |\n|---|---|---|---|---|");
    for spread in &tables.spreads {
        let _ = writeln!(
            out,
            "| {} | {} | {:.0} | {:.2} | {:.2} |",
            spread.streams,
            spread.in_flight,
            spread.appended as f64 / seconds(spread.micros.max(1)),
            spread.p50 as f64 / 1e3,
            spread.p99 as f64 / 1e3
        );
    }
    let _ =
        writeln!(out, "\nA write of 4 KiB and its `fdatasync` take {:.0} µs (p50) on this disk.", tables.sync_micros);
    out
}

/// What was promised, what was found, and whether it holds.
fn verdicts(tables: &Tables) -> Vec<(String, String, bool)> {
    let most = |of: fn(&Step) -> f64| tables.steps.iter().map(of).fold(0.0, f64::max);
    let decay = |what: &str, rate: fn(&Step) -> f64, disk: fn(&Step) -> f64| {
        let first = tables.steps.first().map_or(0.0, rate);
        let share = |step: &Step| rate(step) / first.min(disk(step));
        let least = tables.steps.iter().min_by(|left, right| share(left).total_cmp(&share(right)));
        let (least, share) = least.map_or((0.0, 0.0), |step| (rate(step), share(step)));
        let promised = format!(
            "{what} does not decay: at each step at least {RATE_KEPT_MIN} of the first step's rate, or of the disk's own \
             where that is less"
        );
        (promised, format!("{first:.2} M/s first; least {share:.2}, at {least:.2} M/s"), share >= RATE_KEPT_MIN)
    };
    let (closed, killed) = (most(|step| seconds(step.open_closed_micros)), most(Step::open_killed));
    let index = tables.steps.iter().map(|step| step.index_bytes).max().unwrap_or(0);
    vec![
        decay("append", Step::append_rate, Step::disk_writes),
        decay("replay", Step::replay_rate, Step::disk_reads),
        (
            format!("open after a close takes at most {OPEN_CLOSED_MAX} s"),
            format!("{closed:.3} s"),
            closed <= OPEN_CLOSED_MAX,
        ),
        (
            format!("open after a kill takes at most {OPEN_KILLED_MAX} s"),
            format!("{killed:.3} s"),
            killed <= OPEN_KILLED_MAX,
        ),
        (
            format!("indexes take at most {:.0} MiB of memory", mebibytes(INDEX_BYTES_MAX)),
            format!("{:.2} MiB", mebibytes(index)),
            index <= INDEX_BYTES_MAX,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(events: u64, rate: u64, killed: u64) -> Step {
        Step {
            events,
            appended: events,
            append_micros: events / rate,
            open_killed_micros: vec![10, killed],
            open_closed_micros: 2_000,
            stored: events,
            replay_micros: events / 10,
            bytes: events * 146,
            segments: 2,
            index_bytes: 1 << 20,
            resident: 30 << 20,
            disk_read_rate: 1_460.0,
            disk_write_rate: 438.0,
        }
    }

    #[test]
    fn a_table_has_its_steps_and_says_what_does_not_hold() {
        let steps = vec![step(1_000_000, 4, 3_000), step(2_000_000, 2, 6_000_000)];
        let spread = Spread { streams: 16, in_flight: 256, appended: 10_000, micros: 2_000_000, p50: 250, p99: 1_250 };
        let tables = Tables { asked: 5_000_000, sync_micros: 180.0, steps, spreads: vec![spread] };
        let page = render(&tables);
        for line in [
            "| 1 M | 0.15 | 2 | 4.00 | 3.0 | 10.00 | 10.0 | 2 | 3 | 1.00 | 30 |",
            "| 2 M | 0.29 | 2 | 2.00 | 3.0 | 10.00 | 10.0 | 2 | 6000 | 1.00 | 30 |",
            "5 M events were asked for; there was no room for more.",
            "where that is less | 4.00 M/s first; least 0.67, at 2.00 M/s | **no** |",
            "where that is less | 10.00 M/s first; least 1.00, at 10.00 M/s | yes |",
            "| open after a close takes at most 1 s | 0.002 s | yes |",
            "| open after a kill takes at most 5 s | 6.000 s | **no** |",
            "| indexes take at most 64 MiB of memory | 1.00 MiB | yes |",
            "| 16 | 256 | 5000 | 0.25 | 1.25 |",
            "take 180 µs (p50)",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }
}
