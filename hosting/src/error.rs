//! What can go wrong with a resource, for engines to say in words of their own.

use std::error::Error as _;

use sinew_journal::Error as JournalError;
use sinew_session::ResourceName;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. An engine has words of its own for each of them; so the enum is exhaustive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("there is no `{name}`; create it, or choose another name")]
    Unknown {
        /// The resource.
        name: String,
    },
    /// It was removed, or the engine is closed.
    #[error("`{name}` has ended: it was deleted, or its server has stopped")]
    Ended {
        /// The resource.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there are {max} already; delete one, or raise the limit")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// There is one of this name.
    #[error("`{name}` exists; choose another name")]
    Exists {
        /// The resource.
        name: String,
    },
    /// The disk is full. Nothing of it was stored; reads go on.
    #[error("no space left for `{name}`; free some: writing goes on by itself then")]
    NoSpace {
        /// The resource.
        name: String,
    },
    /// Not even the beginning was possible, since too many files are open, say. The same may succeed later.
    #[error("nothing was stored in `{name}` for now: {why}; try again in a moment")]
    NotNow {
        /// The resource.
        name: String,
        /// What could not be done.
        why: String,
    },
    /// A directory that is no copy, or that none must be written to.
    #[error("{path} {why}")]
    Backup {
        /// The directory.
        path: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The storage failed.
    #[error("`{name}` cannot be used: {why}")]
    Storage {
        /// The resource; `*` where it is about all.
        name: String,
        /// What failed, on which file, and what to do.
        why: String,
    },
}

impl Error {
    /// The storage of a resource, or of all (`*`), fails for this reason.
    pub fn storage(name: &str, why: impl Into<String>) -> Self {
        Self::Storage { name: name.to_owned(), why: why.into() }
    }

    /// An error of the journal as one of the resource, or of all (`*`), with all its causes.
    pub fn explain(name: &str, error: &JournalError) -> Self {
        if let JournalError::NoSpace { .. } = error {
            return Self::NoSpace { name: name.to_owned() };
        }
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        match error.is_retryable() {
            true => Self::NotNow { name: name.to_owned(), why },
            false => Self::Storage { name: name.to_owned(), why },
        }
    }

    /// The same for many errors of one resource, in the engine's words.
    pub fn of<E: From<Self>>(name: &ResourceName) -> impl Fn(JournalError) -> E + use<E> {
        let name = name.clone();
        move |error| Self::explain(name.as_str(), &error).into()
    }
}
