//! What can go wrong on the bus, named for what the caller can do about it.

use crate::{NameFault, Pattern, Subject};

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
    /// A payload is not what the subscriber takes it for.
    #[error("a message of {bytes} bytes on `{subject}` is no {expected}: {why}; read its `body`, or agree on the type")]
    Undecodable {
        /// What it is about.
        subject: Subject,
        /// The type that was asked for.
        expected: &'static str,
        /// What is wrong with it.
        why: String,
        /// The payload's size.
        bytes: usize,
    },
    /// A value cannot be made a payload.
    #[error("a {given} for `{subject}` cannot be written as CBOR: {why}; publish its bytes instead")]
    Unencodable {
        /// Where it was to go.
        subject: Subject,
        /// The value's type.
        given: &'static str,
        /// What its `Serialize` said.
        why: String,
    },
    /// The mailbox has no such subscription.
    #[error("the mailbox is not subscribed to `{pattern}`; subscribe first, with exactly this pattern")]
    NotSubscribed {
        /// The pattern.
        pattern: Pattern,
    },
    /// The mailbox waits for nothing.
    #[error("the mailbox is subscribed to nothing, so nothing can come; subscribe first")]
    NothingSubscribed,
    /// The callback was unregistered before.
    #[error("the callback for `{pattern}` is not registered any more; unregister it once")]
    NotRegistered {
        /// What it heard.
        pattern: Pattern,
    },
    /// The thread of the callbacks has ended.
    #[error("the callbacks were shut down; make new ones with `bus.callbacks()`")]
    CallbacksEnded,
    /// A callback waited for the end of the callbacks.
    #[error("a callback cannot wait for the end of the callbacks, since that waits for the callback; do it elsewhere")]
    InsideCallback,
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
