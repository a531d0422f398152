//! The key-value store itself and its buckets, for callers that wait.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{Pattern, ResourceName, block_on};

use crate::blocking::{Keys, Scan, Watch};
use crate::{
    BackedUp, BucketConfig, BucketInfo, CachedBucket, Compacted, Entry, Key, Page, PageLimits, ProgressSink,
    PutOptions, Range, Result, Revision, Stored, Transaction, Verified, WatchFrom, WatchOptions, Written,
};

/// The key-value store. Cheap to clone.
///
/// ```
/// use sinew_kvstore::{Key, blocking};
///
/// # let (_server, kv) = sinew_testkit::memory::kv_of_its_own();
/// let kv = blocking::Kv::new(kv);
/// let config = kv.bucket(&"config".parse()?);
/// let lamp: Key = "lights.hall".parse()?;
/// config.put(&lamp, "on")?;
/// assert_eq!(&config.get(&lamp)?.expect("just put").value[..], b"on");
/// # Ok::<(), sinew_kvstore::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Kv {
    inner: crate::Kv,
}

impl Kv {
    /// The same store, for callers that wait. Its session must run on a thread of its own, as it does by default.
    pub fn new(inner: crate::Kv) -> Self {
        Self { inner }
    }

    /// The same store, for callers that await.
    pub fn inner(&self) -> &crate::Kv {
        &self.inner
    }

    /// As [`Kv::bucket`](crate::Kv::bucket).
    pub fn bucket(&self, name: &ResourceName) -> KvBucket {
        KvBucket { inner: self.inner.bucket(name) }
    }

    /// As [`Kv::list`](crate::Kv::list).
    ///
    /// # Errors
    /// As [`Kv::list`](crate::Kv::list).
    pub fn list(&self) -> Result<Vec<ResourceName>> {
        block_on(self.inner.list())?
    }

    /// As [`Kv::close`](crate::Kv::close).
    ///
    /// # Errors
    /// As [`Kv::close`](crate::Kv::close).
    pub fn close(&self) -> Result<()> {
        block_on(self.inner.close())?
    }
}

/// A bucket, by its name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KvBucket {
    inner: crate::KvBucket,
}

impl KvBucket {
    /// The same bucket, for callers that await.
    pub fn inner(&self) -> &crate::KvBucket {
        &self.inner
    }

    /// As [`KvBucket::get`](crate::KvBucket::get).
    ///
    /// # Errors
    /// As [`KvBucket::get`](crate::KvBucket::get).
    pub fn get(&self, key: &Key) -> Result<Option<Entry>> {
        block_on(self.inner.get(key))?
    }

