//! Handshakes in memory: who gets through, and what each side sees where not.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConnection, Error, HandshakeKind, ServerConnection};

use super::*;
use crate::admit::{AdmitEveryone, Candidate, Refusal};
use crate::key::PeerKey;

const ALPN: &[&[u8]] = &[b"sinew/1"];
/// Enough rounds for any handshake; a pair that still talks then is a failure.
const ROUNDS_MAX: usize = 20;

struct Pair {
    client: ClientConnection,
    server: ServerConnection,
}

impl Pair {
    fn new(client: ClientConfig, server: ServerConfig) -> Self {
        let name = ServerName::try_from("peer.invalid").unwrap();
        Self {
            client: ClientConnection::new(Arc::new(client), name).unwrap(),
            server: ServerConnection::new(Arc::new(server)).unwrap(),
        }
    }

    /// Runs the handshake; the first error of each side.
    fn run(&mut self) -> (Option<Error>, Option<Error>) {
        let (mut client_error, mut server_error) = (None, None);
        for _ in 0..ROUNDS_MAX {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            server_error = server_error.or(feed(&mut self.server, &wire));
            let mut wire = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut wire).unwrap();
            }
            client_error = client_error.or(feed(&mut self.client, &wire));
        }
        (client_error, server_error)
    }
}

fn feed<Data>(connection: &mut rustls::ConnectionCommon<Data>, mut wire: &[u8]) -> Option<Error> {
    while !wire.is_empty() {
        connection.read_tls(&mut wire).unwrap();
        if let Err(error) = connection.process_new_packets() {
            return Some(error);
        }
    }
    None
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn key_seen(certificates: Option<&[CertificateDer<'static>]>) -> Option<PublicKey> {
    tls_peer_key(&certificates?.to_vec())
}

#[test]
fn both_sides_see_the_proven_key() {
    let (server, client) = (identity(1), identity(2));
    let (config, found) = client.tls_client_config(server.public_key(), ALPN);
    let mut pair = Pair::new(config, server.tls_server_config(ALPN, Some(Arc::new(AdmitEveryone))));
    assert_eq!(pair.run(), (None, None));
    assert_eq!(key_seen(pair.server.peer_certificates()), Some(client.public_key()));
    assert_eq!(key_seen(pair.client.peer_certificates()), Some(server.public_key()));
    assert_eq!(found.get(), Some(server.public_key()));
    assert_eq!(pair.client.alpn_protocol(), Some(ALPN[0]));
    assert_eq!(pair.server.server_name(), None);
}

#[test]
fn a_wrong_server_key_is_named() {
    let (server, client, expected) = (identity(1), identity(2), identity(3));
    let (config, found) = client.tls_client_config(expected.public_key(), ALPN);
    let mut pair = Pair::new(config, server.tls_server_config(ALPN, None));
    let (client_error, server_error) = pair.run();
    let Some(Error::InvalidCertificate(CertificateError::Other(other))) = client_error else {
        panic!("{client_error:?}")
    };
    let wrong: &WrongServerKey = other.0.downcast_ref().unwrap();
    assert_eq!(wrong.found, server.public_key().fingerprint());
    assert_eq!(wrong.expected, expected.public_key().fingerprint());
    assert_eq!(found.get(), Some(server.public_key()));
    assert!(matches!(server_error, Some(Error::AlertReceived(_))), "{server_error:?}");
    assert!(pair.server.is_handshaking());
}

/// Admits one key, and counts how often it was asked.
#[derive(Debug)]
struct Only(PublicKey, AtomicUsize);

impl Admit for Only {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        self.1.fetch_add(1, Ordering::Relaxed);
        match candidate.claim {
            crate::Claim::Ed25519(key) if key == self.0 => Ok(Some(key.into())),
            crate::Claim::Ed25519(key) => Err(Refusal::UnknownKey { fingerprint: key.fingerprint() }),
            _ => Err(Refusal::Anonymous),
        }
    }
}

#[test]
fn an_unlisted_client_gets_access_denied() {
    let (server, client, stranger) = (identity(1), identity(2), identity(3));
    let admit = Arc::new(Only(client.public_key(), AtomicUsize::new(0)));
    let config = |who: &Identity| who.tls_client_config(server.public_key(), ALPN).0;
    let mut pair = Pair::new(config(&stranger), server.tls_server_config(ALPN, Some(admit.clone())));
    let (client_error, server_error) = pair.run();
    assert_eq!(client_error, Some(Error::AlertReceived(AlertDescription::AccessDenied)));
    assert_eq!(server_error, Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)));
    assert_eq!(Pair::new(config(&client), server.tls_server_config(ALPN, Some(admit.clone()))).run(), (None, None));
    assert_eq!(admit.1.load(Ordering::Relaxed), 2);
}

