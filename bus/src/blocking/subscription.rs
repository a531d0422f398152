//! A subscription, for callers that wait.

use std::time::Duration;

use sinew_session::{Error as SessionError, block_on, block_on_for};

use crate::{Delivery, Error, Result, Tally};

/// A confirmed subscription. Dropping it ends it at the server, without waiting.
///
/// As an iterator it waits for each delivery, and ends with the session; then [`end`](Self::end) says why.
#[derive(Debug)]
pub struct Subscription {
    inner: crate::Subscription,
}

impl Subscription {
    pub(crate) fn new(inner: crate::Subscription) -> Self {
        Self { inner }
    }

    /// The next message or loss, when it comes. `None` at the end.
    ///
    /// # Errors
    /// `Session(InsideRuntime)`.
    pub fn receive(&mut self) -> Result<Option<Delivery>> {
        Ok(block_on(self.inner.next())?)
    }

    /// The next message or loss, if it comes within `timeout`; `None` if none does.
    ///
    /// # Errors
    /// Why nothing more comes; `Session(InsideRuntime)`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Delivery>> {
        match block_on_for(self.inner.next(), timeout)? {
            Some(None) => Err(self.end().unwrap_or(Error::Session(SessionError::Closed))),
            came => Ok(came.flatten()),
        }
    }

    /// Why nothing more comes.
    pub fn end(&self) -> Option<Error> {
        self.inner.end()
    }

    /// The pattern that was subscribed.
    pub fn pattern(&self) -> &str {
        self.inner.pattern()
    }

    /// As [`Subscription::drain`](crate::Subscription::drain).
    ///
    /// # Errors
    /// As [`Subscription::drain`](crate::Subscription::drain).
    pub fn drain(&mut self) -> Result<()> {
        block_on(self.inner.drain())?
    }

    /// As [`Subscription::unsubscribe`](crate::Subscription::unsubscribe).
    ///
    /// # Errors
    /// As [`Subscription::unsubscribe`](crate::Subscription::unsubscribe).
    pub fn unsubscribe(self) -> Result<Tally> {
        block_on(self.inner.unsubscribe())?
    }
}

impl Iterator for Subscription {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Result<Delivery>> {
        self.receive().transpose()
    }
}
