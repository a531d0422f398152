//! What tasks and workers are known by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id: it has 32 hexadecimal digits, as `sinew task list` shows them")]
pub struct IdError(String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        // Two halves rather than one number: tables of them need not be aligned to 16 bytes.
        pub struct $name(u64, u64);

        impl $name {
            /// From a number that is unique, such as a random one.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self::of_number(u128::from_be_bytes(bytes))
            }

            /// As 16 bytes, in the order of its digits.
            pub fn to_bytes(self) -> [u8; 16] {
                self.number().to_be_bytes()
            }

            /// The `number`th of those that somebody gives out who drew `origin` at random.
            pub(crate) fn of(origin: u64, number: u64) -> Self {
                Self(origin, number)
            }

            fn of_number(number: u128) -> Self {
                Self((number >> 64) as u64, number as u64)
            }

            fn number(self) -> u128 {
                u128::from(self.0) << 64 | u128::from(self.1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.number())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
                number.map(Self::of_number).ok_or_else(|| IdError(text.chars().take(64).collect()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

id! {
    /// A task: drawn by who submits it, so that the same submission sent twice is one task.
    TaskId
}
id! {
    /// A worker: drawn as it starts, and its own as long as it runs, through cuts and restarts of the server.
    WorkerId
}

impl WorkerId {
    /// One that nobody draws: whatever is said in its name is of no attempt.
    pub(crate) fn nobody() -> Self {
        Self(0, 0)
    }
}
