//! A task as who submitted it has it, for callers that wait.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use sinew_session::{Error as SessionError, block_on, block_on_for};

use crate::{Error, Level, Outcome, Result, TaskId};

/// A task that a queue has accepted. Dropping it before the task has ended cancels the task, unless it is detached.
#[derive(Debug)]
#[must_use = "dropping it cancels the task"]
pub struct TaskHandle {
    inner: crate::TaskHandle,
}

impl TaskHandle {
    pub(super) fn new(inner: crate::TaskHandle) -> Self {
        Self { inner }
    }

    /// As [`TaskHandle::id`](crate::TaskHandle::id).
    pub fn id(&self) -> TaskId {
        self.inner.id()
    }

    /// As [`TaskHandle::level`](crate::TaskHandle::level).
    pub fn level(&self) -> Level {
        self.inner.level()
    }

    /// As [`TaskHandle::is_duplicate`](crate::TaskHandle::is_duplicate).
    pub fn is_duplicate(&self) -> bool {
        self.inner.is_duplicate()
    }

    /// As [`TaskHandle::outcome`](crate::TaskHandle::outcome).
    ///
    /// # Errors
    /// As [`TaskHandle::outcome`](crate::TaskHandle::outcome).
    pub fn outcome(&mut self) -> Result<Outcome> {
        block_on(self.inner.outcome())?
    }

    /// How it ends, if it does within `timeout`.
    ///
    /// # Errors
    /// `Session(Timeout)` if it does not, and as [`outcome`](Self::outcome).
    pub fn outcome_within(&mut self, timeout: Duration) -> Result<Outcome> {
        let late = || Error::Session(SessionError::Timeout { what: "the task", after: timeout });
        block_on_for(self.inner.outcome(), timeout)?.unwrap_or_else(|| Err(late()))
    }

    /// As [`TaskHandle::result`](crate::TaskHandle::result).
    ///
    /// # Errors
    /// As [`TaskHandle::result`](crate::TaskHandle::result).
    pub fn result(self) -> Result<Bytes> {
        block_on(self.inner.result())?
    }

    /// As [`TaskHandle::value`](crate::TaskHandle::value).
    ///
    /// # Errors
    /// As [`TaskHandle::value`](crate::TaskHandle::value).
    pub fn value<R: DeserializeOwned>(self) -> Result<R> {
        block_on(self.inner.value())?
    }

    /// As [`TaskHandle::next_progress`](crate::TaskHandle::next_progress).
    ///
    /// # Errors
    /// `Session(InsideRuntime)`.
    pub fn next_progress(&mut self) -> Result<Option<Bytes>> {
        Ok(block_on(self.inner.next_progress())?)
    }

    /// As [`TaskHandle::cancel`](crate::TaskHandle::cancel).
    ///
    /// # Errors
    /// As [`TaskHandle::cancel`](crate::TaskHandle::cancel).
    pub fn cancel(&self) -> Result<bool> {
        block_on(self.inner.cancel())?
    }

    /// As [`TaskHandle::detach`](crate::TaskHandle::detach).
    ///
    /// # Errors
    /// As [`TaskHandle::detach`](crate::TaskHandle::detach).
    pub fn detach(self) -> Result<TaskId> {
        block_on(self.inner.detach())?
    }
}
