//! `sinew task queue create`, `alter`, `list`, `info` and `delete`.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use sinew::ResourceName;
use sinew::taskqueue::{Error, Level, QueueConfig, QueueInfo};

use crate::failure::Outcome;
use crate::log::{name_alone, object_line, table};
use crate::options::{Options, name};
use crate::units::{self, size};

/// Make a queue
///
/// The first task or worker makes one with defaults; this one says how it is to be. One that is there already and is
/// configured the same is left as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task queue create training --lease 30s --dead-kept 30d
  sinew task queue create lookups --durability memory")]
pub(super) struct Create {
    /// Its name: letters, digits and whatever else is no white space, dot or wildcard
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// When a task is accepted; it cannot be altered later. Default: fsynced
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Accepted>,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    options: Options,
}

/// Change how a queue is configured
///
/// What is not named stays as it is. Tasks that are there keep what they were submitted with.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task queue alter training --lease 1m --tasks 10000")]
pub(super) struct Alter {
    /// Which
    #[arg(value_parser = name)]
    queue: ResourceName,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    options: Options,
}

/// What an acceptance means.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Accepted {
    /// Synced to disk: survives a loss of power
    Fsynced,
    /// The operating system has it: survives a crash of the server
    Written,
    /// The server has it: does not survive its end
    Memory,
}

/// How a queue is to be. What is not said stays, or has its default.
#[derive(Debug, Args)]
struct Wishes {
    /// How long the tasks of a worker that is not heard are its own, such as 30s. Default 10s
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    lease: Option<Duration>,
    /// How long an idempotency key is known after its task has ended. Default 10m
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    idempotency_kept: Option<Duration>,
    /// How long dead letters are kept. Default 7d
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    dead_kept: Option<Duration>,
    /// The largest payload. Default 1MiB
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    payload_bytes: Option<u64>,
    /// The largest result. Default 1MiB
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    result_bytes: Option<u64>,
    /// Tasks that may wait or run. Default 1000000
    #[arg(long, value_name = "N")]
    tasks: Option<u64>,
    /// Bytes of their payloads, such as 10GB. Default 256MiB
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    bytes: Option<u64>,
    /// Tasks that have ended and are still known. Default 100000
    #[arg(long, value_name = "N")]
    results: Option<u64>,
    /// Dead letters. Default 10000
    #[arg(long, value_name = "N")]
    dead: Option<u64>,
}

impl Wishes {
    fn apply(&self, config: &mut QueueConfig) -> Outcome {
        config.lease = self.lease.unwrap_or(config.lease);
        config.idempotency_kept = self.idempotency_kept.unwrap_or(config.idempotency_kept);
        config.dead_kept = self.dead_kept.unwrap_or(config.dead_kept);
        let limits = &mut config.limits;
        let whole = |what: &str, bytes: u64| {
            u32::try_from(bytes).map_err(|_| format!("no {what} can have {bytes} bytes; 8 MiB are the most"))
        };
        if let Some(bytes) = self.payload_bytes {
            limits.payload_bytes_max = whole("payload", bytes)?;
        }
        if let Some(bytes) = self.result_bytes {
            limits.result_bytes_max = whole("result", bytes)?;
        }
        limits.tasks_max = self.tasks.unwrap_or(limits.tasks_max);
        limits.bytes_max = self.bytes.unwrap_or(limits.bytes_max);
        limits.results_max = self.results.unwrap_or(limits.results_max);
        limits.dead_max = self.dead.unwrap_or(limits.dead_max);
        Ok(())
    }
}

impl Create {
    pub(super) async fn run(self) -> Outcome {
        let level = match self.durability {
            Some(Accepted::Written) => Level::Written,
            Some(Accepted::Memory) => Level::Memory,
            Some(Accepted::Fsynced) | None => Level::Fsynced,
        };
        let mut config = QueueConfig { level, ..QueueConfig::default() };
        self.wishes.apply(&mut config)?;
        let client = self.options.client().await?;
        let info = client.tasks().queue(&self.queue).make(&config).await?;
        print!("{}", shown(&self.options, &info));
        Ok(client.close().await?)
    }
}

