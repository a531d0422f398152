//! rustls configuration from an identity: raw public keys (RFC 7250) both ways, Ed25519, TLS 1.3 only, `ring`.
//!
//! What must hold, and why:
//! 1. Resumption and 0-RTT are off at both ends: a resumed session bypasses the verifiers, so a removed key could
//!    come back by a ticket.
//! 2. The key of a connection is checked again where the connection is handed on ([`tls_peer_key`], then
//!    [`Admit`]); the check in here is an early alert, no more.
//! 3. SNI is off: a name says nothing here and would be readable on the wire.
//!
//! Self-signed certificates are not taken: rustls negotiates either raw keys or certificates for one configuration.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use zeroize::Zeroizing;

use crate::admit::Admit;
use crate::identity::Identity;
use crate::key::PublicKey;

mod verify;
pub use verify::WrongServerKey;
use verify::{AnyServer, ListedClient, PinnedServer};

/// The head of a SubjectPublicKeyInfo for Ed25519 (RFC 8410, section 4); the 32 bytes of the key follow.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The head of a PKCS#8 private key for Ed25519 (RFC 8410, section 7); the 32 bytes of the seed follow.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The key that the server showed, filled during the handshake. A transport that gets handshake errors as text only
/// (quinn does) reads here which key a refused server has.
#[derive(Clone, Default)]
pub struct ServerKeyFound(Arc<OnceLock<PublicKey>>);

impl ServerKeyFound {
    /// The key, once the server showed one. It is claimed, not proven: the handshake may have ended before.
    pub fn get(&self) -> Option<PublicKey> {
        self.0.get().copied()
    }
}

impl fmt::Debug for ServerKeyFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerKeyFound({:?})", self.get().map(|key| key.fingerprint()))
    }
}

impl Identity {
    /// Configuration of a server that proves this identity and asks every client to prove one.
    ///
    /// With `admit`, a key it refuses ends the handshake with the alert `access_denied` (49); it is asked without an
    /// address and under the scheme `tls`. Without, every key is let through. Either way the caller asks its `Admit` on
    /// each connection, with the address, before it hands the connection on.
    pub fn tls_server_config(&self, alpn: &[&[u8]], admit: Option<Arc<dyn Admit>>) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("ring has suites for TLS 1.3")
            .with_client_cert_verifier(Arc::new(ListedClient::new(admit)));
        let config = builder.with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.certified_key())));
        closed_server(config, alpn)
    }

    /// Configuration of a client that proves this identity and takes only the server with the key `server`, for one
    /// connection.
    ///
    /// Another key is [`WrongServerKey`] inside `rustls::Error::InvalidCertificate`, and can be read from the
    /// [`ServerKeyFound`] that comes with the configuration, whatever becomes of the error on its way.
    pub fn tls_client_config(&self, server: PublicKey, alpn: &[&[u8]]) -> (ClientConfig, ServerKeyFound) {
        let found = ServerKeyFound::default();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("ring has suites for TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedServer::new(server, found.clone())))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified_key())));
        (closed_client(config, alpn), found)
    }

    fn certified_key(&self) -> Arc<CertifiedKey> {
        let seed = self.seed();
        let mut pkcs8 = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
        pkcs8[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
        pkcs8[PKCS8_PREFIX.len()..].copy_from_slice(&*seed);
        let key =
            ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..])).expect("a seed of 32 bytes is a key");
        let spki = [&SPKI_PREFIX[..], self.public_key().as_bytes()].concat();
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key))
    }
}

/// Configuration of a server that encrypts under a throwaway key and asks clients for nothing: the plaintext mode of a
/// transport that cannot do without TLS. It authenticates nobody.
pub fn tls_open_server_config(alpn: &[&[u8]]) -> ServerConfig {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring has suites for TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Identity::generate().certified_key())));
    closed_server(config, alpn)
}

/// Configuration of a client that takes any server and proves nothing: the other end of [`tls_open_server_config`].
/// Against a server with an identity the handshake fails, since that asks for a key.
pub fn tls_open_client_config(alpn: &[&[u8]]) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring has suites for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    closed_client(config, alpn)
}

/// The key that the peer proved, from `rustls`' `peer_certificates()` as `Vec<CertificateDer>` or quinn's
/// `peer_identity()`, which is the same behind `Any`. `None` where it is no single raw Ed25519 key.
pub fn tls_peer_key(identity: &dyn Any) -> Option<PublicKey> {
    match identity.downcast_ref::<Vec<CertificateDer<'static>>>()?.as_slice() {
        [spki] => key_of(spki),
        _ => None,
    }
}

/// The key in an Ed25519 SubjectPublicKeyInfo.
fn key_of(spki: &CertificateDer<'_>) -> Option<PublicKey> {
    let key = spki.as_ref().strip_prefix(&SPKI_PREFIX)?;
    PublicKey::from_bytes(key.try_into().ok()?).ok()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Nothing of a session outlives its connection (invariant 1).
fn closed_server(mut config: ServerConfig, alpn: &[&[u8]]) -> ServerConfig {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config
}

fn closed_client(mut config: ClientConfig, alpn: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config
}

#[cfg(test)]
mod tests;
