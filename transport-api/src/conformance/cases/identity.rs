//! Who is who: both keys, refusals, the wrong server, plaintext against secured, admission each time.

use std::sync::{Arc, Mutex};

use sinew_auth::{Admit, Candidate, Claim, Identity, PeerKey, PublicKey, Refusal};
use tokio::time::Instant;

use crate::conformance::kit::{Kit, Outcome, Stop, ensure, within};
use crate::conformance::subject::Mode;
use crate::conformance::traffic::round_trip;
use crate::{ConnectOptions, Connection, Error, ListenOptions, Listener, Security};

/// Admits the keys on a list that can be changed, and anonymous peers while it says so.
#[derive(Debug, Default)]
struct Listed {
    keys: Mutex<Vec<PublicKey>>,
    anonymous: Mutex<bool>,
}

impl Listed {
    fn of(keys: &[PublicKey]) -> Arc<Self> {
        Arc::new(Self { keys: Mutex::new(keys.to_vec()), anonymous: Mutex::new(!keys.is_empty()) })
    }

    fn set(&self, keys: &[PublicKey]) {
        *self.keys.lock().expect("no case panics here") = keys.to_vec();
        *self.anonymous.lock().expect("no case panics here") = !keys.is_empty();
    }
}

impl Admit for Listed {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        let keys = self.keys.lock().expect("no case panics here");
        let (found, claimed) = match candidate.claim {
            Claim::Anonymous if *self.anonymous.lock().expect("no case panics here") => return Ok(None),
            Claim::Anonymous => return Err(Refusal::Anonymous),
            Claim::Ed25519(key) => (keys.iter().find(|listed| **listed == key), PeerKey::Ed25519(key)),
            Claim::Curve(key) => (keys.iter().find(|listed| listed.to_curve() == key), PeerKey::Curve(key)),
        };
        let refusal = Refusal::UnknownKey { fingerprint: claimed.fingerprint() };
        found.map(|key| Some(PeerKey::Ed25519(*key))).ok_or(refusal)
    }
}

/// Whether `text` names the key, in its own form or in that of its CURVE key.
fn names(text: &str, key: PublicKey) -> bool {
    [PeerKey::Ed25519(key), PeerKey::Curve(key.to_curve())]
        .iter()
        .any(|key| text.contains(&key.fingerprint().to_string()))
}

pub(crate) async fn both_ends_know_each_other(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let listed = Listed::of(&[kit.client.public_key()]);
    let mut listener = kit.bind(&kit.listen_options_with(&limits, listed)).await?;
    let (mut client, mut server) = kit.join(&mut listener, &kit.connect_options(&limits)).await?;
    let key = |identity: &Identity| match kit.subject.mode() {
        Mode::Identity => Some(PeerKey::Ed25519(identity.public_key())),
        Mode::Plaintext => None,
    };
    let (at_client, at_server) = (&client.peer, &server.peer);
    ensure!(at_client.key == key(&kit.server), "the client knows its server as {at_client:?}");
    ensure!(at_server.key == key(&kit.client), "the server knows its client as {at_server:?}");
    ensure!(!at_client.address.is_empty() && !at_server.address.is_empty(), "a peer has no address to show");
    round_trip(&mut client, &mut server, kit.seed).await
}

/// Both ends of an attempt that must be refused.
async fn refused(kit: &Kit, listener: &mut Box<dyn Listener>, options: &ConnectOptions) -> Outcome<(Error, Error)> {
    let endpoint = listener.endpoint().clone();
    let start = Instant::now();
    let at_client = async {
        match kit.try_connect(&endpoint, options).await? {
            Ok(_) => Err(Stop::fail("`connect` resolved for a peer that was refused")),
            Err(error) => Ok((error, start.elapsed())),
        }
    };
    let at_listener = async {
        match within("the refusal at the listener", listener.accept()).await? {
            Ok(connection) => Err(Stop::fail(format_args!("`accept` gave {:?}, which was refused", connection.peer))),
            Err(error) => Ok(error),
        }
    };
    let ((at_client, elapsed), at_listener) = tokio::try_join!(at_client, at_listener)?;
    println!("the client was told after {:.1} ms: {at_client}", elapsed.as_secs_f64() * 1000.0);
    Ok((at_client, at_listener))
}

pub(crate) async fn an_unlisted_key_is_refused_at_both_ends(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let listed = Listed::of(&[]);
    let mut listener = kit.bind(&kit.listen_options_with(&limits, listed.clone())).await?;
    for _ in 0..3 {
        let (at_client, at_listener) = refused(&kit, &mut listener, &kit.connect_options(&limits)).await?;
        for (end, error) in [("client", at_client), ("listener", at_listener)] {
            ensure!(matches!(error, Error::Refused { .. }), "the {end} was told {error:?} for `Refused`");
            let text = error.to_string();
            let named = kit.subject.mode() == Mode::Plaintext || names(&text, kit.client.public_key());
            ensure!(named, "what the {end} was told does not name the refused key's fingerprint: {text}");
        }
    }
    listed.set(&[kit.client.public_key()]);
    kit.honest_round_trip(&mut listener, &limits).await
}

pub(crate) async fn the_wrong_server_key_is_refused(kit: Kit) -> Outcome {
    kit.needs_identity()?;
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let expected = kit.client.public_key();
    let options = ConnectOptions { server_key: Some(expected), ..kit.connect_options(&limits) };
    let error = fails_without_a_connection(&kit, &mut listener, &options).await?;
    let fits = matches!(&error, Error::WrongServerKey { expected: told, found, .. }
        if *told == expected.fingerprint() && found.is_none_or(|found| found == kit.server.public_key().fingerprint()));
    ensure!(fits, "a server with another key gave {error:?} for `WrongServerKey`");
    kit.honest_round_trip(&mut listener, &limits).await
}

