//! What can go wrong with a stream, named for what the caller can do about it.

use std::borrow::Cow;

use sinew_session::{HeaderError, NameError};

use crate::{Level, MalformedBatch};

/// A result of the event log.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Cheap to clone: one failed commit concerns many callers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no name of a stream, no subject or no pattern.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A header that no event can have.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Bytes that are no batch of events.
    #[error("not a batch of events: {0}")]
    Malformed(#[from] MalformedBatch),
    /// There is no such stream.
    #[error("there is no stream `{stream}`; create it with `sinew log create {stream}`, or see `sinew log list`")]
    UnknownStream {
        /// Its name.
        stream: String,
    },
    /// The stream is there, and is another one.
    #[error("stream `{stream}` exists with another configuration; alter it, or choose another name")]
    StreamExists {
        /// Its name.
        stream: String,
    },
    /// A configuration that cannot be.
    #[error("`{field}` of stream `{stream}` cannot be {value}: {why}")]
    Config {
        /// The stream.
        stream: String,
        /// Which field.
        field: Cow<'static, str>,
        /// What it was to be.
        value: String,
        /// Why not, and what can be.
        why: String,
    },
    /// No such offset.
    #[error(
        "offset {requested} of stream `{stream}` is out of range: the first is {first} and the next event gets {next}"
    )]
    OutOfRange {
        /// The stream.
        stream: String,
        /// What was asked for.
        requested: u64,
        /// The first that can be read.
        first: u64,
        /// The one that the next event gets.
        next: u64,
    },
    /// The condition of an append does not hold.
    #[error(
        "nothing was appended to `{stream}`: the next offset is {next}, and {expected} was expected; read on and try again"
    )]
    WrongOffset {
        /// The stream.
        stream: String,
        /// What was expected.
        expected: u64,
        /// What it is.
        next: u64,
    },
    /// Another one has opened the producer since.
    #[error(
        "producer {producer} of `{stream}` was opened again: its epoch is {current} and not {epoch}; stop, or open it anew"
    )]
    ProducerFenced {
        /// The stream.
        stream: String,
        /// The producer.
        producer: u64,
        /// What was said.
        epoch: u32,
        /// What it is.
        current: u32,
    },
    /// The stream does not remember the producer any more.
    #[error("producer {producer} of `{stream}` was silent for so long that it is forgotten; open it anew")]
    ProducerExpired {
        /// The stream.
        stream: String,
        /// The producer.
        producer: u64,
    },
    /// Events of a producer are missing before these.
    #[error(
        "producer {producer} of `{stream}` sent event {sequence}, and {expected} is its next; send what is missing first"
    )]
    SequenceGap {
        /// The stream.
        stream: String,
        /// The producer.
        producer: u64,
        /// What was sent.
        sequence: u64,
        /// What was expected.
        expected: u64,
    },
    /// A batch of a producer that was stored so long ago that where is not remembered.
    #[error(
        "producer {producer} of `{stream}` sent event {sequence} again, which was stored long ago (its next is \
         {expected}); leave it out"
    )]
    AlreadyStored {
        /// The stream.
        stream: String,
        /// The producer.
        producer: u64,
        /// What was sent.
        sequence: u64,
        /// Its next.
        expected: u64,
    },
    /// An update of a cursor that cannot be.
    #[error("cursor `{cursor}` of `{stream}` was not stored: {why}")]
    Cursor {
        /// The stream.
        stream: String,
        /// Its name, cut where it is too long.
        cursor: String,
        /// Why not, and what can be.
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
    /// A file of the original event source that does not hold together.
    #[error("nothing was imported: {path} is malformed at byte {at}: {why}")]
    MalformedImport {
        /// The file.
        path: String,
        /// Where in it.
        at: u64,
        /// What is wrong there.
        why: String,
    },
    /// The engine cannot do this.
    #[error("stream `{stream}` is not on disk: there is nothing to {what}")]
    Unsupported {
        /// The stream.
        stream: String,
        /// What was asked for.
        what: &'static str,
    },
    /// An event or a batch above the limit.
    #[error("{what} of {bytes} bytes for `{stream}`; the limit is {max}: {advice}")]
    TooLarge {
        /// The stream.
        stream: String,
        /// An event or a batch.
        what: Cow<'static, str>,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
        /// What to do.
        advice: Cow<'static, str>,
    },
    /// More waits to be stored than may wait.
    #[error("{bytes} bytes wait to be stored in `{stream}` already; try again in a moment")]
    Busy {
        /// The stream.
        stream: String,
        /// Bytes waiting.
        bytes: usize,
    },
    /// The disk is full. Nothing of it was stored; reads go on.
    #[error(
        "no space left for stream `{stream}`; free some, or shorten its retention: appending goes on by itself then"
    )]
    NoSpace {
        /// The stream.
        stream: String,
    },
    /// The server could not even begin, since it has too many files open, say. Nothing of it was stored; reads go on.
    #[error("nothing was stored in `{stream}` for now: {why}; try again in a moment")]
    NotNow {
        /// The stream.
        stream: String,
        /// What could not be done.
        why: String,
    },
    /// Stored events that do not hold any more.
    #[error("events {from} to {to} of stream `{stream}` are damaged: {why}; read on from {to}, or restore a backup")]
    Damaged {
        /// The stream.
        stream: String,
        /// The first that cannot be read.
        from: u64,
        /// The first behind it that can.
        to: u64,
        /// What was found.
        why: String,
    },
    /// The storage failed.
    #[error("stream `{stream}` cannot be used: {why}")]
    Storage {
        /// The stream.
        stream: String,
        /// What failed, on which file, and what to do.
        why: String,
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
    /// The stream was deleted, or the server has stopped.
    #[error("stream `{stream}` has ended: it was deleted, or its server has stopped")]
    Ended {
        /// The stream.
        stream: String,
    },
    /// The stream has no such group.
    #[error(
        "stream `{stream}` has no group `{group}`; the first member that joins makes it, or see `sinew log groups {stream}`"
    )]
    UnknownGroup {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
    },
    /// The group is there, and works in another way.
    #[error("group `{group}` of `{stream}` exists with other settings; join it with those, or choose another name")]
    GroupExists {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
    },
    /// The group was removed while one was its member.
    #[error("group `{group}` of `{stream}` was removed; join again to make it anew")]
    GroupEnded {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
    },
    /// The stream does not promise what was required.
    #[error(
        "nothing was appended to `{stream}`: it acknowledges when an event is {level}, and {required} was required; alter the stream"
    )]
    LevelUnmet {
        /// The stream.
        stream: String,
        /// What was required.
        required: Level,
        /// What it promises.
        level: Level,
    },
    /// A payload is not what the reader takes it for.
    #[error(
        "event {offset} of `{stream}`, {bytes} bytes, is no {expected}: {why}; read its `payload`, or agree on the type"
    )]
    Undecodable {
        /// The stream.
        stream: String,
        /// Which event.
        offset: u64,
        /// The type that was asked for.
        expected: &'static str,
        /// What is wrong with it.
        why: String,
        /// The payload's size.
        bytes: usize,
    },
    /// A value cannot be made a payload.
    #[error("a {given} for `{stream}` cannot be written as CBOR: {why}; append its bytes instead")]
    Unencodable {
        /// The stream.
        stream: String,
        /// The value's type.
        given: &'static str,
        /// What its `Serialize` said.
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
            Self::Busy { .. } | Self::NotNow { .. } => true,
            Self::Session(error) => error.is_retryable(),
            _ => false,
        }
    }
}
