//! What can go wrong in a transport, named for what the caller can do about it.

use std::io;

use sinew_auth::{Fingerprint, Refusal};

use crate::{EndpointError, Lane};

/// A transport's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint cannot be read or makes no sense for this transport.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No plug-in for the scheme.
    #[error("no transport for `{endpoint}`: this program knows {}", known.join(", "))]
    UnknownScheme {
        /// What was asked for.
        endpoint: String,
        /// The schemes there are.
        known: Vec<String>,
    },
    /// Two plug-ins for one scheme.
    #[error("two transports for the scheme `{scheme}`: link only one, or build a `Registry` by hand")]
    DuplicateScheme {
        /// The scheme.
        scheme: String,
    },
    /// Somebody listens there already.
    #[error("{endpoint} is in use by another program; choose another port")]
    AddressInUse {
        /// The endpoint.
        endpoint: String,
    },
    /// The options lack what the connection needs, or the build does.
    #[error("cannot secure {endpoint}: {why}")]
    Security {
        /// The endpoint.
        endpoint: String,
        /// What is missing, and what to do.
        why: String,
    },
    /// Nobody answers.
    #[error("cannot reach {endpoint}; is a server running there?")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// The cause, where known.
        #[source]
        cause: Option<io::Error>,
    },
    /// It took too long.
    #[error("{endpoint} did not {what} within {after_ms} ms")]
    Timeout {
        /// The endpoint.
        endpoint: String,
        /// What it did not do: `answer`, `finish the handshake`, `close`.
        what: &'static str,
        /// The deadline in milliseconds.
        after_ms: u64,
    },
    /// The peer was not admitted: at a listener the peer, at a client ourselves. Trying again does not help until a
    /// list is changed. The message names the fingerprint of the key that was refused, and the next step.
    #[error("{endpoint} refused the connection: {refusal}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The server proved another key than it should, or could not prove the one it should.
    #[error(
        "{endpoint} is not the server with key {expected}{}; if its key was changed on purpose, trust the new one",
        found.map(|key| format!(" but {key}")).unwrap_or_default()
    )]
    WrongServerKey {
        /// The endpoint.
        endpoint: String,
        /// The fingerprint that was asked for.
        expected: Fingerprint,
        /// The one that was found, where the handshake shows it.
        found: Option<Fingerprint>,
    },
    /// One side is plaintext and the other is not. The message names our fingerprint where we have one.
    #[error("{endpoint} and this program disagree about security: {why}")]
    SecurityMismatch {
        /// The endpoint.
        endpoint: String,
        /// Which side is what, and what to do.
        why: String,
    },
    /// An empty block, or one above the limit. The connection lives on.
    #[error("a block has 1 to {max} bytes, this one {bytes}")]
    BlockSize {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A lane that was not agreed.
    #[error("lane {} was not agreed: there are {count}", lane.0)]
    UnknownLane {
        /// The lane.
        lane: Lane,
        /// How many there are.
        count: u8,
    },
    /// We closed it.
    #[error("the connection was closed here")]
    Closed,
    /// The connection ended without a goodbye.
    #[error("the connection to {peer} was lost: {why}")]
    Lost {
        /// The other end's address.
        peer: String,
        /// What is known of the cause.
        why: String,
    },
    /// The peer broke the transport's rules; it was cut off.
    #[error("{peer} broke the rules of the transport: {why}")]
    Protocol {
        /// The other end's address.
        peer: String,
        /// Which rule.
        why: String,
    },
    /// A limit was reached: connections, pending handshakes.
    #[error("{endpoint} has {what} {max} already; raise the limit `{what}` if the machine can bear it")]
    Limit {
        /// The endpoint.
        endpoint: String,
        /// The limit's name in [`Limits`](crate::Limits).
        what: &'static str,
        /// Its value.
        max: usize,
    },
    /// The operating system said no.
    #[error("{what} failed")]
    Io {
        /// What was tried, on what.
        what: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything. A listener goes on after such an
    /// error, and after `Refused`, `SecurityMismatch` and `Protocol`, which concern one peer.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Lost { .. } | Self::Limit { .. })
    }

    /// Whether it concerns a single peer of a listener, so that `accept` goes on.
    pub fn is_about_one_peer(&self) -> bool {
        self.is_retryable()
            || matches!(self, Self::Refused { .. } | Self::SecurityMismatch { .. } | Self::Protocol { .. })
    }
}
