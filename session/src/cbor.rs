//! CBOR with named limits on depth and size: for heads and control bodies, never for the hot path.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{CBOR_BYTES_MAX, CBOR_DEPTH_MAX};

/// Encodes `value`. One allocation.
pub fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).expect("writing to memory does not fail");
    out
}

/// Decodes what a peer sent: at most 16 KiB, at most 16 levels deep, unknown fields skipped, nothing left over.
///
/// # Errors
/// [`CborError`], which says what is wrong with it.
pub fn from_cbor<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, CborError> {
    if bytes.len() > CBOR_BYTES_MAX {
        return Err(CborError { why: format!("it has {} bytes, the limit is {CBOR_BYTES_MAX}", bytes.len()) });
    }
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, CBOR_DEPTH_MAX)
        .map_err(|error| CborError { why: error.to_string() })?;
    if bytes.is_empty() { Ok(value) } else { Err(CborError { why: format!("{} bytes follow it", bytes.len()) }) }
}

/// CBOR that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer sent CBOR that cannot be read: {why}")]
pub struct CborError {
    /// What is wrong with it.
    pub why: String,
}
