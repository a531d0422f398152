//! What all streams of one data directory share: the directory itself, clocks, bounds, and the first failure.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sinew_hosting::{FirstFailure, Inbox, Quota, locked};
use sinew_journal::{DataDirectory, Files};

use crate::retention::{ClockVerdict, ClockWatch};
use crate::{Error, KEY_MAP_BYTES_MAX};

/// Bounds of an engine. The defaults fit a small computer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Threads that commit for all streams. Default 4: more syncs at one time pay on fast disks, up to about eight.
    pub committer_threads: usize,
    /// Streams that there may be. Default 10,000.
    pub streams_max: usize,
    /// Streams that are open at one time, each with up to two files; one that nobody holds is closed to make room.
    /// Default 256.
    pub streams_open_max: usize,
    /// Bytes that wait to be stored in one stream; beyond, appends are `Busy`. Default 16 MiB.
    pub queued_bytes_max: usize,
    /// Bytes that wait to be stored in all streams. Default 128 MiB.
    pub queued_bytes_total_max: usize,
    /// Newest bytes of an open stream that are kept in memory, so that who follows it needs no disk. Default 256 KiB.
    pub tail_bytes_max: usize,
    /// Bytes of updates of a stream's cursors between two snapshots of all of them: what a start reads at most, about.
    /// Default 1 MiB.
    pub cursor_log_bytes_max: u64,
    /// Retention and compaction look at open streams that often, and at each new segment; and each time at one of those that
    /// are not open. Default 30 s.
    pub maintenance_interval: Duration,
    /// Bytes of keys that compaction knows at one time. Default 64 MiB.
    pub key_map_bytes_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            committer_threads: 4,
            streams_max: 10_000,
            streams_open_max: 256,
            queued_bytes_max: 16 << 20,
            queued_bytes_total_max: 128 << 20,
            tail_bytes_max: 256 << 10,
            cursor_log_bytes_max: 1 << 20,
            maintenance_interval: Duration::from_secs(30),
            key_map_bytes_max: KEY_MAP_BYTES_MAX,
        }
    }
}

/// Where time comes from.
pub(crate) trait Clock: Send + Sync + std::fmt::Debug {
    /// Nanoseconds since 1970, by a clock that somebody may set.
    fn wall(&self) -> u64;
    /// Since a fixed moment, by one that goes only forward.
    fn steady(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Debug)]
pub(crate) struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What the streams of one data directory share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) directory: Arc<DataDirectory>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) options: EngineOptions,
    watch: Mutex<ClockWatch>,
    quota: Arc<Quota>,
    pub(crate) failure: FirstFailure<Error>,
}

impl Host {
    pub(crate) fn new(directory: Arc<DataDirectory>, clock: Box<dyn Clock>, options: EngineOptions) -> Self {
        let quota = Quota::new(options.queued_bytes_total_max);
        Self { directory, clock, options, watch: Mutex::default(), quota, failure: FirstFailure::default() }
    }

    pub(crate) fn files(&self) -> &dyn Files {
        &**self.directory.files()
    }

    /// The wall clock where ages by it count; `None` for a while after it was set.
    pub(crate) fn trusted_now(&self) -> Option<u64> {
        let (wall, steady) = (self.clock.wall(), self.clock.steady());
        match locked(&self.watch).look(wall, steady) {
            ClockVerdict::Steady => Some(wall),
            ClockVerdict::Suspended => None,
            ClockVerdict::Jumped(nanoseconds) => {
                let seconds = nanoseconds / 1_000_000_000;
                tracing::warn!(seconds, "the wall clock was set; nothing is deleted for its age during the next hour");
                None
            }
        }
    }

    /// For what waits in one of them.
    pub(crate) fn inbox<T>(&self) -> Inbox<T, Error> {
        Inbox::new(self.options.queued_bytes_max, self.quota.clone())
    }
}
