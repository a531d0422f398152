//! The built-in engine: each queue in a journal of its own below one data directory, with its rules in memory.
//!
//! Queues are opened behind everything else, and each when it is first asked for, so that whoever asks for one waits for that
//! one at most. What may wait for a disk runs on tokio's blocking threads. A queue of the level `memory` has its configuration
//! on disk alone.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use sinew_hosting::{Folder, GoOn, Places, Upkeep, blocking, cancellable, locked};
use sinew_journal::{Committer, DataDirectory, Disk};
use sinew_session::ResourceName;
use tokio::runtime::Handle;

use super::folder::{LAYOUT, folder};
use super::stored_queue::{Start, StoredQueue};
use super::{Host, TaskEngineOptions, backup, explain, storage_of, verify};
use crate::memory::{self, check_alter};
use crate::scheduler::check_config;
use crate::shell::Shell;
use crate::{BackedUp, Engine, Error, Level, ProgressSink, Queue, QueueConfig, QueueInfo, Result, Verified};

/// Queues that are closed at one time when the engine is: each waits for a few syncs.
const CLOSING_MAX: usize = 8;

/// Queues in a data directory, acknowledged once on disk. Cheap to clone. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct JournalEngine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: Arc<Host>,
    places: Places<Hosted>,
    upkeep: Mutex<Upkeep>,
    committer: Arc<Committer>,
    /// Opens each queue.
    opener: Mutex<Option<JoinHandle<()>>>,
}

/// An open queue.
#[derive(Clone, Debug)]
enum Hosted {
    Stored(Arc<StoredQueue>),
    Memory(Arc<Shell>),
}

impl Hosted {
    fn shell(&self) -> &Arc<Shell> {
        match self {
            Self::Stored(queue) => &queue.shell,
            Self::Memory(shell) => shell,
        }
    }
}

impl JournalEngine {
    /// Opens the data directory, which one process has at a time, and makes it where it is missing, with a committer of its
    /// own. What was being made or removed when the last process ended is removed. Queues are opened behind this: it returns
    /// at once.
    ///
    /// # Errors
    /// `Storage`: the directory is in use, of a newer version, or cannot be read; or there is no tokio runtime.
    pub fn open(path: impl AsRef<Path>, options: TaskEngineOptions) -> Result<Self> {
        let failed = |error: sinew_journal::Error| explain("*", &error);
        let directory = DataDirectory::open(Arc::new(Disk), path.as_ref()).map_err(failed)?;
        let committer = Committer::new(options.committer_threads).map_err(failed)?;
        Self::open_in(Arc::new(directory), Arc::new(committer), options)
    }

    /// The same in a data directory and with a committer that others use too; the option for the committer's threads has no
    /// meaning then.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(
        directory: Arc<DataDirectory>,
        committer: Arc<Committer>,
        options: TaskEngineOptions,
    ) -> Result<Self> {
        let no_thread = |error| storage_of("*", format!("no thread: {error}"));
        let runtime = Handle::try_current().map_err(|_| storage_of("*", "it needs a tokio runtime to be opened in"))?;
        let upkeep = Upkeep::start("sinew-tasks-upkeep", options.maintenance_interval).map_err(no_thread)?;
        let engine = Self::with(Host::new(directory, options), committer, upkeep)?;
        let inner = Arc::downgrade(&engine.inner);
        let opener = std::thread::Builder::new().name("sinew-tasks-open".into()).spawn(move || {
            let _runtime = runtime.enter();
            let names = inner.upgrade().map(|inner| inner.places.names(None, usize::MAX)).unwrap_or_default();
            for name in names {
                let Some(inner) = inner.upgrade() else { return };
                if let Err(error) = inner.opened(&name)
                    && !inner.places.has_ended()
                {
                    tracing::error!(queue = %name, %error, "a queue could not be opened");
                }
            }
        });
        *locked(&engine.inner.opener) = Some(opener.map_err(no_thread)?);
        Ok(engine)
    }

    pub(super) fn with(host: Host, committer: Arc<Committer>, upkeep: Upkeep) -> Result<Self> {
        let places = Places::new(Folder::find_all(&host.directory, &LAYOUT)?);
        let (host, upkeep, opener) = (Arc::new(host), Mutex::new(upkeep), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { host, places, upkeep, committer, opener }) })
    }
}

