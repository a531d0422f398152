//! What can go wrong on the bus, named for what the caller can do about it.

use crate::{NameFault, Subject};

/// A bus result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text names no subject.
    #[error("`{subject}` is not a subject: {fault}")]
    InvalidSubject {
        /// The text, escaped and cut to a printable length.
        subject: String,
        /// Which token, why, and what to do.
        fault: NameFault,
    },
    /// The text is no pattern.
    #[error("`{pattern}` is not a pattern: {fault}")]
    InvalidPattern {
        /// The text, escaped and cut to a printable length.
        pattern: String,
        /// Which token, why, and what to do.
        fault: NameFault,
    },
    /// A client wanted to publish where only the server may.
    #[error(
        "cannot publish to `{subject}`: names that begin with `$` belong to the server; choose another first token"
    )]
    ReservedSubject {
        /// The subject.
        subject: Subject,
    },
    /// The number is taken.
    #[error("connection {connection} has a subscription {number} already: unsubscribe it first or take another number")]
    SubscriptionInUse {
        /// The connection.
        connection: u64,
        /// The subscription's number on it.
        number: u32,
    },
    /// The session could not do it.
    #[error(transparent)]
    Session(#[from] sinew_session::Error),
    /// The subscriptions of a connection would cost the server too much.
    #[error(
        "the subscriptions of connection {connection} would have {tokens} tokens together, at most {max} are allowed: \
         unsubscribe some, use one wildcard for many, or raise the limit at the server"
    )]
    TooManyTokens {
        /// The connection.
        connection: u64,
        /// How many there would be.
        tokens: usize,
        /// The limit.
        max: usize,
    },
}
