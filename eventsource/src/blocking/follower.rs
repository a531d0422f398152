//! A follow, for callers that wait.

use std::time::Duration;

use sinew_session::{Error as SessionError, block_on, block_on_for};

use crate::{Error, Event, Followed, Result};

/// A follow that stands. Dropping it ends it at the server, without waiting.
///
/// As an iterator it waits for each event, and ends with the follow; then [`end`](Self::end) says why.
#[derive(Debug)]
pub struct Follower {
    inner: crate::Follower,
}

impl Follower {
    pub(crate) fn new(inner: crate::Follower) -> Self {
        Self { inner }
    }

    /// What comes next, when it comes. `None` at the end.
    ///
    /// # Errors
    /// `Session(InsideRuntime)`.
    pub fn receive(&mut self) -> Result<Option<Followed>> {
        Ok(block_on(self.inner.next())?)
    }

    /// What comes next, if it comes within `timeout`; `None` if nothing does.
    ///
    /// # Errors
    /// Why nothing more comes; `Session(InsideRuntime)`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Followed>> {
        match block_on_for(self.inner.next(), timeout)? {
            Some(None) => Err(self.end().unwrap_or(Error::Session(SessionError::Closed))),
            came => Ok(came.flatten()),
        }
    }

    /// Why nothing more comes. As [`Follower::end`](crate::Follower::end).
    pub fn end(&self) -> Option<Error> {
        self.inner.end()
    }
}

impl Iterator for Follower {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        block_on(self.inner.next_event()).map_err(Error::from).transpose()
    }
}
