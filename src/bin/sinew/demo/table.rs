//! The report as a table for people.

use super::report::{Report, Row};
use super::steps::SIZES;

/// The whole text, with its last line feed.
pub(super) fn render(report: &Report) -> String {
    let head = [
        vec!["between two processes".to_owned(), "security".to_owned(), "ping-pong p50".to_owned(), "p99".to_owned()],
        SIZES.map(|size| format!("{size} B, msg/s")).to_vec(),
    ];
    let lines: Vec<Vec<String>> = std::iter::once(head.concat()).chain(report.rows.iter().map(cells)).collect();
    let widths: Vec<usize> = (0..lines[0].len()).map(|column| width(&lines, column)).collect();
    let mut text = String::from("\n");
    for (index, line) in lines.iter().enumerate() {
        text += &aligned(line, &widths);
        if index == 0 {
            text += &"-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
            text.push('\n');
        }
    }
    for row in &report.logs {
        let (appended, replayed) = (grouped(row.appended_per_second), grouped(row.replayed_per_second));
        text += &format!(
            "{}event log over {}: {appended} events/s of {} B, {} in flight, each on disk before it was acknowledged; \
             replay {replayed} events/s\n",
            if row.transport == report.logs[0].transport { "\n" } else { "" },
            row.transport,
            row.payload_bytes,
            row.in_flight,
        );
    }
    for row in &report.stores {
        let (put, got) = (grouped(row.put_per_second), grouped(row.got_per_second));
        text += &format!(
            "{}key-value store over {}: {put} puts/s of {} B, {} in flight, each on disk before it was acknowledged; a \
             watch told all {} in order; {got} gets/s\n",
            if row.transport == report.stores[0].transport { "\n" } else { "" },
            row.transport,
            row.value_bytes,
            row.in_flight,
            grouped(row.watched as f64),
        );
    }
    for row in &report.tasks {
        text += &format!(
            "{}tasks over {}: {} tasks/s of {} B by {} workers, {} in flight, each on disk before it was acknowledged, and \
             done once; a call, which is a task in memory, takes {:.0} µs (p50)\n",
            if row.transport == report.tasks[0].transport { "\n" } else { "" },
            row.transport,
            grouped(row.done_per_second),
            row.payload_bytes,
            row.workers,
            row.in_flight,
            row.call_p50_us,
        );
    }
    let total: u64 = report.rows.iter().flat_map(|row| &row.throughput).map(|throughput| throughput.messages).sum();
    let verdict = if report.failures.is_empty() { "nothing lost" } else { "not all went well" };
    text + &format!("\n{} messages, {verdict}; {:.0} seconds\n", grouped(total as f64), report.seconds)
}

fn cells(row: &Row) -> Vec<String> {
    let dash = || "-".to_owned();
    let mut cells = vec![row.transport.clone(), row.security.to_owned()];
    cells.push(row.ping_pong.map_or_else(dash, |ping_pong| format!("{:.0} µs", ping_pong.p50_us)));
    cells.push(row.ping_pong.map_or_else(dash, |ping_pong| format!("{:.0} µs", ping_pong.p99_us)));
    cells.extend(SIZES.map(|size| {
        let of_size = row.throughput.iter().find(|throughput| throughput.payload_bytes == size);
        of_size.map_or_else(dash, |throughput| grouped(throughput.messages_per_second))
    }));
    cells
}

fn width(lines: &[Vec<String>], column: usize) -> usize {
    lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
}

/// The first two columns to the left, figures to the right.
fn aligned(line: &[String], widths: &[usize]) -> String {
    let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, &width))| match column {
        0 | 1 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    });
    cells.collect::<Vec<_>>().join("  ") + "\n"
}

/// A number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::{PingPong, Throughput};
    use super::*;

    #[test]
    fn a_table() {
        let mut row = Row::new("zmq", "CURVE");
        row.ping_pong = Some(PingPong { rounds: 9, p50_us: 81.4, p99_us: 1_200.0 });
        row.throughput.push(Throughput { payload_bytes: 128, messages: 1_000, messages_per_second: 1_234_567.8 });
        let report = Report { rows: vec![row], seconds: 1.2, ..Report::default() };
        let text = render(&report);
        let figures: Vec<&str> =
            text.lines().nth(3).unwrap().split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
        assert_eq!(figures, ["zmq", "CURVE", "81 µs", "1200 µs", "-", "1,234,568", "-"]);
        assert!(text.ends_with("1,000 messages, nothing lost; 1 seconds\n"), "{text}");
    }

    #[test]
    fn thousands() {
        let texts = [0.0, 7.0, 999.0, 1_000.0, 123_456.0, 1_234_567.0].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1,000", "123,456", "1,234,567"]);
    }
}
