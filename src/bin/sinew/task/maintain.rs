//! `sinew task verify`, `backup` and `restore`, through the server.

use std::path::PathBuf;

use clap::Args;
use sinew::ResourceName;
use sinew::taskqueue::{Error, Verified};

use super::queues::shown;
use crate::failure::{DamageFound, Outcome};
use crate::log::{called_as, object_line, whole};
use crate::options::{Options, name};
use crate::progress::Bar;
use crate::units::size;

/// Read everything that is stored and check it
///
/// Changes nothing. Tasks come and go meanwhile. Of a queue in memory there is nothing to check.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task verify
  sinew task verify training --json

Exit code 8: damage was found.")]
pub(super) struct Verify {
    /// Which queues. Default: all that are on disk
    #[arg(value_parser = name)]
    queues: Vec<ResourceName>,
    #[command(flatten)]
    options: Options,
}

impl Verify {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let all = self.queues.is_empty();
        let queues = if all { client.tasks().list().await? } else { self.queues.clone() };
        let mut damaged = 0;
        for queue in queues {
            let (bar, progress) = Bar::new(&format!("verify {queue}"));
            let found = client.tasks().queue(&queue).verify(progress).await;
            drop(bar);
            let found = match found {
                Err(Error::Unsupported { .. }) if all => continue,
                found => found?,
            };
            damaged += usize::from(!found.problems.is_empty());
            let mut object = serde_json::to_value(&found)?;
            object["queue"] = queue.as_str().into();
            match self.options.json {
                true => print!("{}", object_line(&object)),
                false => print!("{}", verified(&queue, &found)),
            }
        }
        client.close().await?;
        if damaged > 0 { Err(DamageFound { kind: "queue", count: damaged }.into()) } else { Ok(()) }
    }
}

fn verified(queue: &ResourceName, found: &Verified) -> String {
    let Verified { records, tasks, bytes, problems } = found;
    let verdict = if problems.is_empty() { "whole" } else { "DAMAGED" };
    let mut text = format!("{queue}: {verdict}; {tasks} tasks, {records} changes, {}\n", size(*bytes));
    problems.iter().for_each(|problem| text += &format!("  {problem}\n"));
    text
}

/// Copy a queue as it is at one moment, with its tasks, outcomes and dead letters
///
/// Tasks come and go meanwhile. The server writes the copy: the directory is one of its machine, must not be there yet, or be
/// empty.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task backup training /backups/training-monday")]
pub(super) struct Backup {
    /// Which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// Where to
    directory: PathBuf,
    #[command(flatten)]
    options: Options,
}

impl Backup {
    pub(super) async fn run(self) -> Outcome {
        let target = whole(&self.directory)?;
        let client = self.options.client().await?;
        let (bar, progress) = Bar::new(&format!("back up {}", self.queue));
        let done = client.tasks().queue(&self.queue).backup(&target, progress).await?;
        drop(bar);
        match self.options.json {
            true => print!("{}", object_line(&done)),
            false => println!("{} changes are in {target}, {}", done.records, size(done.bytes)),
        }
        Ok(client.close().await?)
    }
}

/// Make a queue from a backup
///
/// A queue is never overwritten. The directory is one of the server's machine. The queue goes on as behind a restart of the
/// server: attempts that ran when the copy was made are their workers' for a lease, and lost then. A task that has not ended in
/// the copy is done again, though it may have ended since. What is damaged in the copy stays so: `sinew task verify` tells.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task restore /backups/training-monday training
  sinew task restore /backups/training                    the queue is called as the directory is")]
pub(super) struct Restore {
    /// What `backup` has written
    directory: PathBuf,
    /// What to call the queue. Default: as the directory is called
    #[arg(value_parser = name)]
    queue: Option<ResourceName>,
    #[command(flatten)]
    options: Options,
}

impl Restore {
    pub(super) async fn run(self) -> Outcome {
        let source = whole(&self.directory)?;
        let queue = match self.queue {
            Some(queue) => queue,
            None => called_as(source.as_ref())?,
        };
        let client = self.options.client().await?;
        let (bar, progress) = Bar::new(&format!("restore {queue}"));
        let info = client.tasks().queue(&queue).restore(&source, progress).await?;
        drop(bar);
        print!("{}", shown(&self.options, &info));
        Ok(client.close().await?)
    }
}
