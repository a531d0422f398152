//! How a task is to be done.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Tags that a task needs or a worker has, at most.
pub const TAGS_MAX: usize = 16;
/// Bytes of a tag, at most.
pub const TAG_BYTES_MAX: usize = 64;
/// Bytes of an idempotency key, at most.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Attempts of a task, at most.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Ever longer pauses between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The pause after the first attempt that failed. Default 1 s. Each one after that is twice as long.
    pub first: Duration,
    /// The longest. Default 5 min.
    pub max: Duration,
}

/// How a task is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskOptions {
    /// Only a worker with all of these tags gets it. Default: none, so any worker may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Higher ones go first; tasks of one priority in the order in which they came. Default 100.
    pub priority: u8,
    /// Not before so much time has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Not after so much time has passed since it was accepted: it ends, whether it waits or runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// How often it is begun at most when it fails or its worker is lost. Default 1: a task is not begun again by itself. At
    /// most [`ATTEMPTS_MAX`].
    pub attempts_max: u32,
    /// The pause before it is begun again after a failure. A lost worker's task goes on at once.
    pub backoff: Backoff,
    /// An attempt that tells no progress for so long is taken away from its worker. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<Duration>,
    /// Whether it waits for a worker to come where none is there that could do it. Default: no, it ends with `NoWorkers`.
    pub queueing: bool,
    /// Whether it goes on when who submitted it goes away. Default: no, it is cancelled.
    pub detached: bool,
    /// How long its outcome can be fetched after it has ended. Default: an hour where it is detached, else until who submitted
    /// it has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_kept: Option<Duration>,
    /// Whoever submits with the same key again gets this task, not another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Whether it is kept as a dead letter when all attempts have failed. Default: where it was queueing or detached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<bool>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(300) }
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            priority: 100,
            delay: None,
            deadline: None,
            attempts_max: 1,
            backoff: Backoff::default(),
            stall_timeout: None,
            queueing: false,
            detached: false,
            result_kept: None,
            idempotency_key: None,
            dead_letter: None,
        }
    }
}

impl Backoff {
    /// The pause after so many attempts that failed.
    pub fn after(&self, attempts: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).and_then(|times| self.first.checked_mul(times));
        doubled.unwrap_or(self.max).min(self.max)
    }
}

impl TaskOptions {
    /// Whether it is kept when all attempts have failed.
    pub fn is_kept_dead(&self) -> bool {
        self.dead_letter.unwrap_or(self.queueing || self.detached)
    }

    /// How long its outcome can be fetched after it has ended.
    pub(crate) fn result_kept(&self, detached: bool) -> Duration {
        let default = if detached { Duration::from_secs(3_600) } else { Duration::ZERO };
        self.result_kept.unwrap_or(default)
    }
}
