//! Values to begin with: one JSON object of buckets, each an object of keys and values, as a person writes it.
//!
//! ```text
//! {"config": {"lights.kitchen": "on", "limits": {"speed": 2.5}}}
//! ```
//!
//! A text is stored as it is, without quotation marks; anything else as the JSON that stands there. `null` is no value.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use sinew_session::ResourceName;

use super::{ExchangeError, FileEntry};

/// The largest file, in bytes: it is held in memory.
pub const INITIAL_BYTES_MAX: u64 = 16 << 20;

/// What a bucket is to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialBucket {
    /// Which one.
    pub bucket: ResourceName,
    /// Its keys and values, in the order of the file. None of them expires.
    pub entries: Vec<FileEntry>,
}

/// Reads all of it.
///
/// # Errors
/// `Malformed`; `Entry` for a name that is none, a key that is there twice, a value that is none; `TooLong`, `Read`.
pub fn read_initial(input: impl Read) -> Result<Vec<InitialBucket>, ExchangeError> {
    let mut text = Vec::new();
    input.take(INITIAL_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > INITIAL_BYTES_MAX {
        return Err(ExchangeError::TooLong { line: 1, what: "the file", max: INITIAL_BYTES_MAX });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(&text);
    let buckets = Buckets(&text).deserialize(&mut deserializer);
    buckets.and_then(|buckets| deserializer.end().map(|()| buckets)).map_err(|error| ExchangeError::json(error, 1))
}

/// The line in `text` where `part`, a piece of it, begins.
fn line(text: &[u8], part: &str) -> u64 {
    let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
    1 + text[..at].iter().filter(|byte| **byte == b'\n').count() as u64
}

struct Buckets<'a>(&'a [u8]);

impl<'de> DeserializeSeed<'de> for Buckets<'de> {
    type Value = Vec<InitialBucket>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Buckets<'de> {
    type Value = Vec<InitialBucket>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of buckets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut buckets, mut names) = (Vec::new(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            let bucket = ResourceName::try_from(name.as_str()).map_err(A::Error::custom)?;
            if !names.insert(name) {
                return Err(A::Error::custom(format!("bucket `{bucket}` is there twice")));
            }
            buckets.push(InitialBucket { bucket, entries: map.next_value_seed(Values(self.0))? });
        }
        Ok(buckets)
    }
}

struct Values<'a>(&'a [u8]);

impl<'de> DeserializeSeed<'de> for Values<'de> {
    type Value = Vec<FileEntry>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Values<'de> {
    type Value = Vec<FileEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut entries, mut keys) = (Vec::new(), HashSet::new());
        while let Some(key) = map.next_key::<String>()? {
            let json = map.next_value::<&RawValue>()?.get();
            let value = match json {
                "null" => return Err(A::Error::custom(format!("`{key}` is null, which is no value; leave it out"))),
                text if text.starts_with('"') => serde_json::from_str::<String>(text)
                    .map_err(|error| A::Error::custom(ExchangeError::json(error, 1)))?,
                json => json.to_owned(),
            };
            let entry = FileEntry::new(line(self.0, json), &key, Bytes::from(value));
            entries.push(entry.map_err(|error| match error {
                // The position comes with it.
                ExchangeError::Entry { why, .. } => A::Error::custom(why),
                error => A::Error::custom(error),
            })?);
            if !keys.insert(key) {
                let key = &entries.last().expect("it was pushed").key;
                return Err(A::Error::custom(format!("`{key}` is there twice")));
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_as_they_are_and_anything_else_is_json() {
        let text = r#"{
            "config": {"lights.kitchen": "on", "limits": {"speed": 2.50},
                "count": 5, "quoted": "\"x\"\n"},
            "empty": {}
        }"#;
        let read = read_initial(text.as_bytes()).unwrap();
        let shown: Vec<_> =
            read[0].entries.iter().map(|entry| (entry.line, entry.key.as_str(), &entry.value[..])).collect();
        let expected = [
            (2, "lights.kitchen", &b"on"[..]),
            (2, "limits", b"{\"speed\": 2.50}"),
            (3, "count", b"5"),
            (3, "quoted", b"\"x\"\n"),
        ];
        assert_eq!((read[0].bucket.as_str(), &shown[..]), ("config", &expected[..]));
        assert_eq!((read[1].bucket.as_str(), read[1].entries.len()), ("empty", 0));
    }

    #[test]
    fn what_cannot_be_read_says_where_and_why() {
        for (text, error) in [
            ("{\"a\": {\n\"b\": 1,\n}}", "malformed JSON at line 3, column 1: trailing comma"),
            ("{\"a\": {\n\"b\": 1", "malformed JSON at line 2, column 6: EOF while parsing an object"),
            ("{\"a\": {}}\n}", "malformed JSON at line 2, column 1: trailing characters"),
            ("[]", "line 1: invalid type: sequence, expected an object of buckets"),
            ("{\n\"a\": 5}", "line 2: invalid type: integer `5`, expected an object of keys and values"),
            (
                "{\n\"a.b\": {}}",
                "line 2: `a.b` cannot name a queue, bucket or stream: it contains `.`, and it must be one token that can also be a folder; use `-` or `_`",
            ),
            ("{\"a\": {},\n\"a\": {}}", "line 2: bucket `a` is there twice"),
            ("{\"a\": {\"k\": 1,\n\"k\": 2}}", "line 2: `k` is there twice"),
            ("{\"a\": {\n\"k\": null}}", "line 2: `k` is null, which is no value; leave it out"),
            (
                "{\"a\": {\n\n\"$k\": 1}}",
                "line 3: `$k` cannot be a key: names that begin with `$` belong to the server; choose another beginning",
            ),
        ] {
            assert_eq!(read_initial(text.as_bytes()).unwrap_err().to_string(), error, "{text}");
        }
        let error = read_initial(std::io::repeat(b' ')).unwrap_err().to_string();
        assert_eq!(error, "line 1: the file has more than 16777216 bytes, the most that is read");
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_initial(&text[..]);
        }

        #[test]
        fn every_text_comes_back(pairs in proptest::collection::btree_map("[a-z]{1,5}", ".{0,20}", 0..6)) {
            let file = serde_json::to_vec(&std::collections::BTreeMap::from([("b", &pairs)])).unwrap();
            let read = read_initial(&file[..]).unwrap().remove(0).entries;
            let read = read.iter().map(|entry| {
                (entry.key.as_str().to_owned(), String::from_utf8(entry.value.to_vec()).unwrap())
            });
            prop_assert_eq!(pairs, read.collect());
        }
    }
}
