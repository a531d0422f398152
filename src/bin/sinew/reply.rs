//! `sinew reply`: answers requests, with a fixed payload or by a command.

use std::io::Write;
use std::process::Stdio;

use clap::Args;
use sinew::{Asked, Pattern, Responder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::connection::ConnectionOptions;
use crate::failure::Outcome;
use crate::format::Format;
use crate::signals::Signals;

/// Answer requests on the bus, and write them to standard output
///
/// One after the other; start it several times, here or elsewhere, to share the work: each request goes to one. Goes on
/// until SIGINT, SIGTERM or --count requests.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew reply 'lamp.status' on
  sinew reply 'math.add' --exec bc
  sinew reply 'echo.*' --exec 'echo \"$SINEW_SUBJECT: $(cat)\"'

A command is run by `sh -c`: the request is its standard input, the subject is in SINEW_SUBJECT, and its standard output
is the answer. If it fails, its exit code and the last line of its standard error go to the requester. One that takes
longer than the requester waits is killed.")]
#[command(group(clap::ArgGroup::new("answer").required(true).args(["payload", "exec"])))]
pub(crate) struct Reply {
    /// Which subjects: `*` stands for one token, `>` at the end for one or more
    pattern: Pattern,
    /// The answer to each of them
    #[arg(allow_hyphen_values = true)]
    payload: Option<String>,
    /// The command that makes the answer
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// End after so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Write the requests as JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// The largest answer of a command: what a session carries in one record.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// As much of a command's standard error is looked at for its last line.
const COMPLAINT_BYTES_MAX: u64 = 64 * 1024;

impl Reply {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.reply())
    }

    async fn reply(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let begin = async {
            let client = self.connection.connect().await?;
            let responder = client.bus().respond(&self.pattern).await?;
            Outcome::Ok((client, responder))
        };
        let (client, responder) = tokio::select! {
            begun = begin => begun?,
            () = signals.next() => return Ok(()),
        };
        eprintln!("responding to {}", self.pattern);
        tokio::select! {
            outcome = self.answer_all(responder) => outcome?,
            () = signals.next() => return Ok(()),
        }
        client.close().await?;
        Ok(())
    }

    async fn answer_all(&self, mut responder: Responder) -> Outcome {
        let format = Format::new(self.json, false, false);
        for _ in 0..self.count.unwrap_or(u64::MAX) {
            let Some(asked) = responder.next().await else {
                return Err(responder.end().map_or_else(|| "the session has ended".into(), Into::into));
            };
            let mut line = Vec::new();
            format.message(&asked.message, &mut line);
            std::io::stdout().write_all(&line)?;
            self.answer(asked).await?;
        }
        Ok(())
    }

    async fn answer(&self, asked: Asked) -> Outcome {
        let Some(command) = &self.exec else {
            return Ok(asked.answer(self.payload.clone().unwrap_or_default()).await?);
        };
        match tokio::time::timeout(asked.deadline, execute(command, &asked)).await {
            Ok(Ok(answer)) => asked.answer(answer).await?,
            Ok(Err(why)) => asked.fail(&why),
            Err(_) => asked.fail("it took longer than the requester waits"),
        }
        Ok(())
    }
}

/// Runs a command on a request. It is killed when this is dropped.
async fn execute(command: &str, asked: &Asked) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("the command cannot be run: {error}");
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("SINEW_SUBJECT", asked.message.subject.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let complaints = child.stderr.take();
    let feed = async {
        if let Some(mut input) = input.take() {
            // A command that does not read its input says by its exit code whether that matters.
            let _ = input.write_all(&asked.message.body).await;
        }
    };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let read = read_up_to(output, ANSWER_BYTES_MAX + 1, &mut answer);
    let listen = read_up_to(complaints, COMPLAINT_BYTES_MAX, &mut complaint);
    let ((), read, listened) = tokio::join!(feed, read, listen);
    read.and(listened).map_err(failed)?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return Err(format!("its answer has more than {ANSWER_BYTES_MAX} bytes"));
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(answer) } else { Err(told(&status.to_string(), &complaint)) }
}

async fn read_up_to(
    stream: Option<impl tokio::io::AsyncRead + Unpin>,
    bytes_max: u64,
    into: &mut Vec<u8>,
) -> std::io::Result<()> {
    if let Some(stream) = stream {
        stream.take(bytes_max).read_to_end(into).await?;
    }
    Ok(())
}

/// How a command ended, and the last line it wrote to standard error.
fn told(status: &str, complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("the command ended with {status}: {}", line.trim()),
        None => format!("the command ended with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn the_last_line_is_told() {
        assert_eq!(told("exit status: 3", b"a\n b \n\n"), "the command ended with exit status: 3: b");
        assert_eq!(told("exit status: 3", b""), "the command ended with exit status: 3");
    }
}
