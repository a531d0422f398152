//! The workloads, by name.

use serde::{Deserialize, Serialize};

/// What one measurement does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// One publisher as fast as the cap allows.
    Stream { size: usize, subscribers: usize },
    /// One message at a time, there and back.
    PingPong { size: usize },
    /// One client asks, two answer.
    Requests { size: usize, in_flight: usize },
    /// One client appends to a stream, each append acknowledged.
    Append { size: usize, in_flight: usize, batch: usize },
    /// One client reads a stream from its start, over and over.
    Replay { size: usize },
    /// One client reads keys of a store.
    Get { size: usize, in_flight: usize },
    /// One client writes keys of a store, each write acknowledged.
    Put { size: usize, in_flight: usize },
    /// One client submits tasks and awaits their results, two work; nothing is stored.
    Task { size: usize, in_flight: usize },
    /// As `Task`, where a task is on disk before somebody works on it, and its outcome before it is told.
    DurableTask { size: usize, in_flight: usize },
    /// One client submits tasks, each acknowledged from disk; nobody works.
    DurableSubmit { size: usize, in_flight: usize },
}

/// Events of a batch, in the system's own kind of batch.
const BATCH: usize = 64;
/// Batches under way: as many as NATS takes for one stream, with room.
const BATCHES: usize = 16;

/// The unit in which a workload is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    /// More is better.
    MessagesPerSecond,
    /// More is better.
    MegabytesPerSecond,
    /// Less is better.
    Microseconds,
}

const fn stream(size: usize) -> Workload {
    Workload::Stream { size, subscribers: 1 }
}

/// All, in the order of the page.
pub(crate) const ALL: [(&str, &str, Workload); 24] = [
    ("16B", "pub/sub 1 to 1, 16 B", stream(16)),
    ("128B", "pub/sub 1 to 1, 128 B", stream(128)),
    ("1KiB", "pub/sub 1 to 1, 1 KiB", stream(1024)),
    ("16KiB", "pub/sub 1 to 1, 16 KiB", stream(16 * 1024)),
    ("1MiB", "pub/sub 1 to 1, 1 MiB", stream(1 << 20)),
    ("fan-out", "fan-out 1 to 8, 128 B", Workload::Stream { size: 128, subscribers: 8 }),
    ("ping-pong", "ping-pong, 64 B", Workload::PingPong { size: 64 }),
    ("request-1", "request/reply, 1 in flight, 64 B", Workload::Requests { size: 64, in_flight: 1 }),
    ("request-64", "request/reply, 64 in flight, 64 B", Workload::Requests { size: 64, in_flight: 64 }),
    ("append-1", "append, 1 in flight, 128 B", Workload::Append { size: 128, in_flight: 1, batch: 1 }),
    ("append-64", "append, 64 in flight, 128 B", Workload::Append { size: 128, in_flight: 64, batch: 1 }),
    ("append-64-1KiB", "append, 64 in flight, 1 KiB", Workload::Append { size: 1024, in_flight: 64, batch: 1 }),
    ("batches", "append batches of 64, 128 B", Workload::Append { size: 128, in_flight: BATCHES, batch: BATCH }),
    ("batches-1KiB", "append batches of 64, 1 KiB", Workload::Append { size: 1024, in_flight: BATCHES, batch: BATCH }),
    ("replay", "replay, 128 B", Workload::Replay { size: 128 }),
    ("get-1", "key-value get, 1 in flight, 128 B", Workload::Get { size: 128, in_flight: 1 }),
    ("get-64", "key-value get, 64 in flight, 128 B", Workload::Get { size: 128, in_flight: 64 }),
    ("put-1", "key-value put, 1 in flight, 128 B", Workload::Put { size: 128, in_flight: 1 }),
    ("put-64", "key-value put, 64 in flight, 128 B", Workload::Put { size: 128, in_flight: 64 }),
    ("task-1", "task, 1 in flight, 64 B", Workload::Task { size: 64, in_flight: 1 }),
    ("task-64", "task, 64 in flight, 64 B", Workload::Task { size: 64, in_flight: 64 }),
    ("durable-task-1", "durable task, 1 in flight, 64 B", Workload::DurableTask { size: 64, in_flight: 1 }),
    ("durable-task-64", "durable task, 64 in flight, 64 B", Workload::DurableTask { size: 64, in_flight: 64 }),
    ("durable-submit-64", "durable submit, 64 in flight, 64 B", Workload::DurableSubmit { size: 64, in_flight: 64 }),
];

impl Workload {
    /// Its name on the command line and in results.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// Its name on the page.
    pub(crate) fn title(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> &'static (&'static str, &'static str, Workload) {
        ALL.iter().find(|(_, _, workload)| *workload == self).expect("only those of the list are made")
    }

    /// How it is compared.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Stream { size, .. } if size >= 16 * 1024 => Unit::MegabytesPerSecond,
            Self::Stream { .. } => Unit::MessagesPerSecond,
            Self::Requests { in_flight, .. }
            | Self::Append { in_flight, .. }
            | Self::Get { in_flight, .. }
            | Self::Put { in_flight, .. }
            | Self::Task { in_flight, .. }
            | Self::DurableTask { in_flight, .. }
            | Self::DurableSubmit { in_flight, .. }
                if in_flight > 1 =>
            {
                Unit::MessagesPerSecond
            }
            Self::Replay { .. } => Unit::MessagesPerSecond,
            Self::PingPong { .. }
            | Self::Requests { .. }
            | Self::Append { .. }
            | Self::Get { .. }
            | Self::Put { .. }
            | Self::Task { .. }
            | Self::DurableTask { .. }
            | Self::DurableSubmit { .. } => Unit::Microseconds,
        }
    }

    /// Bytes of a message.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Stream { size, .. }
            | Self::PingPong { size }
            | Self::Requests { size, .. }
            | Self::Append { size, .. }
            | Self::Replay { size }
            | Self::Get { size, .. }
            | Self::Put { size, .. }
            | Self::Task { size, .. }
            | Self::DurableTask { size, .. }
            | Self::DurableSubmit { size, .. } => size,
        }
    }

    /// Whether the system needs request/reply for it.
    pub(crate) fn is_request(self) -> bool {
        matches!(self, Self::Requests { .. })
    }

    /// Whether it is about what is stored.
    pub(crate) fn is_log(self) -> bool {
        matches!(self, Self::Append { .. } | Self::Replay { .. })
    }

    /// Whether it is about keys and their values.
    pub(crate) fn is_store(self) -> bool {
        matches!(self, Self::Get { .. } | Self::Put { .. })
    }

    /// Whether it is about tasks that are done while somebody waits, and nothing is stored.
    pub(crate) fn is_task(self) -> bool {
        matches!(self, Self::Task { .. })
    }

    /// Whether it is about tasks that are stored.
    pub(crate) fn is_durable_task(self) -> bool {
        matches!(self, Self::DurableTask { .. } | Self::DurableSubmit { .. })
    }

    /// Whether it only reads what was stored before.
    pub(crate) fn only_reads(self) -> bool {
        matches!(self, Self::Replay { .. } | Self::Get { .. })
    }
}

impl Unit {
    /// As in the tables.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::MessagesPerSecond => "messages/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Microseconds => "µs",
        }
    }

    /// Whether a larger figure is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        self != Self::Microseconds
    }
}
