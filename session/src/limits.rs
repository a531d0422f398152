//! Every limit of a session, with its default and its reason. The table in `docs/ARCHITECTURE.md` is made from here.

use std::time::Duration;

use crate::record::HEADER_BYTES;

/// The limits a session keeps at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// The largest record, header included, in bytes. Default 8 MiB: a camera frame fits, a runaway file does not.
    pub record_bytes_max: usize,
    /// Bytes waiting in the outbox of a connection before senders wait (client) or subscriptions queue on their own
    /// (server). Default 8 MiB: one largest record, or 8,192 messages of 1 KiB.
    pub outbox_bytes_max: usize,
    /// Bytes of fragmented records put together at one time for each connection. Default 16 MiB: two largest records.
    pub reassembly_bytes_max: usize,
    /// Calls in flight for each session. Default 65,536.
    pub calls_max: usize,
    /// How long the hello may take, from the transport's admission. Default 3 s.
    pub hello_timeout: Duration,
    /// A heartbeat is sent after this long without sending anything else. Default 1 s.
    pub heartbeat: Duration,
    /// The peer is lost after this long without a byte from it. Default 5 s: five heartbeats.
    pub lost_after: Duration,
    /// How long the server remembers a session that was cut, so that it can be resumed with exact counts. Default 60 s.
    pub resume_window: Duration,
    /// Sessions remembered after a cut, in all; the oldest go first. Default 10,000.
    pub resume_max: usize,
    /// How long a drain or an orderly close may take. Default 10 s.
    pub drain_timeout: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            record_bytes_max: 8 * 1024 * 1024,
            outbox_bytes_max: 8 * 1024 * 1024,
            reassembly_bytes_max: 16 * 1024 * 1024,
            calls_max: 65_536,
            hello_timeout: Duration::from_secs(3),
            heartbeat: Duration::from_secs(1),
            lost_after: Duration::from_secs(5),
            resume_window: Duration::from_secs(60),
            resume_max: 10_000,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// A block is closed once it holds this many bytes; nothing ever waits for it to fill. 64 KiB hides nearly all of the
/// cost of a send and of CURVE.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;
/// A record above this goes in fragments, each a block of its own, so that no lane is held up for long.
pub(crate) const FRAGMENT_BYTES: usize = 128 * 1024;
/// A body of at least this many bytes travels as a chunk of its own, uncopied.
pub(crate) const SHARED_BODY_BYTES: usize = 8 * 1024;
/// The largest head: its length is 16 bits, and no service needs more than a subject and its headers.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The largest CBOR head or control body.
pub(crate) const CBOR_BYTES_MAX: usize = 16 * 1024;
/// The deepest nesting in CBOR that is read.
pub(crate) const CBOR_DEPTH_MAX: usize = 16;
/// The deepest nesting in a typed payload that is read: deeper than data that people exchange, and far from the end of
/// any thread's stack.
pub(crate) const VALUE_DEPTH_MAX: usize = 64;
/// The most data lanes a session uses: as many as the `wan` preset asks for.
pub(crate) const DATA_LANES_MAX: u8 = 8;

const _: () = assert!(HEADER_BYTES + HEAD_BYTES_MAX < FRAGMENT_BYTES);
