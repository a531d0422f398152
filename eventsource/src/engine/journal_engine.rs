//! The built-in engine: each stream in a folder of its own below one data directory.
//!
//! Streams are opened when they are first asked for, each by itself, so that many open at one time; those that nobody
//! holds are closed when too many are open. What may wait for a disk runs on tokio's blocking threads.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, Deref};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use sinew_hosting::{Folder, GoOn, blocking, cancellable, locked};
use sinew_journal::{Committer, DataDirectory, Disk, Files};
use sinew_session::ResourceName;

use super::backup;
use super::folder::{LAYOUT, folder};
use super::host::{Clock, SystemClock};
use super::journal_stream::JournalStream;
use super::maintenance::{Maintenance, Walk};
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
    table: Mutex<Table>,
    maintenance: Maintenance,
    pub(super) committer: Arc<Committer>,
}

#[derive(Debug, Default)]
struct Table {
    /// Streams that are there.
    names: BTreeSet<ResourceName>,
    /// Those that somebody asked for.
    slots: HashMap<ResourceName, Arc<Slot>>,
    /// Counts questions, to tell who was asked for lately.
    asked: u64,
    /// The one that was maintained last of those that were not open.
    walked: Option<ResourceName>,
    is_closed: bool,
}

/// A stream that is open, or not. Its lock is held while it is opened, closed, made or removed.
#[derive(Debug, Default)]
pub(super) struct Slot {
    open: Mutex<Option<Arc<StoredStream>>>,
    asked: std::sync::atomic::AtomicU64,
}

/// A stream's place in somebody's hand. Given back, it goes where there is no such stream.
struct InHand<'a> {
    engine: &'a Inner,
    name: &'a ResourceName,
    /// `None` once it is given back.
    slot: Option<Arc<Slot>>,
}

impl Deref for InHand<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        self.slot.as_ref().expect("held until dropped")
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.slot = None;
        let mut table = locked(&self.engine.table);
        // Whoever is last sees that nobody else has it.
        let is_unused = table.slots.get(self.name).is_some_and(|slot| Arc::strong_count(slot) == 1);
        if is_unused && !table.names.contains(self.name) {
            table.slots.remove(self.name);
        }
    }
}

impl JournalEngine {
    /// Opens the data directory, which one process has at a time, and makes it where it is missing. What was being made
    /// or removed when the last process ended is removed. Streams are opened later.
    ///
    /// # Errors
    /// `Storage`: the directory is in use, of a newer version, or cannot be read.
    pub fn open(path: impl AsRef<Path>, options: EngineOptions) -> Result<Self> {
        let maintenance = Self::maintenance(&options)?;
        Self::open_on(Arc::new(Disk), path.as_ref(), options, Box::<SystemClock>::default(), maintenance)
    }

    /// The same in a data directory and with a committer that others use too; the option for the committer's threads has
    /// no meaning then.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(directory: Arc<DataDirectory>, committer: Arc<Committer>, options: EngineOptions) -> Result<Self> {
        let maintenance = Self::maintenance(&options)?;
        let host = Arc::new(Host::new(directory, Box::<SystemClock>::default(), options));
        Self::with(host, committer, maintenance)
    }

    fn maintenance(options: &EngineOptions) -> Result<Maintenance> {
        let maintenance = Maintenance::start(options.maintenance_interval);
        maintenance.map_err(|error| storage_of("", format!("no thread for upkeep: {error}")))
    }

    pub(crate) fn open_on(
        files: Arc<dyn Files>,
        path: &Path,
        options: EngineOptions,
        clock: Box<dyn Clock>,
        maintenance: Maintenance,
    ) -> Result<Self> {
        let failed = |error: sinew_journal::Error| super::explain("*", &error);
        let directory = DataDirectory::open(files, path).map_err(failed)?;
        let committer = Committer::new(options.committer_threads).map_err(failed)?;
        let host = Arc::new(Host::new(Arc::new(directory), clock, options));
        Self::with(host, Arc::new(committer), maintenance)
    }

    fn with(host: Arc<Host>, committer: Arc<Committer>, maintenance: Maintenance) -> Result<Self> {
        let names = Folder::find_all(&host.directory, &LAYOUT)?;
        let table = Mutex::new(Table { names, ..Table::default() });
        let inner = Arc::new(Inner { host, table, maintenance, committer });
        let walk: Weak<dyn Walk> = Arc::<Inner>::downgrade(&inner);
        inner.maintenance.walk(walk);
        Ok(Self { inner })
    }

    /// The stream of this name with this configuration: opened, and made or altered where needed. May wait.
    pub(crate) fn open_now(&self, name: &ResourceName, config: &StreamConfig) -> Result<Held> {
        if !self.inner.is_there(name) {
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
        let mut table = locked(&self.inner.table);
        table.is_closed = true;
        table.slots.clear();
    }

    /// As the thread does it at each interval.
    #[cfg(test)]
    pub(crate) fn maintain_next(&self) {
        self.inner.maintain_next(&mut |_| true);
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        locked(&self.inner.table).slots.len()
    }

    #[cfg(test)]
    pub(crate) fn run_dirty(&self) -> usize {
        self.inner.committer.run_dirty()
    }
}

