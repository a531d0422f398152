//! `sinew log create`, `alter`, `list`, `info` and `delete`: the streams themselves.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use sinew::{Compaction, Durability, ResourceName, StreamConfig, StreamInfo};

use super::shown::{name_alone, object_line, table};
use crate::failure::Outcome;
use crate::options::{Options, name};
use crate::units::{self, Bound, size};

/// Make a stream
///
/// One that is there already and is configured the same is left as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log create orders
  sinew log create metrics --retention-age 7d --retention-bytes 10GB --durability written
  sinew log create devices --compact")]
pub(super) struct Create {
    /// Its name: letters, digits and whatever else is no white space, dot or wildcard
    #[arg(value_parser = name)]
    stream: ResourceName,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    options: Options,
}

/// Change how a stream is configured
///
/// What is not named stays as it is; `none` takes a bound away.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log alter orders --retention-age 90d
  sinew log alter orders --retention-age none --retention-bytes 100GB")]
pub(super) struct Alter {
    /// Which
    #[arg(value_parser = name)]
    stream: ResourceName,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    options: Options,
}

/// How a stream is to be. What is not said stays, or has its default.
#[derive(Debug, Args)]
pub(super) struct Wishes {
    /// Events older than this may go, such as 7d. Default: none
    #[arg(long, value_name = "AGE", value_parser = units::age_bound)]
    retention_age: Option<Bound<Duration>>,
    /// The oldest events go while the stream has more bytes, such as 10GB. Default: none
    #[arg(long, value_name = "BYTES", value_parser = units::bytes_bound)]
    retention_bytes: Option<Bound<u64>>,
    /// The oldest events go while the stream has more of them. Default: none
    #[arg(long, value_name = "N", value_parser = units::count_bound)]
    retention_events: Option<Bound<u64>>,
    /// Keep only the newest event of each key
    #[arg(long)]
    compact: bool,
    /// Keep all events of a key. The default
    #[arg(long, conflicts_with_all = ["compact", "tombstone_age"])]
    no_compact: bool,
    /// With --compact: how long readers can learn that a key is gone. Default 1d
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    tombstone_age: Option<Duration>,
    /// When an append is acknowledged. Default: fsynced
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Acknowledged>,
    /// A file is full at this size; retention removes whole files. Default 128MiB
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    segment_bytes: Option<u64>,
    /// The largest event, head and key included. Default 1MiB
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    event_bytes: Option<u64>,
    /// Idempotent producers that are remembered. Default 10000
    #[arg(long, value_name = "N")]
    producers: Option<u32>,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Acknowledged {
    /// Synced to disk: survives a loss of power
    Fsynced,
    /// The operating system has it: survives a crash of the server
    Written,
}

/// How long tombstones are kept where nothing is said.
const TOMBSTONE_AGE: Duration = Duration::from_secs(86_400);

impl Wishes {
    pub(super) fn apply(&self, config: &mut StreamConfig) -> Outcome {
        let retention = &mut config.retention;
        let set = |bound: Option<Bound<u64>>, into: &mut Option<u64>| {
            if let Some(bound) = bound {
                *into = bound.into();
            }
        };
        if let Some(age) = self.retention_age {
            retention.age_max = age.into();
        }
        set(self.retention_bytes, &mut retention.bytes_max);
        set(self.retention_events, &mut retention.events_max);
        config.compaction = match (self.no_compact, self.compact, self.tombstone_age, config.compaction) {
            (true, ..) => Compaction::Off,
            (_, true, age, Compaction::Off) => Compaction::ByKey { tombstone_age: age.unwrap_or(TOMBSTONE_AGE) },
            (_, _, Some(tombstone_age), Compaction::ByKey { .. }) => Compaction::ByKey { tombstone_age },
            (_, _, Some(_), Compaction::Off) => return Err("--tombstone-age is of use with --compact alone".into()),
            (.., compaction) => compaction,
        };
        match self.durability {
            Some(Acknowledged::Fsynced) => config.durability = Durability::Fsynced,
            Some(Acknowledged::Written) => config.durability = Durability::Written,
            None => {}
        }
        config.segment_bytes_max = self.segment_bytes.unwrap_or(config.segment_bytes_max);
        if let Some(bytes) = self.event_bytes {
            config.event_bytes_max = bytes.try_into().map_err(|_| format!("no event can have {bytes} bytes"))?;
        }
        config.producers_max = self.producers.unwrap_or(config.producers_max);
        Ok(())
    }
}

impl Create {
    pub(super) async fn run(self) -> Outcome {
        let mut config = StreamConfig::default();
        self.wishes.apply(&mut config)?;
        let info = self.options.client().await?.log().create(&self.stream, &config).await?;
        print!("{}", shown(&self.options, &info));
        Ok(())
    }
}

impl Alter {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let mut config = client.log().info(&self.stream).await?.config;
        self.wishes.apply(&mut config)?;
        let info = client.log().alter(&self.stream, &config).await?;
        print!("{}", shown(&self.options, &info));
        Ok(())
    }
}

