//! What a stream is to be: how it keeps, for how long, and when it acknowledges.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sinew_session::Durability;

/// How long events are kept. Whole segments go, the newest never; `None` sets no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Events older than this may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_max: Option<Duration>,
    /// The oldest go while the stream has more bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// The oldest go while the stream has more events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_max: Option<u64>,
}

/// Whether old values of a key are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compaction {
    /// Everything stays until retention takes it.
    #[default]
    Off,
    /// Of each key the newest event stays; events without a key stay. The newest segment is left alone.
    ByKey {
        /// How long a tombstone is kept, so that readers who follow learn of it.
        tombstone_age: Duration,
    },
}

/// What a stream is to be. Everything but `segment_bytes_max` and `index_interval_bytes` can be altered later; those
/// hold for segments begun afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// When an append is acknowledged. Default: fsynced.
    pub durability: Durability,
    /// How long events are kept. Default: for ever.
    pub retention: Retention,
    /// Whether old values of a key are removed. Default: not.
    pub compaction: Compaction,
    /// A segment is full at this size, in bytes. Default 128 MiB: what recovery reads after a crash, and the step in
    /// which retention removes.
    pub segment_bytes_max: u64,
    /// Bytes between two entries of the index. Default 16 KiB: what a read by offset skips at most.
    pub index_interval_bytes: u32,
    /// The largest event, in bytes, head and key included. Default 1 MiB.
    pub event_bytes_max: u32,
    /// Idempotent producers that are remembered; beyond, the one that was silent for longest is forgotten. Default
    /// 10,000.
    pub producers_max: u32,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            retention: Retention::default(),
            compaction: Compaction::default(),
            segment_bytes_max: 128 << 20,
            index_interval_bytes: 16 << 10,
            event_bytes_max: 1 << 20,
            producers_max: 10_000,
        }
    }
}
