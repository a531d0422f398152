//! The processes of a demonstration: this program itself, with the demonstration's own home. Dropping one kills it, and
//! one whose parent is gone ends by itself, since its standard input ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use super::words::Word;
use crate::failure::Outcome;

/// How long an orderly end may take.
const END_TIMEOUT: Duration = Duration::from_secs(12);
/// How much is shown of what a failed process said.
const STDERR_BYTES_MAX: u64 = 4096;

/// A process that runs.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this program with these arguments.
    pub(super) fn start(home: &Path, name: &str, arguments: &[&str]) -> Outcome<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env("SINEW_HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().expect("it was piped");
        Ok(Self { name: name.to_owned(), process, lines: BufReader::new(stdout).lines() })
    }

    /// Its next line; that there is none is an error, with what it said on standard error.
    pub(super) async fn line(&mut self) -> Outcome<String> {
        match self.lines.next_line().await? {
            Some(line) => Ok(line),
            None => {
                let complaint = self.complaint().await;
                Err(format!("the {} ended early: {complaint}", self.name).into())
            }
        }
    }

    /// The next that it tells.
    pub(super) async fn word(&mut self) -> Outcome<Word> {
        let line = self.line().await?;
        serde_json::from_str(&line).map_err(|_| format!("the {} said `{line}`", self.name).into())
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&mut self) -> Outcome {
        match self.word().await? {
            Word::Ready => Ok(()),
            word => Err(format!("the {} said {word:?} before it was ready", self.name).into()),
        }
    }

    /// Tells it to end, and waits until it has done so in order.
    pub(super) async fn end(mut self) -> Outcome {
        drop(self.process.stdin.take());
        let status = tokio::time::timeout(END_TIMEOUT, self.process.wait()).await;
        let status = status.map_err(|_| format!("the {} did not end within {END_TIMEOUT:?}", self.name))??;
        if status.success() {
            return Ok(());
        }
        let complaint = self.complaint().await;
        Err(format!("the {} failed: {complaint}", self.name).into())
    }

    async fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = self.process.stderr.take() {
            // What cannot be read is not shown; the failure itself is told anyway.
            let _ = stderr.take(STDERR_BYTES_MAX).read_to_string(&mut text).await;
        }
        text.trim().replace('\n', "; ")
    }
}
