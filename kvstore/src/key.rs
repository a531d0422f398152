//! The key: tokens joined by `.`, as a subject, so that one pattern speaks of keys, of watches and of copies on the bus.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use sinew_session::{NameError, Subject};

use crate::Error;

/// The longest key, in bytes: with `$KV.`, the longest bucket and a dot before it it still is a subject.
pub const KEY_BYTES_MAX: usize = 255;

/// A valid key: a subject of at most [`KEY_BYTES_MAX`] bytes that does not begin with `$`, such as `lights.kitchen`.
///
/// A clone is a handle on the same bytes. Made from received [`Bytes`] it copies nothing and keeps the block alive that
/// they came in: [`to_owned_bytes`](Self::to_owned_bytes) for what is stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Subject);

impl Key {
    /// The key as a subject.
    pub fn as_subject(&self) -> &Subject {
        &self.0
    }

    /// The key as text. Costs a walk over the bytes.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The key's bytes, which are UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same on bytes of its own, for what is kept for long.
    pub fn to_owned_bytes(&self) -> Self {
        Self(self.0.to_owned_bytes())
    }
}

impl TryFrom<Subject> for Key {
    type Error = Error;

    fn try_from(subject: Subject) -> Result<Self, Error> {
        let bytes = subject.as_bytes().len();
        if bytes > KEY_BYTES_MAX {
            let start: String = subject.as_str().chars().take(60).collect();
            return Err(Error::KeyTooLong { start, bytes });
        }
        match subject.is_reserved() {
            true => Err(Error::ReservedKey { key: subject.as_str().to_owned() }),
            false => Ok(Self(subject)),
        }
    }
}

impl TryFrom<Bytes> for Key {
    type Error = Error;

    /// Checks and keeps the bytes; nothing is copied.
    fn try_from(bytes: Bytes) -> Result<Self, Error> {
        let subject: Result<Subject, NameError> = bytes.try_into();
        subject?.try_into()
    }
}

impl TryFrom<&str> for Key {
    type Error = Error;

    /// Checks the text and copies it.
    fn try_from(text: &str) -> Result<Self, Error> {
        Subject::try_from(text)?.try_into()
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(text)
    }
}

impl From<Key> for Subject {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
