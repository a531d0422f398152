//! Names that all services share: subjects and patterns of them, and the one token that names a queue, bucket or stream.
//!
//! They stand here because a log records subjects and a store publishes its changes under them, and no service may name
//! another.

mod grammar;
pub use grammar::{NAME_BYTES_MAX, NameFault, is_reserved, split_token};
mod subject;
pub use subject::Subject;
mod pattern;
pub use pattern::{Pattern, PatternToken};
mod resource_name;
pub use resource_name::{RESOURCE_NAME_BYTES_MAX, ResourceName};

/// What stands before the bucket and the key, `$KV.config.lamp`, where changes of the key-value store are told on the bus:
/// the store publishes there, and the bus asks who may hear it.
pub const KV_SUBJECTS: &str = "$KV.";

/// Why a text is not the name it was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
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
    /// The text names no queue, bucket or stream.
    #[error("`{name}` cannot name a queue, bucket or stream: {fault}")]
    InvalidName {
        /// The text, escaped and cut to a printable length.
        name: String,
        /// Why, and what to do.
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
}
