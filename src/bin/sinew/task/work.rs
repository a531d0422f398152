//! `sinew task work`: any command becomes a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use sinew::taskqueue::{Job, PAYLOAD_BYTES_MAX, TaskError, WorkerStop};
use sinew::{Bytes, ResourceName};
use tokio::sync::{mpsc, watch};

use super::exec::Exec;
use crate::connection::tell_cuts;
use crate::failure::Outcome;
use crate::format::printable;
use crate::options::{Options, name};
use crate::output::{finish, start_writer};
use crate::signals::Signals;
use crate::units;

/// Do tasks by a command
///
/// Each task starts the command anew: the payload is its standard input, its standard output the result. Writes a line for
/// each attempt that has ended. SIGINT or SIGTERM lets it finish what runs and take nothing more; a second one kills what
/// runs and hands it back, so that others do it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew task work shout --exec 'tr a-z A-Z'
  sinew task work thumbnails --exec 'convert - -resize 128x128 jpg:-' --concurrency 4
  sinew task work training --exec ./train.sh --tag gpu --time-limit 2h

The command is run by `sh -c`, with SINEW_QUEUE, SINEW_TASK and SINEW_ATTEMPT in its environment. Each line that it writes
to standard error is told as progress. If it fails, the task fails with the code exit-N, or signal-N, and the last lines of
its standard error; with the code time-limit or output-limit where it exceeds a limit. It is killed with all that it has
started when the task is cancelled, its deadline passes, a limit is exceeded, or the task is another worker's by then. A
worker that is itself killed by SIGKILL leaves it running: let a service manager end what is left, as systemd does.

Object of --json, one a line:
  {\"task\":\"…\",\"attempt\":1,\"ended\":\"done\",\"bytes\":5,\"seconds\":0.12}
  ended: done, failed (with code and message), recalled, handed-back")]
pub(super) struct Work {
    /// On which queue
    #[arg(value_parser = name)]
    queue: ResourceName,
    /// The command that does a task
    #[arg(long, value_name = "COMMAND")]
    exec: String,
    /// Tasks at one time
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// What it can do: tasks that need this come to it; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// What it calls itself in `sinew task workers`
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,
    /// How long the command may take, such as 30s or 2h. Default: as long as it takes
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    time_limit: Option<Duration>,
    /// How much it may write, such as 64KiB. Default: as much as a result can have, 8128 KiB; the queue's own limit is beside it
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    output_limit: Option<u64>,
    #[command(flatten)]
    options: Options,
}

/// What became of an attempt, as it is written.
#[derive(Serialize)]
struct Ended<'a> {
    task: String,
    attempt: u32,
    ended: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    seconds: f64,
}

/// What all attempts share.
struct Shop {
    exec: Exec,
    json: bool,
    output: mpsc::Sender<Vec<u8>>,
    /// What runs is to be killed and handed back.
    gives_up: watch::Receiver<bool>,
}

impl Work {
    pub(super) async fn run(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let most = u64::from(PAYLOAD_BYTES_MAX);
        let output_bytes_max = self.output_limit.unwrap_or(most).min(most) as usize;
        let exec = Exec { command: self.exec, time_limit: self.time_limit, output_bytes_max };
        let client = tokio::select! {
            client = self.options.client() => client?,
            () = signals.next() => return Ok(()),
        };
        let (output, writer) = start_writer();
        let (give_up, gives_up) = watch::channel(false);
        let shop = Arc::new(Shop { exec, json: self.options.json, output, gives_up });
        let worker = client.tasks().queue(&self.queue).worker();
        let worker = worker.concurrency(self.concurrency).tags(self.tags).name(self.name);
        let stop = worker.stop_handle();
        let work = async {
            let worker = worker.join().await?;
            eprintln!("working on {} as {}", self.queue, worker.id());
            let worked = worker.run(|job| shop.clone().work(job)).await;
            drop(shop);
            worked
        };
        let worked = tokio::select! {
            worked = work => worked,
            () = end(&mut signals, &stop, &give_up) => return Err("ended by a third signal".into()),
            () = tell_cuts(&client) => Ok(()),
        };
        finish(writer, &client, &mut signals).await?;
        Ok(worked?)
    }
}

