//! The one question that every transport asks before it hands a connection on: may this peer come in?
//!
//! What is permitted once inside is the policy's concern, not this file's.

use std::fmt;
use std::net::IpAddr;

use crate::key::{Fingerprint, PeerKey, PublicKey};

/// What a peer proved about itself to a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It holds the secret of this Ed25519 key (TLS).
    Ed25519(PublicKey),
    /// It holds the secret of this X25519 key (CURVE). A listed Ed25519 key is found by its Montgomery form.
    Curve([u8; 32]),
    /// It proved nothing: a plaintext listener.
    Anonymous,
}

/// A peer at the door.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What it proved.
    pub claim: Claim,
    /// Where it comes from; `None` where the transport has no addresses (in-process, Unix sockets).
    pub address: Option<IpAddr>,
    /// The scheme it came by, for logs and refusals.
    pub scheme: &'a str,
}

/// Decides who gets in. Asked once for each connection, by every transport, after the handshake and before a byte
/// from the peer reaches a service.
///
/// Called from a transport's own thread: it must not block for longer than a small file takes to read.
pub trait Admit: Send + Sync + fmt::Debug {
    /// Admits `candidate` under the key it is to be known by (`None`: anonymous), or says why not.
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal>;
}

/// Why a peer was not let in. The text goes to the log at the server and, where the transport can carry it, to the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The key is on no list.
    #[error("key {fingerprint} is not listed; if you trust it, add its public key to the server's allowlist")]
    UnknownKey {
        /// The peer's fingerprint.
        fingerprint: Fingerprint,
    },
    /// The address is on the denied list, or not on a permitted list that exists.
    #[error("address {address} is not permitted; change the address list of the server's allowlist to let it in")]
    Address {
        /// The peer's address.
        address: IpAddr,
    },
    /// The listener wants a key and the peer offered none.
    #[error("this listener admits only peers with a listed key; connect with an identity")]
    Anonymous,
}

/// Lets everyone in, under the key they proved. For tests, and for listeners that were told in so many words to be open.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitEveryone;

impl Admit for AdmitEveryone {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        Ok(match candidate.claim {
            Claim::Ed25519(key) => Some(PeerKey::Ed25519(key)),
            Claim::Curve(key) => Some(PeerKey::Curve(key)),
            Claim::Anonymous => None,
        })
    }
}