impl Inner {
    /// The place of a stream, whether it is there or not.
    fn slot<'a>(&'a self, name: &'a ResourceName) -> Result<InHand<'a>> {
        let mut table = locked(&self.table);
        if table.is_closed {
            return Err(Error::Ended { stream: name.to_string() });
        }
        table.asked += 1;
        let asked = table.asked;
        let slot = table.slots.entry(name.clone()).or_default().clone();
        slot.asked.store(asked, std::sync::atomic::Ordering::Relaxed);
        Ok(InHand { engine: self, name, slot: Some(slot) })
    }

    fn is_there(&self, name: &ResourceName) -> bool {
        locked(&self.table).names.contains(name)
    }

    fn unknown(name: &ResourceName) -> Error {
        Error::UnknownStream { stream: name.to_string() }
    }

    /// The stream, opened where it was not. May wait.
    pub(super) fn opened(&self, name: &ResourceName) -> Result<Held> {
        if !self.is_there(name) {
            return Err(Self::unknown(name));
        }
        let slot = self.slot(name)?;
        let mut open = locked(&slot.open);
        self.opened_in(name, &mut open)
    }

    fn opened_in(&self, name: &ResourceName, open: &mut Option<Arc<StoredStream>>) -> Result<Held> {
        if let Some(stream) = open {
            return Ok(stream.hold());
        }
        let folder = folder(&self.host, name);
        let config = folder.config::<StreamConfig>()?.ok_or_else(|| Self::unknown(name))?;
        self.make_room(name)?;
        let stream = StoredStream::open(&self.host, folder, config, &self.committer, self.maintenance.bell(name))?;
        self.maintenance.look_after(&stream);
        Ok(open.insert(stream).hold())
    }

    /// Closes streams that nobody holds, the one that was asked for least lately first, until one more may be open.
    fn make_room(&self, name: &ResourceName) -> Result<()> {
        let mut slots: Vec<_> = locked(&self.table).slots.values().cloned().collect();
        slots.sort_by_key(|slot| slot.asked.load(std::sync::atomic::Ordering::Relaxed));
        let mut count = slots.iter().filter(|slot| is_open(slot)).count();
        for slot in slots {
            // The one that is to be opened is among them.
            if count <= self.host.options.streams_open_max {
                return Ok(());
            }
            let Ok(mut open) = slot.open.try_lock() else { continue };
            if let Some(stream) = open.take_if(|stream| !stream.is_held()) {
                if let Err(error) = stream.close() {
                    // What is wrong with it, who opens it again hears; what it has acknowledged is on disk.
                    tracing::warn!(stream = %stream.name, %error, "a stream was not closed in order; its next start takes longer");
                }
                count -= 1;
            }
        }
        if count <= self.host.options.streams_open_max {
            return Ok(());
        }
        let max = self.host.options.streams_open_max;
        Err(Error::Limit {
            reason: format!("{max} streams are in use, and `{name}` is one more; raise `streams_open_max`"),
        })
    }

    fn create(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        check_config(name.as_str(), config)?;
        let slot = self.slot(name)?;
        let mut open = locked(&slot.open);
        if self.is_there(name) {
            let stream = self.opened_in(name, &mut open)?;
            if *stream.config() == *config {
                return Ok(stream.info());
            }
            return Err(Error::StreamExists { stream: name.to_string() });
        }
        self.check_count()?;
        let folder = folder(&self.host, name);
        folder.begin()?;
        folder.write_config(config)?;
        locked(&self.table).names.insert(name.clone());
        Ok(self.opened_in(name, &mut open)?.info())
    }

