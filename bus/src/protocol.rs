//! What is said on the bus: verbs, hot heads, requests and answers. Byte by byte in `docs/WIRE.md`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sinew_session::Record;

/// The bus's code in record headers.
pub const SERVICE: u8 = 1;

/// The longest a subscribe or unsubscribe waits for its answer, in seconds.
pub(crate) const CALL_SECONDS: u64 = 10;

/// Verbs of the bus.
pub(crate) mod verb {
    /// Client, one way: a message. Head: subject length (u16), subject. Body: payload.
    pub(crate) const PUBLISH: u8 = 1;
    /// Server, on a subscription: a message, head and body as published.
    pub(crate) const DELIVER: u8 = 2;
    /// Client, a call that opens a subscription under its own number.
    pub(crate) const SUBSCRIBE: u8 = 3;
    /// Client, a call that ends one.
    pub(crate) const UNSUBSCRIBE: u8 = 4;
    /// Client, on a subscription. Head: bytes consumed (u64).
    pub(crate) const GRANT: u8 = 5;
    /// Server, on a subscription. Head: messages dropped at this place (u64).
    pub(crate) const LAGGED: u8 = 6;
}

/// The subject of a publish or deliver head, where it lies in the head.
#[inline]
pub(crate) fn subject_of<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let head = record.head();
    let length = usize::from(u16::from_le_bytes([*head.first()?, *head.get(1)?]));
    head.get(2..2 + length)
}

/// The two pieces of a publish head: put them before one another.
#[inline]
pub(crate) fn publish_head(subject: &[u8]) -> ([u8; 2], &[u8]) {
    ((subject.len() as u16).to_le_bytes(), subject)
}

/// The number in the head of a grant or a lag.
pub(crate) fn count_of(record: &Record<'_>) -> Option<u64> {
    Some(u64::from_le_bytes(record.head().get(..8)?.try_into().ok()?))
}

/// The head of a grant or a lag.
pub(crate) fn count_head(count: u64) -> [u8; 8] {
    count.to_le_bytes()
}

/// Asks for a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscribe {
    pub(crate) pattern: String,
    /// Bytes of records the client takes before it has granted any.
    pub(crate) window_bytes: u64,
    /// Bytes of the window in use: received before a cut and not consumed yet.
    pub(crate) used_bytes: u64,
    /// How many records the server keeps for it beyond that.
    pub(crate) queue_records_max: u64,
    /// And how many bytes of them.
    pub(crate) queue_bytes_max: u64,
    /// On coming back: messages received and losses told so far.
    pub(crate) cursor: Option<u64>,
}

/// The answer: it stands, and everything published from now on is heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    /// What was missed since the cursor, where the server has kept count.
    pub(crate) gap: Option<u64>,
    /// The window it has got, which may be smaller than the wish: credit goes back by quarters of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window_bytes: Option<u64>,
}

/// Ends a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unsubscribe {
    pub(crate) number: u32,
}

/// The answer: nothing comes any more. What came of it, counted by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Handed to the connection.
    pub delivered: u64,
    /// Thrown out of the queue to make room for newer ones.
    pub dropped: u64,
    /// Lost because the connection was cut.
    pub missed: u64,
    /// Still queued at the end, and given up.
    pub queued: u64,
}

/// A stored copy of a record: small ones are copied, so that they pin no receive buffer.
pub(crate) fn keep(record: &Record<'_>) -> Bytes {
    const SHARED_FROM: usize = 16 * 1024;
    if record.size() >= SHARED_FROM { record.shared() } else { Bytes::copy_from_slice(record.raw()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;
    use sinew_session::{Header, Run, encode, from_cbor, to_cbor};

    #[test]
    fn heads_and_requests_come_back_as_they_were() {
        let (length, subject) = publish_head(b"orders.new");
        let record = encode(
            Header { service: SERVICE, verb: verb::PUBLISH, ..Header::default() },
            &[&length[..], subject].concat(),
            b"x",
        );
        assert_eq!(subject_of(&Run::parse(&record).unwrap().next().unwrap()), Some(&b"orders.new"[..]));
        let grant = encode(Header::default(), &count_head(77), b"");
        assert_eq!(count_of(&Run::parse(&grant).unwrap().next().unwrap()), Some(77));
        let ask = Subscribe {
            pattern: "a.>".into(),
            window_bytes: 1,
            used_bytes: 2,
            queue_records_max: 3,
            queue_bytes_max: 4,
            cursor: Some(5),
        };
        assert_eq!(from_cbor::<Subscribe>(&to_cbor(&ask)).unwrap(), ask);
        let subscribed = Subscribed { gap: None, window_bytes: Some(9) };
        assert_eq!(from_cbor::<Subscribed>(&to_cbor(&subscribed)).unwrap(), subscribed);
        assert_eq!(from_cbor::<Unsubscribe>(&to_cbor(&Unsubscribe { number: 9 })).unwrap(), Unsubscribe { number: 9 });
        let tally = Tally { delivered: 1, dropped: 2, missed: 3, queued: 4 };
        assert_eq!(from_cbor::<Tally>(&to_cbor(&tally)).unwrap(), tally);
    }

    /// The bytes of the vector `name` in `docs/WIRE.md`.
    fn vector(name: &str) -> Vec<u8> {
        let page = include_str!("../../docs/WIRE.md");
        let (_, rest) = page.split_once(&format!("```vector {name}\n")).expect("the page has this vector");
        let digits: Vec<u8> = rest.bytes().take_while(|byte| *byte != b'`').filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn everything_is_as_the_page_says() {
        let (length, subject) = publish_head(b"room.lamp");
        let deliver = Header { service: SERVICE, verb: verb::DELIVER, flags: 0, call: 7 };
        assert_eq!(encode(deliver, &[&length[..], subject].concat(), b"on"), vector("deliver"));
        assert_eq!(encode(Header { verb: verb::GRANT, ..deliver }, &count_head(524_288), b""), vector("grant"));
        assert_eq!(encode(Header { verb: verb::LAGGED, ..deliver }, &count_head(3), b""), vector("lagged"));
        let ask = Subscribe {
            pattern: "room.*".into(),
            window_bytes: 2 << 20,
            used_bytes: 0,
            queue_records_max: 65_536,
            queue_bytes_max: 8 << 20,
            cursor: None,
        };
        assert_eq!(to_cbor(&ask), vector("subscribe"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn random_heads_never_panic(head in proptest::collection::vec(any::<u8>(), 0..40), tail in any::<bool>()) {
            let mut bytes = BytesMut::new();
            bytes.extend_from_slice(&encode(Header::default(), &head, b"body"));
            if tail {
                bytes.extend_from_slice(&encode(Header::default(), b"", b""));
            }
            let bytes = bytes.freeze();
            for record in Run::parse(&bytes).unwrap() {
                let _ = (subject_of(&record), count_of(&record));
            }
            let _ = from_cbor::<Subscribe>(&head);
            let _ = from_cbor::<Unsubscribe>(&head);
        }
    }
}
