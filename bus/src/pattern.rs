//! The pattern: which subjects a subscription hears. Its grammar is in `name.rs`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::name::{self, Kind};
use crate::{Error, Result, Subject};

/// A valid pattern: a subject in which a token may be `*`, which stands for any one token, and the last token may be
/// `>`, which stands for one or more. A wildcard as first token does not match a token that begins with `$`.
///
/// A clone is a handle on the same text. A pattern always owns its text, since it lives as long as its subscription.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// What a pattern says about one token, or about all that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternToken<'a> {
    Literal(&'a [u8]),
    /// `*`
    One,
    /// `>`
    Rest,
}

impl Pattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the subject is one that the pattern stands for. A walk over both, without allocation; to ask many
    /// patterns at once use the [`Router`](crate::Router).
    pub fn matches(&self, subject: &Subject) -> bool {
        let mut left = Some(subject.as_bytes());
        for (index, wanted) in self.tokens().enumerate() {
            let Some(name) = left else { return false };
            let (token, rest) = name::split_token(name);
            let hidden = index == 0 && name::is_reserved(token);
            match wanted {
                PatternToken::Literal(literal) if literal == token => {}
                PatternToken::One if !hidden => {}
                PatternToken::Rest => return !hidden,
                PatternToken::Literal(_) | PatternToken::One => return false,
            }
            left = rest;
        }
        left.is_none()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = PatternToken<'_>> {
        self.0.split('.').map(|token| match token {
            "*" => PatternToken::One,
            ">" => PatternToken::Rest,
            literal => PatternToken::Literal(literal.as_bytes()),
        })
    }
}

impl TryFrom<&[u8]> for Pattern {
    type Error = Error;

    /// Checks the bytes and copies them.
    fn try_from(bytes: &[u8]) -> Result<Self> {
        let fault = match (name::fault(bytes, Kind::Pattern), std::str::from_utf8(bytes)) {
            (None, Ok(text)) => return Ok(Self(text.into())),
            (None, Err(error)) => crate::NameFault::NotUtf8 { at: error.valid_up_to() },
            (Some(fault), _) => fault,
        };
        Err(Error::InvalidPattern { pattern: name::shown(bytes), fault })
    }
}

impl TryFrom<&str> for Pattern {
    type Error = Error;

    /// Checks the text and copies it.
    fn try_from(text: &str) -> Result<Self> {
        Self::try_from(text.as_bytes())
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::try_from(text)
    }
}

impl From<&Subject> for Pattern {
    /// The pattern that stands for this subject alone.
    fn from(subject: &Subject) -> Self {
        Self(subject.as_str().into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
