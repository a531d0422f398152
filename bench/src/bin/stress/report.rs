//! The table: what was promised, what was found, and whether that holds.

use std::fmt::Write as _;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) transport: String,
    pub(crate) promise: String,
    pub(crate) found: String,
    pub(crate) holds: bool,
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from("| scenario | transport | promised | found | holds |\n|---|---|---|---|---|");
    for Row { scenario, transport, promise, found, holds } in rows {
        let holds = if *holds { "yes" } else { "**no**" };
        let _ = write!(out, "\n| {scenario} | {transport} | {promise} | {found} | {holds} |");
    }
    out
}

/// With one digit after the point.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Microseconds as milliseconds.
pub(crate) fn milliseconds(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1e3)
}
