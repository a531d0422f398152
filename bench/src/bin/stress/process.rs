//! The server and the other roles as processes of their own: started, spoken to by lines, ended by their number.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Result;

/// A process that ends with this value.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Process {
    fn start(mut command: Command, name: &str) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output, name: name.into() })
    }

    /// `sinew serve` at a free port of each transport; gives the URLs too.
    pub(crate) fn server(sinew: &Path, home: &Path) -> Result<(Self, Vec<String>)> {
        let mut command = Command::new(sinew);
        command.args(["serve", "--port", "0"]).env("SINEW_HOME", home).stderr(Stdio::null());
        let mut server = Self::start(command, "the server")?;
        while !server.line()?.starts_with("serving") {}
        let endpoints = std::fs::read_to_string(home.join("run/endpoints"))?;
        let urls = endpoints.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        Ok((server, urls))
    }

    /// This program in another role, once it is ready.
    pub(crate) fn role(name: &str, url: &str, home: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([name, "--url", url]).arg("--home").arg(home).args(arguments);
        Self::start(command, name)
    }

    pub(crate) fn ready(mut self) -> Result<Self> {
        match self.line()?.trim() {
            "ready" => Ok(self),
            other => Err(format!("{} said {other:?}", self.name).into()),
        }
    }

    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(format!("{} ended", self.name).into()),
            _ => Ok(line),
        }
    }

    /// The numbers of a line.
    pub(crate) fn numbers(&mut self) -> Result<Vec<u64>> {
        let line = self.line()?;
        Ok(line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or("its input has ended")?;
        Ok(writeln!(input, "{line}")?)
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
    }

    /// The most of it until `done` says so, looked at ten times a second.
    pub(crate) fn resident_most(&self, mut done: impl FnMut() -> bool) -> Result<u64> {
        let mut most = 0;
        while !done() {
            most = most.max(self.resident()?);
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(most)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
