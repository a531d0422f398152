//! What goes wrong with what is hosted, in the words of the event log.

use sinew_hosting::Error as HostingError;
use sinew_journal::Error as JournalError;
use sinew_session::ResourceName;

use crate::Error;

impl From<HostingError> for Error {
    fn from(error: HostingError) -> Self {
        match error {
            HostingError::Unknown { name } => Self::UnknownStream { stream: name },
            HostingError::Ended { name } => Self::Ended { stream: name },
            HostingError::TooMany { max } => {
                Self::Limit { reason: format!("there are {max} streams already; delete one, or raise `streams_max`") }
            }
            HostingError::Exists { name } => Self::StreamExists { stream: name },
            HostingError::Backup { path, why } => Self::Backup { path, why },
            HostingError::NoSpace { name } => Self::NoSpace { stream: name },
            HostingError::NotNow { name, why } => Self::NotNow { stream: name, why },
            HostingError::Storage { name, why } => Self::Storage { stream: name, why },
        }
    }
}

/// An error of the journal as one of the stream.
pub(crate) fn storage(name: &ResourceName) -> impl Fn(JournalError) -> Error + use<> {
    HostingError::of(name)
}

/// The same by name; `*` where it is about all streams.
pub(crate) fn explain(stream: &str, error: &JournalError) -> Error {
    HostingError::explain(stream, error).into()
}

pub(crate) fn storage_of(stream: &str, why: impl Into<String>) -> Error {
    HostingError::storage(stream, why).into()
}
