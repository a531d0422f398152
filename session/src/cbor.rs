//! CBOR with named limits on depth and size. Heads and control bodies have the small ones, payloads of users the large:
//! those are bounded by the record already. Never on the hot path.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{CBOR_BYTES_MAX, CBOR_DEPTH_MAX, VALUE_DEPTH_MAX};

/// Encodes a head or a control body. One allocation.
pub fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    to_value(value).expect("our own heads and bodies can be written, and writing to memory does not fail")
}

/// Decodes what a peer sent: at most 16 KiB, at most 16 levels deep, unknown fields skipped, nothing left over.
///
/// # Errors
/// [`CborError`], which says what is wrong with it.
pub fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    if bytes.len() > CBOR_BYTES_MAX {
        return Err(CborError { why: format!("it has {} bytes, the limit is {CBOR_BYTES_MAX}", bytes.len()) });
    }
    read(bytes, CBOR_DEPTH_MAX)
}

/// Encodes a user's value as a payload. One buffer, which grows with it.
///
/// # Errors
/// [`CborError`] if the value's own `Serialize` fails.
pub fn to_value<T: Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).map_err(|error| CborError {
        why: match error {
            ciborium::ser::Error::Io(error) => error.to_string(),
            ciborium::ser::Error::Value(why) => why,
        },
    })?;
    Ok(out)
}

/// Decodes a payload into a user's value: as large as a record may be, at most 64 levels deep, unknown fields skipped,
/// nothing left over. Nothing is allocated for lengths that are only claimed.
///
/// # Errors
/// [`CborError`], which says what is wrong with it.
pub fn from_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    read(bytes, VALUE_DEPTH_MAX)
}

fn read<T: DeserializeOwned>(mut bytes: &[u8], depth_max: usize) -> Result<T, CborError> {
    use ciborium::de::Error;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, depth_max).map_err(|error| CborError {
        why: match error {
            Error::Io(_) => "it ends too early".into(),
            Error::Syntax(at) => format!("byte {at} is not CBOR"),
            Error::Semantic(Some(at), why) => format!("{why}, at byte {at}"),
            Error::Semantic(None, why) => why,
            Error::RecursionLimitExceeded => format!("it is nested more than {depth_max} levels deep"),
        },
    })?;
    if bytes.is_empty() { Ok(value) } else { Err(CborError { why: format!("{} bytes follow it", bytes.len()) }) }
}

/// CBOR that cannot be read, or a value that cannot be written as such.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer sent CBOR that cannot be read: {why}")]
pub struct CborError {
    /// What is wrong with it.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: DeserializeOwned + std::fmt::Debug>(bytes: &[u8], why: &str) {
        assert_eq!(from_value::<T>(bytes).unwrap_err().why, why);
    }

    #[test]
    fn what_is_wrong_is_said() {
        check::<u8>(b"", "it ends too early");
        check::<String>(b"\x65abc", "it ends too early");
        check::<u8>(b"\x1c", "byte 0 is not CBOR");
        check::<u8>(b"\x01\x02", "1 bytes follow it");
        check::<(u8, u8)>(b"\x82\x01\x61a", "invalid type: string, expected integer");
        let nested = [vec![0x81; 65], vec![0x01]].concat();
        check::<ciborium::Value>(&nested, "it is nested more than 64 levels deep");
        assert!(from_value::<ciborium::Value>(&nested[2..]).is_ok());
        assert!(from_cbor::<ciborium::Value>(&nested[2..]).is_err());
    }

    #[test]
    fn payloads_may_be_large_and_control_bodies_may_not() {
        let text = "x".repeat(2 * CBOR_BYTES_MAX);
        let bytes = to_value(&text).unwrap();
        assert_eq!(from_value::<String>(&bytes).unwrap(), text);
        assert!(from_cbor::<String>(&bytes).unwrap_err().why.contains("the limit is 16384"));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        // Arrays, texts and byte strings of 2^60 items, of which none comes.
        for first in [0x9b_u8, 0x7b, 0x5b, 0xbb] {
            let bytes = [&[first], &(1_u64 << 60).to_be_bytes()[..]].concat();
            check::<ciborium::Value>(&bytes, "it ends too early");
        }
    }

    #[test]
    fn a_value_that_does_not_want_to_be_written_is_told() {
        struct Shy;
        impl Serialize for Shy {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        assert_eq!(to_value(&Shy).unwrap_err().why, "not today");
    }
}
