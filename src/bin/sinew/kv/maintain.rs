//! `sinew kv bucket verify`, `compact`, `backup` and `restore`, through the server.

use std::path::PathBuf;

use clap::Args;
use sinew::ResourceName;
use sinew::kvstore::Verified;

use super::buckets::text;
use crate::failure::{DamageFound, Outcome};
use crate::log::{called_as, object_line, whole};
use crate::options::{Options, name};
use crate::progress::Bar;
use crate::units::size;

/// Read everything that is stored and check it
///
/// Changes nothing. Reads and writes go on meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv bucket verify
  sinew kv bucket verify config --json

Exit code 8: damage was found.")]
pub(super) struct Verify {
    /// Which buckets. Default: all
    #[arg(value_parser = name)]
    buckets: Vec<ResourceName>,
    #[command(flatten)]
    options: Options,
}

impl Verify {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let buckets = if self.buckets.is_empty() { client.kv().list().await? } else { self.buckets.clone() };
        let mut damaged = 0;
        for bucket in buckets {
            let (bar, progress) = Bar::new(&format!("verify {bucket}"));
            let found = client.kv().bucket(&bucket).verify(progress).await?;
            drop(bar);
            damaged += usize::from(!found.problems.is_empty());
            let mut object = serde_json::to_value(&found)?;
            object["bucket"] = bucket.as_str().into();
            match self.options.json {
                true => print!("{}", object_line(&object)),
                false => print!("{}", verified(&bucket, &found)),
            }
        }
        client.close().await?;
        if damaged > 0 { Err(DamageFound { kind: "bucket", count: damaged }.into()) } else { Ok(()) }
    }
}

fn verified(bucket: &ResourceName, found: &Verified) -> String {
    let Verified { changes, keys, bytes, problems } = found;
    let verdict = if problems.is_empty() { "whole" } else { "DAMAGED" };
    let mut text = format!("{bucket}: {verdict}; {keys} keys, {changes} changes, {}\n", size(*bytes));
    problems.iter().for_each(|problem| text += &format!("  {problem}\n"));
    text
}

/// Remove what nobody can ask for any more now
///
/// The server does it by itself when it is due. Reads and writes go on meanwhile.
#[derive(Debug, Args)]
pub(super) struct Compact {
    /// Which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl Compact {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let (bar, progress) = Bar::new(&format!("compact {}", self.bucket));
        let done = client.kv().bucket(&self.bucket).compact(progress).await?;
        drop(bar);
        let (before, after) = (size(done.bytes_before), size(done.bytes_after));
        match self.options.json {
            true => print!("{}", object_line(&done)),
            false => println!("{} changes were removed; {before} before, {after} now", done.changes),
        }
        Ok(client.close().await?)
    }
}

/// Copy a bucket as it is at one moment, with its history
///
/// Reads and writes go on meanwhile. The server writes the copy: the directory is one of its machine, must not be there yet,
/// or be empty.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv bucket backup config /backups/config-monday")]
pub(super) struct Backup {
    /// Which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Where to
    directory: PathBuf,
    #[command(flatten)]
    options: Options,
}

impl Backup {
    pub(super) async fn run(self) -> Outcome {
        let target = whole(&self.directory)?;
        let client = self.options.client().await?;
        let (bar, progress) = Bar::new(&format!("back up {}", self.bucket));
        let done = client.kv().bucket(&self.bucket).backup(&target, progress).await?;
        drop(bar);
        match self.options.json {
            true => print!("{}", object_line(&done)),
            false => println!("everything up to revision {} is in {target}, {}", done.revision, size(done.bytes)),
        }
        Ok(client.close().await?)
    }
}

/// Make a bucket from a backup
///
/// A bucket is never overwritten. The directory is one of the server's machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv bucket restore /backups/config-monday config
  sinew kv bucket restore /backups/config                 the bucket is called as the directory is")]
pub(super) struct Restore {
    /// What `backup` has written
    directory: PathBuf,
    /// What to call the bucket. Default: as the directory is called
    #[arg(value_parser = name)]
    bucket: Option<ResourceName>,
    #[command(flatten)]
    options: Options,
}

impl Restore {
    pub(super) async fn run(self) -> Outcome {
        let source = whole(&self.directory)?;
        let bucket = match self.bucket {
            Some(bucket) => bucket,
            None => called_as(source.as_ref())?,
        };
        let client = self.options.client().await?;
        let (bar, progress) = Bar::new(&format!("restore {bucket}"));
        let info = client.kv().bucket(&bucket).restore(&source, progress).await?;
        drop(bar);
        match self.options.json {
            true => print!("{}", object_line(&info)),
            false => print!("{}", text(&info)),
        }
        Ok(client.close().await?)
    }
}