impl Alter {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let queue = client.tasks().queue(&self.queue);
        let mut config = queue.info().await?.config;
        self.wishes.apply(&mut config)?;
        let info = queue.alter(&config).await?;
        print!("{}", shown(&self.options, &info));
        Ok(client.close().await?)
    }
}

/// List the queues in which something may be done
///
/// Of one whose figures the policy does not show there is the name alone.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    options: Options,
}

impl List {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let head = ["queue", "waiting", "delayed", "running", "workers", "dead", "done", "on disk", "accepts"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for queue in client.tasks().list().await? {
            let info = match client.tasks().queue(&queue).info().await {
                // Deleted since it was listed.
                Err(Error::UnknownQueue { .. }) => continue,
                // Something may be done there, but not this.
                Err(Error::Denied { .. }) => {
                    let (line, row) = name_alone(queue.as_str(), rows[0].len());
                    if self.options.json {
                        print!("{line}");
                    } else {
                        rows.push(row);
                    }
                    continue;
                }
                info => info?,
            };
            if self.options.json {
                print!("{}", object_line(&info));
                continue;
            }
            let figures = [info.waiting, info.delayed, info.running, info.workers, info.dead, info.counts.done];
            let more = [size(info.disk_bytes), info.level.to_string()];
            rows.push([&[info.name][..], &figures.map(|figure| figure.to_string()), &more].concat());
        }
        match (self.options.json, rows.len()) {
            (true, _) => {}
            (false, 1) => eprintln!("there is no queue; `sinew task work QUEUE --exec COMMAND` makes one"),
            (false, _) => print!("{}", table(&rows)),
        }
        Ok(client.close().await?)
    }
}

/// Show what a queue has and how it is configured
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Which
    #[arg(value_parser = name)]
    queue: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl Info {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let info = client.tasks().queue(&self.queue).info().await?;
        print!("{}", shown(&self.options, &info));
        Ok(client.close().await?)
    }
}

/// Remove a queue with its tasks, for ever
///
/// Asks for the name once more on a terminal; elsewhere it refuses without --yes.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Which
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

impl Delete {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let queue = client.tasks().queue(&self.queue);
        if !self.yes {
            confirm(&queue.info().await?)?;
        }
        queue.remove().await?;
        match self.options.json {
            true => print!("{}", object_line(&serde_json::json!({ "deleted": self.queue.as_str() }))),
            false => println!("deleted {}", self.queue),
        }
        Ok(client.close().await?)
    }
}

/// Somebody has typed the queue's name.
fn confirm(info: &QueueInfo) -> Outcome {
    let refused = |why| format!("nothing was deleted: {why}");
    if !std::io::stdin().is_terminal() {
        return Err(refused(format!("add --yes to delete `{}` for ever", info.name)).into());
    }
    let tasks = info.waiting + info.delayed + info.running;
    eprint!("deletes {tasks} tasks and {} dead letters for ever; type `{}` to go on: ", info.dead, info.name);
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == info.name { Ok(()) } else { Err(refused("that is not its name".to_owned()).into()) }
}

pub(super) fn shown(options: &Options, info: &QueueInfo) -> String {
    if options.json { object_line(info) } else { text(info) }
}

/// What a queue has, for people.
fn text(info: &QueueInfo) -> String {
    let QueueConfig { lease, dead_kept, limits, .. } = &info.config;
    let counts = &info.counts;
    let rows = [
        ("queue", info.name.clone()),
        ("waiting", format!("{}, and {} for a moment", info.waiting, info.delayed)),
        ("running", format!("{} by {} workers", info.running, info.workers)),
        ("payloads", format!("{} of at most {}", size(info.bytes), size(limits.bytes_max))),
        ("ended", format!("{} are known, {}; {} on disk", info.ended, size(info.ended_bytes), size(info.disk_bytes))),
        ("dead letters", format!("{}, kept for {} s", info.dead, dead_kept.as_secs())),
        ("since it is open", format!("{} accepted, {} done, {} failed", counts.accepted, counts.done, counts.failed)),
        ("accepted when", info.level.to_string()),
        ("lease", format!("{} s", lease.as_secs_f64())),
        ("largest payload", size(u64::from(limits.payload_bytes_max))),
        ("largest result", size(u64::from(limits.result_bytes_max))),
    ];
    rows.iter().map(|(name, value)| format!("{name:<17} {value}\n")).collect()
}
