//! How messages and losses look on standard output.

use data_encoding::BASE64;
use serde::Serialize;
use sinew::{Delivery, Gap, Message};

/// One of the three ways; a line has headers if it is asked to, an object always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Line { headers: bool },
    Json,
    Raw,
}

/// A message as an object.
#[derive(Serialize)]
struct MessageObject<'a> {
    subject: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderObject<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    retained: bool,
    #[serde(skip_serializing_if = "is_false")]
    request: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// A header as an object, since a name may stand more than once.
#[derive(Serialize)]
pub(crate) struct HeaderObject<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl<'a> From<(&'a str, &'a [u8])> for HeaderObject<'a> {
    fn from((name, value): (&'a str, &'a [u8])) -> Self {
        let (value, value_base64) = text_or_base64(value);
        Self { name, value, value_base64 }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Format {
    pub(crate) fn new(json: bool, raw: bool, headers: bool) -> Self {
        match (json, raw) {
            (true, _) => Self::Json,
            (false, true) => Self::Raw,
            (false, false) => Self::Line { headers },
        }
    }

    /// Appends a message to `out`.
    pub(crate) fn message(self, message: &Message, out: &mut Vec<u8>) {
        match self {
            Self::Line { headers } => line(message, headers, out),
            Self::Json => json(message, out),
            Self::Raw => out.extend_from_slice(&message.body),
        }
    }

    /// Appends its payload alone, on a line. If it ends a line itself, as what commands write does, it is that line.
    pub(crate) fn payload_line(message: &Message, out: &mut Vec<u8>) {
        printable(message.body.strip_suffix(b"\n").unwrap_or(&message.body), out);
        out.push(b'\n');
    }

    /// Appends it to `out`. Losses go to standard error, unless they have objects of their own.
    pub(crate) fn write(self, delivery: &Delivery, out: &mut Vec<u8>) {
        match (self, delivery) {
            (_, Delivery::Message(message)) => self.message(message, out),
            (Self::Json, Delivery::Lagged(count)) => {
                out.extend_from_slice(format!("{{\"lagged\":{count}}}\n").as_bytes())
            }
            (Self::Json, Delivery::Gap(Gap::Exact(count))) => {
                out.extend_from_slice(format!("{{\"gap\":{count}}}\n").as_bytes());
            }
            (Self::Json, Delivery::Gap(Gap::Unknown)) => out.extend_from_slice(b"{\"gap\":\"unknown\"}\n"),
            (_, Delivery::Lagged(count)) => eprintln!("{count} messages were dropped here: the reader was too slow"),
            (_, Delivery::Gap(Gap::Exact(count))) => {
                eprintln!("{count} messages were missed here: the connection was cut");
            }
            (_, Delivery::Gap(Gap::Unknown)) => {
                eprintln!("messages may have been missed here: the server was restarted");
            }
        }
    }
}

fn line(message: &Message, headers: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(message.subject.as_bytes());
    out.push(b' ');
    for (name, value) in message.headers.iter().filter(|_| headers) {
        out.push(b'[');
        printable(name.as_bytes(), out);
        out.push(b'=');
        printable(value, out);
        out.extend_from_slice(b"] ");
    }
    printable(&message.body, out);
    out.push(b'\n');
}

/// Control characters could end the line, or drive the terminal.
pub(crate) fn printable(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                out.extend(c.escape_default().map(|c| c as u8));
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        chunk.invalid().iter().for_each(|byte| out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
    }
}

fn json(message: &Message, out: &mut Vec<u8>) {
    let (payload, payload_base64) = text_or_base64(&message.body);
    let object = MessageObject {
        subject: message.subject.as_str(),
        headers: message.headers.iter().map(HeaderObject::from).collect(),
        retained: message.retained,
        request: message.request,
        payload,
        payload_base64,
    };
    serde_json::to_writer(&mut *out, &object).expect("texts can be written into memory");
    out.push(b'\n');
}

/// UTF-8 as it is, anything else in base 64.
pub(crate) fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    let text = std::str::from_utf8(bytes);
    (text.ok(), text.is_err().then(|| BASE64.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use sinew::{Headers, Subject};

    use super::*;

    const LINE: Format = Format::Line { headers: false };

    fn check(format: Format, body: &'static [u8], expected: &str) {
        let message = Message::new(Subject::try_from("a.b").unwrap(), body);
        let mut out = Vec::new();
        format.write(&Delivery::Message(message), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_message_is_one_line() {
        check(LINE, b"hello", "a.b hello\n");
        check(LINE, b"", "a.b \n");
        check(LINE, "a\nb\x1b[2Jü\u{85}".as_bytes(), "a.b a\\nb\\u{1b}[2Jü\\u{85}\n");
        check(LINE, b"\xff\x00z", "a.b \\xff\\u{0}z\n");
    }

    #[test]
    fn a_message_is_one_object() {
        check(Format::Json, b"say \"hi\"\n", "{\"subject\":\"a.b\",\"payload\":\"say \\\"hi\\\"\\n\"}\n");
        check(Format::Json, b"\xff\xd8", "{\"subject\":\"a.b\",\"payload_base64\":\"/9g=\"}\n");
    }

    #[test]
    fn headers_are_in_objects_and_in_lines_that_ask_for_them() {
        let headers = Headers::default().with("unit", "°C").unwrap().with("raw", [0xff]).unwrap();
        let mut message = Message::new(Subject::try_from("a.b").unwrap(), "7");
        (message.headers, message.retained) = (headers, true);
        let shown = |format: Format| {
            let mut out = Vec::new();
            format.message(&message, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(LINE), "a.b 7\n");
        assert_eq!(shown(Format::Line { headers: true }), "a.b [unit=°C] [raw=\\xff] 7\n");
        let headers = r#"[{"name":"unit","value":"°C"},{"name":"raw","value_base64":"/w=="}]"#;
        let object = format!("{{\"subject\":\"a.b\",\"headers\":{headers},\"retained\":true,\"payload\":\"7\"}}\n");
        assert_eq!(shown(Format::Json), object);
    }

    #[test]
    fn raw_is_the_payload() {
        check(Format::Raw, b"a\nb", "a\nb");
    }

    #[test]
    fn losses_are_objects() {
        let mut out = Vec::new();
        for delivery in [Delivery::Lagged(7), Delivery::Gap(Gap::Exact(3)), Delivery::Gap(Gap::Unknown)] {
            Format::Json.write(&delivery, &mut out);
        }
        assert_eq!(out, b"{\"lagged\":7}\n{\"gap\":3}\n{\"gap\":\"unknown\"}\n");
    }
}
