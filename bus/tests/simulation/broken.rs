//! What must hold in every world, and how a world says that it did not.

use std::fmt;

/// A promise of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invariant {
    /// What one publisher says about one subject arrives, and is heard, in the order in which it was said.
    Order,
    /// Nothing arrives twice, and no subscription hears anything twice.
    Once,
    /// Nobody hears what is not for them, or what was said before they asked.
    Own,
    /// Every loss is told: exactly, and on a single lane in its place.
    Told,
    /// A queue group hears each message once, and a request goes to one responder.
    Group,
    /// An answer reaches the one who asked, from the one who was asked.
    Answers,
    /// Kept values come first, all of them, and the newest of each subject.
    Kept,
    /// The server's own account adds up, and agrees with what came and was heard.
    Account,
    /// What is due comes, and every wait ends.
    Ends,
    /// What is over leaves nothing behind at the server.
    Clean,
    /// Nothing panics.
    Sound,
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// What a part of a world comes to.
pub(crate) type Outcome<T> = Result<T, Broken>;

impl Invariant {
    /// That it was broken.
    pub(crate) fn broken<T>(self, what: impl Into<String>) -> Outcome<T> {
        Err(Broken { invariant: self, what: what.into() })
    }

    /// That it was broken, unless `kept`.
    pub(crate) fn hold(self, kept: bool, what: impl FnOnce() -> String) -> Outcome<()> {
        if kept { Ok(()) } else { self.broken(what()) }
    }
}
