//! The table as a `sled` database: one for the data directory, a tree for each bucket.
//!
//! Its own thread for flushing is off: nothing waits for it, and what it would save is in the journal already. The applier
//! flushes now and then, so that a start after a kill has little to replay. A small cache, since hot values have their own.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::store::{RowChange, Store, StoreError, Stores};

/// Under which a table keeps its meta: no key is empty.
const META: &[u8] = b"";
/// What the tree of a bucket is called.
const PREFIX: &str = "kv/";

#[derive(Debug)]
pub(super) struct SledStores(sled::Db);

#[derive(Debug)]
struct SledStore(sled::Tree);

/// `sled` panics at some damage; here it is an error like any other.
fn caught<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| StoreError(error.to_string())),
        Err(_) => Err(StoreError("the table's files do not hold together".into())),
    }
}

impl SledStores {
    /// Opens it, or makes it.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes as u64)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None);
        caught(|| config.open()).map(Self)
    }
}

impl Stores for SledStores {
    fn table(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        let tree = caught(|| self.0.open_tree(format!("{PREFIX}{name}")))?;
        Ok(Arc::new(SledStore(tree)))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        caught(|| self.0.drop_tree(format!("{PREFIX}{name}"))).map(drop)
    }

    fn names(&self) -> Vec<String> {
        let names = self.0.tree_names();
        let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok()?.strip_prefix(PREFIX));
        names.map(str::to_owned).collect()
    }

    fn flush(&self) -> Result<(), StoreError> {
        caught(|| self.0.flush()).map(drop)
    }
}

fn copied(value: &sled::IVec) -> Bytes {
    Bytes::copy_from_slice(value)
}

impl Store for SledStore {
    fn meta(&self) -> Result<Option<Bytes>, StoreError> {
        self.row(META)
    }

    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        caught(|| self.0.get(key)).map(|row| row.as_ref().map(copied))
    }

    fn rows(&self, start: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        caught(|| {
            for row in self.0.range::<&[u8], _>((start, Bound::Unbounded)) {
                let (key, value) = row?;
                if key.as_ref() != META && !each(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, rows: Vec<RowChange>, meta: Vec<u8>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, row) in rows {
            match row {
                Some(row) => batch.insert(&key[..], row),
                None => batch.remove(&key[..]),
            }
        }
        batch.insert(META, meta);
        caught(|| self.0.apply_batch(batch))
    }

    fn clear(&self) -> Result<(), StoreError> {
        caught(|| self.0.clear())
    }
}
