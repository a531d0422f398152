//! Headers: names and values beside a payload, for what a receiver wants to know without reading it.
//!
//! Encoded as one run of bytes: name length (u8), name, value length (u16, little endian), value, one after the other.
//! They travel as they are; nobody on the way reads them.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// Headers of one message. More than anybody has needed, and a message stays small.
pub const HEADERS_MAX: usize = 64;
/// Bytes of all headers of one message, encoded: half of what a record's head may have.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// A header that no message can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be a header: {why}")]
pub struct HeaderError {
    /// Its name, escaped and cut to a printable length.
    pub name: String,
    /// Why not, and what to do.
    pub why: String,
}

/// The headers of a message, in the order in which they were added; a name may stand more than once.
///
/// A clone is a handle on the same bytes. Received ones share a receive buffer: copy what is kept for long.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// Adds one. Copies all that are there: for a handful, set once.
    ///
    /// # Errors
    /// For a name that is empty, longer than 255 bytes or has characters other than visible ASCII, for a
    /// value above 65,535 bytes, and beyond [`HEADERS_MAX`] and [`HEADERS_BYTES_MAX`]; nothing is added then.
    pub fn insert(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeaderError> {
        let value = value.as_ref();
        let fault = |why: String| HeaderError { name: shown(name), why };
        if name.is_empty() || name.len() > usize::from(u8::MAX) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fault("a name has 1 to 255 visible ASCII characters; rename it".into()));
        }
        let size = 3 + name.len() + value.len();
        if value.len() > usize::from(u16::MAX) || self.0.len() + size > HEADERS_BYTES_MAX {
            let total = self.0.len() + size;
            return Err(fault(format!(
                "all headers would have {total} bytes and may have {HEADERS_BYTES_MAX}; put it into the payload"
            )));
        }
        if self.len() >= HEADERS_MAX {
            return Err(fault(format!("a message has at most {HEADERS_MAX} headers; put it into the payload")));
        }
        let mut bytes = BytesMut::with_capacity(self.0.len() + size);
        bytes.put_slice(&self.0);
        bytes.put_u8(name.len() as u8);
        bytes.put_slice(name.as_bytes());
        bytes.put_u16_le(value.len() as u16);
        bytes.put_slice(value);
        self.0 = bytes.freeze();
        Ok(())
    }

    /// The same with one more, for chains.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, HeaderError> {
        self.insert(name, value)?;
        Ok(self)
    }

    /// The first value under this name; names are compared byte by byte. A walk over the headers.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(each, _)| *each == name).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || split(&mut rest))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they travel and are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What a peer sent, or a file holds. Nothing is copied. From the first byte on that is not a header, nothing is read.
    pub fn received(bytes: Bytes) -> Self {
        let mut rest = &bytes[..];
        let mut count = 0;
        while count < HEADERS_MAX && split(&mut rest).is_some() {
            count += 1;
        }
        let whole = bytes.len() - rest.len();
        Self(bytes.slice(..whole))
    }
}

/// Parts off one header, if there is a whole one with a name that is text.
fn split<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let bytes = *rest;
    let name_end = 1 + usize::from(*bytes.first()?);
    let name = std::str::from_utf8(bytes.get(1..name_end)?).ok().filter(|name| !name.is_empty())?;
    let value_at = name_end + 2;
    let length = u16::from_le_bytes(bytes.get(name_end..value_at)?.try_into().ok()?);
    let value = bytes.get(value_at..value_at + usize::from(length))?;
    *rest = &bytes[value_at + usize::from(length)..];
    Some((name, value))
}

/// A name as an error may show it.
fn shown(name: &str) -> String {
    name.chars().take(40).flat_map(char::escape_debug).collect()
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        f.debug_map().entries(self.iter().map(|(name, value)| (name, text(value)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn they_come_back_in_order_and_by_name() {
        let headers =
            Headers::default().with("trace", "7").unwrap().with("unit", "°C").unwrap().with("trace", "").unwrap();
        let back = Headers::received(Bytes::copy_from_slice(headers.as_bytes()));
        assert_eq!(back, headers);
        let all: Vec<_> = back.iter().collect();
        assert_eq!(all, [("trace", &b"7"[..]), ("unit", "°C".as_bytes()), ("trace", b"")]);
        assert_eq!((back.get("trace"), back.get("Trace"), back.len()), (Some(&b"7"[..]), None, 3));
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_and_changes_nothing() {
        let mut headers = Headers::default();
        for (name, value) in [("", 0), ("two words", 0), ("ä", 0), (&"n".repeat(256), 0), ("big", 16 * 1024)] {
            let refused = headers.insert(name, vec![0; value]).unwrap_err();
            assert_eq!(refused.name, shown(name));
        }
        for _ in 0..HEADERS_MAX {
            headers.insert("n", "v").unwrap();
        }
        let before = headers.clone();
        assert!(headers.insert("n", "v").is_err());
        assert_eq!(headers, before);
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_up_to_where_they_make_sense(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let headers = Headers::received(Bytes::from(bytes.clone()));
            prop_assert!(bytes.starts_with(headers.as_bytes()));
            prop_assert_eq!(headers.iter().map(|(name, value)| 3 + name.len() + value.len()).sum::<usize>(), headers.as_bytes().len());
        }
    }
}