/// Takes it the easy way at the first signal, the fast way at the second, and resolves with the third.
async fn end(signals: &mut Signals, stop: &WorkerStop, give_up: &watch::Sender<bool>) {
    signals.next().await;
    eprintln!("finishing what runs; once more hands it back");
    let hurry = async {
        signals.next().await;
        give_up.send_replace(true);
        signals.next().await;
    };
    tokio::select! {
        () = hurry => {}
        // It has ended then, and so has whoever waits for this.
        _ = stop.stop() => std::future::pending().await,
    }
}

impl Shop {
    /// Does a task. What became of it is reported before it is written: nobody need read that.
    async fn work(self: Arc<Self>, job: Job) -> Result<Bytes, TaskError> {
        let begun = Instant::now();
        let mut gives_up = self.gives_up.clone();
        let ended = tokio::select! {
            biased;
            _ = job.cancelled() => Err("recalled"),
            _ = gives_up.wait_for(|gives_up| *gives_up) => Err("handed-back"),
            result = self.exec.run(&job) => Ok(result.map(Bytes::from)),
        };
        match &ended {
            Ok(Ok(result)) => job.done(result.clone()),
            Ok(Err(error)) => job.fail(error.clone()),
            // What was recalled is not its own any more, and nothing is told of it.
            Err(_) => job.hand_back(),
        }
        self.tell(&job, &ended, begun.elapsed()).await;
        ended.unwrap_or_else(|why| Err(TaskError::new(why, "the worker has given it up")))
    }

    async fn tell(&self, job: &Job, ended: &Result<Result<Bytes, TaskError>, &'static str>, took: Duration) {
        let (word, bytes, error) = match ended {
            Ok(Ok(result)) => ("done", Some(result.len()), None),
            Ok(Err(error)) => ("failed", None, Some(error)),
            Err(word) => (*word, None, None),
        };
        let ended = Ended {
            task: job.id().to_string(),
            attempt: job.attempt(),
            ended: word,
            bytes,
            code: error.map(|error| &error.code[..]),
            message: error.map(|error| &error.message[..]),
            seconds: (took.as_secs_f64() * 1e3).round() / 1e3,
        };
        let _ = self.output.send(ended.line(self.json)).await;
    }
}

impl Ended<'_> {
    fn line(&self, json: bool) -> Vec<u8> {
        let mut line = Vec::new();
        if json {
            serde_json::to_writer(&mut line, self).expect("numbers and texts can be written into memory");
        } else {
            let Self { task, attempt, ended, bytes, code, message, seconds } = self;
            line.extend_from_slice(format!("{task} attempt {attempt} {ended} in {seconds} s").as_bytes());
            if let Some(bytes) = bytes {
                line.extend_from_slice(format!(", {bytes} bytes").as_bytes());
            }
            if let (Some(code), Some(message)) = (code, message) {
                printable(format!(": {code}: {message}").as_bytes(), &mut line);
            }
        }
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_one_line() {
        let failed = Ended {
            task: "01".into(),
            attempt: 2,
            ended: "failed",
            bytes: None,
            code: Some("exit-7"),
            message: Some("a\nb"),
            seconds: 0.25,
        };
        assert_eq!(failed.line(false), b"01 attempt 2 failed in 0.25 s: exit-7: a\\nb\n");
        let object = r#"{"task":"01","attempt":2,"ended":"failed","code":"exit-7","message":"a\nb","seconds":0.25}"#;
        assert_eq!(failed.line(true), format!("{object}\n").into_bytes());
        let done = Ended { ended: "done", bytes: Some(5), code: None, message: None, ..failed };
        assert_eq!(done.line(false), b"01 attempt 2 done in 0.25 s, 5 bytes\n");
    }
}
