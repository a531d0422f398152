//! What goes wrong with what is hosted, in the words of the task queue.

use sinew_hosting::Error as HostingError;
use sinew_journal::Error as JournalError;
use sinew_session::ResourceName;

use crate::Error;

impl From<HostingError> for Error {
    fn from(error: HostingError) -> Self {
        match error {
            HostingError::Unknown { name } => Self::UnknownQueue { queue: name },
            HostingError::Ended { name } => Self::Ended { queue: name },
            HostingError::TooMany { max } => {
                Self::Limit { reason: format!("there are {max} queues already; delete one, or raise `queues_max`") }
            }
            HostingError::Exists { name } => Self::QueueExists { queue: name },
            HostingError::NoSpace { name } => Self::NoSpace { queue: name },
            HostingError::Backup { path, why } => Self::Backup { path, why },
            HostingError::NotNow { name, why } | HostingError::Storage { name, why } => {
                Self::Storage { queue: name, why }
            }
        }
    }
}

/// An error of the journal as one of the queue.
pub(crate) fn storage(name: &ResourceName) -> impl Fn(JournalError) -> Error + use<> {
    HostingError::of(name)
}

/// The same by name; `*` where it is about all queues.
pub(crate) fn explain(queue: &str, error: &JournalError) -> Error {
    HostingError::explain(queue, error).into()
}

pub(crate) fn storage_of(queue: &str, why: impl Into<String>) -> Error {
    HostingError::storage(queue, why).into()
}
