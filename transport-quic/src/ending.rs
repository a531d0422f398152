//! How connections end: the codes of QUIC's application close (RFC 9000, section 10.2.3), and what they mean as errors.

use std::net::IpAddr;

use quinn::{ConnectionError, VarInt};
use sinew_auth::{Fingerprint, Refusal};
use sinew_transport_api::{Error, Security};

/// Left without a goodbye. Also what quinn says when all handles are dropped.
pub(crate) const LEFT: VarInt = VarInt::from_u32(0);
/// Left after a goodbye, and the peer had confirmed that it got everything.
pub(crate) const CLOSED: VarInt = VarInt::from_u32(1);
/// Left after everything up to the peer's goodbye was given out: says what the word `delivered` says.
pub(crate) const DONE: VarInt = VarInt::from_u32(2);
/// The peer broke a rule; the reason tells which.
pub(crate) const PROTOCOL: VarInt = VarInt::from_u32(3);
/// A goodbye was not answered in time.
pub(crate) const CLOSE_TIMEOUT: VarInt = VarInt::from_u32(4);

/// Not admitted: the key is not listed. The reason is text for people.
const REFUSED_KEY: u32 = 16;
/// Not admitted: the address, which is the reason's text.
const REFUSED_ADDRESS: u32 = 17;
/// Not admitted: a key is wanted.
const REFUSED_ANONYMOUS: u32 = 18;

/// TLS alerts (RFC 8446, section 6) within QUIC's error codes (RFC 9001, section 4.8).
const ALERT_ACCESS_DENIED: u64 = 0x100 + 49;
const ALERT_CERTIFICATE_REQUIRED: u64 = 0x100 + 116;
const ALERT_NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
/// RFC 9000, section 20.1.
const CONNECTION_REFUSED: u64 = 2;

/// How a refusal goes to the client.
pub(crate) fn refusal_code(refusal: &Refusal) -> (VarInt, String) {
    match refusal {
        Refusal::Address { address } => (VarInt::from_u32(REFUSED_ADDRESS), address.to_string()),
        Refusal::Anonymous => (VarInt::from_u32(REFUSED_ANONYMOUS), refusal.to_string()),
        _ => (VarInt::from_u32(REFUSED_KEY), refusal.to_string()),
    }
}

/// What a client makes of it. `ours` is our fingerprint.
fn refusal_of(code: VarInt, reason: &[u8], ours: Option<Fingerprint>) -> Option<Refusal> {
    match (u32::try_from(code.into_inner()).ok()?, ours) {
        (REFUSED_KEY, Some(fingerprint)) => Some(Refusal::UnknownKey { fingerprint }),
        (REFUSED_ADDRESS, _) => {
            let address = std::str::from_utf8(reason).ok()?.parse::<IpAddr>().ok()?;
            Some(Refusal::Address { address })
        }
        (REFUSED_KEY | REFUSED_ANONYMOUS, _) => Some(Refusal::Anonymous),
        _ => None,
    }
}

/// What a client is told when its connection does not come about.
pub(crate) fn connect_error(endpoint: String, security: &Security, error: ConnectionError) -> Error {
    let ours = match security {
        Security::Identity(identity) => Some(identity.public_key().fingerprint()),
        Security::Plaintext => None,
    };
    let unreachable = |kind, why: String| Error::Unreachable {
        endpoint: endpoint.clone(),
        cause: Some(std::io::Error::new(kind, why)),
    };
    match &error {
        ConnectionError::ApplicationClosed(close) => match refusal_of(close.error_code, &close.reason, ours) {
            Some(refusal) => Error::Refused { endpoint, refusal },
            None => unreachable(std::io::ErrorKind::ConnectionAborted, describe(&error)),
        },
        ConnectionError::TimedOut => unreachable(std::io::ErrorKind::TimedOut, "nobody answered".to_owned()),
        _ => match (crypto_code(&error), ours) {
            (Some(ALERT_NO_APPLICATION_PROTOCOL | ALERT_CERTIFICATE_REQUIRED), _) => {
                Error::SecurityMismatch { endpoint, why: mismatch_at_client(ours) }
            }
            (Some(ALERT_ACCESS_DENIED), Some(fingerprint)) => {
                Error::Refused { endpoint, refusal: Refusal::UnknownKey { fingerprint } }
            }
            (Some(CONNECTION_REFUSED), _) => {
                let why = "the server takes no more connections now".to_owned();
                unreachable(std::io::ErrorKind::ConnectionRefused, why)
            }
            _ => unreachable(std::io::ErrorKind::ConnectionAborted, describe(&error)),
        },
    }
}

