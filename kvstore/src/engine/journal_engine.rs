//! The built-in engine: each bucket in a journal of its own below one data directory, its rows in one table for all.
//!
//! Everything is opened beside everything else: the table on a thread of its own, and behind it each bucket, so that
//! whoever asks for one waits for that one at most. What may wait for a disk runs on tokio's blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use sinew_hosting::{Folder, Places, blocking, cancellable, locked};
use sinew_journal::{Committer, DataDirectory, Disk};
use sinew_session::ResourceName;

use super::clock::SystemClock;
use super::folder::{Identity, LAYOUT, folder};
use super::journal_bucket::JournalBucket;
use super::stored_bucket::StoredBucket;
use super::tables::Tables;
use super::workers::Workers;
use super::{Host, KvEngineOptions, backup, explain, storage_of};
use crate::table::check_config;
use crate::{Bucket, BucketConfig, BucketInfo, Engine, Error, ProgressSink, Result};

/// Buckets in a data directory, acknowledged once on disk. Cheap to clone. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct JournalEngine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: Arc<Host>,
    tables: Arc<Tables>,
    places: Places<Arc<StoredBucket>>,
    workers: Workers,
    committer: Arc<Committer>,
    /// Opens the table, and then each bucket.
    opener: Mutex<Option<JoinHandle<()>>>,
}

impl JournalEngine {
    /// Opens the data directory, which one process has at a time, and makes it where it is missing, with a committer of its
    /// own. What was being made or removed when the last process ended is removed. The table and the buckets are opened
    /// behind this: it returns at once.
    ///
    /// # Errors
    /// `Storage`: the directory is in use, of a newer version, or cannot be read.
    pub fn open(path: impl AsRef<Path>, options: KvEngineOptions) -> Result<Self> {
        let failed = |error: sinew_journal::Error| explain("*", &error);
        let directory = DataDirectory::open(Arc::new(Disk), path.as_ref()).map_err(failed)?;
        let committer = Committer::new(options.committer_threads).map_err(failed)?;
        Self::open_in(Arc::new(directory), Arc::new(committer), options)
    }

    /// The same in a data directory and with a committer that others use too.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(directory: Arc<DataDirectory>, committer: Arc<Committer>, options: KvEngineOptions) -> Result<Self> {
        let host = Arc::new(Host::new(directory, Box::<SystemClock>::default(), options));
        let no_thread = |error| storage_of("*", format!("no thread: {error}"));
        let workers = Workers::start(host.clone()).map_err(no_thread)?;
        let engine = Self::with(host, committer, Tables::opening(), workers)?;
        let (host, tables, inner) =
            (engine.inner.host.clone(), engine.inner.tables.clone(), Arc::downgrade(&engine.inner));
        let kept = engine.inner.places.names(None, usize::MAX).iter().map(ResourceName::folder_name).collect();
        let opener = std::thread::Builder::new().name("sinew-kv-open".into()).spawn(move || {
            tables.open(&host, &kept);
            let names = inner.upgrade().map(|inner| inner.places.names(None, usize::MAX)).unwrap_or_default();
            for name in names {
                let Some(inner) = inner.upgrade() else { return };
                if let Err(error) = inner.opened(&name)
                    && !inner.places.has_ended()
                {
                    tracing::error!(bucket = %name, %error, "a bucket could not be opened");
                }
            }
        });
        *locked(&engine.inner.opener) = Some(opener.map_err(no_thread)?);
        Ok(engine)
    }

    /// With everything given, and nothing opened behind it.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn given(
        files: Arc<dyn sinew_journal::Files>,
        path: &Path,
        options: KvEngineOptions,
        clock: Box<dyn super::clock::Clock>,
        stores: Arc<dyn super::store::Stores>,
    ) -> Result<Self> {
        let failed = |error: sinew_journal::Error| explain("*", &error);
        let directory = DataDirectory::open(files, path).map_err(failed)?;
        let committer = Committer::new(options.committer_threads).map_err(failed)?;
        let host = Arc::new(Host::new(Arc::new(directory), clock, options));
        Self::with(host, Arc::new(committer), Tables::given(stores), Workers::idle())
    }

    fn with(host: Arc<Host>, committer: Arc<Committer>, tables: Tables, workers: Workers) -> Result<Self> {
        let places = Places::new(Folder::find_all(&host.directory, &LAYOUT)?);
        let opener = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { host, tables: Arc::new(tables), places, workers, committer, opener }) })
    }
}

/// What simulations do by hand.
#[cfg(any(test, feature = "simulation"))]
impl JournalEngine {
    /// Writes what is due, stores what waits, each bucket's as one round at least, and takes it into the table; says how
    /// many rounds there were. For an engine without threads.
    pub fn step(&self) -> usize {
        let open = self.inner.places.open();
        open.iter().for_each(|bucket| bucket.wake());
        let mut rounds = 0;
        loop {
            let more = self.inner.committer.run_dirty();
            // What fails is published.
            open.iter().for_each(|bucket| drop(bucket.apply_now()));
            rounds += more;
            if more == 0 {
                return rounds;
            }
        }
    }
}

/// What tests do by hand.
#[cfg(test)]
impl JournalEngine {
    /// As [`Engine::create`]. May wait.
    pub(super) fn create_now(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        self.inner.create(name, config)
    }

    /// As [`Engine::delete`]. May wait.
    pub(super) fn delete_now(&self, name: &ResourceName) -> Result<()> {
        self.inner.delete(name)
    }

