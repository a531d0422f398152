//! ZAP 1.0 (ZeroMQ RFC 27): the question that libzmq asks at each handshake, and our answer.
//!
//! Only CURVE is taken. NULL and PLAIN are refused, whoever asks, so that a socket that forgot its CURVE options fails
//! closed. A refusal is status 400: 300 would close the connection without telling the client.

use std::net::IpAddr;

use crate::admit::{Admit, Candidate, Claim, Refusal};
use crate::key::PeerKey;

/// The longest short frame (version, request id, domain, address, mechanism) in bytes; RFC 27 says 255.
const SHORT_BYTES_MAX: usize = 255;
/// The most frames of a request: six, and as many credentials as any mechanism has.
const FRAMES_MAX: usize = 16;

/// What was decided about a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZapDecision {
    /// Status 200. The key is in the reply as user id and comes with each message as property `User-Id`; without one
    /// the peer was admitted as anonymous, which [`Allowlist`](crate::Allowlist) never does.
    Admitted(Option<PeerKey>),
    /// Status 400: the peer is not to come in.
    Refused(Refusal),
    /// Status 400: the request is not one that is answered here.
    Unanswerable(ZapError),
}

/// A ZAP request that no peer can be admitted by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ZapError {
    /// Not a request of RFC 27.
    #[error("not a ZAP 1.0 request: {why}")]
    Malformed {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another socket's domain.
    #[error("the ZAP domain is `{found}`, not `{expected}`; set it on the socket")]
    Domain {
        /// The domain in the request.
        found: String,
        /// The one that is answered.
        expected: String,
    },
    /// A mechanism that proves no key.
    #[error("the mechanism {found} proves no key: only CURVE is admitted; set the CURVE options on both sockets")]
    Mechanism {
        /// The mechanism in the request.
        found: String,
    },
}

/// Answers one ZAP request: `request` holds its frames from the version on (without the envelope of a ROUTER), `domain`
/// is the one domain that is answered, `scheme` is passed on to [`Admit`].
///
/// Total: any frames get a reply that libzmq takes, and nothing else than a valid CURVE request of an admitted key gets
/// status 200. Costs one question to `admit` and some short strings.
pub fn zap_decide(request: &[&[u8]], domain: &str, scheme: &str, admit: &dyn Admit) -> (Vec<Vec<u8>>, ZapDecision) {
    let decision = match Request::parse(request, domain) {
        Err(error) => ZapDecision::Unanswerable(error),
        Ok(Request { claim, address }) => match admit.admit(&Candidate { claim, address, scheme }) {
            Ok(key) => ZapDecision::Admitted(key),
            Err(refusal) => ZapDecision::Refused(refusal),
        },
    };
    (reply(request_id(request), &decision), decision)
}

/// The part of a request that the decision needs.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    claim: Claim,
    address: Option<IpAddr>,
}

impl Request {
    /// RFC 27, "ZAP Request": version, request id, domain, address, identity, mechanism, credentials.
    fn parse(frames: &[&[u8]], domain: &str) -> Result<Self, ZapError> {
        if frames.len() > FRAMES_MAX {
            return Err(malformed("too many frames"));
        }
        let [version, id, found_domain, address, _routing_id, mechanism, credentials @ ..] = frames else {
            return Err(malformed("too few frames"));
        };
        if *version != b"1.0" {
            return Err(malformed("its version is not 1.0"));
        }
        if [id, found_domain, address, mechanism].iter().any(|frame| frame.len() > SHORT_BYTES_MAX) {
            return Err(malformed("a frame is too long"));
        }
        if *found_domain != domain.as_bytes() {
            return Err(ZapError::Domain { found: printable(found_domain), expected: domain.to_owned() });
        }
        if *mechanism != b"CURVE" {
            return Err(ZapError::Mechanism { found: printable(mechanism) });
        }
        let [key] = credentials else {
            return Err(malformed("CURVE has one credential"));
        };
        let key = <[u8; 32]>::try_from(*key).map_err(|_| malformed("a CURVE key has 32 bytes"))?;
        Ok(Self { claim: Claim::Curve(key), address: parse_address(address)? })
    }
}

/// The peer's IP address; `None` for a Unix socket, where libzmq gives nothing or `:uid:gid:pid`. Anything else that
/// is no address is refused, so that an address list cannot be slipped past.
fn parse_address(frame: &[u8]) -> Result<Option<IpAddr>, ZapError> {
    let text = std::str::from_utf8(frame).map_err(|_| malformed("its address is not text"))?;
    // A link-local address carries its interface: `fe80::1%eth0`.
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(Some(address.to_canonical())),
        Err(_) if text.is_empty() || is_credentials(text) => Ok(None),
        Err(_) => Err(malformed("its address is no IP address")),
    }
}

/// `:uid:gid:pid`
fn is_credentials(text: &str) -> bool {
    let mut parts = text.split(':');
    parts.next() == Some("") && text.len() > 1 && parts.all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The request's id, which must be in the reply even where the rest is wrong.
fn request_id<'a>(frames: &[&'a [u8]]) -> &'a [u8] {
    frames.get(1).copied().filter(|id| id.len() <= SHORT_BYTES_MAX).unwrap_or_default()
}

