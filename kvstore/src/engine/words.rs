//! What goes wrong with what is hosted, in the words of the key-value store.

use sinew_hosting::Error as HostingError;
use sinew_journal::Error as JournalError;
use sinew_session::ResourceName;

use crate::Error;

impl From<HostingError> for Error {
    fn from(error: HostingError) -> Self {
        match error {
            HostingError::Unknown { name } => Self::UnknownBucket { bucket: name },
            HostingError::Ended { name } => Self::Ended { bucket: name },
            HostingError::TooMany { max } => {
                Self::Limit { reason: format!("there are {max} buckets already; delete one, or raise `buckets_max`") }
            }
            HostingError::Exists { name } => Self::BucketExists { bucket: name },
            HostingError::Backup { path, why } => Self::Backup { path, why },
            HostingError::NoSpace { name } => Self::NoSpace { bucket: name },
            HostingError::NotNow { name, why } | HostingError::Storage { name, why } => {
                Self::Storage { bucket: name, why }
            }
        }
    }
}

/// An error of the journal as one of the bucket.
pub(crate) fn storage(name: &ResourceName) -> impl Fn(JournalError) -> Error + use<> {
    HostingError::of(name)
}

/// The same by name; `*` where it is about all buckets.
pub(crate) fn explain(bucket: &str, error: &JournalError) -> Error {
    HostingError::explain(bucket, error).into()
}

pub(crate) fn storage_of(bucket: &str, why: impl Into<String>) -> Error {
    HostingError::storage(bucket, why).into()
}
