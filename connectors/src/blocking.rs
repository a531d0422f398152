//! The same for programs without an async runtime. Reading a file needs none:
//! [`stream_from_file`](crate::stream_from_file).

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use sinew_bus::Pattern;
use sinew_bus::blocking::Bus;

use crate::error::failed;
use crate::pace::Speed;
use crate::{Progress, Result, Stop};

/// As [`stream_to_file`](crate::stream_to_file), on a thread of its own.
///
/// # Errors
/// As [`stream_to_file`](crate::stream_to_file); `Session(InsideRuntime)`.
pub fn stream_to_file(bus: &Bus, pattern: &Pattern, path: impl AsRef<Path>) -> Result<Recording> {
    outside_a_runtime()?;
    let (bus, pattern, path) = (bus.inner().clone(), pattern.clone(), path.as_ref().to_owned());
    let runtime = runtime(&path)?;
    let (begun, begins) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            let recording = match crate::stream_to_file(&bus, &pattern, &path).await {
                Ok(recording) => recording,
                Err(error) => {
                    let _ = begun.send(Err(error));
                    return Ok(Progress::default());
                }
            };
            let (stop, progress) = recording.handles();
            let _ = begun.send(Ok((stop.clone(), progress)));
            recording.ended().await
        })
    });
    let (stop, progress) = begins.recv().expect("the thread says how it began")?;
    Ok(Recording { stop, progress, thread })
}

/// As [`replay_file`](crate::replay_file).
///
/// # Errors
/// As [`replay_file`](crate::replay_file); `Session(InsideRuntime)`.
pub fn replay_file(bus: &Bus, path: impl AsRef<Path>, speed: Option<Speed>) -> Result<Progress> {
    outside_a_runtime()?;
    let path: PathBuf = path.as_ref().into();
    runtime(&path)?.block_on(crate::replay_file(bus.inner(), &path, speed))
}

/// A recording that goes on, on a thread of its own. Dropping it stops it, and nobody waits for what is on its way.
#[derive(Debug)]
pub struct Recording {
    stop: Stop,
    progress: tokio::sync::watch::Receiver<Progress>,
    thread: JoinHandle<Result<Progress>>,
}

impl Recording {
    /// What it has recorded so far.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// As [`Recording::stop`](crate::Recording::stop).
    ///
    /// # Errors
    /// As [`Recording::stop`](crate::Recording::stop).
    pub fn stop(self) -> Result<Progress> {
        self.stop.stop();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn outside_a_runtime() -> Result<()> {
    Ok(sinew_session::block_on(std::future::ready(()))?)
}

fn runtime(path: &Path) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed("make a thread to use", path))
}
