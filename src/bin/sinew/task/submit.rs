//! `sinew task submit` and `fetch`: what becomes of a task.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use sinew::taskqueue::{ATTEMPTS_MAX, Backoff, TaskHandle, TaskId, TaskOptions};
use sinew::{Client, ResourceName};

use super::shown;
use crate::failure::Outcome;
use crate::format::printable;
use crate::log::object_line;
use crate::options::{Options, name};
use crate::signals::Signals;
use crate::{payload, units};

/// How a result is written.
#[derive(Debug, Args)]
struct Written {
    /// Write the result alone, as it is, without a line feed
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    #[command(flatten)]
    options: Options,
}

/// Submit a task, wait for its result and write it
///
/// One worker gets it, in turn. The result is written as one line, with what is not printable escaped; progress goes to
/// standard error, where that is a terminal. Ended by SIGINT or SIGTERM it cancels the task.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task submit shout hello
  sinew task submit thumbnails - --raw < front.jpg > small.jpg
  sinew task submit training run-7 --tag gpu --attempts 3 --queue --deadline 2h
  id=$(sinew task submit reports monthly --queue --detach) && sinew task fetch reports \"$id\"

Object of --json:
  {\"task\":\"…\",\"ending\":\"done\",\"worker\":\"…\",\"attempt\":1,\"result\":\"HELLO\"}
  result_base64 for what is no UTF-8 text; code and message where it failed

Exit codes beside 0, 1 and 2:
  3  nobody works on the queue who could do it; known at once, and not with --queue
  4  the task failed, was cancelled, or its worker was lost
  5  its deadline has passed
  6  the server's policy does not permit it")]
pub(super) struct Submit {
    /// In which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// What is to be done; `-` reads it from standard input, up to its end. Default: empty
    #[arg(default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    payload: String,
    /// Only a worker with this tag gets it; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Higher ones go first. Default 100
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Not before so much time has passed, such as 30s
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    delay: Option<Duration>,
    /// Not after so much time has passed, whether it waits or runs
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    deadline: Option<Duration>,
    /// How often it is begun at most when it fails or its worker is lost. Default 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ATTEMPTS_MAX)))]
    attempts: Option<u32>,
    /// The pause after the first attempt that failed; each one after that is twice as long. Default 1s
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    backoff: Option<Duration>,
    /// Take an attempt away from a worker that tells no progress for so long. Default: never
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    stall_timeout: Option<Duration>,
    /// Wait for a worker to come where none is there who could do it
    #[arg(long = "queue")]
    queueing: bool,
    /// Write the task's id and end; `sinew task fetch` has its result
    #[arg(long, conflicts_with = "raw")]
    detach: bool,
    /// How long the result can be fetched after the task has ended. Default with --detach: 1h
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    result_kept: Option<Duration>,
    /// Whoever submits with the same key again gets this task, not another
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    written: Written,
}

/// Wait until a task that was submitted before has ended, and write its result
///
/// As `submit`. Ended by SIGINT or SIGTERM it changes nothing for the task.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task fetch reports 0f3c9a6be1d24b7788aa55ee00112233 --raw > report.pdf

Exit codes: as those of `submit`.")]
pub(super) struct Fetch {
    /// From which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// Which task
    task: TaskId,
    #[command(flatten)]
    written: Written,
}

impl Submit {
    pub(super) async fn run(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let payload = payload::read(&self.payload)?;
        let client = self.written.options.client().await?;
        let task = client.tasks().queue(&self.queue).submit(payload).options(self.task_options());
        tokio::select! {
            outcome = async {
                let handle = task.await?;
                if self.detach {
                    let json = self.written.options.json;
                    return tell_submitted(&handle, json);
                }
                self.written.tell(handle).await
            } => {
                client.close().await?;
                outcome
            }
            () = signals.next() => {
                // What was dropped is cancelled by that.
                client.close().await?;
                Err("ended by a signal; unless it is detached, the task was cancelled".into())
            }
        }
    }

    fn task_options(&self) -> TaskOptions {
        let defaults = TaskOptions::default();
        let first = self.backoff.unwrap_or(defaults.backoff.first);
        TaskOptions {
            tags: self.tags.clone(),
            priority: self.priority.unwrap_or(defaults.priority),
            delay: self.delay,
            deadline: self.deadline,
            attempts_max: self.attempts.unwrap_or(defaults.attempts_max),
            backoff: Backoff { first, max: defaults.backoff.max.max(first) },
            stall_timeout: self.stall_timeout,
            queueing: self.queueing,
            detached: self.detach,
            result_kept: self.result_kept,
            idempotency_key: self.idempotency_key.clone(),
            ..defaults
        }
    }
}

fn tell_submitted(handle: &TaskHandle, json: bool) -> Outcome {
    let (task, level) = (handle.id().to_string(), handle.level().to_string());
    match json {
        true => print!(
            "{}",
            object_line(&serde_json::json!({"task": task, "level": level, "duplicate": handle.is_duplicate()}))
        ),
        false => println!("{task}"),
    }
    Ok(())
}

impl Fetch {
    pub(super) async fn run(self) -> Outcome {
        let client = self.written.options.client().await?;
        let outcome = self.fetch(&client).await;
        client.close().await?;
        outcome
    }

    async fn fetch(&self, client: &Client) -> Outcome {
        let handle = client.tasks().queue(&self.queue).attach(self.task).await?;
        self.written.tell(handle).await
    }
}

impl Written {
    /// Writes what becomes of it.
    async fn tell(&self, mut handle: TaskHandle) -> Outcome {
        if std::io::stderr().is_terminal() {
            while let Some(word) = handle.next_progress().await {
                let mut line = Vec::new();
                printable(word.strip_suffix(b"\n").unwrap_or(&word), &mut line);
                line.push(b'\n');
                std::io::stderr().write_all(&line)?;
            }
        }
        let outcome = handle.outcome().await?;
        let mut out = Vec::new();
        match (self.options.json, outcome.is_done()) {
            (true, _) => shown::outcome(handle.id(), &outcome, &mut out),
            (false, true) if self.raw => out.extend_from_slice(&outcome.body),
            (false, true) => {
                printable(outcome.body.strip_suffix(b"\n").unwrap_or(&outcome.body), &mut out);
                out.push(b'\n');
            }
            (false, false) => {}
        }
        std::io::stdout().write_all(&out)?;
        outcome.done(handle.queue(), handle.id())?;
        Ok(())
    }
}
