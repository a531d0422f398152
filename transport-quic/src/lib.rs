//! The QUIC transport of Sinew: `quic://[KEY@]host:port[?preset=loopback|lan|wan][&mtu=1200..6500]`.
//!
//! ```no_run
//! use std::sync::Arc;
//! use sinew_auth::Identity;
//! use sinew_transport_api::{ConnectOptions, Registry, Security};
//! use sinew_transport_quic as _; // a crate that nothing names is not linked
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Arc::new(Identity::generate());
//! let endpoint = "quic://KEY@example.org:7400?preset=wan".parse()?;
//! let options = ConnectOptions::new(Security::Identity(identity), None);
//! let connection = Registry::linked()?.connect(&endpoint, &options).await?;
//! # Ok(()) }
//! ```
//!
//! What maps to what:
//! - A lane is a unidirectional stream in each direction, so a lost packet delays one lane. `frames.rs` has the bytes.
//! - Identity is TLS 1.3 with raw public keys both ways (RFC 7250). The TLS verifier proves possession; who is let in
//!   is asked once for each connection, after the handshake, with the address, and nothing is read before the answer.
//!   Resumption and 0-RTT are off, so no ticket brings a removed key back.
//! - Plaintext is encrypted under a throwaway key and authenticates nobody. The two modes have different ALPN names, so
//!   a mismatch ends the handshake at once, and both ends can say so.
//! - Admission is a word of the server's; a refusal is a close with a code and a reason. `connect` waits for either.
//! - Back-pressure is QUIC's flow control: what is not read is not credited.
//! - An orderly close is a word (which lanes were used) and the end of those streams; the peer answers with a word once
//!   everything was given out.
//! - `Sender::flush` waits until quinn has taken everything; quinn sends it as congestion and the peer's windows permit.
//! - `Listener::close` stops accepting at once. All connections of a listener share its UDP socket, so the address is
//!   free once the last of them has ended: before `close` resolves where there is none.
//!
//! Limits: everything in [`Limits`](sinew_transport_api::Limits), and those named in `preset.rs`, `listener.rs`,
//! `pace.rs` and `frames.rs`; none of quinn's defaults is relied upon. Bytes of one connection: unread in quinn, and sent but not
//! confirmed in quinn, at most `queue_bytes_max` each (or a few blocks, where that is more); on the way out in here as
//! much again, of it 256 KiB or one block for each lane; on the way in here the part of one block for each lane.

use std::sync::Arc;

use async_trait::async_trait;
use sinew_transport_api::{
    Capabilities, ConnectOptions, Connection, Endpoint, Lane, ListenOptions, Listener, Plugin, Result, Transport,
};

mod connect;
mod connection;
mod door;
mod ending;
mod frames;
mod inbound;
mod listener;
mod outbound;
mod pace;
mod preset;
mod pump;
mod signals;
mod socket;
mod target;
mod tls;

/// The scheme of the URLs.
const SCHEME: &str = "quic";

/// The QUIC transport. It has no state: each listener and each connecting end has a UDP socket of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quic;

sinew_transport_api::submit! {
    Plugin { schemes: &["quic"], build: || Arc::new(Quic) }
}

#[async_trait]
impl Transport for Quic {
    fn capabilities(&self) -> Capabilities {
        Capabilities { independent_lanes: true, secure: true, remote: true, lanes_max: Lane::COUNT_MAX }
    }

    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        listener::bind(endpoint, options).await
    }

    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        connect::connect(endpoint, options).await
    }
}
