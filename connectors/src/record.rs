//! An item as one line of JSON, and back. What is UTF-8 is text, anything else base 64.
//!
//! ```text
//! {"offset":7,"timestamp":1795622400000000000,"time":"2026-11-25T16:00:00Z","subject":"a.b","key":"k",
//!  "headers":[{"name":"unit","value":"°C"}],"payload":"21.5"}
//! {"lost":3}   {"lost":"unknown"}                            what did not come at this place
//! ```

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use sinew_session::{Headers, Subject};

use crate::{Item, Lost};
use crate::{parse_rfc3339, rfc3339};

/// The longest line, in bytes: the largest payload that a session carries, with every byte escaped.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What stands on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An item.
    Item(Item),
    /// What did not come here.
    Lost(Lost),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<LostObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderObject<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    tombstone: bool,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct HeaderObject<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LostObject {
    Exactly(u64),
    Unknown(String),
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Appends the item's line, with its line feed.
pub(crate) fn write_item(item: &Item, out: &mut Vec<u8>) {
    let (payload, payload_base64) = text_or_base64(&item.payload);
    let (key, key_base64) = item.key.as_deref().map_or((None, None), text_or_base64);
    let header = |(name, value): (_, _)| {
        let (value, value_base64) = text_or_base64(value);
        HeaderObject { name: Cow::Borrowed(name), value, value_base64 }
    };
    write(
        &Object {
            offset: item.offset,
            timestamp: item.timestamp,
            time: item.timestamp.map(rfc3339),
            subject: item.subject.as_ref().map(|subject| subject.as_str().into()),
            key,
            key_base64,
            headers: item.headers.iter().map(header).collect(),
            tombstone: item.tombstone,
            payload,
            payload_base64,
            ..Object::default()
        },
        out,
    );
}

/// Appends the line of a loss, with its line feed.
pub(crate) fn write_lost(lost: Lost, out: &mut Vec<u8>) {
    let lost = match lost {
        Lost::Exactly(count) => LostObject::Exactly(count),
        Lost::Unknown => LostObject::Unknown("unknown".into()),
    };
    write(&Object { lost: Some(lost), ..Object::default() }, out);
}

fn write(object: &Object<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, object).expect("texts can be written into memory");
    out.push(b'\n');
}

/// What a line, without its line feed, says. Fields that it does not know are skipped.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(line: &[u8]) -> Result<Entry, String> {
    // An array of the fields' values would be taken for the object otherwise.
    if line.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
        return Err("it is no record: it does not begin with `{`".into());
    }
    let object: Object<'_> = serde_json::from_slice(line).map_err(|error| format!("it is no record: {error}"))?;
    match object.lost {
        Some(LostObject::Exactly(count)) => return Ok(Entry::Lost(Lost::Exactly(count))),
        Some(LostObject::Unknown(_)) => return Ok(Entry::Lost(Lost::Unknown)),
        None => {}
    }
    let mut headers = Headers::default();
    for HeaderObject { name, value, value_base64 } in object.headers {
        let value = bytes("value", value, value_base64)?.unwrap_or_default();
        headers.insert(&name, value).map_err(|error| error.to_string())?;
    }
    let subject = object.subject.map(|text| Subject::try_from(&*text)).transpose();
    let payload = bytes("payload", object.payload, object.payload_base64)?;
    let time = object.time.as_deref().map(|text| parse_rfc3339(text).ok_or(format!("`{text}` is no RFC 3339 time")));
    Ok(Entry::Item(Item {
        subject: subject.map_err(|error| error.to_string())?,
        key: bytes("key", object.key, object.key_base64)?,
        headers,
        payload: payload.ok_or(
            "it has neither `payload` nor `payload_base64`; read other objects with `?format=object`, lines with `?format=raw`",
        )?,
        tombstone: object.tombstone,
        timestamp: object.timestamp.or(time.transpose()?),
        offset: object.offset,
    }))
}

/// UTF-8 as it is, anything else in base 64.
fn text_or_base64(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<String>) {
    let text = std::str::from_utf8(bytes);
    (text.ok().map(Cow::Borrowed), text.is_err().then(|| BASE64.encode(bytes)))
}

