//! What is said on the bus: verbs, hot heads, requests and answers. Byte by byte in `docs/WIRE.md`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sinew_session::{KV_SUBJECTS, Operation, Record, Resource};

use crate::{Headers, Overflow};

/// The bus's code in record headers.
pub const SERVICE: u8 = 1;

/// The longest a subscribe or unsubscribe waits for its answer, in seconds.
pub(crate) const CALL_SECONDS: u64 = 10;

/// Verbs of the bus.
pub(crate) mod verb {
    /// Client, one way: a message. Head: a message head. Body: payload.
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
    /// Client, a call: a message, answered with a receipt. Head: a message head.
    pub(crate) const CONFIRMED: u8 = 7;
    /// Client, a call: a message that one responder answers. Head: a message head with a deadline.
    pub(crate) const REQUEST: u8 = 8;
    /// Server, on a responder's subscription: a request. Head: that of the request, and a token (u64).
    pub(crate) const ASKED: u8 = 9;
    /// Client, on its responder's subscription: the answer. Head: token (u64), failed (u8), headers.
    pub(crate) const ANSWER: u8 = 10;
    /// Server, on a subscription: it is over. Body: why, in CBOR.
    pub(crate) const ENDED: u8 = 11;
    /// Server, one way: publishes were refused. Head: their number (u64). Body: why, in CBOR.
    pub(crate) const REFUSED: u8 = 12;
    /// Server, one way. Head: publish bytes taken in on this connection (u64), window (u64).
    pub(crate) const CREDIT: u8 = 13;
    /// Client, a call: what the server has counted and kept.
    pub(crate) const INSPECT: u8 = 14;
    /// Client, a call: forgets kept values.
    pub(crate) const CLEAR: u8 = 15;
    /// Server, on a subscription: a kept value, head and body as published.
    pub(crate) const KEPT: u8 = 16;
    /// Client, a call: the kept value of a subject.
    pub(crate) const LAST: u8 = 17;
}

/// The verb under which a stored or received record goes to a subscriber.
#[inline]
pub(crate) fn outgoing_verb(verb: u8) -> u8 {
    match verb {
        verb::PUBLISH | verb::CONFIRMED | verb::REQUEST => verb::DELIVER,
        other => other,
    }
}

/// Bits in a message head.
pub(crate) mod flag {
    /// Keep it as the subject's last value; in a confirmed publish only.
    pub(crate) const RETAIN: u8 = 1;
    /// It is a request: what a subscriber hears of it is a copy.
    pub(crate) const REQUEST: u8 = 2;
}

