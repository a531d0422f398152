//! The tables: what was found, and what was promised beside it.

use std::fmt::Write as _;
use std::time::Duration;

const MEBI: f64 = (1_u64 << 20) as f64;
const RESIDENT_MAX: f64 = 256.0;
const DISK_TIMES_MAX: f64 = 3.0;
/// While all is overwritten: what is overwritten is there until it is compacted.
const DISK_TIMES_BOUND: f64 = 8.0;
const OTHERS_MAX: Duration = Duration::from_millis(100);
const STORE_MAX: Duration = Duration::from_secs(3);

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) keys: u64,
    /// Bytes of all keys and values.
    pub(crate) data_bytes: u64,
    /// The first one fills the store, the others overwrite all of it.
    pub(crate) turns: Vec<Turn>,
    pub(crate) rest_resident: u64,
    pub(crate) rest_disk: u64,
    pub(crate) read_resident: u64,
    pub(crate) end_resident: u64,
    /// Keys per second.
    pub(crate) scan: f64,
    pub(crate) watch: f64,
    /// Changes per second.
    pub(crate) changes: f64,
    pub(crate) starts: Vec<Start>,
}

/// All keys written once.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    /// Per second.
    pub(crate) puts: f64,
    /// The most that was seen.
    pub(crate) resident: u64,
    pub(crate) disk: u64,
}

/// A start: how long until what, from the start of the process.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) what: &'static str,
    pub(crate) serving: Duration,
    pub(crate) others: Duration,
    pub(crate) store: Duration,
    pub(crate) read: Duration,
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBI
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// All tables.
pub(crate) fn render(tables: &Tables) -> String {
    let times = |disk: u64| disk as f64 / tables.data_bytes.max(1) as f64;
    let mut out = String::new();
    let _ = writeln!(out, "{} keys, {:.0} MB with their values.\n", tables.keys, tables.data_bytes as f64 / 1e6);
    let _ = writeln!(out, "## Writing all keys\n");
    let _ =
        writeln!(out, "| turn | puts/s | resident at most, MiB | on disk at most, times the data |\n|---|---|---|---|");
    for turn in &tables.turns {
        let what = if turn.number == 0 { "filling".to_owned() } else { format!("overwriting, {}", turn.number) };
        let _ =
            writeln!(out, "| {what} | {:.0} | {:.0} | {:.1} |", turn.puts, mebibytes(turn.resident), times(turn.disk));
    }
    let _ = writeln!(out, "\n## Reading\n\n| what | rate |\n|---|---|");
    let _ = writeln!(out, "| scan of all keys with their values | {:.0} keys/s |", tables.scan);
    let _ = writeln!(out, "| watch of a prefix, the snapshot | {:.0} keys/s |", tables.watch);
    let _ = writeln!(out, "| watch of a prefix, changes as they are written | {:.0} changes/s |", tables.changes);
    let _ = writeln!(out, "\n## Starting\n");
    let _ = writeln!(
        out,
        "| a start | says that it serves, ms | has answered over the session, ms | has answered a get, ms | a thousand keys read, ms |\n|---|---|---|---|---|"
    );
    for start in &tables.starts {
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} |",
            start.what,
            millis(start.serving),
            millis(start.others),
            millis(start.store),
            millis(start.read)
        );
    }
    let _ = writeln!(out, "\n## What was promised\n\n| promised | found | holds |\n|---|---|---|");
    for (promised, found, holds) in verdicts(tables) {
        let _ = writeln!(out, "| {promised} | {found} | {} |", if holds { "yes" } else { "**no**" });
    }
    out
}

fn verdicts(tables: &Tables) -> Vec<(String, String, bool)> {
    let rest = mebibytes(tables.rest_resident.max(tables.read_resident).max(tables.end_resident));
    let most = mebibytes(tables.turns.iter().map(|turn| turn.resident).max().unwrap_or(0));
    let data = tables.data_bytes.max(1) as f64;
    let disk = tables.rest_disk as f64 / data;
    let bound = tables.turns.iter().map(|turn| turn.disk).max().unwrap_or(0) as f64 / data;
    let others = tables.starts.iter().map(|start| start.others).max().unwrap_or_default();
    let ordinary = tables.starts.iter().filter(|start| !start.what.contains("without"));
    let store = ordinary.map(|start| start.store).max().unwrap_or_default();
    vec![
        (format!("resident at rest: at most {RESIDENT_MAX} MiB"), format!("{rest:.0} MiB"), rest <= RESIDENT_MAX),
        (
            format!("resident while all is written and overwritten: at most {RESIDENT_MAX} MiB"),
            format!("{most:.0} MiB"),
            most <= RESIDENT_MAX,
        ),
        (
            format!("on disk at rest: at most {DISK_TIMES_MAX} times the data"),
            format!("{disk:.1} times"),
            disk <= DISK_TIMES_MAX,
        ),
        (
            format!("on disk while all is overwritten: bounded, by {DISK_TIMES_BOUND} times the data"),
            format!("{bound:.1} times at most"),
            bound <= DISK_TIMES_BOUND,
        ),
        (
            format!("other services within {OTHERS_MAX:?} of the start"),
            format!("{:.0} ms", millis(others)),
            others <= OTHERS_MAX,
        ),
        (
            format!("the store within {STORE_MAX:?} of the start"),
            format!("{:.0} ms", millis(store)),
            store <= STORE_MAX,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_say_what_does_not_hold() {
        let start = |what, millis| Start {
            what,
            serving: Duration::from_millis(20),
            others: Duration::from_millis(40),
            store: Duration::from_millis(millis),
            read: Duration::from_millis(millis + 10),
        };
        let tables = Tables {
            keys: 1_000,
            data_bytes: 10 << 20,
            turns: vec![
                Turn { number: 0, puts: 50_000.0, resident: 100 << 20, disk: 25 << 20 },
                Turn { number: 1, puts: 40_000.0, resident: 300 << 20, disk: 60 << 20 },
            ],
            rest_resident: 90 << 20,
            rest_disk: 25 << 20,
            starts: vec![start("after a kill", 400), start("without its table, which is made again", 9_000)],
            ..Tables::default()
        };
        let page = render(&tables);
        for line in [
            "| filling | 50000 | 100 | 2.5 |",
            "| overwriting, 1 | 40000 | 300 | 6.0 |",
            "| after a kill | 20 | 40 | 400 | 410 |",
            "at most 256 MiB | 90 MiB | yes |",
            "overwritten: at most 256 MiB | 300 MiB | **no** |",
            "| 2.5 times | yes |",
            "| 6.0 times at most | yes |",
            "within 100ms of the start | 40 ms | yes |",
            "within 3s of the start | 400 ms | yes |",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }
}
