//! What can go wrong with a bucket, named for what the caller can do about it.

use std::borrow::Cow;

use sinew_session::NameError;

use crate::{KEY_BYTES_MAX, Level};

/// A result of the key-value store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Cheap to clone: one failed commit concerns many callers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no name of a bucket, no key or no pattern.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A key of too many bytes.
    #[error("`{start}…` cannot be a key: it has {bytes} bytes and a key has at most {KEY_BYTES_MAX}; shorten it")]
    KeyTooLong {
        /// How it begins.
        start: String,
        /// Its length.
        bytes: usize,
    },
    /// A key that begins with `$`.
    #[error("`{key}` cannot be a key: names that begin with `$` belong to the server; choose another beginning")]
    ReservedKey {
        /// The key.
        key: String,
    },
    /// There is no such bucket.
    #[error(
        "there is no bucket `{bucket}`; create it with `sinew kv bucket create {bucket}`, or see `sinew kv bucket list`"
    )]
    UnknownBucket {
        /// Its name.
        bucket: String,
    },
    /// The bucket is there, and is another one.
    #[error("bucket `{bucket}` exists with another configuration; alter it, or choose another name")]
    BucketExists {
        /// Its name.
        bucket: String,
    },
    /// A configuration that cannot be.
    #[error("`{field}` of bucket `{bucket}` cannot be {value}: {why}")]
    Config {
        /// The bucket.
        bucket: String,
        /// Which field.
        field: Cow<'static, str>,
        /// What it was to be.
        value: String,
        /// Why not, and what can be.
        why: String,
    },
    /// A condition of a write does not hold.
    #[error("nothing was written to `{bucket}`: {found}, and {expected} was expected; read it and try again")]
    Conflict {
        /// The bucket.
        bucket: String,
        /// The key whose condition does not hold.
        key: String,
        /// What is there, such as `` `a` has revision 7 ``.
        found: String,
        /// What was expected of it.
        expected: String,
        /// The key's revision; 0 where it is not there.
        revision: u64,
    },
    /// A write that cannot be, whatever is stored.
    #[error("nothing was written to `{bucket}`: {why}")]
    Invalid {
        /// The bucket.
        bucket: String,
        /// What is wrong with it, and what can be.
        why: Cow<'static, str>,
    },
    /// An `Add` to a value that is no whole number, or beyond what one can be.
    #[error("nothing was written to `{bucket}`: `{key}` cannot be counted up: {why}")]
    NotACounter {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Why not.
        why: Cow<'static, str>,
    },
    /// A value or a write above a limit.
    #[error("{what} of {bytes} bytes for `{bucket}`; the limit is {max}: {advice}")]
    TooLarge {
        /// The bucket.
        bucket: String,
        /// A value or a write.
        what: Cow<'static, str>,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
        /// What to do.
        advice: Cow<'static, str>,
    },
    /// The bucket holds as much as it may.
    #[error("nothing was written to `{bucket}`: {what} of {max} is reached; delete some, or alter the bucket")]
    Full {
        /// The bucket.
        bucket: String,
        /// Which limit.
        what: Cow<'static, str>,
        /// The limit.
        max: u64,
    },
    /// Changes that are not kept any more.
    #[error(
        "the changes of `{bucket}` since revision {requested} are not all kept: they are from {first} on; read the bucket anew, and watch from there"
    )]
    Compacted {
        /// The bucket.
        bucket: String,
        /// What was asked for.
        requested: u64,
        /// The first that can be asked for.
        first: u64,
    },
    /// More waits to be stored than may wait.
    #[error("{bytes} bytes wait to be stored in `{bucket}` already; try again in a moment")]
    Busy {
        /// The bucket.
        bucket: String,
        /// Bytes waiting.
        bytes: usize,
    },
    /// The disk is full. Nothing of it was stored; reads go on.
    #[error("no space left for bucket `{bucket}`; free some: writing goes on by itself then")]
    NoSpace {
        /// The bucket.
        bucket: String,
    },
    /// The storage failed.
    #[error("bucket `{bucket}` cannot be used: {why}")]
    Storage {
        /// The bucket.
        bucket: String,
        /// What failed, on which file, and what to do.
        why: String,
    },
    /// A directory that is no backup, or that a backup must not be written to.
    #[error("{path} {why}")]
    Backup {
        /// The directory.
        path: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The engine cannot do this.
    #[error("bucket `{bucket}` is not on disk: there is nothing to {what}")]
    Unsupported {
        /// The bucket.
        bucket: String,
        /// What was asked for.
        what: &'static str,
    },
    /// A limit of the server.
    #[error("the server's limit: {reason}")]
    Limit {
        /// Which one, and what to do.
        reason: String,
    },
    /// The policy of the server does not permit it.
    #[error("not permitted: {reason}")]
    Denied {
        /// Which rule says so, and what to do.
        reason: String,
    },
    /// The bucket was deleted, or the server has stopped.
    #[error("bucket `{bucket}` has ended: it was deleted, or its server has stopped")]
    Ended {
        /// The bucket.
        bucket: String,
    },
    /// The bucket does not promise what was required.
    #[error(
        "nothing was written to `{bucket}`: it acknowledges when a write is {level}, and {required} was required; alter the bucket"
    )]
    LevelUnmet {
        /// The bucket.
        bucket: String,
        /// What was required.
        required: Level,
        /// What it promises.
        level: Level,
    },
    /// A value is not of the type that it was read as.
    #[error(
        "the value of `{key}` at revision {revision}, {bytes} bytes, is no {expected}: {why}; read its `value`, or agree on the type"
    )]
    Undecodable {
        /// The key.
        key: String,
        /// The value's revision.
        revision: u64,
        /// The type that was asked for.
        expected: &'static str,
        /// What is wrong with it.
        why: String,
        /// The value's size.
        bytes: usize,
    },
    /// A value cannot be written as CBOR.
    #[error("a {given} for `{bucket}` cannot be written as CBOR: {why}; put its bytes instead")]
    Unencodable {
        /// The bucket.
        bucket: String,
        /// The value's type.
        given: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The session failed.
    #[error(transparent)]
    Session(#[from] sinew_session::Error),
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Session(error) => error.is_retryable(),
            _ => false,
        }
    }
}
