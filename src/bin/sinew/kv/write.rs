//! `sinew kv put`, `create`, `update`, `del` and `revert`.

use std::time::Duration;

use clap::Args;
use sinew::ResourceName;
use sinew::kvstore::{Change, Expected, Key, KvBucket, PutOptions};

use super::read::KeyMissing;
use super::{key, shown};
use crate::failure::Outcome;
use crate::options::{Options, name};
use crate::{payload, units};

/// Where a value goes, and which.
#[derive(Debug, Args)]
struct What {
    /// In which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Under which key: tokens joined by dots, such as lights.kitchen
    #[arg(value_parser = key)]
    key: Key,
    /// The value; `-` reads it from standard input, up to its end
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// It is gone after so long, such as 30s or 7d. Default: as the bucket says
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    ttl: Option<Duration>,
    #[command(flatten)]
    options: Options,
}

impl What {
    async fn put(self, expected: Option<Expected>) -> Outcome {
        let value = payload::read(&self.value)?;
        let client = self.options.client().await?;
        let options = PutOptions { time_to_live: self.ttl, expected, ..PutOptions::default() };
        let stored = client.kv().bucket(&self.bucket).put_with(&self.key, value, &options).await?;
        print!("{}", shown::stored(&stored, self.options.json));
        Ok(client.close().await?)
    }
}

/// Put a value under a key, whatever is there
///
/// Ends once it is stored as its bucket promises: on disk, by default. Writes its revision. Makes the bucket where there is
/// none.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv put config lights.kitchen on
  sinew kv put pictures front - < front.jpg
  sinew kv put presence robot-7 here --ttl 30s

Object of --json:
  {\"revision\":7,\"timestamp\":1764089999000000000,\"level\":\"fsynced\",\"duplicate\":false}")]
pub(super) struct Put {
    #[command(flatten)]
    what: What,
}

/// Put a value under a key that is not there
///
/// As `put`; exit code 9 where the key is there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv create locks printer \"$(hostname)\" --ttl 30s && print-it")]
pub(super) struct Create {
    #[command(flatten)]
    what: What,
}

/// Put a value under a key that has this revision
///
/// As `put`; exit code 9 where it has another one, or is not there: somebody else was faster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  revision=$(sinew kv get config limits --json | jq .revision)
  sinew kv update config limits 50 --revision \"$revision\"")]
pub(super) struct Update {
    #[command(flatten)]
    what: What,
    /// The revision that it must have
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    revision: u64,
}

impl Put {
    pub(super) async fn run(self) -> Outcome {
        self.what.put(None).await
    }
}

impl Create {
    pub(super) async fn run(self) -> Outcome {
        self.what.put(Some(Expected::Absent)).await
    }
}

impl Update {
    pub(super) async fn run(self) -> Outcome {
        self.what.put(Some(Expected::Revision(self.revision))).await
    }
}

/// Remove a key
///
/// Writes the revision of the removal. What it had stays in its history, as far as the bucket keeps one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv del config lights.kitchen
  sinew kv del locks printer --revision 17
  sinew kv del secrets old --purge

Exit codes: 9 where it has not that revision, 10 where there is no such key.")]
pub(super) struct Del {
    /// In which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Which key
    #[arg(value_parser = key)]
    key: Key,
    /// Only if it has this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    revision: Option<u64>,
    /// Remove its history too
    #[arg(long, conflicts_with = "revision")]
    purge: bool,
    #[command(flatten)]
    options: Options,
}

impl Del {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let bucket = client.kv().bucket(&self.bucket);
        let stored = match (self.revision, self.purge) {
            (Some(revision), _) => bucket.delete_if(&self.key, revision).await?,
            (None, true) => bucket.purge(&self.key).await?,
            (None, false) => bucket.delete(&self.key).await?,
        };
        if stored.revision == 0 {
            return Err(KeyMissing::new(&self.bucket, &self.key).into());
        }
        print!("{}", shown::stored(&stored, self.options.json));
        Ok(client.close().await?)
    }
}

/// Put the value that a key had at an earlier revision
///
/// Writes the new revision. Nothing is written where somebody else writes the key meanwhile (exit code 9).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv history config limits
  sinew kv revert config limits 7

Exit codes: 9 where somebody else was faster, 10 where nothing is kept of such a key.")]
pub(super) struct Revert {
    /// In which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Which key
    #[arg(value_parser = key)]
    key: Key,
    /// The revision, as `sinew kv history` shows it
    revision: u64,
    #[command(flatten)]
    options: Options,
}

impl Revert {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let bucket = client.kv().bucket(&self.bucket);
        let stored = self.revert(&bucket).await?;
        print!("{}", shown::stored(&stored, self.options.json));
        Ok(client.close().await?)
    }

    async fn revert(&self, bucket: &KvBucket) -> Outcome<sinew::kvstore::Stored> {
        let (name, key) = (&self.bucket, &self.key);
        let revisions = bucket.history(key).await?;
        let Some(newest) = revisions.last() else { return Err(KeyMissing::new(name, key).into()) };
        let advice = format!("`sinew kv history {name} {key}` shows what is kept");
        let value = match revisions.iter().find(|kept| kept.revision == self.revision).map(|kept| &kept.change) {
            Some(Change::Put { value, .. }) => value.clone(),
            Some(Change::Gone(_)) => {
                return Err(format!("`{key}` was removed by revision {}; {advice}", self.revision).into());
            }
            None => return Err(format!("revision {} of `{key}` is not kept; {advice}", self.revision).into()),
        };
        let expected = match newest.change {
            Change::Put { .. } => Expected::Revision(newest.revision),
            Change::Gone(_) => Expected::Absent,
        };
        let options = PutOptions { expected: Some(expected), ..PutOptions::default() };
        Ok(bucket.put_with(key, value, &options).await?)
    }
}
