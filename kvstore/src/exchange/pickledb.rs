//! The file of the original's store: one JSON object of keys and values, as `pickledb` dumps it. It has no pickle in it.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{ExchangeError, FileEntry, escape_key};

/// The most bytes of one key with its value, as they stand in the file.
pub const PICKLEDB_ENTRY_BYTES_MAX: u64 = 64 << 20;

/// What is stored of a value that is a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextValues {
    /// JSON as of every other value, with its quotation marks: a text stays apart from a number.
    #[default]
    Json,
    /// The text alone.
    Plain,
}

/// Gives every entry to `each`, in the order of the file, until it breaks. Keys of any text are escaped
/// ([`escape_key`](super::escape_key)); a value is its JSON, byte for byte as it stands in the file. Holds one entry in
/// memory.
///
/// # Errors
/// `Malformed`, `Entry` for a key that is too long, `TooLong`, `Read`. What came before was given already: read it to its
/// end once to know that it is whole.
pub fn read_pickledb(
    input: impl BufRead,
    texts: TextValues,
    mut each: impl FnMut(FileEntry) -> ControlFlow<()>,
) -> Result<(), ExchangeError> {
    let place = Place { line: Cell::new(1), left: Cell::new(PICKLEDB_ENTRY_BYTES_MAX) };
    let mut end = None;
    let mut deserializer = serde_json::Deserializer::from_reader(Watched { input, place: &place });
    let entries = Entries { place: &place, texts, each: &mut each, end: &mut end };
    let read = entries.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (end, read) {
        (Some(End::Broken), _) => Ok(()),
        (Some(End::Failed(error)), _) => Err(error),
        (None, Err(_)) if place.left.get() == 0 => {
            let (line, max) = (place.line.get(), PICKLEDB_ENTRY_BYTES_MAX);
            Err(ExchangeError::TooLong { line, what: "one entry", max })
        }
        (None, read) => read.map_err(|error| ExchangeError::json(error, 1)),
    }
}

/// Where the reader is, and what it may still read before the entry is too long.
struct Place {
    line: Cell<u64>,
    left: Cell<u64>,
}

struct Watched<'a, R> {
    input: R,
    place: &'a Place,
}

impl<R: BufRead> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let feeds = buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        self.place.line.set(self.place.line.get() + feeds as u64);
        self.place.left.set(self.place.left.get().saturating_sub(read as u64));
        if self.place.left.get() == 0 { Err(io::Error::other("the entry is too long")) } else { Ok(read) }
    }
}

/// Why it ended before the file did.
enum End {
    Broken,
    Failed(ExchangeError),
}

struct Entries<'a, F> {
    place: &'a Place,
    texts: TextValues,
    each: &'a mut F,
    end: &'a mut Option<End>,
}

