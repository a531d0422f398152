//! Who is taken during a TLS handshake: the three verifiers. Each checks the signature; they differ in which keys pass.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::{ServerKeyFound, key_of};
use crate::admit::{Admit, Candidate, Claim};
use crate::key::{Fingerprint, PublicKey};

/// The server showed another key than the pinned one. Found by downcast in
/// `rustls::Error::InvalidCertificate(CertificateError::Other(_))`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has the key {found} instead of {expected}; if its key was changed on purpose, trust the new one")]
pub struct WrongServerKey {
    /// The fingerprint of the pinned key.
    pub expected: Fingerprint,
    /// The fingerprint of the key that the server showed.
    pub found: Fingerprint,
}

/// At a server: a client must prove an Ed25519 key; with an `Admit`, one that it admits.
#[derive(Debug)]
pub(super) struct ListedClient {
    admit: Option<Arc<dyn Admit>>,
}

impl ListedClient {
    pub(super) fn new(admit: Option<Arc<dyn Admit>>) -> Self {
        Self { admit }
    }
}

impl ClientCertVerifier for ListedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let claim = Claim::Ed25519(single_key(end_entity, intermediates)?);
        if let Some(admit) = &self.admit {
            admit.admit(&Candidate { claim, address: None, scheme: "tls" }).map_err(|refusal| {
                tracing::info!(%refusal, "refused a client during its TLS handshake");
                // The only certificate error that becomes the alert access_denied (RFC 8446, section 6.2).
                Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
            })?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls_12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// At a client: the server must prove the pinned key.
#[derive(Debug)]
pub(super) struct PinnedServer {
    expected: PublicKey,
    found: ServerKeyFound,
}

impl PinnedServer {
    pub(super) fn new(expected: PublicKey, found: ServerKeyFound) -> Self {
        Self { expected, found }
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = single_key(end_entity, intermediates)?;
        self.found.0.get_or_init(|| key);
        if key != self.expected {
            let wrong = WrongServerKey { expected: self.expected.fingerprint(), found: key.fingerprint() };
            return Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong)))));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls_12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// At a client in plaintext mode: any key, but the handshake must be signed with it.
#[derive(Debug)]
pub(super) struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        single_key(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls_12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn single_key(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<PublicKey, Error> {
    match (intermediates, key_of(end_entity)) {
        ([], Some(key)) => Ok(key),
        _ => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
    }
}

fn verify_signature(
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signature, &algorithms)
}

/// Never reached: no other version is offered or taken.
fn tls_12() -> Error {
    Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled)
}
