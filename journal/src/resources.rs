//! What all journals of a process share and must not have too much of: open files of sealed segments, and indexes in
//! memory. What was used least recently goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::files::File;
use crate::index::Index;

/// Bytes of indexes in memory, for all journals of a process.
pub const INDEX_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Open files of sealed segments, for all journals of a process; each journal has one more, that it writes to.
pub const OPEN_FILES_MAX: usize = 128;

/// A journal's number in this process and a segment's id.
pub(crate) type Key = (u64, u64);

/// Bounded caches that journals share.
#[derive(Debug)]
pub struct Resources {
    index_bytes_max: usize,
    files_max: usize,
    caches: Mutex<Caches>,
}

#[derive(Debug, Default)]
struct Caches {
    clock: u64,
    indexes: HashMap<Key, Used<Arc<Index>>>,
    index_bytes: usize,
    files: HashMap<Key, Used<Arc<dyn File>>>,
}

#[derive(Debug)]
struct Used<T> {
    at: u64,
    value: T,
}

impl Resources {
    /// Caches of their own, for so many bytes of indexes and so many open files.
    pub fn new(index_bytes_max: usize, files_max: usize) -> Arc<Self> {
        Arc::new(Self { index_bytes_max, files_max: files_max.max(1), caches: Mutex::default() })
    }

    /// Those of this process: [`INDEX_BYTES_MAX`], [`OPEN_FILES_MAX`].
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Resources>> = OnceLock::new();
        SHARED.get_or_init(|| Self::new(INDEX_BYTES_MAX, OPEN_FILES_MAX)).clone()
    }

    /// Bytes of the indexes that are in memory now.
    pub fn index_bytes(&self) -> usize {
        self.caches().index_bytes
    }

    fn caches(&self) -> MutexGuard<'_, Caches> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index(&self, key: Key) -> Option<Arc<Index>> {
        let mut caches = self.caches();
        caches.clock += 1;
        let clock = caches.clock;
        caches.indexes.get_mut(&key).map(|used| {
            used.at = clock;
            used.value.clone()
        })
    }

    pub(crate) fn keep_index(&self, key: Key, index: Arc<Index>) {
        if index.memory() > self.index_bytes_max {
            return;
        }
        let mut caches = self.caches();
        caches.clock += 1;
        caches.index_bytes += index.memory();
        let used = Used { at: caches.clock, value: index };
        let before = caches.indexes.insert(key, used);
        caches.index_bytes -= before.map_or(0, |used| used.value.memory());
        while caches.index_bytes > self.index_bytes_max {
            let Some(oldest) = oldest(&caches.indexes) else { break };
            caches.drop_index(&oldest);
        }
    }

    pub(crate) fn file(&self, key: Key) -> Option<Arc<dyn File>> {
        let mut caches = self.caches();
        caches.clock += 1;
        let clock = caches.clock;
        caches.files.get_mut(&key).map(|used| {
            used.at = clock;
            used.value.clone()
        })
    }

    pub(crate) fn keep_file(&self, key: Key, file: Arc<dyn File>) {
        let mut caches = self.caches();
        caches.clock += 1;
        let used = Used { at: caches.clock, value: file };
        caches.files.insert(key, used);
        while caches.files.len() > self.files_max {
            let Some(oldest) = oldest(&caches.files) else { break };
            caches.files.remove(&oldest);
        }
    }

    /// For a segment that is gone.
    pub(crate) fn forget(&self, key: Key) {
        let mut caches = self.caches();
        caches.drop_index(&key);
        caches.files.remove(&key);
    }

    /// For a journal that is gone.
    pub(crate) fn forget_owner(&self, owner: u64) {
        let mut caches = self.caches();
        caches.files.retain(|key, _| key.0 != owner);
        caches.indexes.retain(|key, _| key.0 != owner);
        caches.index_bytes = caches.indexes.values().map(|used| used.value.memory()).sum();
    }
}

impl Caches {
    fn drop_index(&mut self, key: &Key) {
        self.index_bytes -= self.indexes.remove(key).map_or(0, |used| used.value.memory());
    }
}

fn oldest<T>(entries: &HashMap<Key, Used<T>>) -> Option<Key> {
    entries.iter().min_by_key(|(_, used)| used.at).map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::IndexBuilder;

    fn index() -> Arc<Index> {
        Arc::new(IndexBuilder::new(1, 0, 1).finish())
    }

    #[test]
    fn what_was_used_least_recently_goes() {
        let bytes = index().memory();
        let resources = Resources::new(bytes * 2, 1);
        resources.keep_index((1, 1), index());
        resources.keep_index((1, 2), index());
        assert!(resources.index((1, 1)).is_some());
        resources.keep_index((1, 3), index());
        assert!(resources.index((1, 2)).is_none());
        assert!(resources.index((1, 1)).is_some() && resources.index((1, 3)).is_some());
        assert_eq!(resources.index_bytes(), bytes * 2);
        resources.forget((1, 1));
        resources.forget_owner(1);
        assert_eq!(resources.index_bytes(), 0);
    }
}