/// What `connect` says where the listener must not give a connection; whether the listener says anything is its own.
async fn fails_without_a_connection(
    kit: &Kit,
    listener: &mut Box<dyn Listener>,
    options: &ConnectOptions,
) -> Outcome<Error> {
    let endpoint = listener.endpoint().clone();
    let start = Instant::now();
    let error = tokio::select! {
        result = kit.try_connect(&endpoint, options) => match result? {
            Ok(_) => return Err(Stop::fail("`connect` resolved where it must fail")),
            Err(error) => error,
        },
        connection = next_connection(listener) => {
            let peer = connection?.peer;
            return Err(Stop::fail(format_args!("`accept` gave {peer:?}, which cannot have been admitted")));
        }
    };
    println!("the client was told after {:.1} ms: {error}", start.elapsed().as_secs_f64() * 1000.0);
    Ok(error)
}

async fn next_connection(listener: &mut Box<dyn Listener>) -> Outcome<Connection> {
    loop {
        match listener.accept().await {
            Err(error) if error.is_about_one_peer() || matches!(error, Error::WrongServerKey { .. }) => {}
            result => return Ok(result?),
        }
    }
}

pub(crate) async fn a_secured_peer_needs_the_server_key(kit: Kit) -> Outcome {
    kit.needs_identity()?;
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let without = ConnectOptions { server_key: None, ..kit.connect_options(&limits) };
    let result = kit.try_connect(&endpoint, &without).await?;
    ensure!(matches!(result, Err(Error::Security { .. })), "no server key gave {result:?} for `Security`");
    let pinned = endpoint.with_key(kit.client.public_key());
    let result = kit.try_connect(&pinned, &kit.connect_options(&limits)).await?;
    ensure!(matches!(result, Err(Error::Security { .. })), "two different server keys gave {result:?} for `Security`");
    // The key in the endpoint alone is enough.
    let pinned = endpoint.with_key(kit.server.public_key());
    let connecting = async { Ok::<_, Stop>(kit.try_connect(&pinned, &without).await??) };
    let (mut client, mut server) = tokio::try_join!(connecting, next_connection(&mut listener))?;
    round_trip(&mut client, &mut server, kit.seed).await
}

pub(crate) async fn plaintext_and_secured_do_not_mix(kit: Kit) -> Outcome {
    if !kit.can.secure {
        return Err(Stop::Skip("the transport cannot secure connections".to_owned()));
    }
    let limits = kit.limits();
    let (secure, plain) = (|identity: &Arc<Identity>| Security::Identity(Arc::clone(identity)), Security::Plaintext);
    let server_key = Some(kit.server.public_key());
    for (at_listener, at_client, server_key) in
        [(secure(&kit.server), plain.clone(), None), (plain.clone(), secure(&kit.client), server_key)]
    {
        let listen = ListenOptions { security: at_listener.clone(), ..kit.listen_options(&limits) };
        let mut listener = kit.bind(&listen).await?;
        let connect = ConnectOptions { security: at_client, server_key, ..kit.connect_options(&limits) };
        let error = fails_without_a_connection(&kit, &mut listener, &connect).await?;
        let fits = matches!(error, Error::SecurityMismatch { .. });
        ensure!(
            fits,
            "a listener with {at_listener:?} and the other way at the client gave {error:?} for `SecurityMismatch`"
        );
        // The listener still serves those that are like itself.
        let (security, server_key) = match at_listener {
            Security::Plaintext => (Security::Plaintext, None),
            Security::Identity(_) => (secure(&kit.client), Some(kit.server.public_key())),
        };
        let alike = ConnectOptions { security, server_key, ..kit.connect_options(&limits) };
        let (mut client, mut server) = kit.join(&mut listener, &alike).await?;
        round_trip(&mut client, &mut server, kit.seed).await?;
    }
    Ok(())
}

pub(crate) async fn admission_is_asked_each_time(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let key = kit.client.public_key();
    let listed = Listed::of(&[key]);
    let mut listener = kit.bind(&kit.listen_options_with(&limits, listed.clone())).await?;
    for _ in 0..3 {
        // Twice, so that there is something to resume from.
        kit.honest_round_trip(&mut listener, &limits).await?;
        kit.honest_round_trip(&mut listener, &limits).await?;
        listed.set(&[]);
        let (at_client, _) = refused(&kit, &mut listener, &kit.connect_options(&limits)).await?;
        ensure!(matches!(at_client, Error::Refused { .. }), "a removed peer was told {at_client:?} for `Refused`");
        listed.set(&[key]);
    }
    Ok(())
}

pub(crate) async fn nothing_arrives_before_admission(kit: Kit) -> Outcome {
    kit.needs_identity()?;
    let limits = kit.limits();
    let honest = kit.client.public_key();
    let mut listener = kit.bind(&kit.listen_options_with(&limits, Listed::of(&[honest]))).await?;
    let (mut client, mut server) = kit.join(&mut listener, &kit.connect_options(&limits)).await?;
    for stranger in 0..10u8 {
        let stranger = Arc::new(Identity::from_seed(&[stranger + 1; 32]));
        let options = ConnectOptions { security: Security::Identity(stranger), ..kit.connect_options(&limits) };
        let (at_client, at_listener) = refused(&kit, &mut listener, &options).await?;
        let both = matches!((&at_client, &at_listener), (Error::Refused { .. }, Error::Refused { .. }));
        ensure!(both, "a stranger was told {at_client:?}, the listener {at_listener:?}");
        round_trip(&mut client, &mut server, kit.seed).await?;
    }
    kit.honest_round_trip(&mut listener, &limits).await
}
