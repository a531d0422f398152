//! `sinew serve` as a process of its own, for the measurements of services as users run them: started, looked at, ended in order
//! or killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::AbortHandle;

/// Everything fails with a text; nobody matches on it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How often the server's memory and the disk are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the server may take to say that it serves, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs. Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// It is spoken to no more; what it says is not to fill a pipe.
    _lines: Lines<BufReader<ChildStdout>>,
    /// Where it is reached.
    pub url: String,
    /// When it was started.
    pub began: Instant,
}

/// The most that was seen.
#[derive(Debug, Default)]
struct Most {
    resident: AtomicU64,
    disk: AtomicU64,
}

/// Looks again and again, until it is dropped.
#[derive(Debug)]
pub struct Watching {
    most: Arc<Most>,
    task: AbortHandle,
}

impl Server {
    /// `sinew serve` over QUIC at a free port, once it says that it serves.
    ///
    /// # Errors
    /// If it cannot be started, or does not say within two minutes that it serves.
    pub async fn start(sinew: &Path, home: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(sinew);
        command.args(["serve", "--listen", "quic://127.0.0.1:0", "--data"]).arg(data).env("SINEW_HOME", home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let began = Instant::now();
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let serves = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("serving") {
                    return Ok(());
                }
            }
            Err("the server ended before it served".into())
        };
        tokio::time::timeout(PATIENCE, serves)
            .await
            .map_err(|_| "the server did not say that it serves")?
            .map_err(|error: Box<dyn std::error::Error + Send + Sync>| error)?;
        let endpoints = std::fs::read_to_string(home.join("run/endpoints"))?;
        let url = endpoints.lines().find(|line| line.starts_with("quic")).ok_or("no QUIC endpoint")?.to_owned();
        Ok(Self { child, _lines: lines, url, began })
    }

    /// Resident memory, in bytes.
    ///
    /// # Errors
    /// If it has ended, or the system does not tell.
    pub fn resident(&self) -> Result<u64> {
        resident(self.child.id().ok_or("it has ended")?)
    }

    /// Looks at its memory, and at the disk, until that is dropped.
    ///
    /// # Errors
    /// If it has ended.
    pub fn watch(&self, data: &Path) -> Result<Watching> {
        let (most, id, data) = (Arc::new(Most::default()), self.child.id().ok_or("it has ended")?, data.to_owned());
        let seen = most.clone();
        let looking = async move {
            loop {
                seen.resident.fetch_max(resident(id).unwrap_or(0), Ordering::Relaxed);
                let folder = data.clone();
                let disk = tokio::task::spawn_blocking(move || disk_bytes(&folder)).await.unwrap_or(0);
                seen.disk.fetch_max(disk, Ordering::Relaxed);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        Ok(Watching { most, task: tokio::spawn(looking).abort_handle() })
    }

    /// SIGTERM, and until it has ended.
    ///
    /// # Errors
    /// If it does not end within two minutes, or says that it failed.
    pub async fn end(mut self) -> Result<()> {
        let id = self.child.id().ok_or("it has ended")?;
        let id = rustix::process::Pid::from_raw(i32::try_from(id)?).ok_or("no process")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let status =
            tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(|_| "the server did not end")??;
        if status.success() { Ok(()) } else { Err(format!("the server failed: {status}").into()) }
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

impl Watching {
    /// The most of its resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        self.most.resident.load(Ordering::Relaxed)
    }

    /// The most of its files, in bytes.
    pub fn disk(&self) -> u64 {
        self.most.disk.load(Ordering::Relaxed)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn resident(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{id}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

/// Bytes of all files below a folder. What goes away meanwhile does not count.
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
