//! This program again, in another role and another process: what it says, line by line, and how it ends.

use std::ffi::OsString;
use std::io::Write;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::Result;

/// Says a word and numbers, on a line of standard output.
pub(crate) fn tell(word: &str, numbers: &[u64]) -> Result<()> {
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    let mut output = std::io::stdout().lock();
    writeln!(output, "{word} {}", numbers.join(" "))?;
    Ok(output.flush()?)
}

/// A process in a role. Killed when it is dropped.
pub(crate) struct Role {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    name: &'static str,
}

impl Role {
    pub(crate) fn start(name: &'static str, arguments: &[OsString]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Self { child, lines, name })
    }

    /// The numbers behind the next line that begins with `word`; lines before it are given to `passed`.
    pub(crate) async fn numbers(&mut self, word: &str, mut passed: impl FnMut(&str, &[u64])) -> Result<Vec<u64>> {
        while let Some(line) = self.lines.next_line().await? {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            let numbers = words.map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
            if first == word {
                return Ok(numbers);
            }
            passed(first, &numbers);
        }
        let status = self.child.wait().await?;
        Err(format!("`{}` ended before it said `{word}`: {status}", self.name).into())
    }

    /// SIGKILL. Gives the last number that it said behind `word`, which may have been on its way.
    pub(crate) async fn kill(mut self, word: &str) -> Result<Option<u64>> {
        self.child.kill().await?;
        let mut last = None;
        while let Some(line) = self.lines.next_line().await? {
            if let Some(numbers) = line.strip_prefix(word) {
                last = numbers.trim().parse().ok().or(last);
            }
        }
        Ok(last)
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", self.name).into()) }
    }
}