/// What a call of a client does, and to what: what the policy is asked. Each verb of a client is here; one that is not
/// does not reach the server's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    /// It needs a permission for this resource.
    Needs(Operation, Resource<'a>),
    /// It concerns what the same session was permitted before.
    Own,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asks<'a> {
    Publish(&'a str),
    Retain(&'a str),
    Request(&'a str),
    Subscribe(&'a str),
    Respond(&'a str),
    /// A subscription that holds publishers back, beside `Subscribe`.
    Hold(&'a str),
    Unsubscribe,
    Grant,
    Answer,
    /// Reads counts.
    Inspect(&'a str),
    /// Reads a kept value, as a subscriber would.
    Last(&'a str),
    Clear(&'a str),
}

/// The one place where a request meets its permission.
pub(crate) fn access(asks: Asks<'_>) -> Access<'_> {
    use Resource::{Name, Pattern};
    match asks {
        Asks::Publish(subject) => Access::Needs(Operation::BusPublish, Name(subject)),
        Asks::Retain(subject) => Access::Needs(Operation::BusRetain, Name(subject)),
        Asks::Request(subject) => Access::Needs(Operation::BusRequest, Name(subject)),
        Asks::Subscribe(pattern) => match pattern.strip_prefix(KV_SUBJECTS) {
            // Copies of what is stored are for those who may read it.
            Some(keys) => Access::Needs(Operation::KvRead, Pattern(keys)),
            None => Access::Needs(Operation::BusSubscribe, Pattern(pattern)),
        },
        Asks::Respond(pattern) => Access::Needs(Operation::BusRespond, Pattern(pattern)),
        Asks::Hold(pattern) => Access::Needs(Operation::BusHold, Pattern(pattern)),
        Asks::Inspect(pattern) => Access::Needs(Operation::BusInspect, Pattern(pattern)),
        Asks::Last(subject) => match subject.strip_prefix(KV_SUBJECTS) {
            Some(key) => Access::Needs(Operation::KvRead, Name(key)),
            None => Access::Needs(Operation::BusSubscribe, Name(subject)),
        },
        Asks::Clear(pattern) => Access::Needs(Operation::BusRetain, Pattern(pattern)),
        Asks::Unsubscribe | Asks::Grant | Asks::Answer => Access::Own,
    }
}

/// The subject of a message head, where it lies in the head.
#[inline]
pub(crate) fn subject_of<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    subject_in(record.head())
}

#[inline]
fn subject_in(head: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_le_bytes([*head.first()?, *head.get(1)?]));
    head.get(2..2 + length)
}

/// The two pieces of the shortest message head: put them before one another.
#[inline]
pub(crate) fn publish_head(subject: &[u8]) -> ([u8; 2], &[u8]) {
    ((subject.len() as u16).to_le_bytes(), subject)
}

/// A message head taken apart: subject, flags, headers, and what a request has behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageHead<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) flags: u8,
    /// Where the headers lie in the head.
    pub(crate) headers: (usize, usize),
    /// What comes behind them.
    tail: &'a [u8],
}

impl<'a> MessageHead<'a> {
    /// Takes a head apart. `None` where its lengths do not hold together. What may be absent is taken for 0.
    pub(crate) fn read(head: &'a [u8]) -> Option<Self> {
        let subject = subject_in(head)?;
        let at = 2 + subject.len();
        let Some(flags) = head.get(at) else {
            return Some(Self { subject, flags: 0, headers: (at, at), tail: &[] });
        };
        let length = usize::from(u16::from_le_bytes([*head.get(at + 1)?, *head.get(at + 2)?]));
        let (start, end) = (at + 3, at + 3 + length);
        let tail = head.get(end..)?;
        Some(Self { subject, flags: *flags, headers: (start, end), tail })
    }

    /// How long the requester waits, in milliseconds.
    pub(crate) fn deadline_ms(&self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.tail.first_chunk()?))
    }

    /// What a responder's answer is to carry.
    pub(crate) fn token(&self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.tail.get(4..)?.first_chunk()?))
    }
}

/// What stands behind the subject in a whole message head: flags and the length of the headers.
pub(crate) fn message_tail(flags: u8, headers: &Headers) -> [u8; 3] {
    let [low, high] = (headers.as_bytes().len() as u16).to_le_bytes();
    [flags, low, high]
}

/// What stands in the head of an answer before the headers.
pub(crate) fn answer_head(token: u64, failed: bool, headers: &Headers) -> [u8; 11] {
    let mut head = [0; 11];
    head[..8].copy_from_slice(&token.to_le_bytes());
    head[8] = u8::from(failed);
    head[9..].copy_from_slice(&(headers.as_bytes().len() as u16).to_le_bytes());
    head
}

/// Headers with their length before them, as they stand in the head of a reply to a request.
pub(crate) fn reply_headers(head: &Bytes) -> Headers {
    let length = head.first_chunk().map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
    if head.len() < 2 + length { Headers::default() } else { Headers::received(head.slice(2..2 + length)) }
}

/// Token, whether it failed, and where the headers with their length begin.
pub(crate) fn read_answer_head(head: &[u8]) -> Option<(u64, bool, usize)> {
    Some((u64::from_le_bytes(*head.first_chunk()?), *head.get(8)? != 0, 9))
}

/// The two numbers in the head of a credit.
pub(crate) fn credit_head(taken: u64, window: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&taken.to_le_bytes());
    head[8..].copy_from_slice(&window.to_le_bytes());
    head
}

/// Publish bytes taken in, and the window.
pub(crate) fn read_credit(record: &Record<'_>) -> Option<(u64, u64)> {
    let head: &[u8; 16] = record.head().first_chunk()?;
    let (taken, window) = head.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*taken), u64::from_le_bytes(window.try_into().ok()?)))
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
    /// The queue group it is one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// It answers requests, and hears nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) responds: bool,
    /// It does not want to hear kept values first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) live_only: bool,
    /// What happens when its queue is full: 0 drop the oldest, 1 the newest, 2 disconnect, 3 hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) overflow: u8,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u8) -> bool {
    *value == 0
}

/// [`Overflow`] as a number.
pub(crate) fn overflow_code(overflow: Overflow) -> u8 {
    match overflow {
        Overflow::DropOldest => 0,
        Overflow::DropNewest => 1,
        Overflow::Disconnect => 2,
        Overflow::Hold => 3,
    }
}

