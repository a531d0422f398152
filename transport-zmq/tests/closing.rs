//! The address of a listener: free once `close` has resolved and no connection is held, as often as one likes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sinew_auth::{AdmitEveryone, Identity};
use sinew_transport_api::{ConnectOptions, Error, ListenOptions, Security, Transport};
use sinew_transport_zmq::ZmqTransport;

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let waited = tokio::time::timeout(Duration::from_secs(30), future).await;
    waited.unwrap_or_else(|_| panic!("waited 30 s for {what}"))
}

/// Listens at one port again and again. Each time some connections are there, and are dropped before the last `close`.
async fn rounds(secure: bool) {
    let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let security = |identity: &Arc<Identity>| match secure {
        true => Security::Identity(identity.clone()),
        false => Security::Plaintext,
    };
    let listening = ListenOptions::new(security(&server), Arc::new(AdmitEveryone));
    let connecting = ConnectOptions::new(security(&client), secure.then(|| server.public_key()));
    let mut endpoint = "zmq://127.0.0.1:0".parse().unwrap();
    for round in 0..30 {
        let mut listener = within("a listener", ZmqTransport.bind(&endpoint, &listening)).await.unwrap();
        endpoint = listener.endpoint().clone();
        let mut held = Vec::new();
        for _ in 0..round % 4 {
            let pair = async { tokio::join!(ZmqTransport.connect(&endpoint, &connecting), listener.accept()) };
            let (client, server) = within("a pair", pair).await;
            held.push((client.unwrap(), server.unwrap()));
        }
        if round % 2 == 0 {
            // Connections live on: this resolves before the address is free.
            within("the first close", listener.close()).await.unwrap();
        }
        let (clients, servers): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        drop(servers);
        within("the last close", listener.close()).await.unwrap();
        // Only now, so that it is not the clients who make the listener's connections end.
        drop(clients);
    }
}

#[tokio::test]
async fn an_address_is_free_after_close() {
    rounds(false).await;
    rounds(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_free_after_close_with_two_threads() {
    rounds(false).await;
    rounds(true).await;
}

/// Somebody else's port is told at once.
#[tokio::test]
async fn a_busy_address_is_an_error() {
    let busy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("zmq://{}", busy.local_addr().unwrap()).parse().unwrap();
    let options = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));
    let error = within("the error", ZmqTransport.bind(&endpoint, &options)).await.unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
}
