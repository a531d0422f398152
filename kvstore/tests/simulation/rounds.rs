//! An engine that gathers writes and commits them together, as one on disk does while a sync runs: those of one round are
//! judged one after the other and acknowledged at one moment. Judged and kept by the engine in memory, which outlives the
//! server's restarts; what was not committed by then is lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use sinew_kvstore::{
    Bucket, BucketConfig, BucketInfo, BucketRange, ChangePage, Engine, Entry, Expected, Found, Key, MemoryEngine, Page,
    PageLimits, Range, Result, Revision, Write, WriteDone,
};
use sinew_session::ResourceName;
use sinew_testkit::random::Random;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Rounds {
    inner: MemoryEngine,
    buckets: Mutex<HashMap<ResourceName, Arc<Gathering>>>,
    weather: Arc<Weather>,
}

/// How long a round takes, and what goes wrong on purpose.
#[derive(Debug)]
struct Weather {
    random: Mutex<Random>,
    round_ms: usize,
    /// Reads are answered with what was read before, now and then.
    stale: bool,
    /// Rounds with two compare-and-sets of the same revision of a key.
    twins: AtomicU64,
}

struct Gathering {
    bucket: Arc<dyn Bucket>,
    waiting: Mutex<Vec<(Write, WriteDone)>>,
    read: Mutex<HashMap<Key, Option<Entry>>>,
    weather: Arc<Weather>,
    own: Weak<Self>,
}

impl fmt::Debug for Gathering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.bucket, f)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rounds {
    pub(crate) fn new(mut random: Random, stale: bool) -> Self {
        let round_ms = [1, 5, 40][random.below(3)];
        let weather = Weather { random: Mutex::new(random), round_ms, stale, twins: AtomicU64::new(0) };
        Self { inner: MemoryEngine::default(), buckets: Mutex::default(), weather: Arc::new(weather) }
    }

    /// The server dies: what waits is neither written nor answered.
    pub(crate) fn crash(&self) {
        lock(&self.buckets).values().for_each(|bucket| lock(&bucket.waiting).clear());
    }

    pub(crate) fn twins(&self) -> u64 {
        self.weather.twins.load(Ordering::Relaxed)
    }
}

impl Gathering {
    fn commit(&self) {
        let round = std::mem::take(&mut *lock(&self.waiting));
        let expects = |write: &Write| match write.conditions.first().map(|each| (each.key.clone(), each.expected)) {
            Some((key, Expected::Revision(revision))) => Some((key, revision)),
            _ => None,
        };
        let expected: Vec<_> = round.iter().filter_map(|(write, _)| expects(write)).collect();
        let is_twin = (1..expected.len()).any(|place| expected[..place].contains(&expected[place]));
        self.weather.twins.fetch_add(u64::from(is_twin), Ordering::Relaxed);
        let answers = Arc::new(Mutex::new(Vec::new()));
        for (write, done) in round {
            let answers = answers.clone();
            self.bucket.write(write, Box::new(move |answer| lock(&answers).push((done, answer))));
        }
        let answers = std::mem::take(&mut *lock(&answers));
        answers.into_iter().for_each(|(done, answer)| done(answer));
    }
}

#[async_trait]
impl Engine for Rounds {
    async fn create(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        self.inner.create(name, config).await
    }

    async fn alter(&self, name: &ResourceName, config: &BucketConfig) -> Result<BucketInfo> {
        self.inner.alter(name, config).await
    }

    async fn delete(&self, name: &ResourceName) -> Result<()> {
        lock(&self.buckets).remove(name);
        self.inner.delete(name).await
    }

    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>> {
        self.inner.names(after, max).await
    }

    async fn bucket(&self, name: &ResourceName) -> Result<Arc<dyn Bucket>> {
        let bucket = self.inner.bucket(name).await?;
        let weather = &self.weather;
        let gathering = |own: &Weak<Gathering>| Gathering {
            bucket,
            waiting: Mutex::default(),
            read: Mutex::default(),
            weather: weather.clone(),
            own: own.clone(),
        };
        Ok(lock(&self.buckets).entry(name.clone()).or_insert_with(|| Arc::new_cyclic(gathering)).clone())
    }
}

#[async_trait]
impl Bucket for Gathering {
    fn name(&self) -> &ResourceName {
        self.bucket.name()
    }

    fn write(&self, write: Write, done: WriteDone) {
        let mut waiting = lock(&self.waiting);
        waiting.push((write, done));
        if waiting.len() == 1 {
            let wait = lock(&self.weather.random).millis(self.weather.round_ms);
            let own = self.own.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                own.upgrade().into_iter().for_each(|bucket| bucket.commit());
            });
        }
    }

    fn get(&self, key: &Key) -> Found {
        let mut random = lock(&self.weather.random);
        if random.once_in(4) {
            return Found::OnDisk;
        }
        let old = lock(&self.read).get(key).cloned();
        if self.weather.stale
            && random.once_in(5)
            && let Some(old) = old
        {
            return Found::Now(old);
        }
        let found = self.bucket.get(key);
        if let Found::Now(entry) = &found
            && random.once_in(2)
        {
            lock(&self.read).insert(key.clone(), entry.clone());
        }
        found
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let wait = lock(&self.weather.random).millis(self.weather.round_ms);
        tokio::time::sleep(wait).await;
        self.bucket.load(keys).await
    }

    async fn scan(&self, range: &Range, limits: PageLimits) -> Result<Page> {
        self.bucket.scan(range, limits).await
    }

    async fn history(&self, key: &Key) -> Result<Vec<Revision>> {
        self.bucket.history(key).await
    }

    async fn changes(&self, from: u64, limits: PageLimits) -> Result<ChangePage> {
        self.bucket.changes(from, limits).await
    }

    fn range(&self) -> watch::Receiver<BucketRange> {
        self.bucket.range()
    }

    async fn info(&self) -> Result<BucketInfo> {
        self.bucket.info().await
    }
}
