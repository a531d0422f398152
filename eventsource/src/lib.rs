//! The event log: named streams of events, durable before they are acknowledged, read from any offset or time and
//! followed live.
//!
//! What is stored and how is the [`Engine`]'s; what is said between client and server is in `protocol.rs`.

pub use sinew_session::{Durability, Level, Progress, ProgressSink, parse_rfc3339, rfc3339};
mod event;
pub use event::{Event, KEY_BYTES_MAX, NewEvent};
mod record;
pub use record::{EventBatch, EventBatchBuilder, MalformedBatch, RECORD_HEAD_BYTES};
mod config;
pub use config::{Compaction, Retention, StreamConfig};
mod engine;
pub use engine::{
    Append, AppendDone, Appended, BackedUp, CURSOR_NAME_BYTES_MAX, CURSOR_RANGES_MAX, CURSOR_STATE_BYTES_MAX,
    CommitDone, Compacted, Cursor, CursorUpdate, Engine, EngineOptions, JournalEngine, Page, ProducerGrant,
    ProducerStamp, ReadLimits, StoredBatch, Stream, StreamInfo, StreamRange, Verified,
};
mod event_log;
pub use event_log::{EventLog, LogOptions, Ticket};
mod error;
mod import;
pub use error::{Error, Result};
mod planted;
mod producers;
mod stream;
pub use stream::EVENT_BATCH_BYTES_MAX;
mod cursors;
pub use cursors::{CURSORS_BYTES_MAX, CURSORS_MAX};
mod retention;
pub use retention::RETENTION_SUSPENDED;
mod compaction;
pub use compaction::KEY_MAP_BYTES_MAX;
mod memory;
pub use memory::MemoryEngine;
mod selection;
pub use selection::Filter;
mod protocol;
pub use protocol::{GroupInfo, GroupSettings, Position, Redelivery, SERVICE};
mod broker;
mod group;
pub use broker::{Broker, LogLimits};
mod client;
mod inbox;
pub use client::{AppendOptions, AppendTicket, Events, FollowOptions, GroupOptions, Log};
mod member;
pub use member::{GroupEvent, Member};
mod follower;
pub use follower::{Followed, Follower};
mod producer;
pub use producer::{PRODUCER_BATCHES_MAX, Producer};
pub mod blocking;