fn mismatch_at_client(ours: Option<Fingerprint>) -> String {
    match ours {
        Some(ours) => format!(
            "we ({ours}) are secured, the server is plaintext or speaks another version; give the server an identity"
        ),
        None => "we are plaintext, the server is secured or speaks another version; connect with an identity and the \
                 server's key"
            .to_owned(),
    }
}

/// What a listener is told of a handshake that failed; `None` where the client just went away.
pub(crate) fn accept_error(
    endpoint: &str,
    peer: String,
    security: &Security,
    error: &ConnectionError,
) -> Option<Error> {
    match error {
        ConnectionError::TransportError(_) if crypto_code(error) == Some(ALERT_NO_APPLICATION_PROTOCOL) => {
            let why = match security {
                Security::Identity(ours) => format!(
                    "{peer} is plaintext or speaks another version, we ({}) are secured; give it an identity and our key",
                    ours.public_key().fingerprint()
                ),
                Security::Plaintext => {
                    format!(
                        "{peer} is secured or speaks another version, we are plaintext; give this listener an identity"
                    )
                }
            };
            Some(Error::SecurityMismatch { endpoint: endpoint.to_owned(), why })
        }
        ConnectionError::TransportError(error) => Some(Error::Protocol { peer, why: error.to_string() }),
        ConnectionError::ConnectionClosed(_) => Some(Error::Lost { peer, why: describe(error) }),
        _ => None,
    }
}

/// The transport error code, whichever end found the error.
fn crypto_code(error: &ConnectionError) -> Option<u64> {
    match error {
        ConnectionError::TransportError(error) => Some(error.code.into()),
        ConnectionError::ConnectionClosed(close) => Some(close.error_code.into()),
        _ => None,
    }
}

/// Why a connection that stood is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer left after it had given out everything up to our goodbye.
    PeerDone,
    /// The peer left in another way.
    PeerLeft(String),
    /// The peer broke a rule, and we cut it off.
    Fault(String),
    /// The way to the peer is gone, or we cut it.
    Lost(String),
}

impl Ending {
    pub(crate) fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) if close.error_code == DONE => Self::PeerDone,
            ConnectionError::ApplicationClosed(close) if close.error_code == PROTOCOL => Self::Lost(describe(error)),
            ConnectionError::ApplicationClosed(_) => Self::PeerLeft(describe(error)),
            ConnectionError::TransportError(error) => Self::Fault(error.to_string()),
            _ => Self::Lost(describe(error)),
        }
    }

    /// The error for whoever still sends or receives.
    pub(crate) fn error(&self, peer: &str) -> Error {
        let peer = peer.to_owned();
        match self {
            Self::PeerDone => Error::Lost { peer, why: "the peer closed it".to_owned() },
            Self::PeerLeft(why) | Self::Lost(why) => Error::Lost { peer, why: why.clone() },
            Self::Fault(why) => Error::Protocol { peer, why: why.clone() },
        }
    }
}

/// A cause in words. What comes from the peer is cut short and made printable.
fn describe(error: &ConnectionError) -> String {
    /// Characters of a peer's reason that go into an error.
    const REASON_CHARS_MAX: usize = 200;
    let printable = |reason: &[u8]| -> String {
        let text = String::from_utf8_lossy(reason);
        text.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
    };
    match error {
        ConnectionError::ApplicationClosed(close) => match close.error_code {
            LEFT => "the peer left without a goodbye".to_owned(),
            CLOSED | DONE => "the peer closed it".to_owned(),
            PROTOCOL => format!("the peer says that we broke a rule: {}", printable(&close.reason)),
            CLOSE_TIMEOUT => "the peer closed it, and we did not read the rest in time".to_owned(),
            code => format!("the peer closed it with code {code}: {}", printable(&close.reason)),
        },
        ConnectionError::ConnectionClosed(close) => {
            format!("the peer ended it with error {:?}: {}", close.error_code, printable(&close.reason))
        }
        ConnectionError::Reset => "the peer does not know it any more: it was restarted".to_owned(),
        ConnectionError::TimedOut => "nothing came from the peer for too long".to_owned(),
        ConnectionError::LocallyClosed => "it was closed here".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use sinew_auth::Identity;

    use super::*;

    #[test]
    fn refusals_survive_the_way() {
        let fingerprint = Identity::from_seed(&[1; 32]).public_key().fingerprint();
        for refusal in [
            Refusal::UnknownKey { fingerprint },
            Refusal::Address { address: "10.0.0.1".parse().unwrap() },
            Refusal::Anonymous,
        ] {
            let (code, reason) = refusal_code(&refusal);
            assert_eq!(refusal_of(code, reason.as_bytes(), Some(fingerprint)), Some(refusal));
        }
        assert_eq!(refusal_of(LEFT, b"", Some(fingerprint)), None);
        assert_eq!(refusal_of(VarInt::from_u32(REFUSED_ADDRESS), b"\xff", None), None);
    }
}
