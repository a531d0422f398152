//! How a delivery looks on standard output.

use data_encoding::BASE64;
use serde::Serialize;
use sinew::{Delivery, Gap, Message};

/// One of the three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Line,
    Json,
    Raw,
}

/// A message as an object.
#[derive(Serialize)]
struct MessageObject<'a> {
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Format {
    pub(super) fn new(json: bool, raw: bool) -> Self {
        match (json, raw) {
            (true, _) => Self::Json,
            (false, true) => Self::Raw,
            (false, false) => Self::Line,
        }
    }

    /// Appends it to `out`. Losses go to standard error, unless they have objects of their own.
    pub(super) fn write(self, delivery: &Delivery, out: &mut Vec<u8>) {
        match (self, delivery) {
            (Self::Line, Delivery::Message(message)) => line(message, out),
            (Self::Json, Delivery::Message(message)) => json(message, out),
            (Self::Raw, Delivery::Message(message)) => out.extend_from_slice(&message.body),
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

fn line(message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(message.subject.as_bytes());
    out.push(b' ');
    for chunk in message.body.utf8_chunks() {
        // Control characters could end the line, or drive the terminal.
        for c in chunk.valid().chars() {
            if c.is_control() {
                out.extend(c.escape_default().map(|c| c as u8));
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        chunk.invalid().iter().for_each(|byte| out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
    }
    out.push(b'\n');
}

fn json(message: &Message, out: &mut Vec<u8>) {
    let payload = std::str::from_utf8(&message.body);
    let object = MessageObject {
        subject: message.subject.as_str(),
        payload: payload.ok(),
        payload_base64: payload.is_err().then(|| BASE64.encode(&message.body)),
    };
    serde_json::to_writer(&mut *out, &object).expect("texts can be written into memory");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use sinew::Subject;

    use super::*;

    fn check(format: Format, body: &'static [u8], expected: &str) {
        let message = Message::new(Subject::try_from("a.b").unwrap(), body);
        let mut out = Vec::new();
        format.write(&Delivery::Message(message), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_message_is_one_line() {
        check(Format::Line, b"hello", "a.b hello\n");
        check(Format::Line, b"", "a.b \n");
        check(Format::Line, "a\nb\x1b[2Jü\u{85}".as_bytes(), "a.b a\\nb\\u{1b}[2Jü\\u{85}\n");
        check(Format::Line, b"\xff\x00z", "a.b \\xff\\u{0}z\n");
    }

    #[test]
    fn a_message_is_one_object() {
        check(Format::Json, b"say \"hi\"\n", "{\"subject\":\"a.b\",\"payload\":\"say \\\"hi\\\"\\n\"}\n");
        check(Format::Json, b"\xff\xd8", "{\"subject\":\"a.b\",\"payload_base64\":\"/9g=\"}\n");
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
