//! The data directory: one, with one committer, for all services that keep something there.

use std::path::Path;
use std::sync::Arc;

use sinew_journal::{Committer, DataDirectory, Disk};

use crate::Result;

/// Threads that sync, for all streams, buckets and queues together: as many as one of the engines would take for itself.
const COMMITTER_THREADS: usize = 4;

/// A data directory that is ours.
#[derive(Debug)]
pub(super) struct Data {
    directory: Arc<DataDirectory>,
    committer: Arc<Committer>,
}

impl Data {
    /// Takes the directory, and makes it where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let directory = Arc::new(DataDirectory::open(Arc::new(Disk), path)?);
        Ok(Self { directory, committer: Arc::new(Committer::new(COMMITTER_THREADS)?) })
    }

    /// The event log in it.
    #[cfg(feature = "eventsource")]
    pub(super) fn log(&self) -> Result<Arc<dyn sinew_eventsource::Engine>> {
        let options = sinew_eventsource::EngineOptions::default();
        let (directory, committer) = (self.directory.clone(), self.committer.clone());
        Ok(Arc::new(sinew_eventsource::JournalEngine::open_in(directory, committer, options)?))
    }

    /// The key-value store in it.
    #[cfg(feature = "kvstore")]
    pub(super) fn kv(&self) -> Result<Arc<dyn sinew_kvstore::Engine>> {
        let options = sinew_kvstore::KvEngineOptions::default();
        let (directory, committer) = (self.directory.clone(), self.committer.clone());
        Ok(Arc::new(sinew_kvstore::JournalEngine::open_in(directory, committer, options)?))
    }

    /// The task queue in it.
    #[cfg(feature = "taskqueue")]
    pub(super) fn tasks(&self) -> Result<Arc<dyn sinew_taskqueue::Engine>> {
        let options = sinew_taskqueue::TaskEngineOptions::default();
        let (directory, committer) = (self.directory.clone(), self.committer.clone());
        Ok(Arc::new(sinew_taskqueue::JournalEngine::open_in(directory, committer, options)?))
    }
}
