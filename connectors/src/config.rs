//! What a server's `connectors.toml` says: one table for each connector.
//!
//! ```toml
//! [connector.record-rooms]
//! from = "bus:room.>"
//! to = "log:rooms?create"
//!
//! [connector.archive]
//! from = "log:rooms"
//! to = "file:/var/lib/rooms.jsonl.gz"
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use sinew_session::ResourceName;
use toml_edit::{Document, Item, TableLike};

use crate::pace::Speed;
use crate::{Address, Error, Result};

/// Bytes of a file of connectors.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Connectors of one server: each is a task with a batch of memory.
pub const CONNECTORS_MAX: usize = 256;

/// One connector of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorConfig {
    /// Its name, under which it remembers how far it is.
    pub name: ResourceName,
    /// Where items come from. It is followed, unless `follow = false` says that it ends.
    pub from: Address,
    /// Where they go.
    pub to: Address,
    /// How fast they are played, where they are.
    pub speed: Option<Speed>,
}

/// Reads the connectors of a file; `path` is for its errors.
///
/// # Errors
/// `Config`, with the line.
pub fn parse_config(path: &Path, text: &str) -> Result<Vec<ConnectorConfig>> {
    let reader = Reader { path, text };
    if text.len() > CONFIG_BYTES_MAX {
        return Err(reader.fault(0, format!("it has {} bytes and may have {CONFIG_BYTES_MAX}", text.len())));
    }
    let document = Document::parse(text).map_err(|error| {
        let why = error.message().lines().collect::<Vec<_>>().join(", ");
        reader.fault(error.span().map_or(0, |span| span.start), format!("it is no TOML: {why}"))
    })?;
    let mut found = Vec::new();
    for (word, item) in document.as_table().iter() {
        let at = reader.place(document.as_table(), word, item);
        let connectors = item.as_table_like().filter(|_| word == "connector");
        let advice = "write a table [connector.NAME] for each connector, and nothing else";
        let connectors = connectors.ok_or_else(|| reader.fault(at, format!("`{word}` is unknown: {advice}")))?;
        for (name, item) in connectors.iter() {
            let at = reader.place(connectors, name, item);
            let table = item.as_table_like().ok_or_else(|| reader.fault(at, advice.into()))?;
            found.push(reader.connector(at, name, table)?);
        }
    }
    match found.len() {
        0..=CONNECTORS_MAX => Ok(found),
        count => Err(reader.fault(0, format!("it has {count} connectors and may have {CONNECTORS_MAX}"))),
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn connector(&self, at: usize, name: &str, table: &dyn TableLike) -> Result<ConnectorConfig> {
        let name = ResourceName::try_from(name).map_err(|error| self.fault(at, error.to_string()))?;
        let (mut from, mut to, mut speed, mut follow) = (None, None, None, true);
        for (word, item) in table.iter() {
            let at = self.place(table, word, item);
            let wrong = |expected: &str| self.fault(at, format!("`{word}` of connector `{name}` is not {expected}"));
            match word {
                "from" | "to" => {
                    let text = item.as_str().ok_or_else(|| wrong("a text, as in \"log:orders\""))?;
                    let address: Address = text.parse().map_err(|error: Error| self.fault(at, error.to_string()))?;
                    *(if word == "from" { &mut from } else { &mut to }) = Some(address);
                }
                "speed" => {
                    let factor = item.as_float().or(item.as_integer().map(|whole| whole as f64));
                    let factor = factor.ok_or_else(|| wrong("a number, as in 2.0"))?;
                    speed = Some(Speed::new(factor).map_err(|error| self.fault(at, error.to_string()))?);
                }
                "follow" => follow = item.as_bool().ok_or_else(|| wrong("true or false"))?,
                _ => {
                    let why = format!("connector `{name}` has no option `{word}`; it has from, to, speed, follow");
                    return Err(self.fault(at, why));
                }
            }
        }
        let missing =
            |what| self.fault(at, format!("connector `{name}` has no `{what}`: write {what} = \"scheme:target\""));
        let from = from.ok_or_else(|| missing("from"))?;
        Ok(ConnectorConfig {
            from: from.with_default("follow", if follow { "true" } else { "false" }),
            to: to.ok_or_else(|| missing("to"))?,
            name,
            speed,
        })
    }

    fn place(&self, table: &dyn TableLike, word: &str, item: &Item) -> usize {
        table.key(word).and_then(toml_edit::Key::span).or_else(|| item.span()).map_or(0, |span| span.start)
    }

    fn fault(&self, at: usize, why: String) -> Error {
        let line = self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        Error::Config { path: PathBuf::from(self.path), line, why }
    }
}

impl fmt::Display for ConnectorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} to {}", self.name, self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<ConnectorConfig>> {
        parse_config(Path::new("connectors.toml"), text)
    }

    #[test]
    fn a_table_is_a_connector() {
        let text = "# mine\n[connector.rooms]\nfrom = \"bus:room.>\"\nto = \"log:rooms?create\"\n\n\
                    [connector.play]\nfrom = \"log:rooms\"\nto = \"bus:\"\nspeed = 2\nfollow = false\n";
        let found = parse(text).unwrap();
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["rooms: bus:room.>?follow=true to log:rooms?create=", "play: log:rooms?follow=false to bus:"]
        );
        assert_eq!((found[0].speed, found[1].speed), (None, Some(Speed::new(2.0).unwrap())));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("x = 1", "line 1: `x` is unknown: write a table [connector.NAME]"),
            ("\n[connector]\na = 1", "line 3: write a table [connector.NAME]"),
            ("[connector.a]\nfrom = \"bus:a\"", "line 1: connector `a` has no `to`: write to = \"scheme:target\""),
            ("[connector.a]\nfrom = \"bus\"", "line 2: `bus` is no address of a connector"),
            ("[connector.a]\nspeed = \"x\"", "line 2: `speed` of connector `a` is not a number"),
            ("[connector.a]\nspeed = 0.0", "line 2: cannot play at speed 0"),
            ("[connector.a]\nfollow = 1", "line 2: `follow` of connector `a` is not true or false"),
            ("[connector.a]\nfast = 1", "line 2: connector `a` has no option `fast`; it has from, to, speed, follow"),
            ("[connector.\"a b\"]\n", "line 1: `a b` cannot name"),
            ("[connector", "line 1: it is no TOML"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("connectors.toml, {expected}")), "{error}");
        }
    }
}
