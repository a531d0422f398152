//! The pattern: which subjects a subscription hears. Its grammar is in `grammar.rs`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::grammar::{self, Kind};
use super::{NameError, NameFault, Subject};

/// A valid pattern: a subject in which a token may be `*`, which stands for any one token, and the last token may be
/// `>`, which stands for one or more. A wildcard as first token does not match a token that begins with `$`.
///
/// A clone is a handle on the same text. A pattern always owns its text, since it lives as long as its subscription.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// What a pattern says about one token, or about all that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternToken<'a> {
    /// Exactly this token.
    Literal(&'a [u8]),
    /// `*`: any one token.
    One,
    /// `>`: one or more tokens.
    Rest,
}

impl Pattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the subject is one that the pattern stands for. A walk over both, without allocation; the bus asks many patterns
    /// at once by an index of their tokens.
    pub fn matches(&self, subject: &Subject) -> bool {
        let mut left = Some(subject.as_bytes());
        for (index, wanted) in self.tokens().enumerate() {
            let Some(name) = left else { return false };
            let (token, rest) = grammar::split_token(name);
            let hidden = index == 0 && grammar::is_reserved(token);
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

    /// What it says token by token, for those who build indexes of patterns.
    pub fn tokens(&self) -> impl Iterator<Item = PatternToken<'_>> {
        self.0.split('.').map(|token| match token {
            "*" => PatternToken::One,
            ">" => PatternToken::Rest,
            literal => PatternToken::Literal(literal.as_bytes()),
        })
    }
}

impl TryFrom<&[u8]> for Pattern {
    type Error = NameError;

    /// Checks the bytes and copies them.
    fn try_from(bytes: &[u8]) -> Result<Self, NameError> {
        let fault = match (grammar::fault(bytes, Kind::Pattern), std::str::from_utf8(bytes)) {
            (None, Ok(text)) => return Ok(Self(text.into())),
            (None, Err(error)) => NameFault::NotUtf8 { at: error.valid_up_to() },
            (Some(fault), _) => fault,
        };
        Err(NameError::InvalidPattern { pattern: grammar::shown(bytes), fault })
    }
}

impl TryFrom<&str> for Pattern {
    type Error = NameError;

    /// Checks the text and copies it.
    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.as_bytes())
    }
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
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
