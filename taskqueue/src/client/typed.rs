//! Payloads and results of types: serde, in CBOR. Bytes are always possible as well.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{ResourceName, from_value, to_value};

use super::{Submission, TaskHandle, TaskQueue};
use crate::{Error, Result};

impl TaskQueue {
    /// A task whose payload is `value` in CBOR. As [`submit`](Self::submit).
    ///
    /// # Errors
    /// `Unencodable` if the value's own `Serialize` fails.
    pub fn submit_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Submission> {
        Ok(self.submit(encoded(&self.name, value)?))
    }

    /// Submits `value` in CBOR, waits for the result and reads it from CBOR.
    ///
    /// # Errors
    /// `Unencodable`, `Undecodable`, and as [`run`](Self::run).
    pub async fn run_value<T: Serialize + ?Sized, R: DeserializeOwned>(&self, value: &T) -> Result<R> {
        self.submit_value(value)?.run_value().await
    }
}

impl Submission {
    /// Submits it, waits for its result and reads that from CBOR.
    ///
    /// # Errors
    /// `Undecodable` for a result that is something else, and as [`run`](Self::run).
    pub async fn run_value<R: DeserializeOwned>(self) -> Result<R> {
        let queue = self.queue_name().clone();
        decoded(&queue, &self.run().await?)
    }
}

impl TaskHandle {
    /// Its result, read from CBOR.
    ///
    /// # Errors
    /// `Undecodable` for a result that is something else, and as [`result`](Self::result).
    pub async fn value<R: DeserializeOwned>(self) -> Result<R> {
        let queue = self.queue().clone();
        decoded(&queue, &self.result().await?)
    }
}

/// A value in CBOR.
pub(crate) fn encoded<T: Serialize + ?Sized>(queue: &ResourceName, value: &T) -> Result<Bytes> {
    let bytes = to_value(&value).map_err(|error| Error::Unencodable {
        queue: queue.to_string(),
        given: std::any::type_name::<T>(),
        why: error.why,
    })?;
    Ok(bytes.into())
}

/// A value from CBOR: at most 64 levels deep, unknown fields skipped, nothing left over.
pub(crate) fn decoded<T: DeserializeOwned>(queue: &ResourceName, bytes: &[u8]) -> Result<T> {
    from_value(bytes).map_err(|error| Error::Undecodable {
        queue: queue.to_string(),
        expected: std::any::type_name::<T>(),
        why: error.why,
        bytes: bytes.len(),
    })
}
