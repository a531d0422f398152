//! Grows the stream step by step, kills whoever grows it, and has it opened and read each time.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::process::Role;
use crate::table::{self, Spread, Step, Tables};
use crate::{Result, disk};

/// How far, where, and how thoroughly.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Events to grow to; fewer where the disk has no room for them
    #[arg(long, default_value_t = 50_000_000)]
    events: u64,
    /// Where to write; what is written is removed at the end. Default: the folder for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
    /// 1 and 2 M events and short measurements, to see that everything works
    #[arg(long)]
    quick: bool,
}

/// Events at which it is looked at, in millions.
const STEPS: [u64; 6] = [1, 2, 5, 10, 20, 50];
const MILLION: u64 = 1_000_000;
/// Bytes of an event on disk, about, with its part of a batch's head; rather more than less.
const EVENT_BYTES: u64 = 160;
/// The log is not grown beyond this.
const LOG_BYTES_MAX: u64 = 10_000_000_000;
/// Room that is left on the disk.
const SPARE_BYTES: u64 = 2 << 30;
/// Kills at each step.
const KILLS: u64 = 5;
/// Streams that are appended to at once.
const STREAMS: [usize; 3] = [1, 16, 256];
/// Appends on their way at one time over all of them.
const IN_FLIGHT: usize = 256;

pub(crate) async fn run(options: &Options) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let parent = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&parent)?;
    let folder = tempfile::Builder::new().prefix("sinew-growth-").tempdir_in(&parent)?;
    // Whichever comes first: the processes that are left end with what waits for them, and the folder goes at the end.
    let tables = tokio::select! {
        tables = measure(options, folder.path()) => tables?,
        _ = interrupt.recv() => return Err("stopped; what was written is removed".into()),
        _ = terminate.recv() => return Err("stopped; what was written is removed".into()),
    };
    progress("");
    print!("{}", table::render(&tables));
    Ok(())
}

async fn measure(options: &Options, folder: &Path) -> Result<Tables> {
    let free = disk::free(folder)?.saturating_sub(SPARE_BYTES);
    let room = free.min(LOG_BYTES_MAX) / EVENT_BYTES;
    let asked = if options.quick { options.events.min(2 * MILLION) } else { options.events };
    let events = asked.min(room);
    let mut wanted: Vec<u64> = STEPS.iter().map(|step| step * MILLION).filter(|step| *step <= events).collect();
    // What was asked for, where it is between two.
    wanted.extend((wanted.last() != Some(&events) && (events == asked || wanted.is_empty())).then_some(events));
    let mut tables = Tables { sync_micros: disk::sync_micros(folder)?, asked, ..Tables::default() };
    let data = folder.join("growing");
    std::fs::create_dir(&data)?;
    for to in wanted {
        tables.steps.push(step(&data, to).await?);
    }
    std::fs::remove_dir_all(&data)?;
    let millis: u64 = if options.quick { 1_000 } else { 5_000 };
    for count in STREAMS {
        progress(&format!("appends over {count} streams"));
        let data = folder.join(format!("streams-{count}"));
        let arguments =
            [("--count", count.to_string()), ("--in-flight", IN_FLIGHT.to_string()), ("--millis", millis.to_string())];
        let arguments = arguments.into_iter().flat_map(|(name, value)| [name.into(), value.into()]);
        let arguments: Vec<OsString> = arguments.chain(of(&data)).collect();
        let mut role = Role::start("streams", &arguments)?;
        let [appended, micros, p50, p99] = role.numbers("appended", |_, _| ()).await?[..] else {
            return Err("`streams` says four numbers".into());
        };
        role.end().await?;
        std::fs::remove_dir_all(&data)?;
        tables.spreads.push(Spread { streams: count, in_flight: IN_FLIGHT, appended, micros, p50, p99 });
    }
    Ok(tables)
}

fn of(data: &Path) -> [OsString; 2] {
    ["--data".into(), data.into()]
}

/// One step: grown, killed so many times in the midst of appending, opened after each, closed, opened again, read.
async fn step(data: &Path, to: u64) -> Result<Step> {
    let mut step = Step { events: to, ..Step::default() };
    for kill in 0..KILLS {
        let arguments: Vec<OsString> = of(data).into_iter().chain(["--to".into(), to.to_string().into()]).collect();
        let mut growing = Role::start("grow", &arguments)?;
        let told = |_: &str, at: &[u64]| progress(&format!("to {}: {} events", short(to), short(at[0])));
        let [appended, micros] = growing.numbers("grown", told).await?[..] else {
            return Err("`grow` says two numbers".into());
        };
        if kill == 0 {
            (step.appended, step.append_micros) = (appended, micros);
        }
        // Once a little, once more, so that they end at several places of a segment, which has 0.9 M events of these.
        let mut acknowledged = 0;
        for _ in 0..=kill * 3 {
            acknowledged = growing.numbers("acknowledged", |_, _| ()).await?[0];
        }
        acknowledged = growing.kill("acknowledged").await?.unwrap_or(acknowledged);
        progress(&format!("to {}: killed {} times", short(to), kill + 1));
        let (mut role, [micros, first, next]) = opened(data, &[]).await?;
        if first != 0 || next < acknowledged {
            return Err(format!("{acknowledged} events were acknowledged, and {first} to {next} are there").into());
        }
        step.open_killed_micros.push(micros);
        role.numbers("closed", |_, _| ()).await?;
        role.end().await?;
    }
    let (mut role, [micros, _, next]) = opened(data, &["--replay".into()]).await?;
    (step.open_closed_micros, step.stored) = (micros, next);
    let [indexes, bytes, segments] = role.numbers("indexes", |_, _| ()).await?[..] else {
        return Err("`open` says three numbers about indexes".into());
    };
    (step.index_bytes, step.bytes, step.segments) = (indexes, bytes, segments);
    let told = |_: &str, at: &[u64]| progress(&format!("reading: {} events", short(at[0])));
    let [events, micros, resident] = role.numbers("replayed", told).await?[..] else {
        return Err("`open` says three numbers about its reading".into());
    };
    if events != next {
        return Err(format!("{events} of {next} events were read").into());
    }
    (step.replay_micros, step.resident) = (micros, resident);
    role.numbers("closed", |_, _| ()).await?;
    role.end().await?;
    progress(&format!("what the disk does by itself at {}", short(to)));
    step.disk_read_rate = disk::read_rate(data)?;
    step.disk_write_rate = disk::write_rate(data, step.bytes)?;
    Ok(step)
}

async fn opened(data: &Path, more: &[OsString]) -> Result<(Role, [u64; 3])> {
    let arguments: Vec<OsString> = of(data).into_iter().chain(more.iter().cloned()).collect();
    let mut role = Role::start("open", &arguments)?;
    let opened = role.numbers("opened", |_, _| ()).await?;
    Ok((role, opened.try_into().map_err(|_| "`open` says three numbers")?))
}

fn short(events: u64) -> String {
    format!("{:.1} M", events as f64 / 1e6)
}

/// How far it is: on a terminal one line that is written over, else a line each time it is another step.
fn progress(text: &str) {
    let mut error = std::io::stderr();
    if error.is_terminal() {
        let _ = write!(error, "\r\x1b[K{text}");
    } else if !text.is_empty() && !text.ends_with("events") {
        let _ = writeln!(error, "{text}");
    }
    let _ = error.flush();
}
