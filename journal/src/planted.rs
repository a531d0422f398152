//! Bugs on purpose: switches in the production code, which show that the crash tests see what they are there to see.
//!
//! They are compiled in with the feature `planted` alone, which nothing but this package's own tests asks for, and even
//! there each is off until a test throws it, for its own thread. Without the feature [`is_planted`] is `false` for the
//! compiler, and nothing is left of it.

/// Whether this bug is switched on in this thread.
#[cfg(feature = "planted")]
pub(crate) fn is_planted(bug: &str) -> bool {
    PLANTED.get() == Some(bug)
}

/// Without the feature there is no bug on purpose.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub(crate) const fn is_planted(_bug: &str) -> bool {
    false
}

/// Switches one bug on in this thread, and any other off.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<&'static str>) {
    PLANTED.set(bug);
}

#[cfg(feature = "planted")]
thread_local!(static PLANTED: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) });
