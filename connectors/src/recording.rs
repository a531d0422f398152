//! The original's two calls: a subject pattern of the bus into a file, and the file's messages again, with their times.

use std::path::Path;

use sinew_bus::{Bus, Pattern, SubscribeOptions};
use tokio::task::JoinHandle;

use crate::bus::sink::BusSink;
use crate::bus::source::BusSource;
use crate::file::sink::FileSink;
use crate::file::source::{FileSource, Reading};
use crate::format::Lines;
use crate::pace::Speed;
use crate::{Connection, ConnectionOptions, Item, Progress, Result, Stop};

/// Records what is published under `pattern` into a file, one JSON object a line, gzip when the name ends in `.gz`. It is
/// appended to. Resolves when the bus has registered the subscription and the file is open: what is published from then
/// on is recorded. Records until it is stopped; what the bus lost stands in the file, in its place, as `{"lost":7}`.
///
/// Runs as a task of the caller's runtime.
///
/// # Errors
/// `File`, `FileInUse` and `Malformed` for a file that cannot be appended to; `Bus`.
pub async fn stream_to_file(bus: &Bus, pattern: &Pattern, path: impl AsRef<Path>) -> Result<Recording> {
    let source = BusSource::new(bus.clone(), pattern.clone(), SubscribeOptions::default());
    let sink = FileSink::new(path.as_ref(), Lines::default());
    let mut connection = Connection::new(None, Box::new(source), Box::new(sink), ConnectionOptions::default());
    connection.begin().await?;
    let (stop, progress) = (connection.stopper(), connection.progress());
    Ok(Recording { stop, progress, task: tokio::spawn(connection.run_on()) })
}

/// The messages of a file that [`stream_to_file`] or a connector wrote, in order, with the times when they were heard. The
/// file is read as it is taken from; this blocks for as long as the disk does. A file that ends too early ends the
/// messages there, and the log says so.
///
/// Each is an error or a message; an error is the last.
pub fn stream_from_file(path: impl AsRef<Path>) -> Messages {
    Messages { reading: Some(Reading::new(path.as_ref().into(), Lines::default(), 0)) }
}

/// Publishes the messages of a file under their subjects, as far apart as they were heard, or as fast as it goes.
/// Resolves when the server has the last one.
///
/// # Errors
/// `File`, `Damaged`, `Malformed`; `NoSubject`; `Bus`.
pub async fn replay_file(bus: &Bus, path: impl AsRef<Path>, speed: Option<Speed>) -> Result<Progress> {
    let source = FileSource::new(path.as_ref())?;
    let options = ConnectionOptions { speed, ..ConnectionOptions::default() };
    Connection::new(None, Box::new(source), Box::new(BusSink::new(bus.clone())), options).run().await
}

/// A recording that goes on. Dropping it stops it, too, and nobody waits for what is on its way.
#[derive(Debug)]
pub struct Recording {
    stop: Stop,
    progress: tokio::sync::watch::Receiver<Progress>,
    task: JoinHandle<Result<Progress>>,
}

impl Recording {
    /// What it has recorded so far.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// The same, as it changes.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<Progress> {
        self.progress.clone()
    }

    pub(crate) fn handles(&self) -> (Stop, tokio::sync::watch::Receiver<Progress>) {
        (self.stop.clone(), self.progress.clone())
    }

    /// Waits until it has ended, however that comes.
    pub(crate) async fn ended(mut self) -> Result<Progress> {
        match (&mut self.task).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Ok(self.progress()),
        }
    }

    /// Stops it in order: what was heard is in the file, synced.
    ///
    /// # Errors
    /// Why it has ended, if it has: `File` where the disk said no, `Bus` where the session is over.
    pub async fn stop(self) -> Result<Progress> {
        self.stop.stop();
        self.ended().await
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Messages of a file.
#[derive(Debug)]
pub struct Messages {
    reading: Option<Reading>,
}

impl Iterator for Messages {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        let next = self.reading.as_mut()?.next_item();
        if !matches!(next, Some(Ok(_))) {
            self.reading = None;
        }
        next
    }
}
