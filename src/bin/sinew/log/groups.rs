//! `sinew log groups` and `sinew log reset`: consumer groups, and where they are.

use clap::Args;
use sinew::{GroupInfo, LogError, Position, ResourceName};

use super::shown::{object_line, table};
use crate::failure::Outcome;
use crate::options::{Options, name};
use crate::units;

/// List the groups of a stream, and the cursors of single readers: how far they are, what they have
#[derive(Debug, Args)]
pub(super) struct Groups {
    /// Of which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl Groups {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let log = client.log();
        let head = ["group", "next", "lag", "members", "in flight", "again", "given up", "state"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for group in log.groups(&self.stream).await? {
            let info = match log.group(&self.stream, &group.as_str().try_into()?).await {
                // Removed since it was listed.
                Err(LogError::UnknownGroup { .. }) => continue,
                info => info?,
            };
            match self.options.json {
                true => print!("{}", object_line(&info)),
                false => rows.push(row(&info)),
            }
        }
        let cursors = log.cursors(&self.stream).await?;
        let next = if cursors.is_empty() { 0 } else { log.info(&self.stream).await?.next };
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