impl<'de, F: FnMut(FileEntry) -> ControlFlow<()>> DeserializeSeed<'de> for Entries<'_, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(FileEntry) -> ControlFlow<()>> Visitor<'de> for Entries<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one object of keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let line = self.place.line.get();
            let json = map.next_value::<Box<RawValue>>()?;
            self.place.left.set(PICKLEDB_ENTRY_BYTES_MAX);
            let value = match (self.texts, json.get().starts_with('"')) {
                (TextValues::Plain, true) => {
                    let text = serde_json::from_str::<String>(json.get());
                    text.map(Bytes::from).map_err(|error| ExchangeError::json(error, line))
                }
                _ => Ok(Bytes::from(String::from(Box::<str>::from(json)))),
            };
            let entry = value.and_then(|value| FileEntry::new(line, &escape_key(&name), value));
            let end = match entry.map(&mut *self.each) {
                Ok(ControlFlow::Continue(())) => continue,
                Ok(ControlFlow::Break(())) => End::Broken,
                Err(error) => End::Failed(error),
            };
            *self.end = Some(end);
            return Err(A::Error::custom("it ends here"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::unescape_key;
    use super::*;

    fn read(text: &[u8], texts: TextValues) -> Result<Vec<(u64, String, String)>, ExchangeError> {
        let mut entries = Vec::new();
        read_pickledb(text, texts, |entry| {
            let value = String::from_utf8(entry.value.to_vec()).unwrap();
            entries.push((entry.line, entry.key.as_str().to_owned(), value));
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// Written by pickledb 0.9.2, which the original uses.
    #[test]
    fn a_file_of_the_original_is_read() {
        let file = include_bytes!("../../tests/fixtures/pickledb.json");
        let expected = [
            ("counter-0", "counter-0", "999"),
            ("counter-1", "counter-1", "999"),
            ("counter-2", "counter-2", "999"),
            ("counter-3", "counter-3", "999"),
            ("speed", "speed", "2.5"),
            ("name", "name", "\"kitchen lamp\""),
            (
                "camera/front left",
                "camera/front%20left",
                "{\"exposure\": 0.01, \"gain\": [1, 2], \"on\": true, \"who\": null}",
            ),
            ("grüße", "grüße", "\"sch\\u00f6ne Gr\\u00fc\\u00dfe \\u2600\""),
            ("$home", "%24home", "\"x\""),
            ("a..b", "a.%2Eb", "1"),
            (".", "%2E", "\"dot\""),
            ("100%", "100%25", "\"%\""),
            ("", "%", "\"no name\""),
            ("two\nlines *>", "two%0Alines%20%2A%3E", "\"l1\\nl2\\t\\\"q\\\"\""),
            ("big", "big", "123456789012345678901234567890"),
        ];
        let entries = read(file, TextValues::Json).unwrap();
        let expect = |(_, key, value): &(_, &str, &str)| (1, (*key).to_owned(), (*value).to_owned());
        assert_eq!(entries, expected.iter().map(expect).collect::<Vec<_>>());
        let names: Vec<_> = entries.iter().map(|(_, key, _)| unescape_key(key).unwrap()).collect();
        assert_eq!(names, expected.map(|(name, ..)| name));
        let plain = read(file, TextValues::Plain).unwrap();
        let plain = |at: usize| plain[at].2.as_str();
        let texts = [plain(0), plain(5), plain(7), plain(13)];
        assert_eq!(texts, ["999", "kitchen lamp", "schöne Grüße ☀", "l1\nl2\t\"q\""]);
    }

    #[test]
    fn lines_are_counted_where_a_person_has_made_some() {
        let text = b"{\n  \"a\": 1,\n  \"b\":\n    [1,\n 2],\n\n \"c\": {} }\n";
        let expected = [(2, "a", "1"), (3, "b", "[1,\n 2]"), (7, "c", "{}")];
        let expected = expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(read(text, TextValues::Json).unwrap(), expected);
        assert_eq!(read(b"{}", TextValues::Json).unwrap(), []);
    }

    #[test]
    fn what_cannot_be_read_says_where_and_why() {
        let long = format!("{{\n\"{}\": 1}}", "x".repeat(256));
        for (text, error) in [
            ("", "malformed JSON at line 1, column 0: EOF while parsing a value"),
            ("{\"a\": 1", "malformed JSON at line 1, column 7: EOF while parsing an object"),
            ("{\"a\": 1,\n \"b\" 2}", "malformed JSON at line 2, column 6: expected `:`"),
            ("{\n\n\"a\": NaN}", "malformed JSON at line 3, column 6: expected value"),
            ("{} {}", "malformed JSON at line 1, column 4: trailing characters"),
            ("[1]", "line 1: invalid type: sequence, expected one object of keys and values"),
            ("{1: 2}", "malformed JSON at line 1, column 2: key must be a string"),
            (
                &long,
                "line 2: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` cannot be a key: it has 256 bytes and a key has at most 255; shorten it",
            ),
        ] {
            assert_eq!(read(text.as_bytes(), TextValues::Json).unwrap_err().to_string(), error, "{text}");
        }
        let half = read(b"{\"a\": \"\\ud800\"}", TextValues::Plain).unwrap_err().to_string();
        assert!(half.contains("line 1"), "{half}");
    }

    #[test]
    fn it_ends_when_it_is_told_and_before_an_entry_fills_the_memory() {
        let mut count = 0;
        read_pickledb(&b"{\"a\":1,\"b\":2,"[..], TextValues::Json, |_| {
            count += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(count, 1);
        let endless = io::BufReader::new((&b"{\"a\":1,\n\"b\":[1"[..]).chain(io::repeat(b',')));
        let spaces = io::BufReader::new((&b"{\"a\":1,\n"[..]).chain(io::repeat(b' ')));
        let error = read_pickledb(spaces, TextValues::Json, |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.to_string(), "line 2: one entry has more than 67108864 bytes, the most that is read");
        let error = read_pickledb(endless, TextValues::Json, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().starts_with("malformed JSON at line 2"), "{error}");
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_pickledb(&text[..], TextValues::Plain, |_| ControlFlow::Continue(()));
        }

        #[test]
        fn every_name_and_text_comes_back(pairs in proptest::collection::btree_map(".{0,20}", ".{0,20}", 0..6)) {
            let text = serde_json::to_vec_pretty(&pairs).unwrap();
            let read = read(&text, TextValues::Plain).unwrap();
            let read = read.into_iter().map(|(_, key, value)| (unescape_key(&key).unwrap(), value)).collect();
            prop_assert_eq!(pairs, read);
        }
    }
}
