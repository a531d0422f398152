//! The text of an allowlist and of a public key file: reading and writing of one line, side by side.

use std::path::Path;

use super::address::Network;
use crate::error::FileError;
use crate::key::PeerKey;

/// The longest line in bytes: a key, the longest name, and a comment.
const LINE_BYTES_MAX: usize = 512;
/// The longest name of a peer in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Empty, or a comment.
    Nothing,
    /// A peer and its name, which may be empty.
    Key(PeerKey, &'a str),
    /// `allow ADDRESS`
    Allow(Network),
    /// `deny ADDRESS`
    Deny(Network),
}

/// The lines of a file, numbered from 1; the first bad one ends it for the caller. Total, and lazy, so that a caller's
/// limit on lines is a limit on work.
pub(super) fn parse<'a>(
    path: &'a Path,
    contents: &'a [u8],
) -> impl Iterator<Item = Result<(usize, Line<'a>), FileError>> {
    let contents = contents.strip_suffix(b"\n").unwrap_or(contents);
    contents.split(|&byte| byte == b'\n').enumerate().map(move |(index, line)| {
        let number = index + 1;
        Ok((number, parse_line(line).map_err(|fault| fault.at(path, number))?))
    })
}

/// The single key of a public key file, and its line.
pub(crate) fn parse_single_key(path: &Path, contents: &[u8]) -> Result<(usize, PeerKey), FileError> {
    let refused = |line, why: &str| FileError::Line { path: path.into(), line, why: why.to_owned() };
    let mut found = None;
    for line in parse(path, contents) {
        match line? {
            (_, Line::Nothing) => {}
            (line, Line::Key(key, _)) if found.is_none() => found = Some((line, key)),
            (line, Line::Key(..)) => return Err(refused(line, "a second key; a public key file has one")),
            (line, _) => return Err(refused(line, "a public key file has no address lines")),
        }
    }
    found.ok_or_else(|| refused(1, "there is no key in it; expected one line with a key and a name"))
}

/// The line for a key, with its line feed; `path` is for the error about a bad name.
pub(crate) fn key_line(path: &Path, key: &PeerKey, name: &str) -> Result<String, FileError> {
    // An Ed25519 key goes without its prefix: it is what people copy into URLs.
    let key_text = match key {
        PeerKey::Ed25519(bare) => bare.to_string(),
        PeerKey::Curve(_) => key.to_string(),
    };
    let line = if name.is_empty() { key_text } else { format!("{key_text} {name}") };
    // What is written must read as what was meant: that is the one check there is.
    match parse_line(line.as_bytes()) {
        Ok(Line::Key(read_key, read_name)) if read_key == *key && read_name == name => Ok(line + "\n"),
        Err(fault) => Err(fault.at(path, 1)),
        Ok(_) => Err(Fault::Why(format!(
            "`{}` cannot be a name: no comment, no white space around it, no line feed",
            name.escape_debug()
        ))
        .at(path, 1)),
    }
}

fn parse_line(line: &[u8]) -> Result<Line<'_>, Fault> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Fault::Why(format!("the line has {} bytes, at most {LINE_BYTES_MAX} are taken", line.len())));
    }
    let line = std::str::from_utf8(line).map_err(|_| Fault::Why("the line is not UTF-8 text".to_owned()))?;
    let line = without_comment(line).trim();
    let (word, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()));
    match word {
        "" => Ok(Line::Nothing),
        "allow" => Ok(Line::Allow(network(rest)?)),
        "deny" => Ok(Line::Deny(network(rest)?)),
        _ => Ok(Line::Key(word.parse().map_err(Fault::Key)?, checked_name(rest)?)),
    }
}

/// `#` is a character of Z85, so it begins a comment only where no key can be under way.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (index, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return &line[..index];
        }
        before = character;
    }
    line
}

fn checked_name(name: &str) -> Result<&str, Fault> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::Why(format!("the name has {} bytes, at most {NAME_BYTES_MAX} are taken", name.len())));
    }
    if name.chars().any(char::is_control) {
        return Err(Fault::Why("the name has control characters; it must be plain text".to_owned()));
    }
    Ok(name)
}

fn network(text: &str) -> Result<Network, Fault> {
    text.parse().map_err(Fault::Why)
}

/// What is wrong with a line, before it is known where it stands.
enum Fault {
    Key(crate::key::KeyError),
    Why(String),
}

impl Fault {
    fn at(self, path: &Path, line: usize) -> FileError {
        let path = path.into();
        match self {
            Self::Key(cause) => FileError::Key { path, line, cause },
            Self::Why(why) => FileError::Line { path, line, why },
        }
    }
}
