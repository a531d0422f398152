//! The export of a bucket: one JSON object a line for each key.
//!
//! ```text
//! {"key":"lights.kitchen","value":"on","revision":17,"created":3,"time":"2026-11-25T16:00:00Z"}
//! {"key":"limits","value_json":{"speed":2.5},"revision":18,"created":18,"time":"…","expires":"2026-11-26T16:00:00Z"}
//! {"key":"picture","value_base64":"/9g=","revision":19,"created":19,"time":"…"}
//! ```

use std::borrow::Cow;
use std::io::{BufRead, Read};

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sinew_session::{parse_rfc3339, rfc3339};

use super::{ExchangeError, FileEntry};
use crate::Entry;

/// The longest line, in bytes: the largest value with every byte escaped, and room.
pub const EXPORT_LINE_BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize)]
struct WrittenLine<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_json: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    revision: u64,
    created: u64,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// What was edited by hand may leave out most of it; a field that is not known is a slip, and would be lost in silence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLine<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    value: Option<String>,
    #[serde(borrow)]
    value_json: Option<&'a RawValue>,
    value_base64: Option<String>,
    #[serde(rename = "revision")]
    _revision: Option<u64>,
    #[serde(rename = "created")]
    _created: Option<u64>,
    #[serde(rename = "time")]
    _time: Option<String>,
    expires: Option<String>,
}

/// Appends an entry's line, with its line feed. The value comes back as it is, byte for byte.
pub fn write_entry(entry: &Entry, out: &mut Vec<u8>) {
    let text = std::str::from_utf8(&entry.value).ok();
    let value_json = text.and_then(plain_json);
    let line = WrittenLine {
        key: entry.key.as_str(),
        value: text.filter(|_| value_json.is_none()),
        value_json,
        value_base64: text.is_none().then(|| BASE64.encode(&entry.value)),
        revision: entry.revision,
        created: entry.created,
        time: rfc3339(entry.timestamp),
        expires: entry.expires.map(rfc3339),
    };
    serde_json::to_writer(&mut *out, &line).expect("texts can be written into memory");
    out.push(b'\n');
}

/// An object or an array that can stand on a line as it is: a person can read it, and edit it.
fn plain_json(text: &str) -> Option<&RawValue> {
    let plain = text.starts_with(['{', '[']) && !text.contains(['\n', '\r']) && !text.ends_with([' ', '\t']);
    if plain { serde_json::from_str(text).ok() } else { None }
}

/// Reads lines of an export, one at a time; empty ones are passed over. After an error it is at its end.
#[derive(Debug)]
pub struct ExportReader<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> ExportReader<R> {
    /// A reader of what `input` has.
    pub fn new(input: R) -> Self {
        Self { input, line: 0, buffer: Vec::new(), ended: false }
    }

    fn read(&mut self) -> Result<Option<FileEntry>, ExchangeError> {
        loop {
            self.buffer.clear();
            let read = (&mut self.input).take(EXPORT_LINE_BYTES_MAX + 1).read_until(b'\n', &mut self.buffer)?;
            self.line += 1;
            if read as u64 > EXPORT_LINE_BYTES_MAX {
                return Err(ExchangeError::TooLong { line: self.line, what: "it", max: EXPORT_LINE_BYTES_MAX });
            }
            let line = self.buffer.trim_ascii();
            match (read, line.is_empty()) {
                (0, _) => return Ok(None),
                (_, true) => {}
                _ => return parse(line, self.line).map(Some),
            }
        }
    }
}

impl<R: BufRead> Iterator for ExportReader<R> {
    type Item = Result<FileEntry, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn parse(text: &[u8], line: u64) -> Result<FileEntry, ExchangeError> {
    let wrong = |why: String| ExchangeError::Entry { line, why };
    // An array of the fields' values would be taken for the object otherwise.
    if text.first() == Some(&b'[') {
        return Err(wrong("it is an array; write an object with `key` and `value`".into()));
    }
    let read: ReadLine<'_> = serde_json::from_slice(text).map_err(|error| ExchangeError::json(error, line))?;
    let value = match (read.value, read.value_json, read.value_base64) {
        (Some(text), None, None) => Bytes::from(text),
        (None, Some(json), None) => Bytes::copy_from_slice(json.get().as_bytes()),
        (None, None, Some(base64)) => match BASE64.decode(base64.as_bytes()) {
            Ok(bytes) => bytes.into(),
            Err(error) => return Err(wrong(format!("`value_base64` is none: {error}"))),
        },
        (None, None, None) => {
            return Err(wrong("it has no value; write `value`, `value_json` or `value_base64`".into()));
        }
        _ => return Err(wrong("it has more than one of `value`, `value_json` and `value_base64`; keep one".into())),
    };
    let expires = match read.expires {
        Some(text) => match parse_rfc3339(&text) {
            None => return Err(wrong(format!("`{text}` is no time such as 2026-11-25T16:00:00Z"))),
            time => time,
        },
        None => None,
    };
    Ok(FileEntry { expires, ..FileEntry::new(line, &read.key, value)? })
}

#[cfg(test)]
mod tests;
