//! Runs the binary in a home of its own. Whatever is waited for has a deadline, and nothing that was started is left.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

/// Far more than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// The schemes of this build that reach a server through a port.
pub(crate) fn schemes() -> Vec<&'static str> {
    let schemes = [("zmq", cfg!(feature = "zmq")), ("quic", cfg!(feature = "quic"))];
    schemes.iter().filter(|(_, on)| *on).map(|(scheme, _)| *scheme).collect()
}

/// A directory of keys for one account; removed when dropped.
pub(crate) struct Home {
    directory: TempDir,
}

/// What a program that has ended left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A file or directory in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("home").join(name)
    }

    /// Starts `sinew` with these arguments.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Running {
        self.start_with(arguments, &[])
    }

    /// The same, with these in its environment.
    fn start_with<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &Path)],
    ) -> Running {
        self.start_command(Command::new(env!("CARGO_BIN_EXE_sinew")).args(arguments), variables)
    }

    /// Starts this test program itself, for one test alone, with this in its environment.
    pub(crate) fn start_test(&self, test: &str, variable: &str, value: &str) -> Running {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(variable, value);
        self.start_command(&mut command, &[])
    }

    fn start_command(&self, command: &mut Command, variables: &[(&str, &Path)]) -> Running {
        let mut child = command
            .env("SINEW_HOME", self.path(""))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = read_on_thread(child.stdout.take().unwrap());
        let stderr = read_on_thread(child.stderr.take().unwrap());
        Running { child, stdout, stderr, deadline: Instant::now() + PATIENCE }
    }

    /// Runs `sinew` with these arguments to its end, with nothing on its standard input.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ended {
        self.start(arguments).end()
    }

    /// The same, with one more variable in its environment.
    pub(crate) fn run_with<const N: usize>(&self, arguments: [&str; N], variable: &str, value: &Path) -> Ended {
        self.start_with(arguments, &[(variable, value)]).end()
    }

    /// Runs it; it must succeed; gives its standard output.
    pub(crate) fn succeed<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let ended = self.run(arguments);
        assert!(ended.status.success(), "{}", ended.stderr);
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Runs it; it must fail with exit code 1; gives its standard error.
    pub(crate) fn fail<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        ended.stderr
    }

    /// Publishes until somebody hears it.
    pub(crate) fn until_heard(&self, subject: &str) {
        let begun = Instant::now();
        while !self.succeed(["pub", subject, "probe", "--confirm"]).contains("delivered to 1") {
            assert!(begun.elapsed() < PATIENCE, "nobody hears {subject}");
        }
    }

    /// Starts a server on a free port, and waits until it serves.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Serving {
        self.serve_with(&[&["serve", "--port", "0"], arguments].concat())
    }

    /// The same on a port where one has listened before.
    pub(crate) fn serve_at(&self, port: &str) -> Serving {
        self.serve_with(&["serve", "--port", port])
    }

    /// The same, where no file can grow beyond so many blocks of 512 bytes: writing fails there.
    pub(crate) fn serve_in_small_files(&self, blocks: u32) -> Serving {
        let program = env!("CARGO_BIN_EXE_sinew");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{program}' serve --port 0");
        self.serving(self.start_command(Command::new("sh").args(["-c", &script]), &[]))
    }

    fn serve_with(&self, arguments: &[&str]) -> Serving {
        self.serving(self.start(arguments))
    }

    fn serving(&self, mut running: Running) -> Serving {
        let mut greeting = String::new();
        while !greeting.contains("\nserving") {
            greeting += &running.line();
        }
        let endpoints = std::fs::read_to_string(self.path("run/endpoints")).unwrap();
        let urls = endpoints.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        Serving { running, greeting, urls }
    }
}

/// A server that serves.
pub(crate) struct Serving {
    pub(crate) running: Running,
    pub(crate) greeting: String,
    pub(crate) urls: Vec<String>,
}

impl Serving {
    /// The URL of that scheme, with the server's key.
    pub(crate) fn url(&self, scheme: &str) -> String {
        let start = format!("{scheme}://");
        self.urls
            .iter()
            .find(|url| url.starts_with(&start))
            .unwrap_or_else(|| panic!("{scheme} in {:?}", self.urls))
            .clone()
    }
}

/// A program that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    deadline: Instant,
}

impl Running {
    /// The next line of its standard output, with its line feed.
    pub(crate) fn line(&mut self) -> String {
        match next(&self.stdout, self.deadline) {
            Some(line) => String::from_utf8(line).unwrap(),
            None => panic!("it ended: {}", self.rest_of_stderr()),
        }
    }

    /// The next line of its standard error.
    pub(crate) fn complaint(&mut self) -> String {
        String::from_utf8(next(&self.stderr, self.deadline).expect("it says something")).unwrap()
    }

    /// Writes to its standard input, which ends then.
    pub(crate) fn feed(&mut self, input: &[u8]) {
        self.child.stdin.take().unwrap().write_all(input).unwrap();
    }

    /// Writes to its standard input, which stays open.
    pub(crate) fn feed_and_keep(&mut self, input: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(input).unwrap();
    }

    /// The same, of a program that may end before it has read everything.
    pub(crate) fn offer(&mut self, input: &[u8]) {
        match self.child.stdin.take().unwrap().write_all(input) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
    }

    /// Whether it goes on, as far as is known.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it stands still, once it was sent a signal that stops it.
    pub(crate) fn until_stopped(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.child)), options).unwrap();
        assert!(status.is_some_and(|status| status.stopped()), "it has ended");
    }

    /// It may run for long: what is waited for from now on has all the time again.
    pub(crate) fn with_fresh_patience(&mut self) -> &mut Self {
        self.deadline = Instant::now() + PATIENCE;
        self
    }

    /// Nobody reads its standard output any more.
    pub(crate) fn stop_reading(&mut self) {
        let (_, closed) = channel();
        self.stdout = closed;
    }

    /// Ends its standard input and waits for its end, with fresh patience: it may have run for long.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        self.deadline = Instant::now() + PATIENCE;
        let mut stdout = Vec::new();
        while let Some(line) = next(&self.stdout, self.deadline) {
            stdout.extend(line);
        }
        let stderr = self.rest_of_stderr();
        // Both streams have ended, so the process has, or is about to.
        Ended { status: self.child.wait().unwrap(), stdout, stderr }
    }

    fn rest_of_stderr(&mut self) -> String {
        let mut text = Vec::new();
        while let Some(line) = next(&self.stderr, self.deadline) {
            text.extend(line);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next line; `None` at the end of the stream.
fn next(lines: &Receiver<Vec<u8>>, deadline: Instant) -> Option<Vec<u8>> {
    match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("nothing came for {PATIENCE:?}"),
    }
}

/// Gives out line by line, so that the program never waits for us. Ends when nobody listens, which closes the stream.
fn read_on_thread(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (lines, receiver) = channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match stream.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if lines.send(line).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    receiver
}

/// Adds a line to a file.
pub(crate) fn append(path: &Path, line: &str) {
    writeln!(std::fs::File::options().append(true).open(path).unwrap(), "{line}").unwrap();
}
