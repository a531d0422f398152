//! What all buckets of one data directory share: the directory itself, clocks, bounds, and the first failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sinew_hosting::{FirstFailure, Inbox, Quota};
use sinew_journal::{DataDirectory, Files};

use super::clock::Clock;
use crate::Error;

/// Bounds of an engine. The defaults fit a small computer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KvEngineOptions {
    /// Threads that commit, where the engine has a committer of its own. Default 4.
    pub committer_threads: usize,
    /// Buckets that there may be; each that is used has a file open. Default 1,000.
    pub buckets_max: usize,
    /// Bytes that wait to be stored in one bucket; beyond, writes are `Busy`. Default 16 MiB.
    pub queued_bytes_max: usize,
    /// Bytes that wait to be stored in all buckets. Default 128 MiB.
    pub queued_bytes_total_max: usize,
    /// Newest values of one bucket that are committed and not yet in its table, in bytes of memory; beyond, writes wait in
    /// the queue. What a burst may have that is faster than the table; while it is taken there, twice as much may be in
    /// memory. Default 16 MiB.
    pub overlay_bytes_max: usize,
    /// Hot values of one bucket that are read without the disk, in bytes of memory. Default 16 MiB.
    pub cache_bytes_max: usize,
    /// Newest changes of one bucket that are kept in memory, so that who watches needs no disk, in bytes. Default 1 MiB.
    pub tail_bytes_max: usize,
    /// Pages of the table, of all buckets, that are kept in memory, in bytes; they take
    /// several times as much unpacked. Default 8 MiB.
    pub table_cache_bytes_max: usize,
    /// Bytes of one file of a bucket's journal: what compaction works on piece by piece. Default 32 MiB.
    pub segment_bytes_max: u64,
    /// Compaction looks at buckets that often, and at each new segment. Default 30 s.
    pub maintenance_interval: Duration,
}

impl Default for KvEngineOptions {
    fn default() -> Self {
        Self {
            committer_threads: 4,
            buckets_max: 1_000,
            queued_bytes_max: 16 << 20,
            queued_bytes_total_max: 128 << 20,
            overlay_bytes_max: 16 << 20,
            cache_bytes_max: 16 << 20,
            tail_bytes_max: 1 << 20,
            table_cache_bytes_max: 8 << 20,
            segment_bytes_max: 32 << 20,
            maintenance_interval: Duration::from_secs(30),
        }
    }
}

/// What the buckets of one data directory share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) directory: Arc<DataDirectory>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) options: KvEngineOptions,
    quota: Arc<Quota>,
    is_closing: AtomicBool,
    pub(crate) failure: FirstFailure<Error>,
}

impl Host {
    pub(crate) fn new(directory: Arc<DataDirectory>, clock: Box<dyn Clock>, options: KvEngineOptions) -> Self {
        let (quota, is_closing) = (Quota::new(options.queued_bytes_total_max), AtomicBool::new(false));
        Self { directory, clock, options, quota, is_closing, failure: FirstFailure::default() }
    }

    pub(crate) fn files(&self) -> &dyn Files {
        &**self.directory.files()
    }

    /// For what waits in one of them.
    pub(crate) fn inbox<T>(&self) -> Inbox<T, Error> {
        Inbox::new(self.options.queued_bytes_max, self.quota.clone())
    }

    /// The engine is closing: what takes long stops.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }
}
