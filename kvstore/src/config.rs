//! What a bucket is to be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Durability;

/// The most revisions of a key that a bucket may keep, the newest included: more is what a stream is for.
pub const HISTORY_MAX: u16 = 64;
/// The largest value there can be, in bytes, 64 KiB less than 8 MiB: with its key and whatever head it fits the largest record
/// that a session takes, so that what can be put can also be read, scanned and watched.
pub const VALUE_BYTES_MAX: u32 = 127 * 64 * 1024;

/// What a bucket is to be. Everything can be altered later; what is stored already keeps its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketConfig {
    /// When a write is acknowledged. Default: fsynced.
    pub durability: Durability,
    /// Revisions of each key that are kept, the newest included: 1 to [`HISTORY_MAX`]. Default 1.
    pub history: u16,
    /// How long a key lives after it was put, where the put does not say. Default: for ever. Not zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<Duration>,
    /// How much it may hold.
    pub limits: BucketLimits,
}

/// How much a bucket may hold; `None` sets no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketLimits {
    /// The largest value, in bytes, at most [`VALUE_BYTES_MAX`]. Default 1 MiB.
    pub value_bytes_max: u32,
    /// Keys that are there; a put of another one fails beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_max: Option<u64>,
    /// Bytes of keys and newest values; a put that would exceed it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Changes that a watch can go back to, counted from the newest: what a client may miss during a cut and still be told
    /// one by one. Older ones are removed as the bucket is compacted. Default 100,000.
    pub changes_kept: u64,
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self { durability: Durability::default(), history: 1, time_to_live: None, limits: BucketLimits::default() }
    }
}

impl Default for BucketLimits {
    fn default() -> Self {
        Self { value_bytes_max: 1 << 20, keys_max: None, bytes_max: None, changes_kept: 100_000 }
    }
}
