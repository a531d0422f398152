//! The chart: one panel of bars for each workload. Plain SVG, drawn here, readable on light and dark pages.

use std::fmt::Write as _;

use crate::results::Results;
use crate::workload::{ALL, Workload};

const PANEL_WIDTH: usize = 470;
const COLUMNS: usize = 2;
const GAP: usize = 20;
const TITLE: usize = 34;
const BAR: usize = 18;
const NAMES: usize = 190;
const FIGURES: usize = 70;

/// The whole picture.
pub(crate) fn render(results: &Results) -> String {
    let panels: Vec<_> = ALL.iter().filter_map(|(_, _, workload)| panel(results, *workload)).collect();
    let height_of = |row: &[Panel]| row.iter().map(|panel| panel.height).max().unwrap_or(0) + GAP;
    let height: usize = GAP + panels.chunks(COLUMNS).map(height_of).sum::<usize>();
    let width = GAP + COLUMNS * (PANEL_WIDTH + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n"
    );
    let mut y = GAP;
    for row in panels.chunks(COLUMNS) {
        for (column, panel) in row.iter().enumerate() {
            let x = GAP + column * (PANEL_WIDTH + GAP);
            let _ = write!(out, "<g transform=\"translate({x},{y})\">\n{}</g>\n", panel.body);
        }
        y += height_of(row);
    }
    out.push_str("</svg>\n");
    out
}

struct Panel {
    body: String,
    height: usize,
}

/// One workload; `None` if nothing was measured.
fn panel(results: &Results, workload: Workload) -> Option<Panel> {
    let figure = |name| results.summary(name, workload).map(|summary| summary.value.median);
    let bars = results.systems().into_iter().filter_map(|system| Some((system, figure(system.name)?)));
    let bars: Vec<_> = bars.collect();
    let most = bars.iter().map(|(_, value)| *value).max_by(f64::total_cmp)?;
    let better = if workload.unit().more_is_better() { "more is better" } else { "p50, less is better" };
    let mut body = format!(
        "<text y=\"14\" font-weight=\"bold\" fill=\"#1b1f24\">{}</text>\
         <text x=\"{PANEL_WIDTH}\" y=\"14\" text-anchor=\"end\" fill=\"#57606a\">{}, {better}</text>\n",
        workload.title(),
        workload.unit().text()
    );
    for (index, (system, value)) in bars.iter().enumerate() {
        let (top, middle) = (TITLE - 8 + index * BAR, TITLE + 5 + index * BAR);
        let long = (PANEL_WIDTH - NAMES - FIGURES) as f64 * value / most;
        let colour = match (system.is_ours(), system.secured) {
            (true, false) => "#0969da",
            (true, true) => "#54aeff",
            (false, false) => "#8c959f",
            (false, true) => "#c4cad1",
        };
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" fill=\"#1b1f24\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{top}\" width=\"{long:.1}\" height=\"{}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{middle}\" fill=\"#1b1f24\">{}</text>",
            NAMES - 6,
            system.title,
            BAR - 4,
            NAMES as f64 + long + 5.0,
            crate::page::number(*value),
        );
    }
    Some(Panel { body, height: TITLE + bars.len() * BAR })
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::results::tests::made_up;
    use crate::workload::ALL;

    #[test]
    fn the_longest_bar_is_the_greatest_figure() {
        let chart = render(&made_up(ALL[0].2, &[("sinew-zmq", 4e6), ("nats", 1e6)]));
        assert!(chart.contains("width=\"210.0\"") && chart.contains("width=\"52.5\""), "{chart}");
        assert!(chart.contains("more is better") && chart.contains(">4.00 M<"), "{chart}");
    }

    #[test]
    fn elements_are_closed() {
        let chart = render(&made_up(ALL[6].2, &[("nats", 1e4), ("redis", 1e4)]));
        for element in ["svg", "g", "text"] {
            let opened =
                chart.matches(&format!("<{element} ")).count() + chart.matches(&format!("<{element}>")).count();
            assert_eq!(opened, chart.matches(&format!("</{element}>")).count(), "{element}:\n{chart}");
        }
        assert!(chart.contains("less is better"));
    }
}
