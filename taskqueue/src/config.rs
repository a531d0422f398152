//! What a queue is to be.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sinew_session::Level;

/// The largest payload or result there can be, in bytes, 64 KiB less than 8 MiB: with whatever head it fits the largest record
/// that a session takes.
pub const PAYLOAD_BYTES_MAX: u32 = 127 * 64 * 1024;
/// What the names of the queues of services with typed calls begin with; the service's name follows.
pub const RPC_QUEUE_PREFIX: &str = "rpc-";
/// The shortest lease: a worker renews three times in it, and a network may take a moment.
pub const LEASE_MIN: Duration = Duration::from_millis(300);
/// The longest lease: how long a task waits at most for a worker that will not return.
pub const LEASE_MAX: Duration = Duration::from_secs(3_600);

/// What a queue is to be. Everything but its level can be altered later; tasks that are there keep what they were submitted
/// with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// What an acceptance means: `memory`, `written` or `fsynced`. Default: fsynced. A server without a data directory has
    /// queues in memory alone, and says so.
    pub level: Level,
    /// How long a worker's tasks are its own after it was heard last. Workers renew by themselves, three times in it, so that
    /// no task is too long. Default 10 s; from [`LEASE_MIN`] to [`LEASE_MAX`].
    pub lease: Duration,
    /// How long who submits with an idempotency key gets the same task after it has ended. Default 10 min.
    pub idempotency_kept: Duration,
    /// How long dead letters are kept. Default 7 days.
    pub dead_kept: Duration,
    /// How much it may hold.
    pub limits: QueueLimits,
}

/// How much a queue may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueLimits {
    /// The largest payload, in bytes, at most [`PAYLOAD_BYTES_MAX`]. Default 1 MiB.
    pub payload_bytes_max: u32,
    /// The largest result, in bytes, at most [`PAYLOAD_BYTES_MAX`]. Default 1 MiB.
    pub result_bytes_max: u32,
    /// Tasks that wait or run; beyond, a submission fails. Default 1,000,000.
    pub tasks_max: u64,
    /// Bytes of their payloads. Default 256 MiB.
    pub bytes_max: u64,
    /// Tasks that have ended and are still known; beyond, the oldest is forgotten and counted. Default 100,000.
    pub results_max: u64,
    /// Bytes of their results. Default 64 MiB.
    pub results_bytes_max: u64,
    /// Dead letters; beyond, the oldest is dropped and counted. Default 10,000.
    pub dead_max: u64,
    /// Bytes of their payloads. Default 64 MiB.
    pub dead_bytes_max: u64,
    /// Workers at one time. Default 10,000.
    pub workers_max: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            level: Level::Fsynced,
            lease: Duration::from_secs(10),
            idempotency_kept: Duration::from_secs(600),
            dead_kept: Duration::from_secs(7 * 86_400),
            limits: QueueLimits::default(),
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            payload_bytes_max: 1 << 20,
            result_bytes_max: 1 << 20,
            tasks_max: 1_000_000,
            bytes_max: 256 << 20,
            results_max: 100_000,
            results_bytes_max: 64 << 20,
            dead_max: 10_000,
            dead_bytes_max: 64 << 20,
            workers_max: 10_000,
        }
    }
}
