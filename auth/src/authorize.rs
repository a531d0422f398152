//! The one question that a server asks before it does what a peer wants: may this peer do that to this?
//!
//! Who is let in at all is `admit.rs`'s question; the answers from a file are in `policy.rs`.

use std::borrow::Cow;
use std::fmt;

use crate::key::PeerKey;
use crate::operation::Operation;

/// What an operation is to be done to: its final name, or every name that a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// One name.
    Name(&'a str),
    /// All names that the pattern matches (`*` one token, `>` one or more at the end), now and later. It is allowed only
    /// where each of them is.
    Pattern(&'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Pattern(text) => f.write_str(text),
        }
    }
}

/// The answer, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It may.
    Allowed {
        /// What allows it: names rule and role.
        because: Cow<'static, str>,
    },
    /// It may not.
    Denied {
        /// What denies it: names rule and role, or says that there is none.
        because: Cow<'static, str>,
        /// What to do about it.
        next: Cow<'static, str>,
    },
}

impl Decision {
    /// Whether it may.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { because } => write!(f, "allowed: {because}"),
            Self::Denied { because, next } => write!(f, "denied: {because}; {next}"),
        }
    }
}

/// Decides who may do what. A server asks it for each new subject of a connection, each subscription and each call, and
/// keeps the answer until [`generation`](Self::generation) changes; it also ends the sessions whose key is no longer
/// admitted.
///
/// Called where a block arrived: apart from [`refresh`](Self::refresh) nothing here may wait or touch a file.
pub trait Authorize: Send + Sync + fmt::Debug {
    /// Whether `who` (`None`: anonymous) may do `operation` to `resource`.
    fn decide(&self, who: Option<&PeerKey>, operation: Operation, resource: Resource<'_>) -> Decision;

    /// Whether there is a name that `pattern` matches to which `who` may do `operation`: what a list shows, since somebody
    /// who may do something to a part knows of the whole. It permits nothing by itself.
    fn permits_some(&self, who: Option<&PeerKey>, operation: Operation, pattern: &str) -> bool;

    /// Whether this key is still let in. Sessions of one that is not are ended.
    fn admits(&self, who: Option<&PeerKey>) -> bool;

    /// Changes whenever an answer may have changed.
    fn generation(&self) -> u64 {
        0
    }

    /// Looks now whether what the answers rest on has changed, and takes it in. Asked a few times a second by each
    /// server: a few `stat` calls when nothing has changed.
    fn refresh(&self) {}

    /// The name that goes with a key, for logs.
    fn name(&self, _who: &PeerKey) -> Option<String> {
        None
    }
}

/// Everybody who was let in may do everything: a server without a policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthorizeEverything;

impl Authorize for AuthorizeEverything {
    fn decide(&self, _who: Option<&PeerKey>, _operation: Operation, _resource: Resource<'_>) -> Decision {
        Decision::Allowed { because: Cow::Borrowed("this server has no policy") }
    }

    fn permits_some(&self, _who: Option<&PeerKey>, _operation: Operation, _pattern: &str) -> bool {
        true
    }

    fn admits(&self, _who: Option<&PeerKey>) -> bool {
        true
    }
}
