//! An idempotent producer, for callers that wait.

use sinew_session::block_on;

use crate::{Appended, EventBatch, NewEvent, ProducerGrant, Result};

/// An idempotent producer. Dropping it gives up on what is not acknowledged, which after a call that waits is nothing.
#[derive(Debug)]
pub struct Producer {
    inner: crate::Producer,
}

impl Producer {
    pub(crate) fn new(inner: crate::Producer) -> Self {
        Self { inner }
    }

    /// The same producer, for callers that await.
    pub fn inner(&self) -> &crate::Producer {
        &self.inner
    }

    /// How far the producer of this name was when it was opened.
    pub fn grant(&self) -> ProducerGrant {
        self.inner.grant()
    }

    /// As [`Producer::append`](crate::Producer::append).
    ///
    /// # Errors
    /// As [`Producer::append`](crate::Producer::append).
    pub fn append(&self, event: impl Into<NewEvent>) -> Result<Appended> {
        block_on(self.inner.append(event))?
    }

    /// As [`Producer::append_batch`](crate::Producer::append_batch).
    ///
    /// # Errors
    /// As [`Producer::append_batch`](crate::Producer::append_batch).
    pub fn append_batch(&self, events: EventBatch) -> Result<Appended> {
        block_on(self.inner.append_batch(events))?
    }

    /// As [`Producer::flush`](crate::Producer::flush).
    ///
    /// # Errors
    /// As [`Producer::flush`](crate::Producer::flush).
    pub fn flush(&self) -> Result<()> {
        block_on(self.inner.flush())?
    }
}
