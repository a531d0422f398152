//! The event log: named streams of events, durable before they are acknowledged, read from any offset or time and
//! followed live.
//!
//! What is stored and how is the [`Engine`]'s; what is said between client and server is in `protocol.rs`.

mod event;
pub use event::{Event, KEY_BYTES_MAX, NewEvent};
mod record;
pub use record::{EventBatch, EventBatchBuilder, MalformedBatch, RECORD_HEAD_BYTES};
mod config;
pub use config::{Compaction, Durability, Retention, StreamConfig};
mod engine;
pub use engine::{
    Append, AppendDone, Appended, CommitDone, Cursor, CursorUpdate, Engine, Level, Page, ProducerGrant, ProducerStamp,
    ReadLimits, StoredBatch, Stream, StreamInfo, StreamRange,
};
mod error;
pub use error::{Error, Result};
