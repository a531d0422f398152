//! The transports linked into this program, and the feature that would bring a missing one. Only this crate knows
//! features, so only here is the hint added.

use sinew_transport_api::{Endpoint, Error as TransportError, Registry};

use crate::{Error, Result};

/// Schemes of our own transports, the feature of each, and whether it is on.
const FEATURES: [(&str, &str, bool); 3] = [
    ("zmq", "zmq", cfg!(feature = "zmq")),
    ("zmq+ipc", "zmq", cfg!(feature = "zmq")),
    ("quic", "quic", cfg!(feature = "quic")),
];

/// Fails where `registry` has no transport for `endpoint`, with the feature that brings it where there is one.
pub(crate) fn check(registry: &Registry, endpoint: &Endpoint) -> Result<()> {
    let Err(cause) = registry.find(endpoint) else { return Ok(()) };
    let off = FEATURES.iter().find(|(scheme, _, on)| *scheme == endpoint.scheme() && !on);
    Err(match (off, cause) {
        (Some((_, feature, _)), TransportError::UnknownScheme { endpoint, known }) => {
            Error::FeatureOff { endpoint, known, feature }
        }
        (_, cause) => sinew_session::Error::from(cause).into(),
    })
}
