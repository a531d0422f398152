//! The key-value store: buckets of keys, each write durable before it is acknowledged and known by its revision, watched
//! without gaps.
//!
//! What is stored and how is the [`Engine`]'s; what is said between client and server is in `protocol.rs`.

pub use sinew_session::{Durability, Level, Progress, ProgressSink};
mod key;
pub use key::{KEY_BYTES_MAX, Key};
mod config;
pub use config::{BucketConfig, BucketLimits, HISTORY_MAX, VALUE_BYTES_MAX};
mod entry;
pub use entry::{Change, Entry, Removal, Revision};
mod write;
pub use write::{Action, Condition, Expected, OPERATIONS_MAX, Operation, OperationId, WRITE_BYTES_MAX, Write, Written};
mod table;
pub use table::{OPERATIONS_REMEMBERED_FOR, OPERATIONS_REMEMBERED_MAX, OPERATIONS_REMEMBERED_PER_CLIENT};
mod engine;
#[cfg(any(test, feature = "simulation"))]
pub use engine::SimulatedData;
pub use engine::{
    BackedUp, Bucket, BucketInfo, BucketRange, ChangePage, Compacted, Engine, Found, JournalEngine, KvEngineOptions,
    Page, PageLimits, Range, Verified, WriteDone,
};
mod memory;
#[cfg(test)]
mod model;
pub use memory::MemoryEngine;
mod error;
mod planted;
pub use error::{Error, Result};
mod exchange;
pub use exchange::{
    EXPORT_LINE_BYTES_MAX, ExchangeError, ExportReader, FileEntry, INITIAL_BYTES_MAX, InitialBucket,
    PICKLEDB_ENTRY_BYTES_MAX, TextValues, TimeLeft, escape_key, read_initial, read_pickledb, unescape_key, write_entry,
};
mod protocol;
pub use protocol::SERVICE;
mod broker;
pub use broker::{Broker, Copies, KvLimits};
mod client;
pub use client::{Keys, Kv, KvBucket, PutOptions, Scan, Stored, Transaction, WatchFrom, WatchOptions};
mod watch;
pub use watch::{Freshness, Watch, WatchEvent};
mod cached;
pub use cached::CachedBucket;
pub mod blocking;
pub mod recipes;
