//! `sinew kv bucket create`, `alter`, `list`, `info` and `delete`.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use sinew::ResourceName;
use sinew::kvstore::{BucketConfig, BucketInfo, Durability, Error, HISTORY_MAX};

use crate::failure::Outcome;
use crate::log::{name_alone, object_line, table};
use crate::options::{Options, name};
use crate::units::{self, Bound, size};

/// Make a bucket
///
/// The first put makes one with defaults; this one says how it is to be. One that is there already and is configured the
/// same is left as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv bucket create config --history 10
  sinew kv bucket create presence --ttl 30s --durability written")]
pub(super) struct Create {
    /// Its name: letters, digits and whatever else is no white space, dot or wildcard
    #[arg(value_parser = name)]
    bucket: ResourceName,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    options: Options,
}

/// Change how a bucket is configured
///
/// What is not named stays as it is; `none` takes a bound away. What is stored already keeps its deadline.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv bucket alter config --history 20
  sinew kv bucket alter presence --ttl none --keys 10000")]
pub(super) struct Alter {
    /// Which
    #[arg(value_parser = name)]
    bucket: ResourceName,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    options: Options,
}

/// How a bucket is to be. What is not said stays, or has its default.
#[derive(Debug, Args)]
struct Wishes {
    /// Revisions of each key that are kept, the newest included. Default 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(HISTORY_MAX)))]
    history: Option<u16>,
    /// How long a key lives after it was put, where the put does not say, such as 7d. Default: none
    #[arg(long, value_name = "AGE", value_parser = units::age_bound)]
    ttl: Option<Bound<Duration>>,
    /// When a write is acknowledged. Default: fsynced
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Acknowledged>,
    /// The largest value. Default 1MiB
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    value_bytes: Option<u64>,
    /// Keys that there may be. Default: none
    #[arg(long, value_name = "N", value_parser = units::count_bound)]
    keys: Option<Bound<u64>>,
    /// Bytes of keys and newest values that there may be, such as 10GB. Default: none
    #[arg(long, value_name = "BYTES", value_parser = units::bytes_bound)]
    bytes: Option<Bound<u64>>,
    /// Changes that a watch can go back to. Default 100000
    #[arg(long, value_name = "N")]
    changes: Option<u64>,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Acknowledged {
    /// Synced to disk: survives a loss of power
    Fsynced,
    /// The operating system has it: survives a crash of the server
    Written,
}

impl Wishes {
    fn apply(&self, config: &mut BucketConfig) -> Outcome {
        config.history = self.history.unwrap_or(config.history);
        if let Some(ttl) = self.ttl {
            config.time_to_live = ttl.into();
        }
        match self.durability {
            Some(Acknowledged::Fsynced) => config.durability = Durability::Fsynced,
            Some(Acknowledged::Written) => config.durability = Durability::Written,
            None => {}
        }
        let limits = &mut config.limits;
        if let Some(bytes) = self.value_bytes {
            limits.value_bytes_max = bytes.try_into().map_err(|_| format!("no value can have {bytes} bytes"))?;
        }
        if let Some(keys) = self.keys {
            limits.keys_max = keys.into();
        }
        if let Some(bytes) = self.bytes {
            limits.bytes_max = bytes.into();
        }
        limits.changes_kept = self.changes.unwrap_or(limits.changes_kept);
        Ok(())
    }
}

impl Create {
    pub(super) async fn run(self) -> Outcome {
        let mut config = BucketConfig::default();
        self.wishes.apply(&mut config)?;
        let client = self.options.client().await?;
        let info = client.kv().bucket(&self.bucket).make(&config).await?;
        print!("{}", shown(&self.options, &info));
        Ok(client.close().await?)
    }
}

impl Alter {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let bucket = client.kv().bucket(&self.bucket);
        let mut config = bucket.info().await?.config;
        self.wishes.apply(&mut config)?;
        let info = bucket.alter(&config).await?;
        print!("{}", shown(&self.options, &info));
        Ok(client.close().await?)
    }
}

/// List the buckets in which something may be done
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
        let head = ["bucket", "keys", "bytes", "on disk", "revision", "history", "acknowledges"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for bucket in client.kv().list().await? {
            let info = match client.kv().bucket(&bucket).info().await {
                // Deleted since it was listed.
                Err(Error::UnknownBucket { .. }) => continue,
                // Something may be done there, but not this.
                Err(Error::Denied { .. }) => {
                    let (line, row) = name_alone(bucket.as_str(), rows[0].len());
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
            let figures = [info.keys.to_string(), size(info.bytes), size(info.disk_bytes), info.revision.to_string()];
            let more = [info.config.history.to_string(), info.level.to_string()];
            rows.push([&[info.name][..], &figures, &more].concat());
        }
        match (self.options.json, rows.len()) {
            (true, _) => {}
            (false, 1) => eprintln!("there is no bucket; `sinew kv put BUCKET KEY VALUE` makes one"),
            (false, _) => print!("{}", table(&rows)),
        }
        Ok(client.close().await?)
    }
}

/// Show what a bucket has and how it is configured
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Which
    #[arg(value_parser = name)]
    bucket: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl Info {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let info = client.kv().bucket(&self.bucket).info().await?;
        print!("{}", shown(&self.options, &info));
        Ok(client.close().await?)
    }
}

/// Remove a bucket with its keys, for ever
///
/// Asks for the name once more on a terminal; elsewhere it refuses without --yes.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Which
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

impl Delete {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let bucket = client.kv().bucket(&self.bucket);
        if !self.yes {
            confirm(&bucket.info().await?)?;
        }
        bucket.remove().await?;
        match self.options.json {
            true => print!("{}", object_line(&serde_json::json!({ "deleted": self.bucket.as_str() }))),
            false => println!("deleted {}", self.bucket),
        }
        Ok(client.close().await?)
    }
}

/// Somebody has typed the bucket's name.
fn confirm(info: &BucketInfo) -> Outcome {
    let refused = |why| format!("nothing was deleted: {why}");
    if !std::io::stdin().is_terminal() {
        return Err(refused(format!("add --yes to delete `{}` for ever", info.name)).into());
    }
    eprint!("deletes {} keys ({}) for ever; type `{}` to go on: ", info.keys, size(info.bytes), info.name);
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == info.name { Ok(()) } else { Err(refused("that is not its name".to_owned()).into()) }
}

fn shown(options: &Options, info: &BucketInfo) -> String {
    if options.json { object_line(info) } else { text(info) }
}

/// What a bucket has, for people.
pub(super) fn text(info: &BucketInfo) -> String {
    let BucketConfig { history, time_to_live, limits, .. } = &info.config;
    let bounds = [limits.keys_max.map(|keys| format!("{keys} keys")), limits.bytes_max.map(size)];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    let rows = [
        ("bucket", info.name.clone()),
        ("holds", format!("{} keys, {}; {} on disk", info.keys, size(info.bytes), size(info.disk_bytes))),
        ("revision", format!("{}; changes are kept from {} on", info.revision, info.first)),
        ("acknowledged when", info.level.to_string()),
        ("history", format!("{history} of each key")),
        ("keys live", time_to_live.map_or("for ever".into(), |time| format!("{} s", time.as_secs_f64()))),
        ("may hold", if bounds.is_empty() { "whatever fits".into() } else { bounds.join(", ") }),
        ("largest value", size(u64::from(limits.value_bytes_max))),
        ("changes kept", limits.changes_kept.to_string()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<19} {value}\n")).collect()
}
