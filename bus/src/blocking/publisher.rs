//! The handle for one subject, for callers that wait.

use bytes::Bytes;
use serde::Serialize;
use sinew_session::block_on;

use crate::{Result, Subject};

/// Publishes to one subject. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    inner: crate::Publisher,
}

impl Publisher {
    pub(crate) fn new(inner: crate::Publisher) -> Self {
        Self { inner }
    }

    /// Where it publishes.
    pub fn subject(&self) -> &Subject {
        self.inner.subject()
    }

    /// As [`Bus::publish`](crate::Bus::publish).
    ///
    /// # Errors
    /// As [`Bus::publish`](crate::Bus::publish).
    pub fn publish(&self, body: impl Into<Bytes>) -> Result<()> {
        block_on(self.inner.publish(body))?
    }

    /// As [`Bus::publish_value`](crate::Bus::publish_value).
    ///
    /// # Errors
    /// As [`Bus::publish_value`](crate::Bus::publish_value).
    pub fn publish_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        block_on(self.inner.publish_value(value))?
    }
}
