//! Who is not let in, and what both ends are told. The conformance kit has the matrix; here is what is QUIC's own.

mod pair;

use std::net::IpAddr;
use std::sync::Arc;

use pair::{connect_options, listen_options, within};
use sinew_auth::{Admit, Candidate, Claim, Identity, PeerKey, Refusal};
use sinew_transport_api::{ConnectOptions, Error, ListenOptions, Security, Transport};
use sinew_transport_quic::Quic;

/// Refuses everybody in one way.
#[derive(Debug)]
struct Never(fn(&Candidate<'_>) -> Refusal);

impl Admit for Never {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        assert_eq!(candidate.scheme, "quic");
        assert!(candidate.address.is_some_and(|address| address.is_loopback()));
        Err((self.0)(candidate))
    }
}

fn unknown(candidate: &Candidate<'_>) -> Refusal {
    match candidate.claim {
        Claim::Ed25519(key) => Refusal::UnknownKey { fingerprint: key.fingerprint() },
        _ => Refusal::Anonymous,
    }
}

fn elsewhere(candidate: &Candidate<'_>) -> Refusal {
    Refusal::Address { address: candidate.address.unwrap_or(IpAddr::from([0; 4])) }
}

/// Both ends get the refusal itself, typed.
async fn check(secured: bool, refuse: fn(&Candidate<'_>) -> Refusal, expected: impl Fn(&Identity) -> Refusal) {
    let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let admit = Arc::new(Never(refuse));
    let (listen, connect) = match secured {
        true => (ListenOptions { admit, ..listen_options(&server) }, connect_options(&client, &server)),
        false => (ListenOptions::new(Security::Plaintext, admit), ConnectOptions::new(Security::Plaintext, None)),
    };
    let mut listener = Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &listen).await.unwrap();
    let endpoint = listener.endpoint().clone();
    let (here, there) = tokio::join!(within(Quic.connect(&endpoint, &connect)), within(listener.accept()));
    for (end, error) in [("client", here.unwrap_err()), ("listener", there.unwrap_err())] {
        match error {
            Error::Refused { refusal, .. } => assert_eq!(refusal, expected(&client), "{end}"),
            other => panic!("{end}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn every_refusal_comes_typed_to_both_ends() {
    check(true, unknown, |client| Refusal::UnknownKey { fingerprint: client.public_key().fingerprint() }).await;
    check(true, elsewhere, |_| Refusal::Address { address: IpAddr::from([127, 0, 0, 1]) }).await;
    check(false, elsewhere, |_| Refusal::Address { address: IpAddr::from([127, 0, 0, 1]) }).await;
    check(false, unknown, |_| Refusal::Anonymous).await;
}

#[tokio::test]
async fn a_wrong_server_key_is_told_with_both_fingerprints_and_costs_the_listener_nothing() {
    let (server, client, other) = (Identity::generate(), Identity::generate(), Identity::generate());
    let (server, client) = (Arc::new(server), Arc::new(client));
    let mut listener = Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &listen_options(&server)).await.unwrap();
    let endpoint = listener.endpoint().clone();
    match within(Quic.connect(&endpoint, &connect_options(&client, &other))).await {
        Err(Error::WrongServerKey { expected, found, .. }) => {
            assert_eq!(expected, other.public_key().fingerprint());
            assert_eq!(found, Some(server.public_key().fingerprint()));
        }
        result => panic!("{result:?}"),
    }
    let honest = connect_options(&client, &server);
    let accepting = async {
        loop {
            match listener.accept().await {
                Err(error) if error.is_about_one_peer() => {}
                result => return result,
            }
        }
    };
    let (here, there) = tokio::join!(within(Quic.connect(&endpoint, &honest)), within(accepting));
    assert_eq!(here.unwrap().peer.key, Some(server.public_key().into()));
    assert_eq!(there.unwrap().peer.key, Some(client.public_key().into()));
}

#[tokio::test]
async fn mismatched_security_is_told_to_both_ends() {
    let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let plain_listen = ListenOptions::new(Security::Plaintext, listen_options(&server).admit);
    let plain_connect = ConnectOptions::new(Security::Plaintext, None);
    for (listen, connect) in
        [(listen_options(&server), plain_connect), (plain_listen, connect_options(&client, &server))]
    {
        let mut listener = Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &listen).await.unwrap();
        let endpoint = listener.endpoint().clone();
        let (here, there) = tokio::join!(within(Quic.connect(&endpoint, &connect)), within(listener.accept()));
        assert!(matches!(here, Err(Error::SecurityMismatch { .. })), "{here:?}");
        assert!(matches!(there, Err(Error::SecurityMismatch { .. })), "{there:?}");
    }
}

#[tokio::test]
async fn keys_that_do_not_fit_are_refused_before_a_packet_is_sent() {
    let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let endpoint = "quic://127.0.0.1:9".parse::<sinew_transport_api::Endpoint>().unwrap();
    let pinned = endpoint.with_key(client.public_key());
    let none = ConnectOptions { server_key: None, ..connect_options(&client, &server) };
    let plain = ConnectOptions::new(Security::Plaintext, None);
    for (endpoint, options) in [(&endpoint, &none), (&pinned, &connect_options(&client, &server)), (&pinned, &plain)] {
        let result = within(Quic.connect(endpoint, options)).await;
        assert!(matches!(result, Err(Error::Security { .. })), "{endpoint}: {result:?}");
    }
    let result = Quic.bind(&pinned, &listen_options(&server)).await;
    assert!(matches!(result, Err(Error::Security { .. })), "{result:?}");
}
