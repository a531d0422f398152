//! The grammar of names: which bytes are a subject or a pattern, and why others are not.
//!
//! A name is one or more tokens joined by `.`, at most [`NAME_BYTES_MAX`] bytes; a token is one or more bytes of UTF-8
//! without control characters, white space, `.`, `*`, `>`. In a pattern a token may also be `*`, and the last one `>`.
//!
//! Two readers of one grammar: [`is_subject`] answers fast and says nothing, [`fault`] is slow and explains. A property
//! test holds them together.

/// The longest subject or pattern, in bytes: longer than any name a person writes, and short enough that a name is
/// always a small part of a block.
pub const NAME_BYTES_MAX: usize = 512;

/// How much of a faulty name an error shows, in bytes.
const SHOWN_BYTES_MAX: usize = 80;

/// Why a text is not a name. Tokens are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// No bytes at all.
    #[error("it is empty; write one or more tokens joined by dots, such as `orders.new`")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("it has {bytes} bytes and a name has at most {}; shorten it", NAME_BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("byte {at} is not UTF-8; encode the name as UTF-8")]
    NotUtf8 {
        /// The index of the first byte that is wrong, from 0.
        at: usize,
    },
    /// Two dots in a row, or one at an end.
    #[error("token {token} is empty; remove the dot beside it")]
    EmptyToken {
        /// Which one.
        token: usize,
    },
    /// White space or a control character.
    #[error(
        "token {token} contains {character:?}, and white space and control characters cannot be in a name; use `-` or `_`"
    )]
    ForbiddenCharacter {
        /// Which one.
        token: usize,
        /// The first such character.
        character: char,
    },
    /// A wildcard where one subject must be named.
    #[error(
        "token {token} contains the wildcard `{wildcard}`, which only a pattern may have; write the subject in full"
    )]
    WildcardInSubject {
        /// Which one.
        token: usize,
        /// `*` or `>`.
        wildcard: char,
    },
    /// A wildcard together with other text.
    #[error("token {token} mixes the wildcard `{wildcard}` with other text; a wildcard stands alone between dots")]
    WildcardInToken {
        /// Which one.
        token: usize,
        /// `*` or `>`.
        wildcard: char,
    },
    /// More than [`RESOURCE_NAME_BYTES_MAX`](super::RESOURCE_NAME_BYTES_MAX) bytes.
    #[error(
        "it has {bytes} bytes and the name of a queue, bucket or stream has at most {}; shorten it",
        super::RESOURCE_NAME_BYTES_MAX
    )]
    TooLongForOne {
        /// Its length.
        bytes: usize,
    },
    /// A character that would make it several tokens, or a path.
    #[error("it contains `{character}`, and it must be one token that can also be a folder; use `-` or `_`")]
    NotOneToken {
        /// The first such character.
        character: char,
    },
    /// It begins with `$`.
    #[error("names that begin with `$` belong to the server; choose another beginning")]
    Reserved,
    /// `>` before the end.
    #[error("token {token} is `>` and not the last; put `>` at the end, or write `*` for one token")]
    RestNotLast {
        /// Which one.
        token: usize,
    },
}

/// What the text is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Subject,
    Pattern,
}

/// Whether the first token begins with `$`: only the server publishes there, and no wildcard matches that token.
/// Costs one comparison; the bytes need not be a valid name.
#[inline]
pub fn is_reserved(name: &[u8]) -> bool {
    name.first() == Some(&b'$')
}

const DOT: u8 = 1;
const FORBIDDEN: u8 = 2;
const NOT_ASCII: u8 = 4;

/// The class of each byte, so that the check is one load for each.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'.' => DOT,
            0..=b' ' | 0x7f | b'*' | b'>' => FORBIDDEN,
            0x80.. => NOT_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    class
};

/// Whether the bytes are a subject. One pass without branches for ASCII; a second, slower one for other text.
#[inline]
pub(crate) fn is_subject(bytes: &[u8]) -> bool {
    if bytes.len() > NAME_BYTES_MAX {
        return false;
    }
    // The start and the end count as dots, so that an empty name and an empty token are the same thing: two in a row.
    let (mut seen, mut repeated, mut previous) = (0, 0, DOT);
    for &byte in bytes {
        let class = CLASS[usize::from(byte)];
        seen |= class;
        repeated |= class & previous;
        previous = class;
    }
    if (seen & FORBIDDEN) | ((repeated | previous) & DOT) != 0 {
        return false;
    }
    seen & NOT_ASCII == 0 || is_text(bytes)
}

/// Whether it is UTF-8 without control characters and white space.
#[cold]
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(is_forbidden))
}

fn is_forbidden(character: char) -> bool {
    character.is_control() || character.is_whitespace()
}

/// The first fault of what is meant to be a name, if it has one.
pub(crate) fn fault(bytes: &[u8], kind: Kind) -> Option<NameFault> {
    if bytes.is_empty() {
        return Some(NameFault::Empty);
    }
    if bytes.len() > NAME_BYTES_MAX {
        return Some(NameFault::TooLong { bytes: bytes.len() });
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Some(NameFault::NotUtf8 { at: error.valid_up_to() }),
    };
    let last = text.split('.').count();
    text.split('.').zip(1..).find_map(|(text, token)| match (kind, text) {
        (Kind::Pattern, "*") => None,
        (Kind::Pattern, ">") => (token != last).then_some(NameFault::RestNotLast { token }),
        _ => token_fault(text, token, kind),
    })
}

fn token_fault(text: &str, token: usize, kind: Kind) -> Option<NameFault> {
    if text.is_empty() {
        return Some(NameFault::EmptyToken { token });
    }
    text.chars().find_map(|character| match (character, kind) {
        ('*' | '>', Kind::Subject) => Some(NameFault::WildcardInSubject { token, wildcard: character }),
        ('*' | '>', Kind::Pattern) => Some(NameFault::WildcardInToken { token, wildcard: character }),
        _ => is_forbidden(character).then_some(NameFault::ForbiddenCharacter { token, character }),
    })
}

/// A faulty name as an error may show it: bounded, and without characters that do things to a terminal.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let ellipsis = if cut.len() < bytes.len() { "…" } else { "" };
    format!("{}{ellipsis}", String::from_utf8_lossy(cut).escape_debug())
}

/// The first token, and what follows its dot. The name must not be empty.
#[inline]
pub fn split_token(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    match name.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&name[..dot], Some(&name[dot + 1..])),
        None => (name, None),
    }
}