/// What tests do by hand.
#[cfg(test)]
impl JournalEngine {
    pub(super) fn create_now(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
        self.inner.create(name, config)
    }

    pub(super) fn alter_now(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
        self.inner.alter(name, config)
    }

    pub(super) fn delete_now(&self, name: &ResourceName) -> Result<()> {
        self.inner.delete(name)
    }

    pub(super) fn opened(&self, name: &ResourceName) -> Result<Arc<StoredQueue>> {
        match self.inner.opened(name)? {
            Hosted::Stored(queue) => Ok(queue),
            Hosted::Memory(shell) => panic!("{shell:?} is in memory"),
        }
    }

    pub(super) fn shell_now(&self, name: &ResourceName) -> Result<Arc<Shell>> {
        Ok(self.inner.opened(name)?.shell().clone())
    }

    pub(super) fn close_now(&self) -> Result<()> {
        self.inner.close()
    }
}

impl Inner {
    /// The queue, opened where it was not. May wait.
    fn opened(&self, name: &ResourceName) -> Result<Hosted> {
        self.places.check(name)?;
        let place = self.places.place(name)?;
        self.opened_in(name, &mut place.lock(), Start::Again)
    }

    fn opened_in(&self, name: &ResourceName, open: &mut Option<Hosted>, start: Start) -> Result<Hosted> {
        if let Some(queue) = open {
            return Ok(queue.clone());
        }
        // It may have been deleted, or the engine closed, while we waited for the lock.
        if self.places.has_ended() {
            return Err(Error::Ended { queue: name.to_string() });
        }
        let folder = folder(&self.host, name);
        let config: QueueConfig = folder.config()?.ok_or_else(|| Error::UnknownQueue { queue: name.to_string() })?;
        let queue = if config.level == Level::Memory {
            Hosted::Memory(memory::start(name, &config))
        } else {
            let bell = locked(&self.upkeep).bell(name);
            let queue = StoredQueue::open(&self.host, folder, (config, start), &self.committer, bell)?;
            locked(&self.upkeep).look_after(&queue);
            Hosted::Stored(queue)
        };
        *open = Some(queue.clone());
        Ok(queue)
    }

    fn create(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
        check_config(name.as_str(), config)?;
        let place = self.places.place(name)?;
        let mut open = place.lock();
        if self.places.has(name) {
            let info = self.opened_in(name, &mut open, Start::Again)?.shell().info();
            if info.config == *config {
                return Ok(info);
            }
        }
        open.make(&folder(&self.host, name), self.host.options.queues_max, |_| Ok::<_, Error>(config))?;
        Ok(self.opened_in(name, &mut open, Start::New)?.shell().info())
    }

    fn alter(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
        self.places.check(name)?;
        let place = self.places.place(name)?;
        let mut open = place.lock();
        let queue = self.opened_in(name, &mut open, Start::Again)?;
        check_alter(name, &queue.shell().info().config, config)?;
        match &queue {
            Hosted::Stored(queue) => queue.alter(config)?,
            Hosted::Memory(shell) => {
                folder(&self.host, name).write_config(config)?;
                shell.alter(config.clone());
            }
        }
        Ok(queue.shell().info())
    }

