//! An engine in memory whose calls can be held up, made to fail, and seen from outside.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use sinew_eventsource::{
    Append, AppendDone, BackedUp, CommitDone, Cursor, CursorUpdate, Engine, Error, MemoryEngine, Page, ProducerGrant,
    ProgressSink, ReadLimits, Result, Stream, StreamConfig, StreamInfo, StreamRange, Verified,
};
use sinew_session::ResourceName;
use tokio::sync::{oneshot, watch};

/// The engine.
#[derive(Debug, Default)]
pub(crate) struct Wrapped {
    inner: MemoryEngine,
    knobs: Arc<Knobs>,
}

#[derive(Debug, Default)]
struct Knobs {
    /// The next one who looks for this stream waits for that.
    held: Mutex<Option<(ResourceName, oneshot::Receiver<()>)>>,
    /// What was given out, while it is used.
    used: Mutex<Vec<Weak<WrappedStream>>>,
    /// So many reads fail.
    bad_reads: AtomicUsize,
    /// So many appends find the engine busy.
    busy_appends: AtomicUsize,
    /// When appends were asked for.
    asked: Mutex<Vec<tokio::time::Instant>>,
    /// Calls of maintenance that are under way; they never end by themselves.
    long_calls: watch::Sender<usize>,
}

impl Wrapped {
    /// The next one who looks for this stream waits until the sender is used or dropped.
    pub(crate) fn hold_next(&self, stream: &ResourceName) -> oneshot::Sender<()> {
        let (release, held) = oneshot::channel();
        *self.knobs.held.lock().unwrap() = Some((stream.clone(), held));
        release
    }

    /// Whether somebody waits for a stream that is held up.
    pub(crate) fn is_holding(&self) -> bool {
        self.knobs.held.lock().unwrap().is_none()
    }

    /// How many use a stream.
    pub(crate) fn users(&self) -> usize {
        self.knobs.used.lock().unwrap().iter().filter(|stream| stream.strong_count() > 0).count()
    }

    /// Lets so many reads fail.
    pub(crate) fn fail_reads(&self, count: usize) {
        self.knobs.bad_reads.store(count, Ordering::Relaxed);
    }

    /// Lets so many appends find it busy.
    pub(crate) fn be_busy(&self, count: usize) {
        self.knobs.busy_appends.store(count, Ordering::Relaxed);
    }

    /// When it was asked for appends.
    pub(crate) fn asked(&self) -> Vec<tokio::time::Instant> {
        self.knobs.asked.lock().unwrap().clone()
    }

    /// Calls of maintenance under way, as their number changes.
    pub(crate) fn long_calls(&self) -> watch::Receiver<usize> {
        self.knobs.long_calls.subscribe()
    }
}

#[async_trait]
impl Engine for Wrapped {
    async fn create(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        self.inner.create(name, config).await
    }

    async fn alter(&self, name: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        self.inner.alter(name, config).await
    }

    async fn delete(&self, name: &ResourceName) -> Result<()> {
        self.inner.delete(name).await
    }

    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>> {
        self.inner.names(after, max).await
    }

    async fn stream(&self, name: &ResourceName) -> Result<Arc<dyn Stream>> {
        let held = self.knobs.held.lock().unwrap().take_if(|(stream, _)| stream == name);
        if let Some((_, held)) = held {
            let _ = held.await;
        }
        let stream = Arc::new(WrappedStream { inner: self.inner.stream(name).await?, knobs: self.knobs.clone() });
        self.knobs.used.lock().unwrap().push(Arc::downgrade(&stream));
        Ok(stream)
    }
}

#[derive(Debug)]
struct WrappedStream {
    inner: Arc<dyn Stream>,
    knobs: Arc<Knobs>,
}

/// A call of maintenance that is under way while this is there.
struct UnderWay<'a>(&'a Knobs);

impl<'a> UnderWay<'a> {
    fn new(knobs: &'a Knobs) -> Self {
        knobs.long_calls.send_modify(|count| *count += 1);
        Self(knobs)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.long_calls.send_modify(|count| *count -= 1);
    }
}

#[async_trait]
impl Stream for WrappedStream {
    fn name(&self) -> &ResourceName {
        self.inner.name()
    }

    fn append(&self, append: Append, done: AppendDone) {
        self.knobs.asked.lock().unwrap().push(tokio::time::Instant::now());
        let fewer = |count: usize| count.checked_sub(1);
        if self.knobs.busy_appends.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            return done(Err(Error::Busy { stream: self.name().to_string(), bytes: 1 }));
        }
        self.inner.append(append, done);
    }

    async fn read(&self, from: u64, limits: ReadLimits) -> Result<Page> {
        let fails = |count: usize| count.checked_sub(1);
        if self.knobs.bad_reads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            let why = "the disk does not answer".into();
            return Err(Error::Storage { stream: self.name().to_string(), why });
        }
        // As where a disk is asked: others have their turn.
        tokio::task::yield_now().await;
        self.inner.read(from, limits).await
    }

    fn range(&self) -> watch::Receiver<StreamRange> {
        self.inner.range()
    }

    async fn offset_at(&self, timestamp: u64) -> Result<u64> {
        self.inner.offset_at(timestamp).await
    }

    async fn info(&self) -> Result<StreamInfo> {
        self.inner.info().await
    }

    async fn open_producer(&self, name: &ResourceName) -> Result<ProducerGrant> {
        self.inner.open_producer(name).await
    }

    fn commit(&self, updates: Vec<CursorUpdate>, done: CommitDone) {
        self.inner.commit(updates, done);
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>> {
        self.inner.cursor(name).await
    }

    async fn cursors(&self, after: Option<&str>, max: usize) -> Result<Vec<(String, Cursor)>> {
        self.inner.cursors(after, max).await
    }

    async fn verify(&self, _: ProgressSink) -> Result<Verified> {
        let _under_way = UnderWay::new(&self.knobs);
        std::future::pending().await
    }

    async fn backup(&self, _: &Path, _: ProgressSink) -> Result<BackedUp> {
        let _under_way = UnderWay::new(&self.knobs);
        std::future::pending().await
    }
}
