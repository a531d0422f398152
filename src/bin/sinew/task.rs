//! `sinew task`: the task queue, from the shell. One file in `task/` for what belongs together.

use clap::{Args, Subcommand};

use crate::failure::Outcome;

mod dead;
mod exec;
mod look;
mod maintain;
mod queues;
mod shown;
mod submit;
mod work;

/// Hand out work: each task goes to one worker, in turn, and its result comes back
///
/// A queue is a name; the first task or the first worker makes it. Who submits a task waits for its result, unless the task
/// is detached. Any command can be a worker.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task work shout --exec 'tr a-z A-Z'
  sinew task submit shout hello
  sinew task submit thumbnails - --raw < front.jpg > small.jpg
  sinew task submit training run-7 --tag gpu --queue --detach
  sinew task explain training ID
  sinew task dead list training
  sinew task backup training /backups/training-monday

Exit codes beside 0, 1 and 2:
  3  `submit`: nobody works on the queue who could do it; known at once
  4  `submit`, `fetch`: the task failed, was cancelled, or its worker was lost
  5  `submit`, `fetch`: the deadline of the task has passed; else: no answer in time
  6  the server's policy does not permit it
  8  `verify`: damage was found")]
pub(crate) struct Task {
    #[command(subcommand)]
    command: TaskCommand,
}

#[derive(Debug, Subcommand)]
enum TaskCommand {
    Submit(Box<submit::Submit>),
    Work(work::Work),
    Fetch(submit::Fetch),
    List(look::List),
    Show(look::Show),
    Cancel(look::Cancel),
    Explain(look::Explain),
    Workers(look::Workers),
    Verify(maintain::Verify),
    Backup(maintain::Backup),
    Restore(maintain::Restore),
    /// Look after tasks whose attempts have all failed
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Make, change and list queues
    #[command(subcommand)]
    Queue(QueueCommand),
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    List(dead::List),
    Retry(dead::Retry),
    Drop(dead::Drop),
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    Create(queues::Create),
    Alter(queues::Alter),
    List(queues::List),
    Info(queues::Info),
    Delete(queues::Delete),
}

impl Task {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.command.run());
        // A read of standard input cannot be cancelled.
        runtime.shutdown_background();
        outcome
    }
}

impl TaskCommand {
    async fn run(self) -> Outcome {
        match self {
            Self::Submit(submit) => submit.run().await,
            Self::Work(work) => work.run().await,
            Self::Fetch(fetch) => fetch.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Cancel(cancel) => cancel.run().await,
            Self::Explain(explain) => explain.run().await,
            Self::Workers(workers) => workers.run().await,
            Self::Verify(verify) => verify.run().await,
            Self::Backup(backup) => backup.run().await,
            Self::Restore(restore) => restore.run().await,
            Self::Dead(command) => command.run().await,
            Self::Queue(command) => command.run().await,
        }
    }
}

impl DeadCommand {
    async fn run(self) -> Outcome {
        match self {
            Self::List(list) => list.run().await,
            Self::Retry(retry) => retry.run().await,
            Self::Drop(drop) => drop.run().await,
        }
    }
}

impl QueueCommand {
    async fn run(self) -> Outcome {
        match self {
            Self::Create(create) => create.run().await,
            Self::Alter(alter) => alter.run().await,
            Self::List(list) => list.run().await,
            Self::Info(info) => info.run().await,
            Self::Delete(delete) => delete.run().await,
        }
    }
}
