//! What all queues of one data directory share: the directory itself, the wall clock, bounds, and the first failure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sinew_hosting::FirstFailure;
use sinew_journal::DataDirectory;

use crate::clock::wall;
use crate::shell::Total;
use crate::{Error, Moment};

/// Bounds of an engine. The defaults fit a small computer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskEngineOptions {
    /// Threads that commit, where the engine has a committer of its own. Default 4.
    pub committer_threads: usize,
    /// Queues that there may be; each that is used has a file open. Default 1,000.
    pub queues_max: usize,
    /// Bytes that wait to be stored in one queue, payloads among them; beyond, new tasks are `Busy`, and beyond twice as
    /// many everything that wants an answer is. Default 16 MiB.
    pub waiting_bytes_max: usize,
    /// The same in all queues together, so that a thousand queues do not take a thousand times as much. Default 128 MiB.
    pub waiting_bytes_total_max: usize,
    /// Bytes of one file of a queue's journal: what is copied forward piece by piece. Default 32 MiB.
    pub segment_bytes_max: u64,
    /// Copying forward looks at queues that often, and at each new segment. Default 30 s.
    pub maintenance_interval: Duration,
}

impl Default for TaskEngineOptions {
    fn default() -> Self {
        Self {
            committer_threads: 4,
            queues_max: 1_000,
            waiting_bytes_max: 16 << 20,
            waiting_bytes_total_max: 128 << 20,
            segment_bytes_max: 32 << 20,
            maintenance_interval: Duration::from_secs(30),
        }
    }
}

/// What the wall clock shows.
pub(super) type Wall = Box<dyn Fn() -> Moment + Send + Sync>;

/// What the queues of one data directory share.
pub(crate) struct Host {
    pub(super) directory: Arc<DataDirectory>,
    pub(super) options: TaskEngineOptions,
    pub(super) wall: Wall,
    pub(super) failure: FirstFailure<Error>,
    /// What waits to be stored in all of them.
    pub(super) total: Arc<Total>,
}

impl Host {
    pub(super) fn new(directory: Arc<DataDirectory>, options: TaskEngineOptions) -> Self {
        Self::with(directory, options, Box::new(wall))
    }

    pub(super) fn with(directory: Arc<DataDirectory>, options: TaskEngineOptions, wall: Wall) -> Self {
        let total = Total::new(options.waiting_bytes_total_max);
        Self { directory, options, wall, failure: FirstFailure::default(), total }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("directory", &self.directory).finish_non_exhaustive()
    }
}
