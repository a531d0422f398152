//! A command that does a task: the payload is its standard input, its standard output the result.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sinew::taskqueue::{Job, TaskError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// As much of a command's standard error goes into the message of its failure: the last lines of it.
const COMPLAINT_BYTES_MAX: usize = 4 * 1024;
/// What is read at one time.
const CHUNK_BYTES: usize = 16 * 1024;

/// How tasks are done.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) command: String,
    pub(super) time_limit: Option<Duration>,
    pub(super) output_bytes_max: usize,
}

/// A command that runs. Dropped before it has ended, it is killed with everything that it has started.
struct Group(Child);

impl Exec {
    /// Runs the command on a task. Whatever is still there of it is killed when it takes too long, writes too much, or this is
    /// dropped.
    pub(super) async fn run(&self, job: &Job) -> Result<Vec<u8>, TaskError> {
        let mut group = Group(self.spawn(job).map_err(|error| cannot_run(&error))?);
        let limit = async {
            match self.time_limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = self.attend(job, &mut group.0) => result,
            () = limit => {
                let seconds = self.time_limit.unwrap_or_default().as_secs();
                Err(TaskError::new("time-limit", format!("the command took longer than {seconds} s, and was killed")))
            }
        }
    }

    fn spawn(&self, job: &Job) -> std::io::Result<Child> {
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.command])
            .env("SINEW_QUEUE", job.queue().as_str())
            .env("SINEW_TASK", job.id().to_string())
            .env("SINEW_ATTEMPT", job.attempt().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A group of its own: a signal of the terminal is the worker's, and what the command starts is killed with it.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn()
    }

    /// Gives it its input, takes its output and waits for its end.
    async fn attend(&self, job: &Job, child: &mut Child) -> Result<Vec<u8>, TaskError> {
        let (input, output, complaints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut input) = input {
                // A command that does not read its input says by its exit code whether that matters.
                let _ = input.write_all(job.payload()).await;
            }
            Ok(())
        };
        let listen = async { listen(complaints, job).await.map_err(|error| cannot_run(&error)) };
        let ((), result, complaint) = tokio::try_join!(feed, self.read(output), listen)?;
        let status = child.wait().await.map_err(|error| cannot_run(&error))?;
        if status.success() { Ok(result) } else { Err(failure(status, &complaint)) }
    }

    async fn read(&self, output: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, TaskError> {
        let (max, mut result) = (self.output_bytes_max, Vec::new());
        if let Some(output) = output {
            output.take(max as u64 + 1).read_to_end(&mut result).await.map_err(|error| cannot_run(&error))?;
        }
        if result.len() > max {
            let why = format!("the command wrote more than {max} bytes, and was killed");
            return Err(TaskError::new("output-limit", why));
        }
        Ok(result)
    }
}

/// Reads what the command complains of. The last line that has come is told as progress; the last lines of all are kept.
async fn listen(complaints: Option<impl AsyncRead + Unpin>, job: &Job) -> std::io::Result<Vec<u8>> {
    let (mut tail, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    let Some(mut complaints) = complaints else { return Ok(tail) };
    loop {
        let bytes = complaints.read(&mut chunk).await?;
        if bytes == 0 {
            return Ok(tail);
        }
        tail.extend_from_slice(&chunk[..bytes]);
        tail.drain(..tail.len().saturating_sub(COMPLAINT_BYTES_MAX));
        if let Some(line) = last_line(&tail) {
            job.progress(line.to_vec());
        }
    }
}

/// The last line that has ended and is not empty.
fn last_line(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().rposition(|byte| *byte == b'\n')?;
    text[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty())
}

fn cannot_run(error: &std::io::Error) -> TaskError {
    TaskError::new("cannot-run", format!("the command cannot be run: {error}"))
}

/// A command that did not succeed.
fn failure(status: ExitStatus, complaint: &[u8]) -> TaskError {
    let complaint = String::from_utf8_lossy(complaint);
    let said = complaint.trim();
    let message = if said.is_empty() { format!("the command ended with {status}") } else { said.to_owned() };
    TaskError::new(code(status), message)
}

#[cfg(unix)]
fn code(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit-{code}"),
        (None, Some(signal)) => format!("signal-{signal}"),
        (None, None) => "exit-unknown".into(),
    }
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> String {
    status.code().map_or_else(|| "exit-unknown".into(), |code| format!("exit-{code}"))
}

impl Drop for Group {
    fn drop(&mut self) {
        // It has an id until its end was seen, and until then nobody else can have this id. The command itself is killed and
        // waited for by its handle.
        #[cfg(unix)]
        if let Some(id) = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn how_it_ended_is_a_code_and_the_last_lines() {
        let exit = failure(ExitStatus::from_raw(7 << 8), b"one\ntwo\n");
        assert_eq!((&exit.code[..], &exit.message[..], exit.is_final), ("exit-7", "one\ntwo", false));
        let signal = failure(ExitStatus::from_raw(9), b" \n");
        assert_eq!(signal.code, "signal-9");
        assert!(signal.message.starts_with("the command ended with signal: 9"), "{}", signal.message);
    }

    #[test]
    fn progress_is_the_last_line_that_has_ended() {
        assert_eq!(last_line(b"10 %\n20 %\n30"), Some(&b"20 %"[..]));
        assert_eq!(last_line(b"10 %\r\n\n"), Some(&b"10 %"[..]));
        assert_eq!(last_line(b"10 %"), None);
        assert_eq!(last_line(b"\n\n"), None);
    }
}
