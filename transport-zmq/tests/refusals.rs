//! What each side is told when a connection is not to be: the right error, with the fingerprint and the next step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sinew_auth::{Admit, AdmitEveryone, Candidate, Claim, Identity, PeerKey, PublicKey, Refusal};
use sinew_transport_api::{ConnectOptions, Endpoint, Error, ListenOptions, Listener, Security, Transport};
use sinew_transport_zmq::ZmqTransport;

/// Admits one key, and nobody without a key.
#[derive(Debug)]
struct Only(PublicKey);

impl Admit for Only {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        match candidate.claim {
            Claim::Curve(key) if key == self.0.to_curve() => Ok(Some(PeerKey::Ed25519(self.0))),
            Claim::Curve(key) => Err(Refusal::UnknownKey { fingerprint: PeerKey::Curve(key).fingerprint() }),
            _ => Err(Refusal::Anonymous),
        }
    }
}

struct Scene {
    _folder: tempfile::TempDir,
    places: [Endpoint; 2],
    server: Arc<Identity>,
    listed: Arc<Identity>,
    stranger: Arc<Identity>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ipc = format!("zmq+ipc://{}/socket", folder.path().display());
        let places = ["zmq://127.0.0.1:0".parse().unwrap(), ipc.parse().unwrap()];
        let [server, listed, stranger] = [1, 2, 3].map(|seed| Arc::new(Identity::from_seed(&[seed; 32])));
        Self { _folder: folder, places, server, listed, stranger }
    }

    async fn listen(&self, place: &Endpoint, security: Security) -> Box<dyn Listener> {
        let options = ListenOptions::new(security, Arc::new(Only(self.listed.public_key())));
        ZmqTransport.bind(place, &options).await.unwrap()
    }

    fn secure(identity: &Arc<Identity>) -> Security {
        Security::Identity(Arc::clone(identity))
    }
}

async fn fails(listener: &dyn Listener, security: Security, key: Option<PublicKey>) -> Error {
    let options = ConnectOptions { connect_timeout: Duration::from_secs(20), ..ConnectOptions::new(security, key) };
    let start = Instant::now();
    let error = ZmqTransport.connect(listener.endpoint(), &options).await.unwrap_err();
    println!("after {:.1} ms: {error}", start.elapsed().as_secs_f64() * 1000.0);
    error
}

async fn told(listener: &mut Box<dyn Listener>) -> Error {
    let told = tokio::time::timeout(Duration::from_secs(20), listener.accept());
    told.await.expect("the listener is told in time").unwrap_err()
}

#[tokio::test]
async fn an_unknown_key() {
    let scene = Scene::new();
    for place in &scene.places {
        let mut listener = scene.listen(place, Scene::secure(&scene.server)).await;
        let error = fails(&*listener, Scene::secure(&scene.stranger), Some(scene.server.public_key())).await;
        let fingerprint = scene.stranger.public_key().fingerprint();
        let refused = matches!(&error, Error::Refused { refusal: Refusal::UnknownKey { fingerprint: told }, .. }
            if *told == fingerprint);
        assert!(refused && error.to_string().contains("add its public key to the server's allowlist"), "{error}");
        let error = told(&mut listener).await;
        let curve = PeerKey::Curve(scene.stranger.public_key().to_curve()).fingerprint();
        assert!(matches!(&error, Error::Refused { .. }) && error.to_string().contains(&curve.to_string()), "{error}");
    }
}

#[tokio::test]
async fn the_wrong_server_key() {
    let scene = Scene::new();
    for place in &scene.places {
        let listener = scene.listen(place, Scene::secure(&scene.server)).await;
        let expected = scene.stranger.public_key();
        let error = fails(&*listener, Scene::secure(&scene.listed), Some(expected)).await;
        let right = matches!(&error, Error::WrongServerKey { expected: told, .. } if *told == expected.fingerprint());
        assert!(right && error.to_string().contains("trust the new one"), "{error}");
    }
}

// The listener is told of a mismatch only if it reads the other's greeting before the other hangs up; the client
// always is.
#[tokio::test]
async fn plaintext_to_a_secured_listener() {
    let scene = Scene::new();
    for place in &scene.places {
        let listener = scene.listen(place, Scene::secure(&scene.server)).await;
        let error = fails(&*listener, Security::Plaintext, None).await;
        assert!(
            matches!(&error, Error::SecurityMismatch { why, .. } if why.contains("connect with an identity")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_secured_peer_to_a_plaintext_listener() {
    let scene = Scene::new();
    for place in &scene.places {
        let listener = scene.listen(place, Security::Plaintext).await;
        let error = fails(&*listener, Scene::secure(&scene.listed), Some(scene.server.public_key())).await;
        let fingerprint = scene.listed.public_key().fingerprint().to_string();
        assert!(matches!(&error, Error::SecurityMismatch { why, .. } if why.contains(&fingerprint)), "{error}");
    }
}

#[tokio::test]
async fn an_anonymous_peer_where_a_key_is_wanted() {
    let scene = Scene::new();
    for place in &scene.places {
        let mut listener = scene.listen(place, Security::Plaintext).await;
        let error = fails(&*listener, Security::Plaintext, None).await;
        assert!(matches!(&error, Error::Refused { refusal: Refusal::Anonymous, .. }), "{error}");
        assert!(matches!(told(&mut listener).await, Error::Refused { refusal: Refusal::Anonymous, .. }));
    }
}

#[tokio::test]
async fn nobody_there() {
    let scene = Scene::new();
    for place in &scene.places {
        let mut listener = scene.listen(place, Security::Plaintext).await;
        listener.close().await.unwrap();
        let error = fails(&*listener, Security::Plaintext, None).await;
        assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_of_something_else() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("zmq://{}", server.local_addr().unwrap()).parse().unwrap();
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            // The peer may hang up first, which is its right.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[b'!'; 200]).await;
        }
    });
    let options = ConnectOptions::new(Security::Plaintext, None);
    let error = ZmqTransport.connect(&endpoint, &options).await.unwrap_err();
    assert!(!matches!(error, Error::Refused { .. } | Error::WrongServerKey { .. }), "{error}");
    answering.abort();
}

#[tokio::test]
async fn files_in_the_way_of_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let place: Endpoint = format!("zmq+ipc://{}", path.display()).parse().unwrap();
    let options = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));

    std::fs::write(&path, "precious").unwrap();
    let error = ZmqTransport.bind(&place, &options).await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();

    // What a killed program leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut listener = ZmqTransport.bind(&place, &options).await.unwrap();
    let error = ZmqTransport.bind(&place, &options).await.unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
    listener.close().await.unwrap();
    assert!(!path.exists());
}
