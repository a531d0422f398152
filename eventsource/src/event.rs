//! An event: what is appended, and what is read.

use bytes::Bytes;
use sinew_session::{Headers, Subject};

/// The longest key of an event, in bytes: keys name things (a device, an order), they do not hold them.
pub const KEY_BYTES_MAX: usize = 4_096;

/// An event that is to be appended. A clone shares its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// What it is about; readers filter by it.
    pub subject: Option<Subject>,
    /// What it replaces when the stream is compacted, and what a key-ordered group orders by. At most
    /// [`KEY_BYTES_MAX`] bytes.
    pub key: Option<Bytes>,
    /// Names and values beside the payload.
    pub headers: Headers,
    /// What is stored.
    pub payload: Bytes,
    /// The key is gone: compaction removes what stands under it, and in time this event as well.
    pub tombstone: bool,
}

impl NewEvent {
    /// An event of this payload, without subject, key and headers.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// That nothing stands under `key` any more.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), tombstone: true, ..Self::default() }
    }

    /// The same about this subject.
    pub fn subject(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// The same under this key.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same with these headers.
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
}

impl<T: Into<Bytes>> From<T> for NewEvent {
    fn from(payload: T) -> Self {
        Self::new(payload)
    }
}

/// An event as it stands in a stream. A clone shares its bytes; one that was read shares a read buffer: copy what is
/// kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the stream. The first is 0; after compaction there are gaps.
    pub offset: u64,
    /// When it was appended, in nanoseconds since 1970, by the server's clock; never less than that of the one before.
    pub timestamp: u64,
    /// What was appended.
    pub body: NewEvent,
}

impl std::ops::Deref for Event {
    type Target = NewEvent;

    fn deref(&self) -> &NewEvent {
        &self.body
    }
}
