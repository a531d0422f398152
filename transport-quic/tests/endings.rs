//! Ends that the conformance kit cannot make: programs that stop, restart, move, or leave right after the end.

mod pair;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use pair::{Pair, connect_options, listen_options, runtime, send, within};
use sinew_auth::Identity;
use sinew_transport_api::{Connection, Endpoint, Error, Lane, Transport};
use sinew_transport_quic::Quic;
use tokio::net::UdpSocket;

#[test]
fn a_peer_that_stops_right_after_the_end_has_confirmed_it() {
    let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let (endpoint_out, endpoint_in) = std::sync::mpsc::channel();
    let options = listen_options(&server);
    let reader = thread::spawn(move || {
        runtime().block_on(async {
            let mut listener = within(Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &options)).await.unwrap();
            endpoint_out.send(listener.endpoint().clone()).unwrap();
            let Connection { mut receiver, .. } = within(listener.accept()).await.unwrap();
            let mut count = 0;
            while within(receiver.recv()).await.unwrap().is_some() {
                count += 1;
            }
            count
        })
        // The runtime ends here, and with it everything that was still to be sent.
    });
    let endpoint = endpoint_in.recv().unwrap();
    runtime().block_on(async {
        let mut connection = within(Quic.connect(&endpoint, &connect_options(&client, &server))).await.unwrap();
        for _ in 0..10 {
            send(&mut connection.sender, Lane::CONTROL, vec![1; 50_000]).await;
        }
        within(connection.sender.close()).await.unwrap();
    });
    assert_eq!(reader.join().unwrap(), 10);
}

#[test]
fn a_restarted_listener_tells_old_peers_at_once() {
    let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let first = runtime();
    let (endpoint, accepted) = {
        let options = listen_options(&server);
        let listener = first.block_on(Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &options)).unwrap();
        let endpoint = listener.endpoint().clone();
        let mut listener = listener;
        (endpoint, first.spawn(async move { (listener.accept().await.unwrap(), listener) }))
    };
    let server_thread = thread::spawn(move || {
        let halves = first.block_on(accepted).unwrap();
        // As if the process were killed: nothing is sent any more.
        first.shutdown_background();
        drop(halves);
    });
    runtime().block_on(async {
        let mut connection = within(Quic.connect(&endpoint, &connect_options(&client, &server))).await.unwrap();
        server_thread.join().unwrap();
        let _listener = within(async {
            loop {
                match Quic.bind(&endpoint, &listen_options(&server)).await {
                    Err(Error::AddressInUse { .. }) => tokio::task::yield_now().await,
                    result => return result.unwrap(),
                }
            }
        })
        .await;
        send(&mut connection.sender, Lane::CONTROL, vec![1; 1000]).await;
        match within(connection.receiver.recv()).await {
            Err(Error::Lost { why, .. }) => assert!(why.contains("restarted"), "{why}"),
            other => panic!("{other:?}"),
        }
    });
}

#[tokio::test]
async fn a_connection_survives_a_change_of_address() {
    let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let mut listener = Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &listen_options(&server)).await.unwrap();
    let router = Router::start(listener.endpoint().authority().parse().unwrap()).await;
    let options = connect_options(&client, &server);
    let (connected, accepted) = tokio::join!(within(Quic.connect(&router.endpoint, &options)), listener.accept());
    let mut pair = Pair { client: connected.unwrap(), server: accepted.unwrap() };
    pair.round_trip(Lane::CONTROL).await;
    for _ in 0..3 {
        router.rebind.send(()).await.unwrap();
        pair.round_trip(Lane::CONTROL).await;
        pair.round_trip(Lane::CONTROL).await;
    }
}

/// A router with address translation that forgets its table when it is told to.
struct Router {
    endpoint: Endpoint,
    rebind: tokio::sync::mpsc::Sender<()>,
}

impl Router {
    async fn start(server: SocketAddr) -> Self {
        let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("quic://{}", inner.local_addr().unwrap()).parse().unwrap();
        // No capacity to speak of: `send` returns about when the new address is in use.
        let (rebind, mut asked) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let mut outer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut client = None;
            let (mut out, mut back) = (vec![0; 65536], vec![0; 65536]);
            loop {
                tokio::select! {
                    biased;
                    asked = asked.recv() => match asked {
                        Some(()) => outer = UdpSocket::bind("127.0.0.1:0").await.unwrap(),
                        None => return,
                    },
                    Ok((size, from)) = inner.recv_from(&mut out) => {
                        client = Some(from);
                        let _ = outer.send_to(&out[..size], server).await;
                    }
                    Ok((size, _)) = outer.recv_from(&mut back) => {
                        if let Some(client) = client {
                            let _ = inner.send_to(&back[..size], client).await;
                        }
                    }
                }
            }
        });
        Self { endpoint, rebind }
    }
}

#[tokio::test]
async fn a_listener_without_connections_frees_its_address_before_close_resolves() {
    let server = Arc::new(Identity::generate());
    let mut listener = Quic.bind(&"quic://127.0.0.1:0".parse().unwrap(), &listen_options(&server)).await.unwrap();
    let endpoint = listener.endpoint().clone();
    within(listener.close()).await.unwrap();
    let again = Quic.bind(&endpoint, &listen_options(&server)).await;
    assert!(again.is_ok(), "{again:?}");
    assert!(matches!(within(listener.accept()).await, Err(Error::Closed)));
}

#[tokio::test]
async fn blocks_taken_just_before_close_arrive_on_every_lane() {
    let mut pair = Pair::open("quic://127.0.0.1:0?preset=wan").await;
    pair.client.sender.open_lanes(9).unwrap();
    for lane in 0..9 {
        send(&mut pair.client.sender, Lane(lane), vec![lane; 20_000]).await;
    }
    let Pair { mut client, mut server } = pair;
    let reading = async {
        let mut lanes = Vec::new();
        while let Some((lane, bytes)) = within(server.receiver.recv()).await.unwrap() {
            assert_eq!(bytes, Bytes::from(vec![lane.0; 20_000]));
            lanes.push(lane.0);
        }
        lanes.sort();
        lanes
    };
    let (closed, lanes) = tokio::join!(within(client.sender.close()), reading);
    closed.unwrap();
    assert_eq!(lanes, (0..9).collect::<Vec<u8>>());
}
