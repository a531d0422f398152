//! `sinew log`: streams of the event log, from the shell. One file in `log/` for what belongs together.

use clap::{Args, Subcommand};

use crate::failure::Outcome;

mod append;
mod groups;
mod maintain;
mod read;
mod shown;
mod streams;

pub(crate) use maintain::{called_as, whole};
pub(crate) use shown::{name_alone, object_line, table};

/// Keep streams of events: append, read, follow, look after them
///
/// An event that was acknowledged is on disk, unless its stream was told otherwise. The server keeps streams in its data
/// directory (see `sinew serve --data`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log create orders --retention-age 30d
  sinew log append orders 'two cups of tea' --key table-7
  tail -F app.log | sinew log append app --lines --producer host-1
  sinew log read orders --from 2h --json | jq .payload
  sinew log tail orders
  sinew log backup orders /backups/orders-monday

Without a server that runs, `verify`, `backup`, `restore` and `import` work on its data directory with --data PATH.

Exit codes beside 0, 1 and 2:
  5  no answer in time
  6  the server's policy does not permit it
  8  `verify`: damage was found
  9  `append --expected-offset`: somebody else was faster, and nothing was appended")]
pub(crate) struct Log {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    Create(streams::Create),
    Alter(streams::Alter),
    List(streams::List),
    Info(streams::Info),
    Delete(streams::Delete),
    Append(append::Append),
    Read(read::Read),
    Tail(read::Tail),
    Groups(groups::Groups),
    Reset(groups::Reset),
    Verify(maintain::Verify),
    Compact(maintain::Compact),
    Backup(maintain::Backup),
    Restore(maintain::Restore),
    Import(maintain::Import),
}

impl Log {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.command.run());
        // A read of standard input cannot be cancelled.
        runtime.shutdown_background();
        outcome
    }
}

impl LogCommand {
    async fn run(self) -> Outcome {
        match self {
            Self::Create(create) => create.run().await,
            Self::Alter(alter) => alter.run().await,
            Self::List(list) => list.run().await,
            Self::Info(info) => info.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Append(append) => append.run().await,
            Self::Read(read) => read.run().await,
            Self::Tail(tail) => tail.run().await,
            Self::Groups(groups) => groups.run().await,
            Self::Reset(reset) => reset.run().await,
            Self::Verify(verify) => verify.run().await,
            Self::Compact(compact) => compact.run().await,
            Self::Backup(backup) => backup.run().await,
            Self::Restore(restore) => restore.run().await,
            Self::Import(import) => import.run().await,
        }
    }
}
