//! A progress bar on standard error, where that is a terminal; elsewhere nothing.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sinew::{Progress, ProgressSink};

use crate::units::size;

/// Cells of the bar.
const WIDTH: u64 = 30;
/// It is drawn at most so often.
const INTERVAL: Duration = Duration::from_millis(100);

/// A bar that is wiped away when it is dropped.
pub(crate) struct Bar {
    is_terminal: bool,
}

impl Bar {
    /// A bar, and what moves it.
    pub(crate) fn new(what: &str) -> (Self, ProgressSink) {
        let is_terminal = std::io::stderr().is_terminal();
        if !is_terminal {
            return (Self { is_terminal }, Arc::new(|_| ()));
        }
        let (what, drawn) = (what.to_owned(), Mutex::new(None::<Instant>));
        let sink = move |progress: Progress| {
            let mut drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
            if drawn.is_none_or(|drawn| drawn.elapsed() >= INTERVAL) {
                *drawn = Some(Instant::now());
                let mut out = std::io::stderr().lock();
                // Nobody sees it then.
                let _ = write!(out, "\r\x1b[2K{what} {}", shown(progress)).and_then(|()| out.flush());
            }
        };
        (Self { is_terminal }, Arc::new(sink))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_terminal {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K").and_then(|()| out.flush());
        }
    }
}

fn shown(progress: Progress) -> String {
    let Progress { done, total } = progress;
    // The total may grow, or not be known yet.
    let total = total.max(done).max(1);
    let cells = (u128::from(done) * u128::from(WIDTH) / u128::from(total)) as usize;
    let percent = u128::from(done) * 100 / u128::from(total);
    let (full, empty) = ("#".repeat(cells), "-".repeat(WIDTH as usize - cells));
    format!("[{full}{empty}] {percent:>3} %  {} of {}", size(done), size(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar() {
        let half = shown(Progress { done: 500, total: 1_000 });
        assert_eq!(half, format!("[{}{}]  50 %  500 B of 1.0 kB", "#".repeat(15), "-".repeat(15)));
        assert!(shown(Progress { done: 5, total: 0 }).contains("100 %"));
        assert!(shown(Progress::default()).contains("  0 %"));
        assert!(shown(Progress { done: u64::MAX, total: u64::MAX }).contains("100 %"));
    }
}
