//! The built-in engine: each stream in a folder of its own below one data directory.
//!
//! Streams are opened when they are first asked for, each by itself, so that many open at one time; those that nobody
//! holds are closed when too many are open. What may wait for a disk runs on tokio's blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use sinew_hosting::{Folder, GoOn, Places, Upkeep, Walk, blocking, cancellable, locked};
use sinew_journal::{Committer, DataDirectory, Disk, Files};
use sinew_session::ResourceName;

use super::backup;
use super::folder::{LAYOUT, folder};
use super::host::{Clock, SystemClock};
use super::journal_stream::JournalStream;
use super::stored_stream::{Held, StoredStream};
use super::{EngineOptions, Host, storage_of};
use crate::stream::check_config;
use crate::{Compaction, Engine, Error, ProgressSink, Result, Retention, Stream, StreamConfig, StreamInfo};

/// Streams that are closed at one time when the engine is: each waits for a few syncs.
const CLOSING_MAX: usize = 8;

/// Names that one step of the walk through streams that are not open looks at.
const WALK_NAMES_MAX: usize = 100;

/// Streams in a data directory, each in its own journal, acknowledged once on disk. Cheap to clone. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct JournalEngine {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) host: Arc<Host>,
    places: Places<Arc<StoredStream>>,
    /// The one that was maintained last of those that were not open.
    walked: Mutex<Option<ResourceName>>,
    upkeep: Upkeep,
    pub(super) committer: Arc<Committer>,
}

impl JournalEngine {
    /// Opens the data directory, which one process has at a time, and makes it where it is missing. What was being made
    /// or removed when the last process ended is removed. Streams are opened later.
    ///
    /// # Errors
    /// `Storage`: the directory is in use, of a newer version, or cannot be read.
    pub fn open(path: impl AsRef<Path>, options: EngineOptions) -> Result<Self> {
        let upkeep = Self::upkeep(&options)?;
        Self::open_on(Arc::new(Disk), path.as_ref(), options, Box::<SystemClock>::default(), upkeep)
    }

    /// The same in a data directory and with a committer that others use too; the option for the committer's threads has
    /// no meaning then.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(directory: Arc<DataDirectory>, committer: Arc<Committer>, options: EngineOptions) -> Result<Self> {
        let upkeep = Self::upkeep(&options)?;
        let host = Arc::new(Host::new(directory, Box::<SystemClock>::default(), options));
        Self::with(host, committer, upkeep)
    }

    fn upkeep(options: &EngineOptions) -> Result<Upkeep> {
        let upkeep = Upkeep::start("sinew-upkeep", options.maintenance_interval);
        upkeep.map_err(|error| storage_of("", format!("no thread for upkeep: {error}")))
    }

    pub(crate) fn open_on(
        files: Arc<dyn Files>,
        path: &Path,
        options: EngineOptions,
        clock: Box<dyn Clock>,
        upkeep: Upkeep,
    ) -> Result<Self> {
        let failed = |error: sinew_journal::Error| super::explain("*", &error);
        let directory = DataDirectory::open(files, path).map_err(failed)?;
        let committer = Committer::new(options.committer_threads).map_err(failed)?;
        let host = Arc::new(Host::new(Arc::new(directory), clock, options));
        Self::with(host, Arc::new(committer), upkeep)
    }

    fn with(host: Arc<Host>, committer: Arc<Committer>, upkeep: Upkeep) -> Result<Self> {
        let places = Places::new(Folder::find_all(&host.directory, &LAYOUT)?);
        let inner = Arc::new(Inner { host, places, walked: Mutex::default(), upkeep, committer });
        let walk: Weak<dyn Walk> = Arc::<Inner>::downgrade(&inner);
        inner.upkeep.walk(walk);
        Ok(Self { inner })
    }

    /// The stream of this name with this configuration: opened, and made or altered where needed. May wait.
    pub(crate) fn open_now(&self, name: &ResourceName, config: &StreamConfig) -> Result<Held> {
        if !self.inner.places.has(name) {
            self.inner.create(name, config)?;
        }
        let stream = self.inner.opened(name)?;
        if *stream.config() != *config {
            self.inner.alter(name, config)?;
        }
        Ok(stream)
    }

    /// As [`Engine::import`]. May wait.
    pub(crate) fn import_now(
        &self,
        name: &ResourceName,
        config: &StreamConfig,
        source: &Path,
        go_on: GoOn<'_>,
    ) -> Result<StreamInfo> {
        check_config(name.as_str(), config)?;
        let host = &self.inner.host;
        self.inner.fill(name, |folder| {
            crate::import::import(host, folder, config, source, go_on)?;
            Ok(config.clone())
        })
    }

    /// As [`Engine::close`]. May wait.
    pub(crate) fn close_now(&self) -> Result<()> {
        self.inner.close()
    }

    /// As [`Engine::delete`]. May wait.
    #[cfg(test)]
    pub(crate) fn delete_now(&self, name: &ResourceName) -> Result<()> {
        self.inner.delete(name)
    }

    /// As [`Engine::stream`]. May wait.
    #[cfg(test)]
    pub(crate) fn opened(&self, name: &ResourceName) -> Result<Held> {
        self.inner.opened(name)
    }

    /// As if the process was killed: what is open is dropped and not closed.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.inner.places.forget();
    }

    /// As the thread does it at each interval.
    #[cfg(test)]
    pub(crate) fn maintain_next(&self) {
        self.inner.maintain_next(&mut |_| true);
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.inner.places.place_count()
    }

    #[cfg(test)]
    pub(crate) fn run_dirty(&self) -> usize {
        self.inner.committer.run_dirty()
    }
}