    fn check_count(&self) -> Result<()> {
        let max = self.host.options.streams_max;
        if locked(&self.table).names.len() >= max {
            let reason = format!("there are {max} streams already; delete one, or raise `streams_max`");
            return Err(Error::Limit { reason });
        }
        Ok(())
    }

    fn alter(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        check_config(name.as_str(), config)?;
        let stream = self.opened(name)?;
        let altered = stream.alter(config, &self.committer);
        if stream.current_range().ended {
            // It could not be opened with that: whoever asks for it next tries again.
            let slot = self.slot(name)?;
            locked(&slot.open).take_if(|open| Arc::ptr_eq(open, &*stream));
        }
        altered.map(|()| stream.info())
    }

    fn delete(&self, name: &ResourceName) -> Result<()> {
        let slot = self.slot(name)?;
        let mut open = locked(&slot.open);
        if !self.is_there(name) {
            return Err(Self::unknown(name));
        }
        if let Some(stream) = open.take() {
            stream.abandon();
            // Whoever maintains it stops at the next look.
            drop(locked(&stream.upkeep));
        }
        locked(&self.table).names.remove(name);
        Ok(folder(&self.host, name).remove()?)
    }

    /// Makes a stream by filling its folder; nothing is there before all is.
    fn fill(&self, name: &ResourceName, fill: impl FnOnce(&Folder) -> Result<StreamConfig>) -> Result<StreamInfo> {
        let slot = self.slot(name)?;
        let mut open = locked(&slot.open);
        if self.is_there(name) {
            return Err(Error::StreamExists { stream: name.to_string() });
        }
        self.check_count()?;
        let folder = folder(&self.host, name);
        folder.begin()?;
        let filled = fill(&folder).and_then(|config| Ok(folder.write_config(&config)?));
        if let Err(error) = filled {
            if let Err(left) = folder.finish_removal() {
                tracing::warn!(stream = %name, error = %left, "what was left half made is removed at the next start");
            }
            return Err(error);
        }
        locked(&self.table).names.insert(name.clone());
        Ok(self.opened_in(name, &mut open)?.info())
    }

    fn close(&self) -> Result<()> {
        let mut table = locked(&self.table);
        table.is_closed = true;
        let slots: Vec<_> = table.slots.values().cloned().collect();
        drop(table);
        let (next, closed) = (Mutex::new(slots.iter()), Mutex::new(Ok(())));
        let close = || {
            loop {
                let Some(slot) = locked(&next).next() else { return };
                let stream = locked(&slot.open).take();
                if let Some(Err(error)) = stream.map(|stream| stream.close()) {
                    let mut closed = locked(&closed);
                    *closed = std::mem::replace(&mut *closed, Ok(())).and(Err(error));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..slots.len().min(CLOSING_MAX) {
                // This one goes on alone where the system has no more.
                let _ = std::thread::Builder::new().name("sinew-close".into()).spawn_scoped(scope, close);
            }
            close();
        });
        closed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    /// The next stream in turn that is not open and in which something may be due.
    fn next_unopened(&self) -> Option<ResourceName> {
        for _ in 0..WALK_NAMES_MAX {
            let mut table = locked(&self.table);
            let after = table.walked.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut behind = table.names.range::<ResourceName, _>((after, Bound::Unbounded));
            let name = behind.next().or_else(|| table.names.first()).filter(|_| !table.is_closed).cloned()?;
            table.walked = Some(name.clone());
            let is_open = table.slots.get(&name).is_some_and(is_open);
            drop(table);
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
        let open = locked(&self.table).slots.values().filter(|slot| is_open(slot)).count();
        if open >= self.host.options.streams_open_max {
            return Ok(());
        }
        let done = self.opened(name)?.maintain(go_on);
        let slot = self.slot(name)?;
        let idle = locked(&slot.open).take_if(|stream| !stream.is_held());
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

/// One that is locked is being opened, or closed: it counts as open.
fn is_open(slot: &Arc<Slot>) -> bool {
    slot.open.try_lock().map_or(true, |open| open.is_some())
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.maintenance.stop();
        if !locked(&self.table).is_closed
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
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let table = locked(&self.inner.table);
        Ok(table.names.range::<ResourceName, _>((from, Bound::Unbounded)).take(max).cloned().collect())
    }

    async fn stream(&self, name: &ResourceName) -> Result<Arc<dyn Stream>> {
        if self.inner.is_there(name)
            && let Ok(open) = self.inner.slot(name)?.open.try_lock()
            && let Some(stream) = &*open
        {
            return Ok(Arc::new(JournalStream::new(stream.hold())));
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
