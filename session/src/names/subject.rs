//! The subject: what a message is about. Its grammar is in `grammar.rs`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::NameError;
use super::grammar::{self, Kind};

/// A valid subject: tokens joined by `.`, such as `orders.eu.new`, at most [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX)
/// bytes, without wildcards.
///
/// A clone is a handle on the same bytes. Made from received [`Bytes`] it copies nothing and keeps the block alive
/// that they came in: copy what is stored for long.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Bytes);

impl Subject {
    /// Whether the bytes are a subject: a single pass, a table look-up for each byte of ASCII, no allocation.
    #[inline]
    pub fn is_valid(bytes: &[u8]) -> bool {
        grammar::is_subject(bytes)
    }

    /// The subject as text. Costs a walk over the bytes, since it is kept as bytes; on hot paths use
    /// [`as_bytes`](Self::as_bytes).
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a subject is checked when it is made")
    }

    /// The subject's bytes, which are UTF-8.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same on bytes of its own, for what is kept for long.
    pub fn to_owned_bytes(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Whether it begins with `$`, where only the server publishes.
    #[inline]
    pub fn is_reserved(&self) -> bool {
        grammar::is_reserved(&self.0)
    }

    /// Fails with [`NameError::ReservedSubject`] if only the server may publish there.
    pub fn check_publishable(&self) -> Result<(), NameError> {
        if self.is_reserved() { Err(NameError::ReservedSubject { subject: self.clone() }) } else { Ok(()) }
    }
}

impl TryFrom<Bytes> for Subject {
    type Error = NameError;

    /// Checks and keeps the bytes; nothing is copied.
    #[inline]
    fn try_from(bytes: Bytes) -> Result<Self, NameError> {
        if Self::is_valid(&bytes) { Ok(Self(bytes)) } else { explain(bytes) }
    }
}

impl TryFrom<String> for Subject {
    type Error = NameError;

    /// Checks and keeps the text; nothing is copied.
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::try_from(Bytes::from(text))
    }
}

impl TryFrom<&str> for Subject {
    type Error = NameError;

    /// Checks the text and copies it.
    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::try_from(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl FromStr for Subject {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text)
    }
}

/// Says why the fast check refused it. The reader that explains has the last word, so that nothing hangs on the two
/// being of one mind; a test sees to it that they are.
#[cold]
fn explain(bytes: Bytes) -> Result<Subject, NameError> {
    match grammar::fault(&bytes, Kind::Subject) {
        Some(fault) => Err(NameError::InvalidSubject { subject: grammar::shown(&bytes), fault }),
        None => Ok(Subject(bytes)),
    }
}

impl From<Subject> for Bytes {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

impl Borrow<[u8]> for Subject {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Subject {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
