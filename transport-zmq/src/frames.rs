//! What our ZeroMQ messages look like. Encoders and parsers, no IO.
//!
//! Each message has one part (at a ROUTER, after the routing id) and begins with its kind. Numbers are little endian.
//! No message is empty: an empty one is libzmq's notice that a peer came or went.
//!
//! ```text
//! 0x01 HELLO      client: 53 4e 45 57 ("SNEW"), version u8, security u8 (0 plaintext, 1 CURVE),
//!                 block_bytes_max u32, window u32 (what the sender of this message grants)
//! 0x02 ACCEPT     server: the same fields
//! 0x03 REFUSE     server: code u8, max u32 (of a limit, else 0), text in UTF-8, at most 512 bytes
//! 0x04 CREDIT     bytes u32: as much of the window is free again
//! 0x05 GOODBYE    nothing comes after it; empty
//! 0x06 GOT-ALL    answer to GOODBYE once everything was read; empty
//! 0x07 ABORT      the connection has ended at once; empty
//! 0x20 to 0x3f    a block on lane (kind - 0x20): its bytes, 1 to block_bytes_max
//! ```
//!
//! A block costs its length and [`BLOCK_OVERHEAD`] of the window that its receiver granted. It may be sent while less
//! than the window is in use, so that a window of one byte still lets one block at a time through.

use sinew_transport_api::Lane;

/// What a waiting block costs beside its bytes, so that many small ones are bounded too.
pub(crate) const BLOCK_OVERHEAD: usize = 128;
/// The longest text of a refusal.
const TEXT_BYTES_MAX: usize = 512;
/// The longest message that is no block: a refusal.
pub(crate) const CONTROL_BYTES_MAX: usize = 6 + TEXT_BYTES_MAX;
/// Bytes before a block's own.
pub(crate) const BLOCK_HEADER: usize = 1;

const MAGIC: &[u8; 4] = b"SNEW";
/// The one version there is.
pub(crate) const VERSION: u8 = 1;

const HELLO: u8 = 0x01;
const ACCEPT: u8 = 0x02;
const REFUSE: u8 = 0x03;
const CREDIT: u8 = 0x04;
const GOODBYE: u8 = 0x05;
const GOT_ALL: u8 = 0x06;
const ABORT: u8 = 0x07;
const BLOCK: u8 = 0x20;

/// A message as it arrives; a block's bytes are those after [`BLOCK_HEADER`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Terms),
    Accept(Terms),
    Refuse(Refuse),
    Credit(u32),
    Goodbye,
    GotAll,
    Abort,
    Block(Lane),
}

/// What one side tells the other at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) version: u8,
    pub(crate) encrypted: bool,
    pub(crate) block_bytes_max: u32,
    pub(crate) window: u32,
}

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refuse {
    pub(crate) code: Code,
    pub(crate) max: u32,
    pub(crate) text: String,
}

/// What kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// A key is wanted.
    Anonymous = 1,
    /// The address is not permitted; the text is the address.
    Address = 2,
    /// Another reason of the admission; the text says which.
    Admission = 3,
    /// `connections_max` is reached.
    Connections = 4,
    /// `pending_max` is reached.
    Pending = 5,
    /// The listener was closed.
    Closed = 6,
    /// The rules were broken, or the version is unknown; the text says how.
    Protocol = 7,
}

/// The kind byte of a block on `lane`.
pub(crate) fn block_kind(lane: Lane) -> u8 {
    BLOCK | (lane.0 & 0x1f)
}

impl Frame {
    /// The bytes of a message that is no block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(terms) => terms.encode(HELLO),
            Self::Accept(terms) => terms.encode(ACCEPT),
            Self::Refuse(refuse) => refuse.encode(),
            Self::Credit(bytes) => [&[CREDIT][..], &bytes.to_le_bytes()].concat(),
            Self::Goodbye => vec![GOODBYE],
            Self::GotAll => vec![GOT_ALL],
            Self::Abort => vec![ABORT],
            Self::Block(lane) => vec![block_kind(*lane)],
        }
    }

    /// Reads a message. Total: anything that is not exactly one of the forms above is an error that says why.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, &'static str> {
        let (&kind, rest) = message.split_first().ok_or("it sent an empty message")?;
        match (kind, rest.len()) {
            (BLOCK..=0x3f, 1..) => Ok(Self::Block(Lane(kind & 0x1f))),
            (BLOCK..=0x3f, 0) => Err("it sent an empty block"),
            (CREDIT, 4) => Ok(Self::Credit(number(rest))),
            (GOODBYE, 0) => Ok(Self::Goodbye),
            (GOT_ALL, 0) => Ok(Self::GotAll),
            (ABORT, 0) => Ok(Self::Abort),
            (HELLO, _) => Terms::parse(rest).map(Self::Hello),
            (ACCEPT, _) => Terms::parse(rest).map(Self::Accept),
            (REFUSE, _) => Refuse::parse(rest).map(Self::Refuse),
            _ => Err("it sent a message of an unknown form"),
        }
    }
}