impl Inner {
    /// The stream, opened where it was not. May wait.
    pub(super) fn opened(&self, name: &ResourceName) -> Result<Held> {
        self.places.check(name)?;
        let place = self.places.place(name)?;
        self.opened_in(name, &mut place.lock())
    }

    fn opened_in(&self, name: &ResourceName, open: &mut Option<Arc<StoredStream>>) -> Result<Held> {
        if let Some(stream) = open {
            return Ok(stream.hold());
        }
        let folder = folder(&self.host, name);
        let config = folder.config()?.ok_or_else(|| Error::UnknownStream { stream: name.to_string() })?;
        self.make_room(name)?;
        let stream = StoredStream::open(&self.host, folder, config, &self.committer, self.upkeep.bell(name))?;
        self.upkeep.look_after(&stream);
        Ok(open.insert(stream).hold())
    }

    /// Closes streams that nobody holds until one more may be open.
    fn make_room(&self, name: &ResourceName) -> Result<()> {
        let max = self.host.options.streams_open_max;
        let close = |stream: Arc<StoredStream>| {
            if let Err(error) = stream.close() {
                // What is wrong with it, who opens it again hears; what it has acknowledged is on disk.
                tracing::warn!(stream = %stream.name, %error, "a stream was not closed in order; its next start takes longer");
            }
        };
        // The one that is to be opened is locked, and so among them.
        if self.places.make_room(max, |stream| !stream.is_held(), close) {
            return Ok(());
        }
        let reason = format!("{max} streams are in use, and `{name}` is one more; raise `streams_open_max`");
        Err(Error::Limit { reason })
    }

    fn create(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        check_config(name.as_str(), config)?;
        let place = self.places.place(name)?;
        let mut open = place.lock();
        if self.places.has(name) {
            let stream = self.opened_in(name, &mut open)?;
            if *stream.config() == *config {
                return Ok(stream.info());
            }
        }
        open.make(&folder(&self.host, name), self.host.options.streams_max, |_| Ok::<_, Error>(config))?;
        Ok(self.opened_in(name, &mut open)?.info())
    }

    fn alter(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        check_config(name.as_str(), config)?;
        let stream = self.opened(name)?;
        let altered = stream.alter(config, &self.committer);
        if stream.current_range().ended {
            // It could not be opened with that: whoever asks for it next tries again.
            let place = self.places.place(name)?;
            place.lock().take_if(|open| Arc::ptr_eq(open, &*stream));
        }
        altered.map(|()| stream.info())
    }

    fn delete(&self, name: &ResourceName) -> Result<()> {
        let place = self.places.place(name)?;
        let mut open = place.lock();
        self.places.check(name)?;
        if let Some(stream) = open.take() {
            stream.abandon();
            // Whoever maintains it stops at the next look.
            drop(locked(&stream.upkeep));
        }
        Ok(open.remove(&folder(&self.host, name))?)
    }

