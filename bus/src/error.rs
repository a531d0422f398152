//! What can go wrong on the bus, named for what the caller can do about it.

use crate::{HeaderError, NameError, Pattern, Subject};

/// A bus result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no subject or pattern, or a subject belongs to the server.
    #[error(transparent)]
    Name(#[from] NameError),
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
    /// A header that no message can have.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The policy of the server does not permit it.
    #[error("not permitted: {reason}")]
    Denied {
        /// Which rule says so, and what to do.
        reason: String,
    },
    /// Publishes were refused by the server. Told by the next flush.
    #[error("{count} messages were not permitted and not published: {reason}")]
    Refused {
        /// How many since the last flush.
        count: u64,
        /// Why the last one was.
        reason: String,
    },
    /// A limit of the server is reached.
    #[error("the server's limit: {reason}")]
    Limit {
        /// Which one, and what to do.
        reason: String,
    },
    /// There is no room for another kept value. It was not published.
    #[error("the value is not kept, and not published: {reason}")]
    RetainedFull {
        /// How much is kept, and what to do.
        reason: String,
    },
    /// Nobody answers requests to this subject.
    #[error("no responders for `{subject}`: {reason}")]
    NoResponders {
        /// The subject.
        subject: Subject,
        /// What the server says.
        reason: String,
    },
    /// The responder was lost after the request was handed to it.
    #[error("the responder for `{subject}` was lost: {reason}")]
    ResponderLost {
        /// The subject.
        subject: Subject,
        /// What the server says.
        reason: String,
    },
    /// The responder answered that it could not do it.
    #[error("the responder for `{subject}` failed: {reason}")]
    ResponderFailed {
        /// The subject.
        subject: Subject,
        /// What it says.
        reason: String,
    },
    /// The subscription ended because its queue was full, as it was asked to.
    #[error("the subscription ended: {lost} messages did not fit its queue; {reason}")]
    Overflowed {
        /// Messages that it did not get.
        lost: u64,
        /// What to do.
        reason: String,
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

impl Error {
    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Session(error) => error.is_retryable(),
            Self::ResponderLost { .. } | Self::NoResponders { .. } => true,
            _ => false,
        }
    }

    /// What the server's no to a call means.
    pub(crate) fn of_call(error: sinew_session::Error) -> Self {
        match error {
            sinew_session::Error::Failed(failure) => match failure.code.as_str() {
                "denied" => Self::Denied { reason: failure.reason },
                "limit" => Self::Limit { reason: failure.reason },
                "full" => Self::RetainedFull { reason: failure.reason },
                _ => Self::Session(sinew_session::Error::Failed(failure)),
            },
            other => Self::Session(other),
        }
    }

    /// What the server's no to a request means.
    pub(crate) fn of_request(subject: &Subject, error: sinew_session::Error) -> Self {
        let subject = subject.clone();
        match error {
            sinew_session::Error::Failed(failure) => match failure.code.as_str() {
                "no-responders" => Self::NoResponders { subject, reason: failure.reason },
                "responder-lost" => Self::ResponderLost { subject, reason: failure.reason },
                "responder-failed" => Self::ResponderFailed { subject, reason: failure.reason },
                _ => Self::of_call(sinew_session::Error::Failed(failure)),
            },
            other => Self::of_call(other),
        }
    }
}