/// List the streams in which something may be done
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
        let mut rows =
            vec![["stream", "first", "next", "bytes", "files", "cursors", "acknowledges"].map(str::to_owned).to_vec()];
        for stream in client.log().list().await? {
            let info = match client.log().info(&stream).await {
                // Deleted since it was listed.
                Err(sinew::LogError::UnknownStream { .. }) => continue,
                // Something may be done there, but not this.
                Err(sinew::LogError::Denied { .. }) => {
                    let (line, row) = name_alone(stream.as_str(), rows[0].len());
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
            let figures = [info.first.to_string(), info.next.to_string(), size(info.bytes)];
            let more = [info.segments.to_string(), info.cursors.to_string(), info.level.to_string()];
            rows.push([&[info.name][..], &figures, &more].concat());
        }
        match (self.options.json, rows.len()) {
            (true, _) => {}
            (false, 1) => eprintln!("there is no stream; `sinew log create NAME` makes one"),
            (false, _) => print!("{}", table(&rows)),
        }
        Ok(())
    }
}

/// Show what a stream has and how it is configured
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Which
    #[arg(value_parser = name)]
    stream: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl Info {
    pub(super) async fn run(self) -> Outcome {
        let info = self.options.client().await?.log().info(&self.stream).await?;
        print!("{}", shown(&self.options, &info));
        Ok(())
    }
}

/// Remove a stream with its events, cursors and groups, for ever
///
/// Asks for the name once more on a terminal; elsewhere it refuses without --yes.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Which
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

impl Delete {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        if !self.yes {
            let info = client.log().info(&self.stream).await?;
            confirm(&info)?;
        }
        client.log().delete(&self.stream).await?;
        match self.options.json {
            true => print!("{}", object_line(&serde_json::json!({ "deleted": self.stream.as_str() }))),
            false => println!("deleted {}", self.stream),
        }
        Ok(())
    }
}

/// Somebody has typed the stream's name.
fn confirm(info: &StreamInfo) -> Outcome {
    let refused = |why| format!("nothing was deleted: {why}");
    if !std::io::stdin().is_terminal() {
        return Err(refused(format!("add --yes to delete `{}` for ever", info.name)).into());
    }
    let (events, bytes) = (info.next - info.first, size(info.bytes));
    eprint!("deletes up to {events} events ({bytes}) for ever; type `{}` to go on: ", info.name);
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == info.name { Ok(()) } else { Err(refused("that is not its name".to_owned()).into()) }
}

fn shown(options: &Options, info: &StreamInfo) -> String {
    if options.json { object_line(info) } else { text(info) }
}

pub(super) fn text(info: &StreamInfo) -> String {
    let StreamConfig { retention, compaction, segment_bytes_max, event_bytes_max, .. } = &info.config;
    let bounds = [
        retention.age_max.map(|age| format!("{} s", age.as_secs())),
        retention.bytes_max.map(size),
        retention.events_max.map(|events| format!("{events} events")),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    let mut rows = vec![
        ("stream", info.name.clone()),
        ("offsets", format!("from {}; the next event gets {}", info.first, info.next)),
        ("size", format!("{} in {} files", size(info.bytes), info.segments)),
        ("acknowledged when", info.level.to_string()),
        ("kept", if bounds.is_empty() { "for ever".into() } else { format!("at most {}", bounds.join(", ")) }),
        ("largest event", size(u64::from(*event_bytes_max))),
        ("file size", size(*segment_bytes_max)),
        ("producers", info.producers.to_string()),
        ("cursors and groups", info.cursors.to_string()),
    ];
    if let Compaction::ByKey { tombstone_age } = compaction {
        rows.push(("compacted", format!("by key; tombstones are kept for {} s", tombstone_age.as_secs())));
    }
    for (from, to) in &info.damaged {
        rows.push(("DAMAGED", format!("offsets {from} to {to} cannot be read; restore a backup")));
    }
    rows.iter().map(|(name, value)| format!("{name:<19} {value}\n")).collect()
}
