//! The table on disk, as the engine needs it: rows in order, and batches that are there whole or not at all.
//!
//! It need not be durable. What is in it can always be made again from the journal; all that is asked for is that after
//! any end of this *process* it is as it was after one of its batches. What may have been lost with the *system* is not
//! trusted: see `tables.rs`.

use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

/// Why a table cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct StoreError(pub(crate) String);

/// A row, or that there is none any more.
pub(crate) type RowChange = (Bytes, Option<Vec<u8>>);

/// All tables of a data directory.
pub(crate) trait Stores: Send + Sync + Debug {
    /// The table of this name, made where it is missing.
    fn table(&self, name: &str) -> Result<Arc<dyn Store>, StoreError>;
    /// Removes one, if it is there.
    fn remove(&self, name: &str) -> Result<(), StoreError>;
    /// Names of all.
    fn names(&self) -> Vec<String>;
    /// Hands what is written to the operating system.
    fn flush(&self) -> Result<(), StoreError>;
}

/// One table.
pub(crate) trait Store: Send + Sync + Debug {
    /// What was written with the last batch; `None` in a new one.
    fn meta(&self) -> Result<Option<Bytes>, StoreError>;
    /// One row.
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Rows in order from `start` on, until `each` says `false`.
    fn rows(&self, start: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError>;
    /// Changes rows and the meta, all or nothing.
    fn apply(&self, rows: Vec<RowChange>, meta: Vec<u8>) -> Result<(), StoreError>;
    /// Removes everything.
    fn clear(&self) -> Result<(), StoreError>;
}