/// RFC 27, "ZAP Reply": version, request id, status code, status text, user id, metadata.
fn reply(id: &[u8], decision: &ZapDecision) -> Vec<Vec<u8>> {
    let (status, text, user) = match decision {
        ZapDecision::Admitted(key) => ("200", "OK".to_owned(), key.map(|key| key.to_string()).unwrap_or_default()),
        ZapDecision::Refused(refusal) => ("400", refusal.to_string(), String::new()),
        ZapDecision::Unanswerable(error) => ("400", error.to_string(), String::new()),
    };
    let text = text.as_bytes()[..text.len().min(SHORT_BYTES_MAX)].to_vec();
    vec![b"1.0".to_vec(), id.to_vec(), status.into(), text, user.into_bytes(), Vec::new()]
}

fn malformed(why: &'static str) -> ZapError {
    ZapError::Malformed { why }
}

/// A frame for the log: 64 bytes at most, what is not printable ASCII escaped.
fn printable(frame: &[u8]) -> String {
    frame[..frame.len().min(64)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admit::AdmitEveryone;

    const KEY: [u8; 32] = [9; 32];

    fn request<'a>(overrides: &[(usize, &'a [u8])]) -> Vec<&'a [u8]> {
        let mut frames: Vec<&[u8]> = vec![b"1.0", b"1", b"sinew", b"127.0.0.1", b"", b"CURVE", &KEY];
        for (index, frame) in overrides {
            frames[*index] = frame;
        }
        frames
    }

    fn decide(frames: &[&[u8]]) -> (Vec<Vec<u8>>, ZapDecision) {
        zap_decide(frames, "sinew", "zmq", &AdmitEveryone)
    }

    /// Refuses all, and says from where they came.
    #[derive(Debug)]
    struct Nobody;

    impl Admit for Nobody {
        fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
            Err(candidate.address.map_or(Refusal::Anonymous, |address| Refusal::Address { address }))
        }
    }

    #[test]
    fn admitted_key_is_the_user_id() {
        let (reply, decision) = decide(&request(&[(1, b"42")]));
        assert_eq!(decision, ZapDecision::Admitted(Some(PeerKey::Curve(KEY))));
        assert_eq!(reply[..4], [b"1.0".to_vec(), b"42".to_vec(), b"200".to_vec(), b"OK".to_vec()]);
        let user = std::str::from_utf8(&reply[4]).unwrap();
        assert_eq!(user.parse::<PeerKey>().unwrap(), PeerKey::Curve(KEY));
        assert_eq!(reply.len(), 6);
    }

    #[test]
    fn refusal_is_400_with_its_reason() {
        let (reply, decision) = zap_decide(&request(&[(3, b"::ffff:10.0.0.7")]), "sinew", "zmq", &Nobody);
        let refusal = Refusal::Address { address: "10.0.0.7".parse().unwrap() };
        assert_eq!(decision, ZapDecision::Refused(refusal.clone()));
        assert_eq!(reply[2], b"400");
        assert_eq!(reply[3], refusal.to_string().into_bytes());
        assert!(reply[4].is_empty());
    }

    #[test]
    fn what_is_no_curve_request_is_400() {
        let long = [b'x'; 300];
        for overrides in [
            vec![(0, &b"2.0"[..])],
            vec![(2, b"other")],
            vec![(2, b"")],
            vec![(3, b"localhost")],
            vec![(3, b"\xff")],
            vec![(5, b"NULL")],
            vec![(5, b"PLAIN")],
            vec![(5, b"curve")],
            vec![(6, b"short")],
            vec![(1, &long)],
        ] {
            let (reply, decision) = decide(&request(&overrides));
            assert!(matches!(decision, ZapDecision::Unanswerable(_)), "{overrides:?}");
            assert_eq!(reply[2], b"400");
            assert!(reply[1] == b"1" || overrides[0].0 == 1);
        }
        let whole = request(&[]);
        for count in 0..whole.len() {
            assert!(matches!(decide(&whole[..count]).1, ZapDecision::Unanswerable(_)));
        }
        assert!(matches!(decide(&[&whole[..], &[b"more"]].concat()).1, ZapDecision::Unanswerable(_)));
        assert!(matches!(decide(&vec![&b""[..]; 100_000]).1, ZapDecision::Unanswerable(_)));
    }

    #[test]
    fn addresses() {
        for (text, address) in [
            ("", None),
            (":1000:1000:4711", None),
            ("192.0.2.1", Some("192.0.2.1")),
            ("::1", Some("::1")),
            ("fe80::1%eth0", Some("fe80::1")),
        ] {
            assert_eq!(parse_address(text.as_bytes()).unwrap(), address.map(|text| text.parse().unwrap()), "{text}");
        }
        for text in [":", "1.2.3", ":a:b:c", "%", "1.2.3.4:5"] {
            // A lone colon names neither an address nor credentials.
            assert!(parse_address(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_frames_get_a_reply(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let (reply, _) = decide(&frames);
            prop_assert_eq!(reply.len(), 6);
            prop_assert_eq!(&reply[2], b"400");
            prop_assert!(reply.iter().all(|frame| frame.len() <= SHORT_BYTES_MAX));
        }

        #[test]
        fn one_wrong_frame_never_opens(index in 0usize..7, frame in prop::collection::vec(any::<u8>(), 0..40)) {
            let (reply, decision) = decide(&request(&[(index, &frame)]));
            let opened = matches!(decision, ZapDecision::Admitted(_));
            prop_assert_eq!(opened, &reply[2] == b"200");
            if opened && [0, 2, 5].contains(&index) {
                prop_assert_eq!(&frame[..], request(&[])[index]);
            }
        }
    }
}
