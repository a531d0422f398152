//! What is exported is imported as it was, and what cannot be read says why and where.

use proptest::prelude::*;

use super::*;
use crate::Key;

fn entry(key: &str, value: impl Into<Bytes>) -> Entry {
    let key = Key::try_from(key).unwrap();
    Entry { key, value: value.into(), revision: 17, created: 3, timestamp: 1_795_622_400_000_000_000, expires: None }
}

fn written(entries: &[Entry]) -> String {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| write_entry(entry, &mut out));
    String::from_utf8(out).unwrap()
}

fn read(text: &str) -> Result<Vec<FileEntry>, ExchangeError> {
    ExportReader::new(text.as_bytes()).collect()
}

#[test]
fn an_entry_is_a_line_that_a_person_can_read() {
    let rest = r#""revision":17,"created":3,"time":"2026-11-25T16:00:00Z"}"#;
    for (value, shown) in [
        (&b"on"[..], r#""value":"on""#),
        (b"", r#""value":"""#),
        (b"5", r#""value":"5""#),
        (b"say \"hi\"\n", r#""value":"say \"hi\"\n""#),
        (b"{\"a\": [1, 2.50]}", r#""value_json":{"a": [1, 2.50]}"#),
        (b"[]", r#""value_json":[]"#),
        (b"{\"a\":\n1}", r#""value":"{\"a\":\n1}""#),
        (b"[1] ", r#""value":"[1] ""#),
        (b"{half", r#""value":"{half""#),
        (b"\xff\xd8", r#""value_base64":"/9g=""#),
    ] {
        assert_eq!(written(&[entry("a.b", value)]), format!("{{\"key\":\"a.b\",{shown},{rest}\n"));
    }
    let expires = Entry { expires: Some(1_500_000_000), ..entry("a", "x") };
    assert!(written(&[expires]).ends_with(",\"expires\":\"1970-01-01T00:00:01.5Z\"}\n"));
}

#[test]
fn a_key_and_a_value_will_do() {
    let text = "{\"key\":\"a\",\"value\":\"1\"}\r\n\n  {\"key\":\"b\", \"value_json\": {\"x\": 1} }\n{\"key\":\"c\",\"value_base64\":\"/9g=\"}";
    let expected = [(1, "a", &b"1"[..]), (3, "b", b"{\"x\": 1}"), (4, "c", b"\xff\xd8")];
    let read = read(text).unwrap();
    let read: Vec<_> = read.iter().map(|entry| (entry.line, entry.key.as_str(), &entry.value[..])).collect();
    assert_eq!(read, expected);
}

#[test]
fn what_cannot_be_read_says_where_and_why() {
    let good = "{\"key\":\"a\",\"value\":\"1\"}\n";
    for (line, error) in [
        ("{\"key\":\"a\",\"value\"", "malformed JSON at line 2, column 18: EOF while parsing an object"),
        ("{\"key\":\"a\" \"value\":1}", "malformed JSON at line 2, column 12: expected `,` or `}`"),
        ("key a", "malformed JSON at line 2, column 1: expected value"),
        ("[\"a\",\"1\"]", "line 2: it is an array; write an object with `key` and `value`"),
        ("{\"key\":\"a\"}", "line 2: it has no value; write `value`, `value_json` or `value_base64`"),
        (
            "{\"key\":\"a\",\"value\":\"1\",\"value_json\":2}",
            "line 2: it has more than one of `value`, `value_json` and `value_base64`; keep one",
        ),
        ("{\"key\":\"a\",\"value_base64\":\"?\"}", "line 2: `value_base64` is none: invalid length at 0"),
        (
            "{\"key\":\"a\",\"value\":\"1\",\"expires\":\"noon\"}",
            "line 2: `noon` is no time such as 2026-11-25T16:00:00Z",
        ),
        ("{\"value\":\"1\"}", "line 2: missing field `key`"),
        (
            "{\"key\":\"a b\",\"value\":\"1\"}",
            "line 2: `a b` is not a subject: token 1 contains ' ', and white space and control characters cannot be in a name; use `-` or `_`",
        ),
        (
            "{\"key\":\"$KV.a\",\"value\":\"1\"}",
            "line 2: `$KV.a` cannot be a key: names that begin with `$` belong to the server; choose another beginning",
        ),
        ("{\"key\":\"a\",\"value\":1}", "line 2: invalid type: integer `1`, expected a string"),
    ] {
        let mut reader = ExportReader::new(good.as_bytes().chain(line.as_bytes()));
        assert!(reader.next().unwrap().is_ok());
        assert_eq!(reader.next().unwrap().unwrap_err().to_string(), error);
        assert!(reader.next().is_none(), "an error is the end");
    }
    let unknown = read("{\"key\":\"a\",\"value\":\"1\",\"expire\":\"x\"}").unwrap_err().to_string();
    assert!(unknown.starts_with("line 1: unknown field `expire`, expected one of `key`, `value`"), "{unknown}");
}

#[test]
fn a_value_and_a_line_have_their_limits() {
    let long = "x".repeat(crate::VALUE_BYTES_MAX as usize + 1);
    let error = read(&format!("{{\"key\":\"a\",\"value\":\"{long}\"}}")).unwrap_err().to_string();
    assert_eq!(error, "line 1: the value of `a` has 8323073 bytes, and a value has at most 8323072");
    let endless = std::io::BufReader::new(std::io::repeat(b' '));
    let error = ExportReader::new(endless).next().unwrap().unwrap_err().to_string();
    assert_eq!(error, "line 1: it has more than 67108864 bytes, the most that is read");
}

/// The largest value, each of its bytes escaped, is on a line that can be read.
#[test]
fn the_largest_value_comes_back() {
    let value = Bytes::from(vec![1; crate::VALUE_BYTES_MAX as usize]);
    let text = written(&[entry("a", value.clone())]);
    assert_eq!(read(&text).unwrap()[0].value, value);
}

fn entries() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        ".{0,20}".prop_map(String::into_bytes),
        "[\\[\\]{}\",:0-9 \n\\\\]{0,12}".prop_map(String::into_bytes),
    ];
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>()));
    ("[a-zäö]{1,4}(\\.[a-z0-9$]{1,3}){0,3}", value, numbers).prop_map(|(key, value, numbers)| {
        let (revision, created, timestamp, expires) = numbers;
        Entry { revision, created, timestamp, expires, ..entry(&key, value) }
    })
}

proptest! {
    #[test]
    fn every_entry_comes_back(entries in proptest::collection::vec(entries(), 0..5)) {
        let text = written(&entries);
        prop_assert_eq!(text.lines().count(), entries.len());
        let read = read(&text).unwrap();
        let line = |(entry, line): (&Entry, u64)| FileEntry {
            line, key: entry.key.clone(), value: entry.value.clone(), expires: entry.expires,
        };
        prop_assert_eq!(read, entries.iter().zip(1..).map(line).collect::<Vec<_>>());
    }

    #[test]
    fn random_bytes_do_no_harm(text in proptest::collection::vec(any::<u8>(), 0..80)) {
        ExportReader::new(&text[..]).for_each(drop);
    }

    #[test]
    fn random_objects_do_no_harm(text in "\\{(\"(key|value|value_json|expires|time)\":(1|\"x\"|\\[\\]|null),?){0,4}\\}") {
        ExportReader::new(text.as_bytes()).for_each(drop);
    }
}