    /// As [`KvBucket::get_many`](crate::KvBucket::get_many).
    ///
    /// # Errors
    /// As [`KvBucket::get_many`](crate::KvBucket::get_many).
    pub fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        block_on(self.inner.get_many(keys))?
    }

    /// As [`KvBucket::get_value`](crate::KvBucket::get_value).
    ///
    /// # Errors
    /// As [`KvBucket::get_value`](crate::KvBucket::get_value).
    pub fn get_value<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>> {
        block_on(self.inner.get_value(key))?
    }

    /// As [`KvBucket::history`](crate::KvBucket::history).
    ///
    /// # Errors
    /// As [`KvBucket::history`](crate::KvBucket::history).
    pub fn history(&self, key: &Key) -> Result<Vec<Revision>> {
        block_on(self.inner.history(key))?
    }

    /// As [`KvBucket::put`](crate::KvBucket::put).
    ///
    /// # Errors
    /// As [`KvBucket::put`](crate::KvBucket::put).
    pub fn put(&self, key: &Key, value: impl Into<Bytes>) -> Result<Stored> {
        block_on(self.inner.put(key, value))?
    }

    /// As [`KvBucket::put_with`](crate::KvBucket::put_with).
    ///
    /// # Errors
    /// As [`KvBucket::put_with`](crate::KvBucket::put_with).
    pub fn put_with(&self, key: &Key, value: impl Into<Bytes>, options: &PutOptions) -> Result<Stored> {
        block_on(self.inner.put_with(key, value, options))?
    }

    /// As [`KvBucket::put_value`](crate::KvBucket::put_value).
    ///
    /// # Errors
    /// As [`KvBucket::put_value`](crate::KvBucket::put_value).
    pub fn put_value<T: Serialize + ?Sized>(&self, key: &Key, value: &T) -> Result<Stored> {
        block_on(self.inner.put_value(key, value))?
    }

    /// As [`KvBucket::create`](crate::KvBucket::create).
    ///
    /// # Errors
    /// As [`KvBucket::create`](crate::KvBucket::create).
    pub fn create(&self, key: &Key, value: impl Into<Bytes>) -> Result<Stored> {
        block_on(self.inner.create(key, value))?
    }

    /// As [`KvBucket::update`](crate::KvBucket::update).
    ///
    /// # Errors
    /// As [`KvBucket::update`](crate::KvBucket::update).
    pub fn update(&self, key: &Key, value: impl Into<Bytes>, revision: u64) -> Result<Stored> {
        block_on(self.inner.update(key, value, revision))?
    }

    /// As [`KvBucket::delete`](crate::KvBucket::delete).
    ///
    /// # Errors
    /// As [`KvBucket::delete`](crate::KvBucket::delete).
    pub fn delete(&self, key: &Key) -> Result<Stored> {
        block_on(self.inner.delete(key))?
    }

    /// As [`KvBucket::delete_if`](crate::KvBucket::delete_if).
    ///
    /// # Errors
    /// As [`KvBucket::delete_if`](crate::KvBucket::delete_if).
    pub fn delete_if(&self, key: &Key, revision: u64) -> Result<Stored> {
        block_on(self.inner.delete_if(key, revision))?
    }

    /// As [`KvBucket::purge`](crate::KvBucket::purge).
    ///
    /// # Errors
    /// As [`KvBucket::purge`](crate::KvBucket::purge).
    pub fn purge(&self, key: &Key) -> Result<Stored> {
        block_on(self.inner.purge(key))?
    }

    /// As [`KvBucket::add`](crate::KvBucket::add).
    ///
    /// # Errors
    /// As [`KvBucket::add`](crate::KvBucket::add).
    pub fn add(&self, key: &Key, by: i64) -> Result<i64> {
        block_on(self.inner.add(key, by))?
    }

    /// As [`KvBucket::scan_page`](crate::KvBucket::scan_page).
    ///
    /// # Errors
    /// As [`KvBucket::scan_page`](crate::KvBucket::scan_page).
    pub fn scan_page(&self, range: &Range, limits: PageLimits) -> Result<Page> {
        block_on(self.inner.scan_page(range, limits))?
    }

    /// As [`KvBucket::watch`](crate::KvBucket::watch).
    ///
    /// # Errors
    /// As [`KvBucket::watch`](crate::KvBucket::watch).
    pub fn watch(&self, keys: &Pattern, from: WatchFrom) -> Result<Watch> {
        Ok(Watch::new(block_on(self.inner.watch(keys, from))??))
    }

    /// As [`KvBucket::watch_with`](crate::KvBucket::watch_with).
    ///
    /// # Errors
    /// As [`KvBucket::watch_with`](crate::KvBucket::watch_with).
    pub fn watch_with(&self, keys: &Pattern, options: WatchOptions) -> Result<Watch> {
        Ok(Watch::new(block_on(self.inner.watch_with(keys, options))??))
    }

    /// As [`KvBucket::make`](crate::KvBucket::make).
    ///
    /// # Errors
    /// As [`KvBucket::make`](crate::KvBucket::make).
    pub fn make(&self, config: &BucketConfig) -> Result<BucketInfo> {
        block_on(self.inner.make(config))?
    }

    /// As [`KvBucket::alter`](crate::KvBucket::alter).
    ///
    /// # Errors
    /// As [`KvBucket::alter`](crate::KvBucket::alter).
    pub fn alter(&self, config: &BucketConfig) -> Result<BucketInfo> {
        block_on(self.inner.alter(config))?
    }

    /// As [`KvBucket::remove`](crate::KvBucket::remove).
    ///
    /// # Errors
    /// As [`KvBucket::remove`](crate::KvBucket::remove).
    pub fn remove(&self) -> Result<()> {
        block_on(self.inner.remove())?
    }

    /// As [`KvBucket::info`](crate::KvBucket::info).
    ///
    /// # Errors
    /// As [`KvBucket::info`](crate::KvBucket::info).
    pub fn info(&self) -> Result<BucketInfo> {
        block_on(self.inner.info())?
    }

    /// As [`KvBucket::verify`](crate::KvBucket::verify).
    ///
    /// # Errors
    /// As [`KvBucket::verify`](crate::KvBucket::verify).
    pub fn verify(&self, progress: ProgressSink) -> Result<Verified> {
        block_on(self.inner.verify(progress))?
    }

    /// As [`KvBucket::compact`](crate::KvBucket::compact).
    ///
    /// # Errors
    /// As [`KvBucket::compact`](crate::KvBucket::compact).
    pub fn compact(&self, progress: ProgressSink) -> Result<Compacted> {
        block_on(self.inner.compact(progress))?
    }

    /// As [`KvBucket::backup`](crate::KvBucket::backup).
    ///
    /// # Errors
    /// As [`KvBucket::backup`](crate::KvBucket::backup).
    pub fn backup(&self, target: &str, progress: ProgressSink) -> Result<BackedUp> {
        block_on(self.inner.backup(target, progress))?
    }

    /// As [`KvBucket::restore`](crate::KvBucket::restore).
    ///
    /// # Errors
    /// As [`KvBucket::restore`](crate::KvBucket::restore).
    pub fn restore(&self, source: &str, progress: ProgressSink) -> Result<BucketInfo> {
        block_on(self.inner.restore(source, progress))?
    }

    /// Does a transaction, begun by [`KvBucket::transaction`](crate::KvBucket::transaction) of [`inner`](Self::inner).
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub fn commit(&self, transaction: Transaction) -> Result<Written> {
        block_on(transaction.commit())?
    }

    /// As [`KvBucket::scan`](crate::KvBucket::scan).
    pub fn scan(&self, range: Range) -> Scan {
        Scan::new(self.inner.scan(range))
    }

    /// As [`KvBucket::keys`](crate::KvBucket::keys).
    pub fn keys(&self, range: Range) -> Keys {
        Keys::new(self.inner.keys(range))
    }

    /// As [`CachedBucket::open`]; what it gives needs no runtime to be read.
    ///
    /// # Errors
    /// As [`CachedBucket::open`].
    pub fn cached(&self, keys: &Pattern) -> Result<CachedBucket> {
        block_on(CachedBucket::open(&self.inner, keys))?
    }
}
