//! `sinew kv`: the key-value store, from the shell. One file in `kv/` for what belongs together.

use clap::{Args, Subcommand};
use sinew::kvstore::Key;

use crate::failure::Outcome;

mod buckets;
mod export;
mod import;
mod maintain;
mod puts;
mod read;
mod shown;
mod watch;
mod write;

pub(crate) use export::told;
pub(crate) use puts::Puts;
pub(crate) use read::KeyMissing;

/// Keep values under keys: put, get, watch, look after them
///
/// Keys are tokens joined by dots, in a bucket; the first put makes the bucket. A write that was acknowledged is on disk,
/// unless its bucket was told otherwise, and every write has a revision. Changes are told to whoever watches, and on the bus
/// as $KV.BUCKET.KEY.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv put config lights.kitchen on
  sinew kv get config lights.kitchen
  sinew kv watch config 'lights.>'
  sinew kv put config door open --ttl 30s
  sinew kv bucket create config --history 10
  sinew kv export config > config.jsonl

Exit codes beside 0, 1 and 2:
  5   no answer in time
  6   the server's policy does not permit it
  8   `bucket verify`: damage was found
  9   `create`, `update`, `del --revision`, `revert`: the key is not what was expected, and nothing was written
  10  `get`, `del`, `history`, `revert`: there is no such key")]
pub(crate) struct Kv {
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Debug, Subcommand)]
enum KvCommand {
    Get(read::Get),
    Put(write::Put),
    Create(write::Create),
    Update(write::Update),
    Del(write::Del),
    Watch(watch::Watch),
    Ls(read::Ls),
    History(read::History),
    Revert(write::Revert),
    Export(export::Export),
    Import(import::Import),
    /// Make, change, list and look after buckets
    #[command(subcommand)]
    Bucket(BucketCommand),
}

#[derive(Debug, Subcommand)]
enum BucketCommand {
    Create(buckets::Create),
    Alter(buckets::Alter),
    List(buckets::List),
    Info(buckets::Info),
    Delete(buckets::Delete),
    Compact(maintain::Compact),
    Verify(maintain::Verify),
    Backup(maintain::Backup),
    Restore(maintain::Restore),
}

impl Kv {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.command.run());
        // A read of standard input cannot be cancelled.
        runtime.shutdown_background();
        outcome
    }
}

impl KvCommand {
    async fn run(self) -> Outcome {
        match self {
            Self::Get(get) => get.run().await,
            Self::Put(put) => put.run().await,
            Self::Create(create) => create.run().await,
            Self::Update(update) => update.run().await,
            Self::Del(del) => del.run().await,
            Self::Watch(watch) => watch.run().await,
            Self::Ls(ls) => ls.run().await,
            Self::History(history) => history.run().await,
            Self::Revert(revert) => revert.run().await,
            Self::Export(export) => export.run().await,
            Self::Import(import) => import.run().await,
            Self::Bucket(command) => command.run().await,
        }
    }
}

impl BucketCommand {
    async fn run(self) -> Outcome {
        match self {
            Self::Create(create) => create.run().await,
            Self::Alter(alter) => alter.run().await,
            Self::List(list) => list.run().await,
            Self::Info(info) => info.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Compact(compact) => compact.run().await,
            Self::Verify(verify) => verify.run().await,
            Self::Backup(backup) => backup.run().await,
            Self::Restore(restore) => restore.run().await,
        }
    }
}

/// A key, as the command line says it.
fn key(text: &str) -> Result<Key, String> {
    Key::try_from(text).map_err(|error| error.to_string())
}
