//! Two connected ends, and waits with deadlines.
#![allow(dead_code, reason = "each test file uses its own part of this module")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_auth::{AdmitEveryone, Identity};
use sinew_transport_api::{
    Block, ConnectOptions, Connection, Lane, LaneSet, ListenOptions, Receiver, Security, Sender, Transport,
};
use sinew_transport_quic::Quic;

/// The longest wait for a single thing. Generous: machines that run tests are busy.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("in time")
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn listen_options(server: &Arc<Identity>) -> ListenOptions {
    ListenOptions::new(Security::Identity(Arc::clone(server)), Arc::new(AdmitEveryone))
}

pub(crate) fn connect_options(client: &Arc<Identity>, server: &Identity) -> ConnectOptions {
    let security = Security::Identity(Arc::clone(client));
    ConnectOptions {
        connect_timeout: Duration::from_secs(25),
        ..ConnectOptions::new(security, Some(server.public_key()))
    }
}

pub(crate) async fn send(sender: &mut Box<dyn Sender>, lane: Lane, bytes: Vec<u8>) {
    let mut block = Block::from(Bytes::from(bytes));
    while !sender.try_send(lane, &mut block).unwrap() {
        within(sender.ready(LaneSet::from(lane))).await.unwrap();
    }
}

pub(crate) async fn recv(receiver: &mut Box<dyn Receiver>) -> (Lane, Bytes) {
    within(receiver.recv()).await.unwrap().expect("a block, not the end")
}

/// Both ends of a secured connection.
pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
}

impl Pair {
    /// Both with the same URL.
    pub(crate) async fn open(url: &str) -> Self {
        Self::of(url, url.split_once('?').map_or("", |(_, query)| query)).await
    }

    /// The listener with `url`, the client with options of its own.
    pub(crate) async fn of(url: &str, client_query: &str) -> Self {
        let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
        let mut listener = Quic.bind(&url.parse().unwrap(), &listen_options(&server)).await.unwrap();
        let port = listener.endpoint().port().unwrap();
        let query = if client_query.is_empty() { String::new() } else { format!("?{client_query}") };
        let endpoint = format!("quic://127.0.0.1:{port}{query}").parse().unwrap();
        let options = connect_options(&client, &server);
        let (client, server) = tokio::join!(within(Quic.connect(&endpoint, &options)), within(listener.accept()));
        Self { client: client.unwrap(), server: server.unwrap() }
    }

    pub(crate) async fn round_trip(&mut self, lane: Lane) {
        let Self { client, server } = self;
        send(&mut client.sender, lane, vec![7; 3000]).await;
        assert_eq!(recv(&mut server.receiver).await, (lane, vec![7; 3000].into()));
        send(&mut server.sender, lane, vec![8; 3000]).await;
        assert_eq!(recv(&mut client.receiver).await, (lane, vec![8; 3000].into()));
    }
}
