//! What a listener or a connection is told, and the limits it keeps. One table, with defaults and their reasons.

use std::sync::Arc;
use std::time::Duration;

use sinew_auth::{Admit, Identity, PublicKey};

/// Whether and how a connection is secured. There is no default: plaintext must be written down.
#[derive(Clone, Debug)]
pub enum Security {
    /// Encrypted and authenticated, under this identity.
    Identity(Arc<Identity>),
    /// Neither encrypted nor authenticated. A transport that cannot do without encryption (QUIC) encrypts under a
    /// throwaway key and authenticates nobody.
    Plaintext,
}

/// Options of [`Transport::bind`](crate::Transport::bind).
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Our identity, or plaintext.
    pub security: Security,
    /// Who is let in; asked for each connection, plaintext ones included.
    pub admit: Arc<dyn Admit>,
    /// The limits.
    pub limits: Limits,
}

/// Options of [`Transport::connect`](crate::Transport::connect).
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Our identity, or plaintext.
    pub security: Security,
    /// The key that the server must prove. A secure connection without one is an error: the key in the endpoint's user
    /// part, where there is one, must be the same.
    pub server_key: Option<PublicKey>,
    /// How long until the connection stands, handshake and admission included. Default 5 s: three lost packets on a
    /// slow link still fit.
    pub connect_timeout: Duration,
    /// The limits.
    pub limits: Limits,
}

impl ListenOptions {
    /// With the default limits.
    pub fn new(security: Security, admit: Arc<dyn Admit>) -> Self {
        Self { security, admit, limits: Limits::default() }
    }
}

impl ConnectOptions {
    /// With the default timeout and limits.
    pub fn new(security: Security, server_key: Option<PublicKey>) -> Self {
        Self { security, server_key, connect_timeout: Duration::from_secs(5), limits: Limits::default() }
    }
}

/// The limits a transport keeps, at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest block in bytes. Default 256 KiB: four batches of the session, small enough that a lane is not held
    /// up for long. Between 1 KiB and 16 MiB.
    pub block_bytes_max: usize,
    /// Bytes that wait in the transport on the way out, and as many on the way in, for each connection. Default 4 MiB:
    /// twice what a 10 Gbit/s link holds in a millisecond round trip. At least `block_bytes_max`.
    pub queue_bytes_max: usize,
    /// Connections of a listener, in all. Default 10,000.
    pub connections_max: usize,
    /// Connections of a listener whose handshake is not over, in all. A newcomer that is one too many is let wait, and
    /// the one that has waited longest goes ([`Crowd`](crate::Crowd)). Default 512: as many as a
    /// core can admit in half a second, and 128 MiB at worst, if each has sent all of a largest block but its end.
    pub pending_max: usize,
    /// The same of one address, where the transport can see it; of IPv6 the first 64 bits count. Default 256: half of
    /// them, so that no single machine can take all, and all programs of one can still come at once.
    pub pending_per_address_max: usize,
    /// Handshakes that a listener begins in a second, where the transport begins them itself (libzmq does it for ZeroMQ,
    /// on a thread of its own). Who comes faster waits for its turn. Default 1,000: one over QUIC costs half a millisecond
    /// of the processor, so half of a core is left to those who are let in, and ten thousand clients are back ten seconds
    /// after a restart. At least 1.
    pub handshakes_per_second_max: usize,
    /// How long a handshake may take at the listener. Default 3 s.
    pub handshake_timeout: Duration,
    /// How long an orderly close may take. Default 5 s.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_bytes_max: 256 * 1024,
            queue_bytes_max: 4 * 1024 * 1024,
            connections_max: 10_000,
            pending_max: 512,
            pending_per_address_max: 256,
            handshakes_per_second_max: 1_000,
            handshake_timeout: Duration::from_secs(3),
            close_timeout: Duration::from_secs(5),
        }
    }
}
