//! How entries and changes look on standard output.

use serde::Serialize;
use sinew::kvstore::{Change, Entry, Removal, Revision, Stored, write_entry};
use sinew::rfc3339;

use crate::format::{printable, text_or_base64};
use crate::log::object_line;

/// One of the three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KvFormat {
    Line,
    Json,
    Raw,
}

/// A change as an object.
#[derive(Serialize)]
struct ChangeObject<'a> {
    key: &'a str,
    revision: u64,
    time: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl KvFormat {
    pub(super) fn new(json: bool, raw: bool) -> Self {
        match (json, raw) {
            (true, _) => Self::Json,
            (_, true) => Self::Raw,
            _ => Self::Line,
        }
    }

    /// Appends a key with its value to `out`.
    pub(super) fn entry(self, entry: &Entry, out: &mut Vec<u8>) {
        match self {
            Self::Line => line(entry.revision, entry.timestamp, entry.key.as_str(), Ok(&entry.value), out),
            Self::Json => write_entry(entry, out),
            Self::Raw => out.extend_from_slice(&entry.value),
        }
    }

    /// Appends a change to `out`. In raw, what is gone is nothing.
    pub(super) fn change(self, change: &Revision, out: &mut Vec<u8>) {
        let (name, value, expires) = match &change.change {
            Change::Put { value, expires, .. } => ("put", Some(value), *expires),
            Change::Gone(Removal::Deleted) => ("deleted", None, None),
            Change::Gone(Removal::Purged) => ("purged", None, None),
            Change::Gone(Removal::Expired) => ("expired", None, None),
        };
        let key = change.key.as_str();
        match self {
            Self::Line => {
                line(change.revision, change.timestamp, key, value.map(|value| &value[..]).ok_or(name), out);
            }
            Self::Json => {
                let (text, value_base64) = value.map_or((None, None), |value| text_or_base64(value));
                let object = ChangeObject {
                    key,
                    revision: change.revision,
                    time: rfc3339(change.timestamp),
                    change: name,
                    value: text,
                    value_base64,
                    expires: expires.map(rfc3339),
                };
                object_into(&object, out);
            }
            Self::Raw => out.extend_from_slice(value.map_or(&[], |value| &value[..])),
        }
    }
}

/// Appends an object on a line, its fields in their order.
pub(super) fn object_into(object: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, object).expect("numbers and texts can be written into memory");
    out.push(b'\n');
}

fn line(revision: u64, timestamp: u64, key: &str, value: Result<&[u8], &str>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{revision} {} {key} ", rfc3339(timestamp)).as_bytes());
    match value {
        Ok(value) => printable(value, out),
        Err(gone) => out.extend_from_slice(format!("({gone})").as_bytes()),
    }
    out.push(b'\n');
}

/// What became of a write.
pub(super) fn stored(stored: &Stored, json: bool) -> String {
    #[derive(Serialize)]
    struct StoredObject {
        revision: u64,
        timestamp: u64,
        level: String,
        duplicate: bool,
    }
    match json {
        false => format!("{}\n", stored.revision),
        true => object_line(&StoredObject {
            revision: stored.revision,
            timestamp: stored.timestamp,
            level: stored.level.to_string(),
            duplicate: stored.duplicate,
        }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(format: KvFormat, change: Change, expected: &str) {
        let change = Revision { key: "a.b".parse().unwrap(), revision: 7, timestamp: 1_500_000_000, change };
        let mut out = Vec::new();
        format.change(&change, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    fn put(value: &'static [u8], expires: Option<u64>) -> Change {
        Change::Put { value: Bytes::from_static(value), created: 3, expires }
    }

    #[test]
    fn a_change_is_one_line() {
        check(KvFormat::Line, put(b"a\nb", None), "7 1970-01-01T00:00:01.5Z a.b a\\nb\n");
        check(KvFormat::Line, Change::Gone(Removal::Expired), "7 1970-01-01T00:00:01.5Z a.b (expired)\n");
    }

    #[test]
    fn a_change_is_one_object_or_its_value() {
        let start = r#"{"key":"a.b","revision":7,"time":"1970-01-01T00:00:01.5Z","#;
        check(KvFormat::Json, put(b"x", None), &format!("{start}\"change\":\"put\",\"value\":\"x\"}}\n"));
        let expires = "\"expires\":\"1970-01-01T00:00:02Z\"}\n";
        let binary = format!("{start}\"change\":\"put\",\"value_base64\":\"/9g=\",{expires}");
        check(KvFormat::Json, put(b"\xff\xd8", Some(2_000_000_000)), &binary);
        check(KvFormat::Json, Change::Gone(Removal::Purged), &format!("{start}\"change\":\"purged\"}}\n"));
        check(KvFormat::Raw, put(b"a\nb", None), "a\nb");
        check(KvFormat::Raw, Change::Gone(Removal::Deleted), "");
    }
}
