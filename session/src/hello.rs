//! Hello, welcome, refusal, and the heads of calls: what two sessions say to agree. All CBOR, bounded.

use serde::{Deserialize, Serialize};

use crate::entropy::Entropy;

/// The lowest protocol version this build speaks.
pub(crate) const PROTOCOL_MIN: u16 = 1;
/// The highest protocol version this build speaks.
pub(crate) const PROTOCOL_MAX: u16 = 1;
/// The lane hash there is: FNV-1a, 64 bits, over the subject, queue, bucket or stream.
pub(crate) const LANE_HASH_FNV1A: u8 = 1;

/// Session verbs.
pub(crate) mod verb {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const WELCOME: u8 = 2;
    pub(crate) const REFUSAL: u8 = 3;
    pub(crate) const HEARTBEAT: u8 = 4;
    pub(crate) const FRAGMENT: u8 = 5;
    pub(crate) const FLUSH: u8 = 6;
    pub(crate) const CANCEL: u8 = 7;
    pub(crate) const GOODBYE: u8 = 8;
}

/// The client's first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol_min: u16,
    pub(crate) protocol_max: u16,
    /// Feature bits; none are defined yet.
    pub(crate) features: u64,
    pub(crate) software: String,
    pub(crate) client: String,
    /// Service codes wanted; empty means whatever there is.
    pub(crate) services: Vec<u8>,
    /// Data lanes wanted, control not counted.
    pub(crate) lanes: u8,
    pub(crate) lane_hash: u8,
    /// For tenants, later; empty now.
    pub(crate) space: String,
    /// The session that was cut, if any.
    pub(crate) resume: Option<SessionId>,
}

/// The server's answer to a hello it accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) protocol: u16,
    pub(crate) features: u64,
    pub(crate) software: String,
    /// Random for each start of the server: a changed epoch means that it restarted.
    pub(crate) epoch: u64,
    /// This session, for resuming it.
    pub(crate) session: SessionId,
    pub(crate) services: Vec<u8>,
    /// Data lanes agreed, control not counted.
    pub(crate) lanes: u8,
    pub(crate) record_bytes_max: u64,
    pub(crate) heartbeat_ms: u64,
    pub(crate) lost_after_ms: u64,
    /// The acknowledgement level of what is stored: `memory`, `written`, `fsynced`, `replicated`.
    pub(crate) acknowledgement: String,
    /// On resuming: one-way records of the cut session that the server has taken in. `None`: nothing is known of it.
    pub(crate) one_way_received: Option<u64>,
}

/// Sixteen random bytes that name a session. Whoever resumes must know them and hold the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId([u8; 16]);

impl SessionId {
    pub(crate) fn random(entropy: &Entropy) -> Self {
        let bits = u128::from(entropy.bits()) << 64 | u128::from(entropy.bits());
        Self(bits.to_le_bytes())
    }
}

impl From<[u8; 16]> for SessionId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Half of it is enough for a log and not enough to resume.
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a server does not go on with a peer: in answer to a hello, or as a goodbye.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}; {next}")]
pub struct Refusal {
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub next: String,
    /// Whether trying again later can help.
    pub retry: bool,
}

/// The head of a call's request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallHead {
    /// Milliseconds the caller will wait.
    pub deadline_ms: u64,
    /// The operation's id, for calls that change something durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<[u8; 16]>,
}

/// The body of a reply that says no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// A stable name in lower case: `limit`, `denied`, `unknown-verb`, `bad-request`, …
    pub code: String,
    /// What failed, on what, why, and the next step.
    pub reason: String,
    /// What a program needs to know of it; which, and in what order, the code says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

/// A part of a [`Failure`] for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// A count, a size, an offset.
    Number(u64),
    /// A name, or words.
    Text(String),
}

impl Failure {
    /// A failure without details.
    pub fn new(code: &str, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into(), details: Vec::new() }
    }

    /// The number at this place of the details.
    pub fn number(&self, place: usize) -> Option<u64> {
        match self.details.get(place)? {
            Detail::Number(number) => Some(*number),
            Detail::Text(_) => None,
        }
    }

    /// The text at this place of the details.
    pub fn text(&self, place: usize) -> Option<&str> {
        match self.details.get(place)? {
            Detail::Number(_) => None,
            Detail::Text(text) => Some(text),
        }
    }
}

impl From<u64> for Detail {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::{from_cbor, to_cbor};
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello {
            protocol_min: 1,
            protocol_max: 1,
            features: 0,
            software: "sinew/0.1.0".into(),
            client: "golden".into(),
            services: vec![1],
            lanes: 8,
            lane_hash: LANE_HASH_FNV1A,
            space: String::new(),
            resume: Some(SessionId::from([7; 16])),
        }
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        assert_eq!(from_cbor::<Hello>(&to_cbor(&hello())).unwrap(), hello());
        let refusal = Refusal { reason: "full".into(), next: "wait".into(), retry: true };
        assert_eq!(from_cbor::<Refusal>(&to_cbor(&refusal)).unwrap(), refusal);
        let head = CallHead { deadline_ms: 5_000, operation: Some([1; 16]) };
        assert_eq!(from_cbor::<CallHead>(&to_cbor(&head)).unwrap(), head);
        let failure = Failure::new("limit", "too many");
        assert_eq!(from_cbor::<Failure>(&to_cbor(&failure)).unwrap(), failure);
        let detailed = Failure { details: vec![7.into(), "seven".into(), u64::MAX.into()], ..failure };
        let read = from_cbor::<Failure>(&to_cbor(&detailed)).unwrap();
        assert_eq!((read.number(0), read.text(1), read.number(2)), (Some(7), Some("seven"), Some(u64::MAX)));
        assert_eq!((read.text(0), read.number(1), read.number(3)), (None, None, None));
    }

    #[test]
    fn unknown_fields_are_skipped_and_trailing_bytes_refused() {
        #[derive(Serialize)]
        struct Later {
            deadline_ms: u64,
            colour: &'static str,
        }
        let later = to_cbor(&Later { deadline_ms: 9, colour: "blue" });
        assert_eq!(from_cbor::<CallHead>(&later).unwrap(), CallHead { deadline_ms: 9, operation: None });
        let mut longer = later.clone();
        longer.push(0);
        assert!(from_cbor::<CallHead>(&longer).is_err());
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = vec![0x81; 1000];
        assert!(from_cbor::<Hello>(&deep).is_err());
        assert!(from_cbor::<ciborium::Value>(&vec![0; 17 * 1024]).unwrap_err().why.contains("limit"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let _ = from_cbor::<Hello>(&bytes);
            let _ = from_cbor::<Welcome>(&bytes);
            let _ = from_cbor::<Refusal>(&bytes);
            let _ = from_cbor::<CallHead>(&bytes);
            let _ = from_cbor::<Failure>(&bytes);
            let whole = to_cbor(&hello());
            let cut = cut.min(whole.len() - 1);
            prop_assert!(from_cbor::<Hello>(&whole[..cut]).is_err());
        }
    }
}