    /// As [`Engine::bucket`]. May wait.
    pub(super) fn opened(&self, name: &ResourceName) -> Result<Arc<StoredBucket>> {
        self.inner.opened(name)
    }

    /// As [`Engine::close`]. May wait.
    pub(super) fn close_now(&self) -> Result<()> {
        self.inner.close()
    }

    /// As if the process was killed: what is open is dropped and not closed.
    pub(super) fn forget(&self) {
        self.inner.places.forget();
    }

    pub(super) fn run_dirty(&self) -> usize {
        self.inner.committer.run_dirty()
    }
}

impl Inner {
    /// The bucket, opened where it was not. May wait.
    fn opened(&self, name: &ResourceName) -> Result<Arc<StoredBucket>> {
        self.places.check(name)?;
        let place = self.places.place(name)?;
        self.opened_in(name, &mut place.lock())
    }

    fn opened_in(&self, name: &ResourceName, open: &mut Option<Arc<StoredBucket>>) -> Result<Arc<StoredBucket>> {
        if let Some(bucket) = open {
            return Ok(bucket.clone());
        }
        // It may have been deleted, or the engine closed, while we waited for the lock.
        if self.places.has_ended() {
            return Err(Error::Ended { bucket: name.to_string() });
        }
        let folder = folder(&self.host, name);
        let identity = folder.config::<Identity>()?.ok_or_else(|| Error::UnknownBucket { bucket: name.to_string() })?;
        let (stores, bell) = (self.tables.wait()?, self.workers.bell(name));
        let bucket = StoredBucket::open(&self.host, folder, identity, &self.committer, stores, bell)?;
        self.workers.look_after(&bucket);
        *open = Some(bucket.clone());
        Ok(bucket)
    }

    fn create(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        check_config(name.as_str(), config)?;
        let place = self.places.place(name)?;
        let mut open = place.lock();
        if self.places.has(name) {
            let bucket = self.opened_in(name, &mut open)?;
            if bucket.config() == *config {
                return bucket.info();
            }
        }
        let identity = Identity { incarnation: self.host.files().random(), config: config.clone() };
        open.make(&folder(&self.host, name), self.host.options.buckets_max, |_| Ok::<_, Error>(identity))?;
        self.opened_in(name, &mut open)?.info()
    }

    fn alter(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        check_config(name.as_str(), config)?;
        let bucket = self.opened(name)?;
        bucket.alter(config, &self.committer)?;
        bucket.info()
    }

    fn delete(&self, name: &ResourceName) -> Result<()> {
        let place = self.places.place(name)?;
        let mut open = place.lock();
        self.places.check(name)?;
        if let Some(bucket) = open.take() {
            bucket.abandon();
            // Whoever maintains it stops at the next look.
            drop(locked(&bucket.upkeep));
        }
        open.remove(&folder(&self.host, name))?;
        // What is left of it is known by its number, and removed at the next start or when the name is used again.
        let removed = self.tables.wait().map_err(|error| error.to_string());
        if let Err(why) = removed.and_then(|tables| tables.remove(&name.folder_name()).map_err(|error| error.0)) {
            tracing::warn!(bucket = %name, why, "the table of a deleted bucket could not be removed");
        }
        Ok(())
    }

    /// Makes a bucket by filling its folder; nothing is there before all is.
    fn fill(&self, name: &ResourceName, fill: impl FnOnce(&Folder) -> Result<Identity>) -> Result<BucketInfo> {
        let place = self.places.place(name)?;
        let mut open = place.lock();
        open.make(&folder(&self.host, name), self.host.options.buckets_max, fill)?;
        self.opened_in(name, &mut open)?.info()
    }

    fn close(&self) -> Result<()> {
        self.places.end();
        // Whoever makes a table again stops at the next look.
        self.host.close();
        let closed = self.places.close(1, |bucket| bucket.close());
        self.tables.close(&self.host);
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
        self.workers.stop();
        if !self.places.has_ended()
            && let Err(error) = self.close()
        {
            tracing::warn!(%error, "the key-value store was not closed in order; it recovers at the next start");
        }
    }
}

#[async_trait]
impl Engine for JournalEngine {
    async fn create(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        let (inner, name, config) = (self.inner.clone(), name.clone(), config.clone());
        blocking(move || inner.create(&name, &config)).await
    }

    async fn alter(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
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

    async fn bucket(&self, name: &ResourceName) -> Result<Arc<dyn Bucket>> {
        if let Some(bucket) = self.inner.places.look(name, Arc::clone)? {
            return Ok(Arc::new(JournalBucket::new(bucket)));
        }
        let (inner, name) = (self.inner.clone(), name.clone());
        let bucket = blocking(move || inner.opened(&name)).await?;
        Ok(Arc::new(JournalBucket::new(bucket)))
    }

    async fn restore(&self, name: &ResourceName, source: &Path, progress: ProgressSink) -> Result<BucketInfo> {
        let (inner, name, source) = (self.inner.clone(), name.clone(), source.to_owned());
        cancellable(progress, move |go_on| {
            inner.fill(&name, |folder| backup::restore(&inner.host, folder, &source, go_on))
        })
        .await
    }

    async fn failed(&self) -> Error {
        self.inner.host.failure.wait(&self.inner.committer, |error| explain("*", error)).await
    }

    async fn close(&self) -> Result<()> {
        let inner = self.inner.clone();
        blocking(move || inner.close()).await
    }
}
