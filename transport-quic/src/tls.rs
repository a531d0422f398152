//! From security to quinn's configurations: who we are, what we ask of the peer, and keys that survive a restart.

use std::sync::Arc;

use quinn::EndpointConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use sinew_auth::{Identity, PublicKey, ServerKeyFound, tls_open_client_config, tls_open_server_config};
use sinew_transport_api::Security;

use crate::preset::MTU_MAX;

/// ALPN name where both ends prove a key.
const SECURED: &[u8] = b"sinew/1";
/// ALPN name where nobody does.
const OPEN: &[u8] = b"sinew-open/1";

/// What is derived from the identity, each under its own label.
const RESET_LABEL: &[u8] = b"sinew quic stateless reset key 1";
const CONNECTION_ID_LABEL: &[u8] = b"sinew quic connection id key 1";

/// The TLS side of a listener. Keys are only proven in here; who is admitted is asked after the handshake.
pub(crate) fn server_crypto(security: &Security) -> Arc<QuicServerConfig> {
    let config = match security {
        Security::Identity(identity) => identity.tls_server_config(&[SECURED], None),
        Security::Plaintext => tls_open_server_config(&[OPEN]),
    };
    Arc::new(QuicServerConfig::try_from(config).expect("TLS 1.3 with the initial suite of QUIC"))
}

/// The TLS side of a client, and where to read which key the server showed.
pub(crate) fn client_crypto(
    security: &Security,
    server_key: Option<PublicKey>,
) -> (Arc<QuicClientConfig>, ServerKeyFound) {
    let (config, found) = match (security, server_key) {
        (Security::Identity(identity), Some(key)) => identity.tls_client_config(key, &[SECURED]),
        _ => (tls_open_client_config(&[OPEN]), ServerKeyFound::default()),
    };
    (Arc::new(QuicClientConfig::try_from(config).expect("TLS 1.3 with the initial suite of QUIC")), found)
}

/// The configuration of a listener's socket. Its keys come from the identity, so that after a restart at the same
/// address the listener can tell old peers at once that their connection is gone (RFC 9000, section 10.3).
pub(crate) fn server_endpoint(security: &Security) -> EndpointConfig {
    match security {
        Security::Identity(identity) => endpoint(identity),
        Security::Plaintext => endpoint(&Identity::generate()),
    }
}

/// The configuration of a client's socket: nobody comes back to it, so its keys are thrown away.
pub(crate) fn client_endpoint() -> EndpointConfig {
    endpoint(&Identity::generate())
}

fn endpoint(identity: &Identity) -> EndpointConfig {
    let seed = identity.seed();
    let master = hmac::Key::new(hmac::HMAC_SHA256, &*seed);
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, RESET_LABEL).as_ref());
    let id_key = hmac::sign(&master, CONNECTION_ID_LABEL);
    let id_key = u64::from_le_bytes(*id_key.as_ref().first_chunk().expect("32 bytes"));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config.max_udp_payload_size(MTU_MAX).expect("within QUIC's range");
    config
}
