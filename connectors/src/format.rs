//! What a line of a file or a stream is: a record, an object of somebody else's, or a payload as it is.

use bytes::Bytes;
use sinew_session::Subject;

use crate::record::{self, Entry};
use crate::{Address, Batch, Item, Result};

/// Options that every connector of lines takes as a source.
pub(crate) const SOURCE_OPTIONS: &[&str] = &["format", "subject", "subject_field", "key_field"];
/// And as a sink.
pub(crate) const SINK_OPTIONS: &[&str] = &["format"];

/// How lines are read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) format: Format,
    /// For items that have none.
    subject: Option<Subject>,
    subject_field: Option<String>,
    key_field: Option<String>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As `record.rs` writes it.
    #[default]
    Record,
    /// A JSON object that is the payload as it stands; fields of it may name subject and key.
    Object,
    /// The payload.
    Raw,
}

impl Lines {
    /// What the options of an address say.
    ///
    /// # Errors
    /// `Option`.
    pub(crate) fn of_source(address: &Address) -> Result<Self> {
        let format = match address.option("format") {
            None | Some("record") => Format::Record,
            Some("object") => Format::Object,
            Some("raw") => Format::Raw,
            Some(other) => {
                return Err(address.option_fault("format", format!("it is `{other}`; write record, object or raw")));
            }
        };
        let field = |name: &str| match address.option(name) {
            Some(_) if format != Format::Object => {
                Err(address.option_fault(name, "only objects have fields; write `format=object` as well".into()))
            }
            field => Ok(field.map(str::to_owned)),
        };
        Ok(Self {
            format,
            subject: address.parsed("subject", "a subject, as in news.today")?,
            subject_field: field("subject_field")?,
            key_field: field("key_field")?,
        })
    }

    /// The same for a sink, which writes records or payloads.
    ///
    /// # Errors
    /// `Option`.
    pub(crate) fn of_sink(address: &Address) -> Result<Self> {
        let format = match address.option("format") {
            None | Some("record") => Format::Record,
            Some("raw") => Format::Raw,
            Some(other) => return Err(address.option_fault("format", format!("it is `{other}`; write record or raw"))),
        };
        Ok(Self { format, ..Self::default() })
    }

    /// Whether a line says nothing: an empty payload does, an empty line among objects does not.
    pub(crate) fn is_blank(&self, line: &[u8]) -> bool {
        self.format != Format::Raw && line.iter().all(u8::is_ascii_whitespace)
    }

    /// What a line without its line feed says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(&self, line: &[u8]) -> std::result::Result<Entry, String> {
        let mut entry = match self.format {
            Format::Record => record::read(line)?,
            Format::Raw => Entry::Item(Item::new(Bytes::copy_from_slice(line))),
            Format::Object => Entry::Item(self.object(line)?),
        };
        if let (Entry::Item(item), Some(subject)) = (&mut entry, &self.subject) {
            item.subject.get_or_insert_with(|| subject.clone());
        }
        Ok(entry)
    }

    /// Appends the lines of a batch.
    pub(crate) fn write(&self, batch: &Batch, out: &mut Vec<u8>) {
        if let (Format::Record, Some(lost)) = (self.format, batch.lost) {
            record::write_lost(lost, out);
        }
        for item in &batch.items {
            if self.format == Format::Record {
                record::write_item(item, out);
            } else {
                out.extend_from_slice(&item.payload);
                out.push(b'\n');
            }
        }
    }

    fn object(&self, line: &[u8]) -> std::result::Result<Item, String> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(line).map_err(|error| format!("it is no JSON object: {error}"))?;
        let text = |field: &Option<String>| -> std::result::Result<Option<String>, String> {
            let Some(name) = field else { return Ok(None) };
            match object.get(name) {
                None | Some(serde_json::Value::Null) => Ok(None),
                Some(serde_json::Value::String(text)) => Ok(Some(text.clone())),
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                    Ok(Some(value.to_string()))
                }
                Some(_) => Err(format!("its field `{name}` is no text and no number")),
            }
        };
        let subject = text(&self.subject_field)?.map(Subject::try_from).transpose();
        Ok(Item {
            subject: subject.map_err(|error| error.to_string())?,
            key: text(&self.key_field)?.map(Bytes::from),
            ..Item::new(Bytes::copy_from_slice(line))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(address: &str) -> Lines {
        Lines::of_source(&address.parse().unwrap()).unwrap()
    }

    fn item(address: &str, line: &str) -> Item {
        match lines(address).read(line.as_bytes()).unwrap() {
            Entry::Item(item) => item,
            Entry::Lost(_) => panic!("an item"),
        }
    }

    #[test]
    fn a_line_is_a_record_an_object_or_a_payload() {
        assert_eq!(item("file:x", "{\"payload\":\"p\"}"), Item::new("p"));
        assert_eq!(item("file:x?format=raw", "{\"payload\":\"p\"}"), Item::new("{\"payload\":\"p\"}"));
        let object = item("file:x?format=object&subject_field=at&key_field=id", "{\"at\":\"a.b\",\"id\":7}");
        assert_eq!(object.subject, Some("a.b".parse().unwrap()));
        assert_eq!((object.key.as_deref(), &object.payload[..]), (Some(&b"7"[..]), &b"{\"at\":\"a.b\",\"id\":7}"[..]));
    }

    #[test]
    fn a_subject_is_given_to_those_that_have_none() {
        let subject = |line| item("file:x?subject=news", line).subject.unwrap().as_str().to_owned();
        assert_eq!(subject("{\"payload\":\"p\"}"), "news");
        assert_eq!(subject("{\"payload\":\"p\",\"subject\":\"own\"}"), "own");
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for (address, why) in [
            ("file:x?format=xml", "write record, object or raw"),
            ("file:x?key_field=id", "write `format=object` as well"),
            ("file:x?subject=a..b", "write a subject"),
        ] {
            let error = Lines::of_source(&address.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for (line, why) in
            [("[1]", "no JSON object"), ("{\"at\":[1]}", "no text and no number"), ("{\"at\":\"\"}", "not a subject")]
        {
            let error = lines("file:x?format=object&subject_field=at").read(line.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
