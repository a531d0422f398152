//! What the command line says of a message: payload and headers.

use std::io::Read;

use bytes::Bytes;
use sinew::{BusError, Headers};

use crate::failure::Outcome;

/// The largest payload read from standard input: what a session carries in one record.
const PAYLOAD_BYTES_MAX: u64 = 8 << 20;

/// The argument itself; for `-` standard input, up to its end.
pub(crate) fn read(argument: &str) -> Outcome<Bytes> {
    if argument != "-" {
        return Ok(argument.to_owned().into());
    }
    let mut payload = Vec::new();
    std::io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload)?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        let why = format!("standard input has more than {PAYLOAD_BYTES_MAX} bytes, the most that a message can have");
        return Err(format!("{why}; send it in parts").into());
    }
    Ok(payload.into())
}

/// One `NAME=VALUE` of `--header`.
pub(crate) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let header = (name.to_owned(), value.to_owned());
    headers(std::slice::from_ref(&header)).map(|_| header).map_err(|error| error.to_string())
}

/// All of them.
pub(crate) fn headers(pairs: &[(String, String)]) -> Result<Headers, BusError> {
    let mut headers = Headers::default();
    for (name, value) in pairs {
        headers.insert(name, value)?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(parse_header("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_header("a="), Ok(("a".into(), String::new())));
        assert_eq!(parse_header("a"), Err("write it as NAME=VALUE".into()));
        assert!(parse_header("=b").is_err() && parse_header("two words=b").is_err());
    }
}
