//! A bug on purpose, which shows that the crash tests see what they are there to see: compiled in for this package's own
//! tests alone, and off until one of them throws the switch for its thread.

/// Whether this bug is switched on in this thread.
#[cfg(test)]
pub(crate) fn is_planted(bug: &str) -> bool {
    PLANTED.get() == Some(bug)
}

/// Outside of the tests there is no bug on purpose.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn is_planted(_bug: &str) -> bool {
    false
}

/// Switches one bug on in this thread, and any other off.
#[cfg(test)]
pub(crate) fn plant(bug: Option<&'static str>) {
    PLANTED.set(bug);
}

#[cfg(test)]
thread_local!(static PLANTED: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) });
