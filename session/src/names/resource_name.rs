//! The name of a queue, a bucket or a stream: one token, so that it can stand in a subject and in a path.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::grammar::{self, Kind};
use super::{NameError, NameFault};

/// The longest name of a queue, bucket or stream, in bytes: it stays readable in a table, and any file system takes it
/// as a folder with something before and behind it.
pub const RESOURCE_NAME_BYTES_MAX: usize = 64;

/// A valid name of a queue, bucket or stream: one token of a subject, of at most [`RESOURCE_NAME_BYTES_MAX`] bytes, that
/// does not begin with `$` and has no `/` or `\`. A clone is a handle on the same text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

impl ResourceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its folder: letters that every file system tells apart stand for themselves, all other bytes as `%`
    /// and two digits.
    pub fn folder_name(&self) -> String {
        let mut text = String::new();
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(byte.into()),
                _ => text.push_str(&format!("%{byte:02x}")),
            }
        }
        text
    }

    /// The name whose folder has this one; `None` for what [`folder_name`](Self::folder_name) does not give.
    pub fn from_folder_name(folder: &str) -> Option<Self> {
        let (mut bytes, mut rest) = (Vec::new(), folder.as_bytes());
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            if *byte != b'%' {
                bytes.push(*byte);
                continue;
            }
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        }
        let name = Self::try_from(std::str::from_utf8(&bytes).ok()?).ok()?;
        (name.folder_name() == folder).then_some(name)
    }
}

fn fault(text: &str) -> Option<NameFault> {
    if text.len() > RESOURCE_NAME_BYTES_MAX {
        return Some(NameFault::TooLongForOne { bytes: text.len() });
    }
    if let Some(fault) = grammar::fault(text.as_bytes(), Kind::Subject) {
        return Some(fault);
    }
    match text.chars().find(|character| matches!(character, '.' | '/' | '\\')) {
        Some(character) => Some(NameFault::NotOneToken { character }),
        None if text.starts_with('$') => Some(NameFault::Reserved),
        None => None,
    }
}

impl TryFrom<&str> for ResourceName {
    type Error = NameError;

    /// Checks the text and copies it.
    fn try_from(text: &str) -> Result<Self, NameError> {
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(fault) => Err(NameError::InvalidName { name: grammar::shown(text.as_bytes()), fault }),
        }
    }
}

impl FromStr for ResourceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text)
    }
}

impl Borrow<str> for ResourceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ResourceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_of_bounded_length() {
        let longest = "x".repeat(RESOURCE_NAME_BYTES_MAX);
        for name in ["orders", "orders-2026_eu", "温度", "a$", &longest] {
            assert_eq!(name.parse::<ResourceName>().unwrap().as_str(), name);
        }
        for (name, fault) in [
            ("", NameFault::Empty),
            ("a.b", NameFault::NotOneToken { character: '.' }),
            ("a/b", NameFault::NotOneToken { character: '/' }),
            ("a\\b", NameFault::NotOneToken { character: '\\' }),
            (".", NameFault::EmptyToken { token: 1 }),
            ("..", NameFault::EmptyToken { token: 1 }),
            ("$KV", NameFault::Reserved),
            ("a b", NameFault::ForbiddenCharacter { token: 1, character: ' ' }),
            ("a*", NameFault::WildcardInSubject { token: 1, wildcard: '*' }),
            (&format!("{longest}x"), NameFault::TooLongForOne { bytes: RESOURCE_NAME_BYTES_MAX + 1 }),
        ] {
            let NameError::InvalidName { fault: found, .. } = name.parse::<ResourceName>().unwrap_err() else {
                panic!("{name:?}")
            };
            assert_eq!(found, fault, "{name:?}");
        }
    }
}
