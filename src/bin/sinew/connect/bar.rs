//! What a connection does, as one line on a terminal that is written over.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use sinew::connectors::{Phase, Progress};
use tokio::sync::watch;

/// How often the line is written anew.
const STEP: Duration = Duration::from_millis(200);
/// Characters of the bar.
const WIDTH: u64 = 24;

/// Shows it until it has ended; nothing where standard error is no terminal, but for what is tried again.
pub(super) async fn show(mut progress: watch::Receiver<Progress>) {
    let terminal = std::io::stderr().is_terminal();
    let mut told = None;
    loop {
        let now = progress.borrow_and_update().clone();
        if let Phase::Retrying(why) = &now.phase
            && told.as_ref() != Some(why)
        {
            eprintln!("{}{why}; trying again", if terminal { "\r\x1b[K" } else { "" });
            told = Some(why.clone());
        }
        if now.phase == Phase::Ended {
            break;
        }
        if terminal {
            eprint!("\r\x1b[K{}", line(&now));
            let _ = std::io::stderr().flush();
            tokio::time::sleep(STEP).await;
        }
        if progress.changed().await.is_err() {
            break;
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
}

/// `[#####     ]  41 %  4,100 items, 1.2 MiB`.
fn line(progress: &Progress) -> String {
    let bar = progress.total.filter(|total| *total > 0).map(|total| {
        let (done, full) = (progress.done.min(total), progress.done.min(total).saturating_mul(WIDTH) / total);
        let bar: String = (0..WIDTH).map(|at| if at < full { '#' } else { ' ' }).collect();
        format!("[{bar}] {:3} %  ", done.saturating_mul(100) / total)
    });
    bar.unwrap_or_default() + &amount(progress)
}

/// `4100 items, 1.2 MiB`.
pub(super) fn amount(progress: &Progress) -> String {
    let items = if progress.moved == 1 { "item" } else { "items" };
    format!("{} {items}, {}", progress.moved, size(progress.bytes))
}

fn size(bytes: u64) -> String {
    match bytes {
        ..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_bar_where_there_is_an_end() {
        let mut progress = Progress { moved: 1, bytes: 1_536, done: 50, total: Some(100), ..Progress::default() };
        assert_eq!(line(&progress), "[############            ]  50 %  1 item, 1.5 KiB");
        (progress.total, progress.moved, progress.bytes) = (None, 2, 7);
        assert_eq!(line(&progress), "2 items, 7 bytes");
        (progress.total, progress.done) = (Some(10), 12);
        assert_eq!(line(&progress), "[########################] 100 %  2 items, 7 bytes");
    }
}