impl Terms {
    fn encode(self, kind: u8) -> Vec<u8> {
        let head = [kind, MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], self.version, u8::from(self.encrypted)];
        [&head[..], &self.block_bytes_max.to_le_bytes(), &self.window.to_le_bytes()].concat()
    }

    /// A later version may append fields: what follows those known is skipped, up to the limit of a control message.
    fn parse(rest: &[u8]) -> Result<Self, &'static str> {
        if rest.len() < 14 || rest.len() > CONTROL_BYTES_MAX || &rest[..4] != MAGIC {
            return Err("its hello is not one of Sinew");
        }
        let (version, security) = (rest[4], rest[5]);
        let (block_bytes_max, window) = (number(&rest[6..10]), number(&rest[10..14]));
        if security > 1 || block_bytes_max == 0 || window == 0 {
            return Err("its hello makes no sense");
        }
        Ok(Self { version, encrypted: security == 1, block_bytes_max, window })
    }
}

impl Refuse {
    pub(crate) fn new(code: Code, max: usize, text: impl Into<String>) -> Self {
        let mut text = text.into();
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Self { code, max: u32::try_from(max).unwrap_or(u32::MAX), text }
    }

    fn encode(&self) -> Vec<u8> {
        [&[REFUSE, self.code as u8][..], &self.max.to_le_bytes(), self.text.as_bytes()].concat()
    }

    fn parse(rest: &[u8]) -> Result<Self, &'static str> {
        if rest.len() < 5 || rest.len() > 5 + TEXT_BYTES_MAX {
            return Err("its refusal has the wrong length");
        }
        let code = Code::parse(rest[0]).ok_or("its refusal has an unknown code")?;
        let text = std::str::from_utf8(&rest[5..]).map_err(|_| "its refusal is not text")?;
        if text.chars().any(char::is_control) {
            return Err("its refusal has control characters");
        }
        Ok(Self { code, max: number(&rest[1..5]), text: text.to_owned() })
    }
}

impl Code {
    fn parse(byte: u8) -> Option<Self> {
        [
            Self::Anonymous,
            Self::Address,
            Self::Admission,
            Self::Connections,
            Self::Pending,
            Self::Closed,
            Self::Protocol,
        ]
        .into_iter()
        .find(|code| *code as u8 == byte)
    }
}

/// The first four bytes as a number.
fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().expect("four bytes, as checked by the caller"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms { version: 1, encrypted: true, block_bytes_max: 262_144, window: 3_932_160 };

    /// The bytes of the vector `name` in `docs/WIRE.md`.
    fn vector(name: &str) -> Vec<u8> {
        let page = include_str!("../../docs/WIRE.md");
        let (_, rest) = page.split_once(&format!("```vector {name}\n")).expect("the page has this vector");
        let digits: Vec<u8> = rest.bytes().take_while(|byte| *byte != b'`').filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn bytes_are_as_the_page_says() {
        assert_eq!(Frame::Hello(TERMS).encode(), vector("zmq-hello"));
        assert_eq!(Frame::Refuse(Refuse::new(Code::Connections, 10, "full")).encode(), vector("zmq-refuse"));
        assert_eq!(Frame::Credit(65_536).encode(), vector("zmq-credit"));
    }

    #[test]
    fn bytes_of_each_kind() {
        for (frame, bytes) in [
            (Frame::Hello(TERMS), &b"\x01SNEW\x01\x01\0\0\x04\0\0\0\x3c\0"[..]),
            (Frame::Accept(Terms { encrypted: false, ..TERMS }), b"\x02SNEW\x01\x00\0\0\x04\0\0\0\x3c\0"),
            (Frame::Refuse(Refuse::new(Code::Connections, 7, "no")), b"\x03\x04\x07\0\0\0no"),
            (Frame::Credit(0x0102), b"\x04\x02\x01\0\0"),
            (Frame::Goodbye, b"\x05"),
            (Frame::GotAll, b"\x06"),
            (Frame::Abort, b"\x07"),
        ] {
            assert_eq!(frame.encode(), bytes);
            assert_eq!(Frame::parse(bytes), Ok(frame));
        }
        assert_eq!(Frame::parse(b"\x3fx"), Ok(Frame::Block(Lane(31))));
    }

    #[test]
    fn what_is_refused() {
        for bytes in [
            &b""[..],
            b"\x00",
            b"\x20",
            b"\x05\x00",
            b"\x04\x00",
            b"\x08",
            b"\x40x",
            b"\x01SNEW\x01\x02\0\0\x04\0\0\0\x3c\0",
            b"\x01SNEX\x01\x01\0\0\x04\0\0\0\x3c\0",
            b"\x01SNEW\x01\x01\0\0\0\0\0\0\x3c\0",
            b"\x03\x04\x07\0\0",
            b"\x03\x09\x07\0\0\0",
            b"\x03\x04\x07\0\0\0\x1b[2J",
            b"\x03\x04\x07\0\0\0\xff",
        ] {
            assert!(Frame::parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(Frame::parse(&[&b"\x03\x04\x07\0\0\0"[..], &[b'x'; 513]].concat()).is_err());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let refuse = Refuse::new(Code::Admission, 0, "é".repeat(400));
        assert_eq!(refuse.text.len(), 512);
        assert_eq!(Frame::parse(&refuse.encode()), Ok(Frame::Refuse(refuse)));
        assert_eq!(Refuse::new(Code::Admission, 0, format!("x{}", "é".repeat(400))).text.len(), 511);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_bytes_are_a_frame_or_an_error(kind in 0u8..0x48, rest in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [&[kind][..], &rest].concat();
            if let Ok(frame) = Frame::parse(&bytes) {
                prop_assert!(bytes.starts_with(&frame.encode()));
            }
        }
    }
}