    /// Does with a queue on disk what takes long; its end is the end of that.
    fn at_length<T>(
        &self,
        name: &ResourceName,
        what: &'static str,
        go_on: GoOn<'_>,
        work: impl FnOnce(&StoredQueue, GoOn<'_>) -> Result<T>,
    ) -> Result<T> {
        let Hosted::Stored(queue) = self.opened(name)? else {
            return Err(Error::Unsupported { queue: name.to_string(), what });
        };
        let done = work(&queue, &mut |progress| go_on(progress) && !queue.shell.has_ended());
        if queue.shell.has_ended() { done.map_err(|_| queue.ended()) } else { done }
    }

    fn restore(&self, name: &ResourceName, source: &Path, go_on: GoOn<'_>) -> Result<QueueInfo> {
        let place = self.places.place(name)?;
        let (mut open, folder) = (place.lock(), folder(&self.host, name));
        open.make(&folder, self.host.options.queues_max, |folder| backup::restore(folder, source, go_on))?;
        let opened = self.opened_in(name, &mut open, Start::Again);
        // A queue that cannot be opened is worse than none; its backup is still there.
        if opened.is_err()
            && let Err(left) = open.remove(&folder)
        {
            tracing::warn!(queue = %name, error = %left, "what was restored and cannot be opened was not removed");
        }
        Ok(opened?.shell().info())
    }

    fn delete(&self, name: &ResourceName) -> Result<()> {
        let place = self.places.place(name)?;
        let mut open = place.lock();
        self.places.check(name)?;
        match open.take() {
            Some(Hosted::Stored(queue)) => {
                queue.abandon();
                // Whoever maintains it stops at the next look.
                drop(locked(&queue.upkeep));
            }
            Some(Hosted::Memory(shell)) => shell.end(&Error::Ended { queue: name.to_string() }),
            None => {}
        }
        Ok(open.remove(&folder(&self.host, name))?)
    }

    fn close(&self) -> Result<()> {
        let closed = self.places.close(CLOSING_MAX, |queue| match queue {
            Hosted::Stored(queue) => queue.close(),
            Hosted::Memory(shell) => {
                shell.end(&Error::Ended { queue: shell.name().to_string() });
                Ok(())
            }
        });
        let opener = locked(&self.opener).take();
        if let Some(opener) = opener.filter(|opener| opener.thread().id() != std::thread::current().id()) {
            // A panic in it was logged by the panic hook.
            let _ = opener.join();
        }
        closed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        locked(&self.upkeep).stop();
        if !self.places.has_ended()
            && let Err(error) = self.close()
        {
            tracing::warn!(%error, "the task queues were not closed in order; they recover at the next start");
        }
    }
}

#[async_trait]
impl Engine for JournalEngine {
    async fn create(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
        let (inner, name, config) = (self.inner.clone(), name.clone(), config.clone());
        blocking(move || inner.create(&name, &config)).await
    }

    async fn alter(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
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

    async fn queue(&self, name: &ResourceName) -> Result<Arc<dyn Queue>> {
        if let Some(shell) = self.inner.places.look(name, |queue| queue.shell().clone())? {
            return Ok(shell);
        }
        let (inner, name) = (self.inner.clone(), name.clone());
        let queue = blocking(move || inner.opened(&name)).await?;
        Ok(queue.shell().clone())
    }

    async fn verify(&self, name: &ResourceName, progress: ProgressSink) -> Result<Verified> {
        let (inner, name) = (self.inner.clone(), name.clone());
        cancellable(progress, move |go_on| inner.at_length(&name, "verify", go_on, verify::verify)).await
    }

    async fn backup(&self, name: &ResourceName, target: &Path, progress: ProgressSink) -> Result<BackedUp> {
        let (inner, name, target) = (self.inner.clone(), name.clone(), target.to_owned());
        let copy = move |queue: &StoredQueue, go_on: GoOn<'_>| backup::backup(queue, &target, go_on);
        cancellable(progress, move |go_on| inner.at_length(&name, "backup", go_on, copy)).await
    }

    async fn restore(&self, name: &ResourceName, source: &Path, progress: ProgressSink) -> Result<QueueInfo> {
        let (inner, name, source) = (self.inner.clone(), name.clone(), source.to_owned());
        cancellable(progress, move |go_on| inner.restore(&name, &source, go_on)).await
    }

    async fn failed(&self) -> Error {
        self.inner.host.failure.wait(&self.inner.committer, |error| explain("*", error)).await
    }

    async fn close(&self) -> Result<()> {
        let inner = self.inner.clone();
        blocking(move || inner.close()).await
    }
}
