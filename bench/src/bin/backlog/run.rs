//! Fills, looks, has an urgent task done, works off; for each step in a new server, and all steps several times in turn.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sinew::Level;
use sinew_bench::{Server, disk_bytes};

use crate::Result;
use crate::client::{Clients, PAYLOAD_BYTES};
use crate::table::{self, Round, Step};
use crate::worker;

/// How many, where, and how often.
#[derive(clap::Parser)]
#[command(about = "Tasks that wait, more and more of them, in a server as users run it")]
pub(crate) struct Options {
    /// The program `sinew`, built for release
    #[arg(long)]
    sinew: PathBuf,
    /// Tasks that wait, step by step
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    steps: Vec<u64>,
    /// How often all steps are taken; the figures are medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where to write. Default: the folder for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Nobody asks for anything for so long before memory and disk are looked at.
const AT_REST: Duration = Duration::from_secs(3);

pub(crate) async fn run(options: &Options) -> Result<()> {
    let parent = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&parent)?;
    let levels = [Level::Memory, Level::Fsynced];
    let mut steps: Vec<Step> = levels
        .into_iter()
        .flat_map(|level| {
            options.steps.iter().map(move |waiting| Step { level, waiting: *waiting, rounds: Vec::new() })
        })
        .collect();
    // In turn, so that a machine that is busy for a while is so for all.
    for round in 1..=options.rounds {
        for step in &mut steps {
            let what = format!("round {round}, {} tasks wait in a queue with the level {}", step.waiting, step.level);
            let folder = tempfile::Builder::new().prefix("sinew-backlog-").tempdir_in(&parent)?;
            step.rounds.push(measure(options, folder.path(), step, &what).await?);
        }
    }
    progress("");
    print!("{}", table::render(&steps));
    Ok(())
}

async fn measure(options: &Options, folder: &Path, step: &Step, what: &str) -> Result<Round> {
    let (home, data) = (folder.join("home"), folder.join("data"));
    let server = Server::start(&options.sinew, &home, &data).await?;
    let clients = Clients::connect(&server.url, &home, step.level).await?;
    progress(&format!("{what}: before"));
    worker::first(&clients).await?;
    tokio::time::sleep(AT_REST).await;
    let (resident, disk) = (server.resident()?, disk_bytes(&data));
    progress(&format!("{what}: submitting"));
    let submitted = clients.submit(step.waiting).await?;
    progress(&format!("{what}: at rest"));
    tokio::time::sleep(AT_REST).await;
    let (taken, stored) = (server.resident()? as i64 - resident as i64, disk_bytes(&data).saturating_sub(disk));
    let info = clients.worker.info().await?;
    if info.waiting != step.waiting {
        return Err(format!("{} tasks wait instead of {}: {info:?}", info.waiting, step.waiting).into());
    }
    progress(&format!("{what}: urgent tasks"));
    let urgent = worker::urgent(&clients).await?;
    progress(&format!("{what}: working off"));
    let drained = worker::drain(&clients.worker, submitted.handles).await?;
    clients.close().await?;
    server.end().await?;
    Ok(Round {
        submitted: submitted.last,
        submitted_all: submitted.all,
        resident: taken as f64 / step.waiting as f64 - PAYLOAD_BYTES as f64,
        disk: stored as f64 / step.waiting as f64,
        urgent,
        drained,
    })
}

fn progress(text: &str) {
    let mut error = std::io::stderr().lock();
    if error.is_terminal() {
        let _ = write!(error, "\r\x1b[K{text}");
        let _ = error.flush();
    }
}
