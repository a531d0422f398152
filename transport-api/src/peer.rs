//! Who is at the other end, and what the way there is like.

use std::time::Duration;

use sinew_auth::PeerKey;

/// The other end of a connection, as the transport authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The key it was admitted under; `None` for a plaintext peer.
    pub key: Option<PeerKey>,
    /// The scheme of the transport: `zmq`, `quic`, `mem`, …
    pub scheme: String,
    /// Where it is, as text for logs; an IP address and port where there are any.
    pub address: String,
}

/// What a transport measures of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PathStats {
    /// Smoothed round trip.
    pub round_trip: Option<Duration>,
    /// Packets sent.
    pub packets_sent: Option<u64>,
    /// Packets of those that were lost and sent again.
    pub packets_lost: Option<u64>,
}
