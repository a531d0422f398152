//! What a demonstration found.

use serde::Serialize;

/// All of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// One for each way between two programs.
    pub(super) rows: Vec<Row>,
    /// One for each transport.
    pub(super) logs: Vec<LogRow>,
    /// One for each transport.
    pub(super) stores: Vec<StoreRow>,
    /// One for each transport.
    pub(super) tasks: Vec<TaskRow>,
    /// What went wrong, a line each.
    pub(super) failures: Vec<String>,
    /// How long it took.
    pub(super) seconds: f64,
}

/// What was measured on one way.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The way.
    pub(super) transport: String,
    /// How it is secured.
    pub(super) security: &'static str,
    /// The ping-pong, where it succeeded.
    pub(super) ping_pong: Option<PingPong>,
    /// One for each size.
    pub(super) throughput: Vec<Throughput>,
}

/// A stream of events over one transport: all on disk before they were acknowledged, and all read again in order.
#[derive(Debug, Serialize)]
pub(super) struct LogRow {
    /// The way.
    pub(super) transport: String,
    /// Bytes of each event.
    pub(super) payload_bytes: usize,
    /// Appends on their way at one time.
    pub(super) in_flight: usize,
    pub(super) appended: u64,
    pub(super) appended_per_second: f64,
    pub(super) replayed: u64,
    pub(super) replayed_per_second: f64,
}

/// A bucket over one transport: each put on disk before it was acknowledged, and told by a watch; each get with what was put
/// last.
#[derive(Debug, Serialize)]
pub(super) struct StoreRow {
    /// The way.
    pub(super) transport: String,
    /// Bytes of each value.
    pub(super) value_bytes: usize,
    /// Calls on their way at one time.
    pub(super) in_flight: usize,
    pub(super) put: u64,
    pub(super) put_per_second: f64,
    /// Changes that the watch has told.
    pub(super) watched: u64,
    pub(super) got: u64,
    pub(super) got_per_second: f64,
}

/// Tasks over one transport: each on disk before it was acknowledged, and done once, by one of the workers; and calls, which
/// are tasks of a queue in memory, one after the other.
#[derive(Debug, Serialize)]
pub(super) struct TaskRow {
    /// The way.
    pub(super) transport: String,
    /// Bytes of each payload, and of each result.
    pub(super) payload_bytes: usize,
    /// Tasks on their way at one time.
    pub(super) in_flight: usize,
    pub(super) submitted: u64,
    pub(super) done: u64,
    pub(super) done_per_second: f64,
    /// Those that have done some.
    pub(super) workers: usize,
    pub(super) calls: u64,
    pub(super) call_p50_us: f64,
}

/// Round trips through the server between two processes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct PingPong {
    pub(super) rounds: u64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// Messages through the server from one process to another.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Throughput {
    /// Bytes of each payload.
    pub(super) payload_bytes: usize,
    pub(super) messages: u64,
    pub(super) messages_per_second: f64,
}

impl Row {
    pub(super) fn new(transport: &str, security: &'static str) -> Self {
        Self { transport: transport.to_owned(), security, ping_pong: None, throughput: Vec::new() }
    }
}

impl Report {
    /// The row of that way.
    pub(super) fn row(&mut self, transport: &str) -> &mut Row {
        self.rows.iter_mut().find(|row| row.transport == transport).expect("every way has its row from the start")
    }
}
