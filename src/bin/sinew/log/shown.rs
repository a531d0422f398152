//! How events and objects look on standard output.

use serde::Serialize;
use serde_json::Value;
use sinew::{Event, rfc3339};

use crate::format::{HeaderObject, printable, text_or_base64};

/// One of the three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventFormat {
    Line { headers: bool },
    Json,
    Raw,
}

#[derive(Serialize)]
struct EventObject<'a> {
    offset: u64,
    time: String,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderObject<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tombstone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl EventFormat {
    /// Appends an event to `out`.
    pub(super) fn write(self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Self::Line { headers } => line(event, headers, out),
            Self::Json => json(event, out),
            Self::Raw => out.extend_from_slice(&event.payload),
        }
    }
}

fn line(event: &Event, headers: bool, out: &mut Vec<u8>) {
    let subject = event.subject.as_ref().map_or("-", |subject| subject.as_str());
    out.extend_from_slice(format!("{} {} {subject} ", event.offset, rfc3339(event.timestamp)).as_bytes());
    if headers {
        if let Some(key) = &event.key {
            out.extend_from_slice(b"[key ");
            printable(key, out);
            out.extend_from_slice(b"] ");
        }
        for (name, value) in event.headers.iter() {
            out.push(b'[');
            printable(name.as_bytes(), out);
            out.push(b'=');
            printable(value, out);
            out.extend_from_slice(b"] ");
        }
    }
    if event.tombstone {
        out.extend_from_slice(b"(key is gone)");
    }
    printable(&event.payload, out);
    out.push(b'\n');
}

fn json(event: &Event, out: &mut Vec<u8>) {
    let (payload, payload_base64) = text_or_base64(&event.payload);
    let (key, key_base64) = event.key.as_ref().map_or((None, None), |key| text_or_base64(key));
    let object = EventObject {
        offset: event.offset,
        time: rfc3339(event.timestamp),
        timestamp: event.timestamp,
        subject: event.subject.as_ref().map(|subject| subject.as_str()),
        key,
        key_base64,
        headers: event.headers.iter().map(HeaderObject::from).collect(),
        tombstone: event.tombstone,
        payload,
        payload_base64,
    };
    serde_json::to_writer(&mut *out, &object).expect("texts can be written into memory");
    out.push(b'\n');
}

/// An object on a line of its own. Durations in it are numbers of seconds.
pub(crate) fn object_line(object: &impl Serialize) -> String {
    let mut value = serde_json::to_value(object).expect("numbers and texts can be written into memory");
    plain_seconds(&mut value);
    format!("{value}\n")
}

/// What a list shows of something that the asker may use and not look at: its name, as an object or as a row of so many
/// columns.
pub(crate) fn name_alone(name: &str, columns: usize) -> (String, Vec<String>) {
    let mut row = vec!["-".to_owned(); columns];
    row[0] = name.to_owned();
    (object_line(&serde_json::json!({ "name": name })), row)
}

fn plain_seconds(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let number = |name: &str| fields.get(name).and_then(Value::as_u64);
            match (number("secs"), number("nanos"), fields.len()) {
                (Some(seconds), Some(0), 2) => *value = seconds.into(),
                (Some(seconds), Some(nanoseconds), 2) => *value = (seconds as f64 + nanoseconds as f64 / 1e9).into(),
                _ => fields.values_mut().for_each(plain_seconds),
            }
        }
        Value::Array(values) => values.iter_mut().for_each(plain_seconds),
        _ => {}
    }
}

/// Rows under a head, columns aligned: the first to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use sinew::{Headers, NewEvent};

    use super::*;

    fn check(format: EventFormat, body: NewEvent, expected: &str) {
        let mut out = Vec::new();
        format.write(&Event { offset: 7, timestamp: 1_500_000_000, body }, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_event_is_one_line() {
        let line = EventFormat::Line { headers: false };
        check(line, NewEvent::new("a\nb"), "7 1970-01-01T00:00:01.5Z - a\\nb\n");
        let about = NewEvent::new("x").subject("a.b".try_into().unwrap()).key("k");
        check(line, about.clone(), "7 1970-01-01T00:00:01.5Z a.b x\n");
        let headers = Headers::default().with("n", "1").unwrap();
        let all = EventFormat::Line { headers: true };
        check(all, about.headers(headers), "7 1970-01-01T00:00:01.5Z a.b [key k] [n=1] x\n");
        check(line, NewEvent::tombstone("k"), "7 1970-01-01T00:00:01.5Z - (key is gone)\n");
    }

    #[test]
    fn an_event_is_one_object_or_its_payload() {
        let start = r#"{"offset":7,"time":"1970-01-01T00:00:01.5Z","timestamp":1500000000"#;
        check(EventFormat::Json, NewEvent::new("x"), &format!("{start},\"payload\":\"x\"}}\n"));
        let binary = NewEvent::new(&[0xff_u8, 0xd8][..]).key(&[0xff_u8][..]);
        check(EventFormat::Json, binary, &format!("{start},\"key_base64\":\"/w==\",\"payload_base64\":\"/9g=\"}}\n"));
        let gone = format!("{start},\"key\":\"k\",\"tombstone\":true,\"payload\":\"\"}}\n");
        check(EventFormat::Json, NewEvent::tombstone("k"), &gone);
        check(EventFormat::Raw, NewEvent::new("a\nb"), "a\nb");
    }

    #[test]
    fn durations_are_numbers_of_seconds() {
        let config = sinew::StreamConfig {
            compaction: sinew::Compaction::ByKey { tombstone_age: std::time::Duration::from_millis(1_500) },
            retention: sinew::Retention { age_max: Some(std::time::Duration::from_secs(60)), ..Default::default() },
            ..Default::default()
        };
        let line = object_line(&vec![config]);
        assert!(line.contains(r#""age_max":60"#) && line.contains(r#""tombstone_age":1.5"#), "{line}");
        let other = serde_json::json!({"secs": 1, "nanos": 2, "more": 3});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&object_line(&other)).unwrap(), other);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["name", "n"], ["a", "10"], ["long", "7"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "name   n\na     10\nlong   7\n");
    }
}
