//! A watch, for callers that wait.

use std::time::Duration;

use sinew_session::{Error as SessionError, block_on, block_on_for};

use crate::{Error, Freshness, Result, WatchEvent};

/// A watch that stands. Dropping it ends it at the server, without waiting.
#[derive(Debug)]
pub struct Watch {
    inner: crate::Watch,
}

impl Watch {
    pub(super) fn new(inner: crate::Watch) -> Self {
        Self { inner }
    }

    /// What comes next, when it comes; `None` once it is over and everything that came was given out, then
    /// [`end`](Self::end) says why.
    ///
    /// # Errors
    /// `Session(InsideRuntime)`.
    pub fn receive(&mut self) -> Result<Option<WatchEvent>> {
        Ok(block_on(self.inner.next())?)
    }

    /// What comes next, if it comes within `timeout`; `None` if nothing does.
    ///
    /// # Errors
    /// Why nothing more comes; `Session(InsideRuntime)`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<WatchEvent>> {
        match block_on_for(self.inner.next(), timeout)? {
            Some(None) => Err(self.end().unwrap_or(Error::Session(SessionError::Closed))),
            came => Ok(came.flatten()),
        }
    }

    /// As [`Watch::end`](crate::Watch::end).
    pub fn end(&self) -> Option<Error> {
        self.inner.end()
    }

    /// As [`Watch::freshness`](crate::Watch::freshness).
    pub fn freshness(&self) -> Freshness {
        self.inner.freshness()
    }
}