/// Shows the public key of `shown`, signs with the secret of `held`.
fn impostor(shown: &Identity, held: &Identity) -> Arc<CertifiedKey> {
    let shown = shown.certified_key();
    Arc::new(CertifiedKey::new(shown.cert.clone(), held.certified_key().key.clone()))
}

#[test]
fn a_key_that_is_shown_but_not_held_gets_nowhere() {
    let (server, client, thief) = (identity(1), identity(2), identity(3));

    let (config, _) = client.tls_client_config(server.public_key(), ALPN);
    let mut false_server = thief.tls_server_config(ALPN, None);
    false_server.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(impostor(&server, &thief)));
    let (client_error, _) = Pair::new(config, false_server).run();
    assert!(
        matches!(client_error, Some(Error::InvalidCertificate(CertificateError::BadSignature))),
        "{client_error:?}"
    );

    let (mut false_client, _) = thief.tls_client_config(server.public_key(), ALPN);
    false_client.client_auth_cert_resolver =
        Arc::new(AlwaysResolvesClientRawPublicKeys::new(impostor(&client, &thief)));
    let admit = Arc::new(Only(client.public_key(), AtomicUsize::new(0)));
    let mut pair = Pair::new(false_client, server.tls_server_config(ALPN, Some(admit)));
    let (_, server_error) = pair.run();
    assert!(
        matches!(server_error, Some(Error::InvalidCertificate(CertificateError::BadSignature))),
        "{server_error:?}"
    );
    assert!(pair.server.is_handshaking());
}

#[test]
fn the_same_configuration_never_resumes() {
    let (server, client) = (identity(1), identity(2));
    let admit = Arc::new(Only(client.public_key(), AtomicUsize::new(0)));
    let (config, _) = client.tls_client_config(server.public_key(), ALPN);
    let server = server.tls_server_config(ALPN, Some(admit.clone()));
    for round in 1..=3 {
        let mut pair = Pair::new(config.clone(), server.clone());
        assert_eq!(pair.run(), (None, None));
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(pair.client.tls13_tickets_received(), 0);
        assert_eq!(admit.1.load(Ordering::Relaxed), round);
    }
}

#[test]
fn open_ends_find_each_other_and_nobody_else() {
    let (server, client) = (identity(1), identity(2));
    let mut pair = Pair::new(tls_open_client_config(ALPN), tls_open_server_config(ALPN));
    assert_eq!(pair.run(), (None, None));
    assert_eq!(key_seen(pair.server.peer_certificates()), None);

    let (client_error, server_error) =
        Pair::new(tls_open_client_config(ALPN), server.tls_server_config(ALPN, None)).run();
    assert!(client_error.is_some() && server_error.is_some(), "{client_error:?} {server_error:?}");

    let (config, found) = client.tls_client_config(server.public_key(), ALPN);
    let (client_error, _) = Pair::new(config, tls_open_server_config(ALPN)).run();
    assert!(client_error.is_some());
    assert!(found.get() != Some(server.public_key()));
}

#[test]
fn another_protocol_name_is_refused() {
    let (server, client) = (identity(1), identity(2));
    let (config, _) = client.tls_client_config(server.public_key(), &[b"other/1"]);
    let (client_error, _) = Pair::new(config, server.tls_server_config(ALPN, None)).run();
    assert_eq!(client_error, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

#[test]
fn a_key_is_read_only_from_a_single_ed25519_spki() {
    let spki = [&SPKI_PREFIX[..], identity(1).public_key().as_bytes()].concat();
    let one = CertificateDer::from(spki.clone());
    assert_eq!(tls_peer_key(&vec![one.clone()]), Some(identity(1).public_key()));
    assert_eq!(tls_peer_key(&vec![one.clone(), one]), None);
    assert_eq!(tls_peer_key(&Vec::<CertificateDer<'static>>::new()), None);
    assert_eq!(tls_peer_key(&"something else"), None);
    for length in 0..spki.len() {
        assert_eq!(key_of(&CertificateDer::from(&spki[..length])), None);
    }
    let mut other = spki;
    other[8] ^= 1; // X448, Ed448 and the like differ here.
    assert_eq!(key_of(&CertificateDer::from(other)), None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_are_a_key_or_none(
        head in proptest::bool::ANY,
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
    ) {
        let spki = if head { [&SPKI_PREFIX[..], &bytes].concat() } else { bytes };
        let _ = key_of(&CertificateDer::from(spki));
    }
}