fn bytes(field: &str, text: Option<Cow<'_, str>>, base64: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(Some(Bytes::from(text.into_owned()))),
        (None, Some(base64)) => match BASE64.decode(base64.as_bytes()) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => Err(format!("its `{field}_base64` is none: {error}")),
        },
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(format!("it has `{field}` and `{field}_base64`; one of them is enough")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(item: &Item) -> String {
        let mut out = Vec::new();
        write_item(item, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_item_is_one_object_of_what_it_has() {
        assert_eq!(written(&Item::new("say \"hi\"\n")), "{\"payload\":\"say \\\"hi\\\"\\n\"}\n");
        let item = Item {
            subject: Some("a.b".parse().unwrap()),
            key: Some(Bytes::from_static(b"\xff")),
            headers: Headers::default().with("unit", "°C").unwrap().with("raw", [0xff]).unwrap(),
            payload: Bytes::from_static(b"\xff\xd8"),
            tombstone: true,
            timestamp: Some(1_795_622_400_000_000_000),
            offset: Some(7),
        };
        let expected = r#"{"offset":7,"timestamp":1795622400000000000,"time":"2026-11-25T16:00:00Z","subject":"a.b","key_base64":"/w==","headers":[{"name":"unit","value":"°C"},{"name":"raw","value_base64":"/w=="}],"tombstone":true,"payload_base64":"/9g="}"#;
        assert_eq!(written(&item), format!("{expected}\n"));
        assert_eq!(read(expected.as_bytes()), Ok(Entry::Item(item)));
    }

    #[test]
    fn losses_are_objects_of_their_own() {
        for (lost, line) in [(Lost::Exactly(7), "{\"lost\":7}\n"), (Lost::Unknown, "{\"lost\":\"unknown\"}\n")] {
            let mut out = Vec::new();
            write_lost(lost, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), line);
            assert_eq!(read(line.as_bytes()), Ok(Entry::Lost(lost)));
        }
    }

    #[test]
    fn a_time_alone_will_do_and_other_fields_are_skipped() {
        let line = br#"{"time":"2026-11-25T16:00:00Z","payload":"x","by":{"who":[1]}}"#;
        let Ok(Entry::Item(item)) = read(line) else { panic!("an item") };
        assert_eq!(item.timestamp, Some(1_795_622_400_000_000_000));
    }

    #[test]
    fn what_is_no_record_says_why() {
        for (line, why) in [
            ("", "it is no record: EOF"),
            ("{\"payload\":\"x\"", "it is no record: EOF"),
            ("[1]", "it is no record"),
            ("{\"temperature\":21}", "neither `payload` nor `payload_base64`"),
            ("{\"payload\":\"a\",\"payload_base64\":\"\"}", "one of them is enough"),
            ("{\"payload_base64\":\"?\"}", "its `payload_base64` is none"),
            ("{\"payload\":\"\",\"subject\":\"a..b\"}", "not a subject"),
            ("{\"payload\":\"\",\"headers\":[{\"name\":\"\"}]}", "cannot be a header"),
            ("{\"payload\":\"\",\"time\":\"noon\"}", "`noon` is no RFC 3339 time"),
        ] {
            let error = read(line.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    /// Any item there can be.
    pub(crate) fn items() -> impl Strategy<Value = Item> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let either = prop_oneof![bytes(), "\\PC{0,20}".prop_map(Bytes::from)];
        let headers = proptest::collection::vec(("[!-~]{1,8}", bytes()), 0..4).prop_map(|pairs| {
            pairs.into_iter().fold(Headers::default(), |headers, (name, value)| headers.with(&name, value).unwrap())
        });
        let subject =
            proptest::option::of("[a-zäö$]{1,4}(\\.[a-z0-9]{1,3}){0,3}".prop_map(|text| text.parse().unwrap()));
        let times = (proptest::option::of(any::<u64>()), proptest::option::of(any::<u64>()));
        (subject, proptest::option::of(bytes()), headers, either, any::<bool>(), times).prop_map(
            |(subject, key, headers, payload, tombstone, (timestamp, offset))| Item {
                subject,
                key,
                headers,
                payload,
                tombstone,
                timestamp,
                offset,
            },
        )
    }

    proptest! {
        #[test]
        fn every_item_comes_back(item in items()) {
            let line = written(&item);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(read(line.trim_end().as_bytes()), Ok(Entry::Item(item)));
        }

        #[test]
        fn random_bytes_do_no_harm(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&line);
        }

        #[test]
        fn random_objects_do_no_harm(value in "\\{(\"(lost|key|payload|headers|time)\":(1|\"x\"|\\[\\]|null),?){0,4}\\}") {
            let _ = read(value.as_bytes());
        }
    }
}
