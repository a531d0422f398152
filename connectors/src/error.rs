//! What can go wrong with a connection, named for what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no address, or names nothing that its scheme knows.
    #[error("`{address}` is no address of a connector: {why}")]
    Address {
        /// The text.
        address: String,
        /// What is wrong and what is expected.
        why: String,
    },
    /// An option of an address.
    #[error("option `{option}` of `{address}` cannot be used: {why}")]
    Option {
        /// The address.
        address: String,
        /// Which option.
        option: String,
        /// What is wrong and what is expected.
        why: String,
    },
    /// No connector has the scheme.
    #[error("no connector for `{address}`: this program knows {}", known.join(", "))]
    UnknownScheme {
        /// The address.
        address: String,
        /// The schemes there are.
        known: Vec<String>,
    },
    /// Two connectors have one scheme.
    #[error("two connectors claim the scheme `{scheme}`; leave one of them out of the program")]
    DuplicateScheme {
        /// The scheme.
        scheme: String,
    },
    /// The connector works the other way only.
    #[error("`{address}` cannot be a {role}: `{scheme}` is a {other} alone")]
    WrongWay {
        /// The address.
        address: String,
        /// Its scheme.
        scheme: String,
        /// What it was to be.
        role: &'static str,
        /// What it can be.
        other: &'static str,
    },
    /// The connector needs a service of the server.
    #[error("`{address}` needs {service}, and there is none: connect to a server that offers it")]
    NoService {
        /// The address.
        address: String,
        /// Which.
        service: &'static str,
    },
    /// A line of a server's file cannot be used.
    #[error("{}, line {line}: {why}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what is expected.
        why: String,
    },
    /// The operating system said no.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Somebody else writes to the file.
    #[error("{} is being written by another connector; wait for its end, or write to another file", path.display())]
    FileInUse {
        /// The file.
        path: PathBuf,
    },
    /// A line is not what was expected.
    #[error("record {record} of {}, at byte {at}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which record, from 1.
        record: u64,
        /// Where its line begins; in a compressed file where the member begins.
        at: u64,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The compressed bytes do not hold together.
    #[error("{} is damaged in the gzip member at byte {at}: {why}; what is behind it cannot be read", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the member begins.
        at: u64,
        /// What the decoder says.
        why: String,
    },
    /// The file has less than before.
    #[error(
        "{} has {bytes} bytes and was read up to byte {at}: it was replaced or cut; take another --name to begin anew",
        path.display()
    )]
    Shrunk {
        /// The file.
        path: PathBuf,
        /// What it has.
        bytes: u64,
        /// Where it was read to.
        at: u64,
    },
    /// What was kept is no mark.
    #[error("{kept} does not hold what a connection keeps: {why}; remove it, or take another --name")]
    NotAMark {
        /// Where it was kept.
        kept: String,
        /// What is wrong with it.
        why: String,
    },
    /// The name stands for another connection.
    #[error("connection `{name}` was made for {remembered}, and this is {given}; take another name")]
    OtherOrigin {
        /// The connection.
        name: String,
        /// Its source.
        remembered: String,
        /// The source that it was given.
        given: String,
    },
    /// The sink has lost what it had.
    #[error("the sink has {has} items of this connection and had {had}: it was made anew; take another name")]
    SinkBehind {
        /// What it has.
        has: u64,
        /// What it had.
        had: u64,
    },
    /// An item cannot be published.
    #[error("item {item} has no subject, so it cannot be published; name one, as in bus:SUBJECT")]
    NoSubject {
        /// Which item of this run, from 1.
        item: u64,
    },
    /// The bus could not do it.
    #[error(transparent)]
    Bus(#[from] sinew_bus::Error),
    /// The event log could not do it.
    #[error(transparent)]
    Log(#[from] sinew_eventsource::Error),
    /// A text is no name.
    #[error(transparent)]
    Name(#[from] sinew_session::NameError),
    /// The session failed, or a call was made inside an async runtime that waits.
    #[error(transparent)]
    Session(#[from] sinew_session::Error),
    /// A connector from outside this crate failed.
    #[error("{what}: {why}")]
    Outside {
        /// What failed, on what.
        what: String,
        /// Why, and what to do next.
        why: String,
        /// Whether the same may succeed later.
        retryable: bool,
    },
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::FileInUse { .. } => true,
            // A disk that is full has room again some time, ours and the server's; nothing else of a file mends itself.
            Self::File { cause, .. } => {
                matches!(
                    cause.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::Interrupted
                )
            }
            Self::Log(sinew_eventsource::Error::NoSpace { .. }) => true,
            Self::Bus(error) => error.is_retryable(),
            Self::Log(error) => error.is_retryable(),
            Self::Session(error) => error.is_retryable(),
            Self::Outside { retryable, .. } => *retryable,
            _ => false,
        }
    }
}

/// Names what was tried, and on what.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |cause| Error::File { what, path: path.into(), cause }
}
