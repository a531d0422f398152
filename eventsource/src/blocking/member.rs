//! A membership of a group, for callers that wait.

use std::time::Duration;

use sinew_session::{Error as SessionError, block_on, block_on_for};

use crate::{Error, GroupEvent, Result};

/// A membership of a consumer group. Dropping it leaves.
///
/// As an iterator it waits for each event, and ends with the membership; then [`end`](Self::end) says why.
#[derive(Debug)]
pub struct Member {
    inner: crate::Member,
}

impl Member {
    pub(crate) fn new(inner: crate::Member) -> Self {
        Self { inner }
    }

    /// The next event to deal with, if it comes within `timeout`; `None` if none does.
    ///
    /// # Errors
    /// Why nothing more comes; `Session(InsideRuntime)`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<GroupEvent>> {
        match block_on_for(self.inner.next(), timeout)? {
            Some(None) => Err(self.end().unwrap_or(Error::Session(SessionError::Closed))),
            came => Ok(came.flatten()),
        }
    }

    /// As [`Member::ack`](crate::Member::ack).
    pub fn ack(&self, event: &GroupEvent) {
        self.inner.ack(event);
    }

    /// As [`Member::nack`](crate::Member::nack).
    pub fn nack(&self, event: &GroupEvent, delay: Duration) {
        self.inner.nack(event, delay);
    }

    /// As [`Member::flush`](crate::Member::flush).
    ///
    /// # Errors
    /// As [`Member::flush`](crate::Member::flush).
    pub fn flush(&self) -> Result<()> {
        block_on(self.inner.flush())?
    }

    /// As [`Member::leave`](crate::Member::leave).
    ///
    /// # Errors
    /// As [`Member::leave`](crate::Member::leave).
    pub fn leave(self) -> Result<()> {
        block_on(self.inner.leave())?
    }

    /// Why nothing more comes. As [`Member::end`](crate::Member::end).
    pub fn end(&self) -> Option<Error> {
        self.inner.end()
    }
}

impl Iterator for Member {
    type Item = Result<GroupEvent>;

    fn next(&mut self) -> Option<Result<GroupEvent>> {
        block_on(self.inner.next()).map_err(Error::from).transpose()
    }
}
