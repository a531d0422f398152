//! What can go wrong in a session, named for what the caller can do about it.

use std::sync::Arc;
use std::time::Duration;

use crate::cbor::CborError;
use crate::hello::{Failure, Refusal};

/// A session's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. Cheap to clone: one end of a connection concerns many callers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] Arc<sinew_transport_api::Error>),
    /// The server does not go on with us.
    #[error("the server refused the session: {0}")]
    Refused(Refusal),
    /// The server answered the call with a failure.
    #[error("the server said no: {0}")]
    Failed(Failure),
    /// Not connected, and what may be buffered meanwhile is used up.
    #[error("not connected to {endpoint}, and {bytes} bytes wait to be sent already; try again once connected")]
    Disconnected {
        /// The server.
        endpoint: String,
        /// Bytes waiting.
        bytes: usize,
    },
    /// The connection was cut after the call was sent and before its reply came: it may or may not have been done.
    #[error("the connection was cut before the reply came; whether the server did it is unknown")]
    OutcomeUnknown,
    /// One-way records (publishes) were lost in a cut. Told once for each loss.
    #[error("{lost} messages were lost when the connection was cut, and the fate of up to {unknown} more is unknown")]
    Lost {
        /// Surely lost.
        lost: u64,
        /// Sent to a server that restarted: some or all of them may have arrived.
        unknown: u64,
    },
    /// It took too long.
    #[error("{what} took longer than {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A record above the limit.
    #[error(
        "a record of {bytes} bytes; the limit is {max}: send it in parts, or raise `record_bytes_max` at both ends"
    )]
    RecordSize {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too many calls at one time.
    #[error("{max} calls are in flight already; await some of them first, or raise `calls_max`")]
    Calls {
        /// The limit.
        max: usize,
    },
    /// A service is mounted twice.
    #[error("service {code} is in use on this session already; share its client instead of making a second one")]
    Mounted {
        /// The service's code.
        code: u8,
    },
    /// The session was closed here.
    #[error("the session was closed here")]
    Closed,
    /// The peer was silent for too long.
    #[error("{peer} sent nothing for {after:?}")]
    Silent {
        /// The other end.
        peer: String,
        /// How long.
        after: Duration,
    },
    /// The peer broke the rules of the protocol.
    #[error("{peer} broke the rules of the session: {why}")]
    Protocol {
        /// The other end.
        peer: String,
        /// Which rule.
        why: String,
    },
    /// A blocking call where it would hold up an async runtime, or wait for it for ever.
    #[error(
        "a blocking call inside an async runtime; use the async API there, or make the call on a thread of its own \
         (`std::thread::spawn`)"
    )]
    InsideRuntime,
    /// The runtime that carries the session could not be made.
    #[error("the thread that carries the session could not be started: {why}")]
    Thread {
        /// What the operating system said.
        why: String,
    },
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything; the session goes on trying after these.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_retryable(),
            Self::Refused(refusal) => refusal.retry,
            Self::Disconnected { .. } | Self::OutcomeUnknown | Self::Timeout { .. } | Self::Silent { .. } => true,
            _ => false,
        }
    }
}

impl From<sinew_transport_api::Error> for Error {
    fn from(error: sinew_transport_api::Error) -> Self {
        Self::Transport(Arc::new(error))
    }
}

impl From<CborError> for Failure {
    fn from(error: CborError) -> Self {
        crate::bad_request(error)
    }
}