    /// Makes a stream by filling its folder; nothing is there before all is.
    fn fill(&self, name: &ResourceName, fill: impl FnOnce(&Folder) -> Result<StreamConfig>) -> Result<StreamInfo> {
        let place = self.places.place(name)?;
        let mut open = place.lock();
        open.make(&folder(&self.host, name), self.host.options.streams_max, fill)?;
        Ok(self.opened_in(name, &mut open)?.info())
    }

    fn close(&self) -> Result<()> {
        self.places.close(CLOSING_MAX, |stream| stream.close())
    }
}

impl Inner {
    /// The next stream in turn that is not open and in which something may be due.
    fn next_unopened(&self) -> Option<ResourceName> {
        for _ in 0..WALK_NAMES_MAX {
            let mut walked = locked(&self.walked);
            let (name, is_open) = self.places.next(walked.as_ref())?;
            *walked = Some(name.clone());
            drop(walked);
            let keeps_all = |config: &StreamConfig| {
                config.retention == Retention::default() && config.compaction == Compaction::Off
            };
            // One that cannot be read is told of when it is opened.
            let config = folder(&self.host, &name).config().ok().flatten();
            if !is_open && config.is_some_and(|config| !keeps_all(&config)) {
                return Some(name);
            }
        }
        None
    }

    fn maintain_unopened(&self, name: &ResourceName, go_on: GoOn<'_>) -> Result<()> {
        if self.places.open_count() >= self.host.options.streams_open_max {
            return Ok(());
        }
        let done = self.opened(name)?.maintain(go_on);
        let place = self.places.place(name)?;
        let idle = place.lock().take_if(|stream| !stream.is_held());
        idle.map_or(Ok(()), |stream| stream.close())?;
        done.map(drop)
    }
}

impl Walk for Inner {
    fn maintain_next(&self, go_on: GoOn<'_>) {
        if let Some(name) = self.next_unopened()
            && let Err(error) = self.maintain_unopened(&name, go_on)
        {
            tracing::warn!(stream = %name, %error, "a stream that is not open could not be maintained; later");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.upkeep.stop();
        if !self.places.has_ended()
            && let Err(error) = self.close()
        {
            tracing::warn!(%error, "the event log was not closed in order; it recovers at the next start");
        }
    }
}

#[async_trait]
impl Engine for JournalEngine {
    async fn create(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        let (inner, name, config) = (self.inner.clone(), name.clone(), config.clone());
        blocking(move || inner.create(&name, &config)).await
    }

    async fn alter(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        let (inner, name, config) = (self.inner.clone(), name.clone(), config.clone());
        blocking(move || inner.alter(&name, &config)).await
    }

    async fn delete(&self, name: &ResourceName) -> Result<()> {
        let (inner, name) = (self.inner.clone(), name.clone());
        blocking(move || inner.delete(&name)).await
    }

    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>> {
        Ok(self.inner.places.names(after, max))
    }

    async fn stream(&self, name: &ResourceName) -> Result<Arc<dyn Stream>> {
        if let Some(stream) = self.inner.places.look(name, StoredStream::hold)? {
            return Ok(Arc::new(JournalStream::new(stream)));
        }
        let (inner, name) = (self.inner.clone(), name.clone());
        let stream = blocking(move || inner.opened(&name)).await?;
        Ok(Arc::new(JournalStream::new(stream)))
    }

    async fn restore(&self, name: &ResourceName, source: &Path, progress: ProgressSink) -> Result<StreamInfo> {
        let (inner, name, source) = (self.inner.clone(), name.clone(), source.to_owned());
        cancellable(progress, move |go_on| inner.fill(&name, |folder| backup::restore(folder, &source, go_on))).await
    }

    async fn import(
        &self,
        name: &ResourceName,
        config: &StreamConfig,
        source: &Path,
        progress: ProgressSink,
    ) -> Result<StreamInfo> {
        let (engine, name, source, config) = (self.clone(), name.clone(), source.to_owned(), config.clone());
        cancellable(progress, move |go_on| engine.import_now(&name, &config, &source, go_on)).await
    }

    async fn failed(&self) -> Error {
        self.inner.host.failure.wait(&self.inner.committer, |error| super::explain("*", error)).await
    }

    async fn close(&self) -> Result<()> {
        let inner = self.inner.clone();
        blocking(move || inner.close()).await
    }
}