/// And back.
pub(crate) fn overflow_of(code: u8) -> Option<Overflow> {
    [Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect, Overflow::Hold].get(usize::from(code)).copied()
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
    /// What waits is still to be delivered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) drain: bool,
}

/// Why a subscription is over, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// `overflow` or `denied`.
    pub(crate) code: String,
    pub(crate) reason: String,
    /// The cursor of a client that received all it was sent.
    pub(crate) position: u64,
    /// Records that it does not get.
    pub(crate) lost: u64,
}

/// What became of a confirmed publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Subscribers, groups counted once, whose connection it was handed to.
    pub delivered: u64,
    /// Subscribers that it waits for in the server, because they are slow.
    pub queued: u64,
    /// Subscribers that do not get it: their queue is full, or their connection is cut. They are told.
    pub dropped: u64,
    /// Whether it is kept as the subject's last value.
    pub retained: bool,
}

/// Asks what the server has counted or kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inspect {
    pub(crate) what: View,
    /// Which subjects; `None`: the whole server.
    pub(crate) pattern: Option<String>,
    /// For the next page: what the last one ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum View {
    /// Answered with an [`Accounting`](crate::Accounting).
    Accounting,
    /// Answered with a page of [`Kept`].
    Retained,
}

/// A page of what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptPage {
    pub(crate) kept: Vec<Kept>,
    /// Whether there are more behind the last one.
    pub(crate) more: bool,
}

/// A kept value, without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its subject.
    pub subject: String,
    /// Bytes of payload.
    pub bytes: u64,
}

/// Asks for kept values to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clear {
    pub(crate) pattern: String,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cleared {
    pub(crate) count: u64,
}

