//! `sinew log groups`, `log groups alter` and `sinew log reset`: consumer groups, and where they are.

use std::time::Duration;

use clap::{Args, Subcommand};
use sinew::{GroupInfo, LogError, Position, ResourceName};

use super::shown::{object_line, table};
use crate::failure::Outcome;
use crate::options::{Options, name};
use crate::units::{self, Bound};

/// List the groups of a stream, and the cursors of single readers: how far they are, what they have
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  sinew log groups orders
  sinew log groups alter orders billing --acknowledge-within 2m"
)]
pub(super) struct Groups {
    #[command(subcommand)]
    act: Option<GroupsAct>,
    /// Of which stream
    #[arg(value_parser = name, required = true)]
    stream: Option<ResourceName>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum GroupsAct {
    Alter(Alter),
}

/// Change how a group hands out again what was not acknowledged
///
/// What is not named stays as it is. Members stay, and what they have comes back as it was to; who joins later must want the
/// new settings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log groups alter orders billing --acknowledge-within 2m
  sinew log groups alter orders billing --deliveries 5")]
struct Alter {
    /// Of which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// Which group
    #[arg(value_parser = name)]
    group: ResourceName,
    /// An event that was not acknowledged for so long is handed out again, such as 30s
    #[arg(long, value_name = "AGE", value_parser = units::age, required_unless_present = "deliveries")]
    acknowledge_within: Option<Duration>,
    /// An event that was handed out so often without being acknowledged is given up; `none`: never
    #[arg(long, value_name = "N", value_parser = units::count_bound)]
    deliveries: Option<Bound<u64>>,
    #[command(flatten)]
    options: Options,
}

impl Alter {
    async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let log = client.log();
        let mut redelivery = log.group(&self.stream, &self.group).await?.settings.redelivery();
        redelivery.acknowledge_within = self.acknowledge_within.unwrap_or(redelivery.acknowledge_within);
        if let Some(bound) = self.deliveries {
            let max: Option<u64> = bound.into();
            let max = max.map(|max| u32::try_from(max).map_err(|_| format!("no event is handed out {max} times")));
            redelivery.deliveries_max = max.transpose()?;
        }
        let info = log.alter_group(&self.stream, &self.group, redelivery).await?;
        match self.options.json {
            true => print!("{}", object_line(&info)),
            false => {
                let often =
                    redelivery.deliveries_max.map_or("without end".into(), |max| format!("{max} times at most"));
                let seconds = redelivery.acknowledge_within.as_secs_f64();
                println!("{} hands out again after {seconds} s, {often}", info.group);
            }
        }
        Ok(client.close().await?)
    }
}

impl Groups {
    pub(super) async fn run(self) -> Outcome {
        let stream = match (self.act, self.stream) {
            (Some(GroupsAct::Alter(alter)), _) => return alter.run().await,
            (None, Some(stream)) => stream,
            (None, None) => return Err("name a stream".into()),
        };
        let client = self.options.client().await?;
        let log = client.log();
        let head = ["group", "next", "lag", "members", "in flight", "again", "given up", "state"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for group in log.groups(&stream).await? {
            let info = match log.group(&stream, &group.as_str().try_into()?).await {
                // Removed since it was listed.
                Err(LogError::UnknownGroup { .. }) => continue,
                info => info?,
            };
            match self.options.json {
                true => print!("{}", object_line(&info)),
                false => rows.push(row(&info)),
            }
        }
        let cursors = log.cursors(&stream).await?;
        let next = if cursors.is_empty() { 0 } else { log.info(&stream).await?.next };
        for (cursor, offset) in cursors {
            let lag = next.saturating_sub(offset);
            match self.options.json {
                true => print!("{}", object_line(&serde_json::json!({"cursor": cursor, "offset": offset, "lag": lag}))),
                false => {
                    let figures = [cursor, offset.to_string(), lag.to_string()];
                    rows.push([&figures[..], &["-", "-", "-", "-", "cursor"].map(str::to_owned)].concat());
                }
            }
        }
        match (self.options.json, rows.len()) {
            (true, _) => {}
            (false, 1) => eprintln!("the stream has no group and no cursor"),
            (false, _) => print!("{}", table(&rows)),
        }
        Ok(())
    }
}

fn row(info: &GroupInfo) -> Vec<String> {
    let figures = [info.offset, info.lag, info.members, info.in_flight, info.redelivering, info.given_up];
    let state = match (&info.halted, info.paused) {
        (Some(why), _) => format!("halted: {why}"),
        (None, true) => "paused".into(),
        (None, false) => "running".into(),
    };
    [&[info.group.clone()][..], &figures.map(|figure| figure.to_string()), &[state]].concat()
}

/// Let a group begin anew somewhere else
///
/// What its members have at that time does not count any more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log reset orders billing --to start
  sinew log reset orders billing --to 2h")]
pub(super) struct Reset {
    /// Of which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// Which group
    #[arg(value_parser = name)]
    group: ResourceName,
    /// Where to: start, end, an offset, an age such as 10m, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "PLACE", value_parser = units::place)]
    to: Position,
    #[command(flatten)]
    options: Options,
}

impl Reset {
    pub(super) async fn run(self) -> Outcome {
        let info = self.options.client().await?.log().reset_group(&self.stream, &self.group, self.to).await?;
        match self.options.json {
            true => print!("{}", object_line(&info)),
            false => println!("{} goes on with offset {}, {} behind the end", info.group, info.offset, info.lag),
        }
        Ok(())
    }
}
