//! What is stored under a key, and how it changes.

use bytes::Bytes;

use crate::Key;

/// A value as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// The value.
    pub value: Bytes,
    /// The revision of the write that put it: rises with every write to the bucket, and begins with 1. What
    /// compare-and-set asks for.
    pub revision: u64,
    /// The revision at which the key came to be: the same until it is deleted or expires.
    pub created: u64,
    /// When it was put, in nanoseconds since 1970.
    pub timestamp: u64,
    /// When it is gone, in nanoseconds since 1970; `None` for never.
    pub expires: Option<u64>,
}

/// One change of a key: what a watch tells, and what history keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Which key.
    pub key: Key,
    /// The change's own revision. The changes of one transaction follow each other without a gap.
    pub revision: u64,
    /// When it was written, in nanoseconds since 1970.
    pub timestamp: u64,
    /// What was done.
    pub change: Change,
}

/// What was done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has this value now.
    Put {
        /// The value.
        value: Bytes,
        /// The revision at which the key came to be.
        created: u64,
        /// When it will be gone, in nanoseconds since 1970.
        expires: Option<u64>,
    },
    /// It is gone.
    Gone(Removal),
}

/// Why a key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// Somebody deleted it; its history stays.
    Deleted,
    /// Somebody deleted it, and its history with it.
    Purged,
    /// Its time to live was over.
    Expired,
}