/// The answer: nothing new comes any more. What came of it, counted by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Handed to the connection.
    pub delivered: u64,
    /// Lost to a full queue.
    pub dropped: u64,
    /// Lost because the connection was cut.
    pub missed: u64,
    /// Still queued at the end: given up, or in a drain still to come.
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
        let plain = Subscribe {
            pattern: "a.>".into(),
            window_bytes: 1,
            used_bytes: 2,
            queue_records_max: 3,
            queue_bytes_max: 4,
            cursor: Some(5),
            ..plain_subscribe()
        };
        let full = Subscribe { group: Some("g".into()), responds: true, live_only: true, overflow: 3, ..plain.clone() };
        for ask in [plain, full] {
            assert_eq!(from_cbor::<Subscribe>(&to_cbor(&ask)).unwrap(), ask);
        }
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect, Overflow::Hold] {
            assert_eq!(overflow_of(overflow_code(overflow)), Some(overflow));
        }
        assert_eq!(overflow_of(4), None);
        let subscribed = Subscribed { gap: None, window_bytes: Some(9) };
        assert_eq!(from_cbor::<Subscribed>(&to_cbor(&subscribed)).unwrap(), subscribed);
        for drain in [false, true] {
            let ask = Unsubscribe { number: 9, drain };
            assert_eq!(from_cbor::<Unsubscribe>(&to_cbor(&ask)).unwrap(), ask);
        }
        let ended = Ended { code: "denied".into(), reason: "a rule".into(), position: 7, lost: 2 };
        assert_eq!(from_cbor::<Ended>(&to_cbor(&ended)).unwrap(), ended);
        let receipt = Receipt { delivered: 1, queued: 2, dropped: 3, retained: true };
        assert_eq!(from_cbor::<Receipt>(&to_cbor(&receipt)).unwrap(), receipt);
        for (what, after) in [(View::Accounting, None), (View::Retained, Some("a".into()))] {
            let ask = Inspect { what, pattern: Some(">".into()), after };
            assert_eq!(from_cbor::<Inspect>(&to_cbor(&ask)).unwrap(), ask);
        }
        let page = KeptPage { kept: vec![Kept { subject: "a".into(), bytes: 3 }], more: true };
        assert_eq!(from_cbor::<KeptPage>(&to_cbor(&page)).unwrap(), page);
        assert_eq!(
            from_cbor::<Clear>(&to_cbor(&Clear { pattern: "*".into() })).unwrap(),
            Clear { pattern: "*".into() }
        );
        assert_eq!(from_cbor::<Cleared>(&to_cbor(&Cleared { count: 3 })).unwrap(), Cleared { count: 3 });
        let tally = Tally { delivered: 1, dropped: 2, missed: 3, queued: 4 };
        assert_eq!(from_cbor::<Tally>(&to_cbor(&tally)).unwrap(), tally);
    }

    /// What a subscriber asks for that wants nothing special.
    fn plain_subscribe() -> Subscribe {
        Subscribe {
            pattern: "room.*".into(),
            window_bytes: 2 << 20,
            used_bytes: 0,
            queue_records_max: 65_536,
            queue_bytes_max: 8 << 20,
            cursor: None,
            group: None,
            responds: false,
            live_only: false,
            overflow: 0,
        }
    }

    #[test]
    fn message_heads_grow_by_their_tail() {
        let headers = Headers::default().with("unit", "m").unwrap();
        let (length, subject) = publish_head(b"room.lamp");
        let short = [&length[..], subject].concat();
        let read = MessageHead::read(&short).unwrap();
        assert_eq!((read.subject, read.flags, read.deadline_ms(), read.token()), (subject, 0, None, None));
        let whole = [&short[..], &message_tail(flag::REQUEST, &headers), headers.as_bytes()].concat();
        let asked = [&whole[..], &5_000_u32.to_le_bytes(), &77_u64.to_le_bytes(), b"later"].concat();
        let read = MessageHead::read(&asked).unwrap();
        assert_eq!((read.flags, read.deadline_ms(), read.token()), (flag::REQUEST, Some(5_000), Some(77)));
        assert_eq!(asked[read.headers.0..read.headers.1], *headers.as_bytes());
        for cut in (0..short.len()).chain(short.len() + 1..whole.len()) {
            assert_eq!(MessageHead::read(&whole[..cut]), None, "{cut} bytes of a head");
        }
        let answer = [&answer_head(77, true, &headers)[..], headers.as_bytes()].concat();
        let (token, failed, at) = read_answer_head(&answer).unwrap();
        assert_eq!((token, failed, reply_headers(&Bytes::copy_from_slice(&answer[at..]))), (77, true, headers));
        let credit = encode(Header::default(), &credit_head(5, 9), b"");
        assert_eq!(read_credit(&Run::parse(&credit).unwrap().next().unwrap()), Some((5, 9)));
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
        assert_eq!(to_cbor(&plain_subscribe()), vector("subscribe"));
        let headers = Headers::default().with("unit", "m").unwrap();
        let (length, subject) = publish_head(b"math.add");
        let message = [&length[..], subject, &message_tail(flag::REQUEST, &headers), headers.as_bytes()].concat();
        let request = [&message[..], &5_000_u32.to_le_bytes()].concat();
        let header = Header { service: SERVICE, verb: verb::REQUEST, flags: sinew_session::CRITICAL, call: 9 };
        assert_eq!(encode(header, &request, b"1+1"), vector("request"));
        let asked = [&request[..], &77_u64.to_le_bytes()].concat();
        assert_eq!(encode(Header { verb: verb::ASKED, ..deliver }, &asked, b"1+1"), vector("asked"));
        let answer = [&answer_head(77, false, &headers)[..], headers.as_bytes()].concat();
        assert_eq!(encode(Header { verb: verb::ANSWER, ..deliver }, &answer, b"2"), vector("answer"));
        let to_all = |verb| Header { verb, call: 0, ..deliver };
        assert_eq!(encode(to_all(verb::CREDIT), &credit_head(524_288, 4 << 20), b""), vector("credit"));
        let failure = sinew_session::Failure::new("denied", "no rule");
        assert_eq!(encode(to_all(verb::REFUSED), &count_head(3), &to_cbor(&failure)), vector("refused"));
        let ended = Ended { code: "overflow".into(), reason: "too slow".into(), position: 7, lost: 4 };
        assert_eq!(encode(Header { verb: verb::ENDED, ..deliver }, b"", &to_cbor(&ended)), vector("ended"));
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
                let _ = (subject_of(&record), count_of(&record), read_credit(&record));
                if let Some(read) = MessageHead::read(record.head()) {
                    let _ = (read.deadline_ms(), read.token());
                    prop_assert!(read.headers.0 <= read.headers.1 && read.headers.1 <= record.head().len());
                }
                let _ = (read_answer_head(record.head()), reply_headers(&record.head_shared(0..record.head().len())));
            }
            let _ = (from_cbor::<Ended>(&head), from_cbor::<Inspect>(&head), from_cbor::<Clear>(&head));
            let _ = from_cbor::<Subscribe>(&head);
            let _ = from_cbor::<Unsubscribe>(&head);
        }
    }
}
