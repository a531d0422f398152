//! Presets by URL and by address, and that any two of them understand each other.

mod pair;

use pair::{Pair, recv, send};
use sinew_transport_api::{Error, Lane, ListenOptions, Security, Transport};
use sinew_transport_quic::Quic;

#[tokio::test]
async fn the_url_chooses_the_preset_and_else_the_address() {
    for (query, lanes) in [("", 1), ("preset=loopback", 1), ("preset=lan", 1), ("preset=wan", 8)] {
        let pair = Pair::of("quic://127.0.0.1:0", query).await;
        assert_eq!(pair.client.sender.data_lanes_preferred(), lanes, "{query}");
        // The listener's own URL says nothing, and its client is on the loopback.
        assert_eq!(pair.server.sender.data_lanes_preferred(), 1, "{query}");
    }
    let pair = Pair::of("quic://0.0.0.0:0?preset=wan", "").await;
    assert_eq!(pair.server.sender.data_lanes_preferred(), 8);
}

#[tokio::test]
async fn any_two_presets_understand_each_other() {
    let queries = ["preset=loopback", "preset=lan", "preset=wan", "preset=wan&mtu=1200", "mtu=4000"];
    for at_server in queries {
        for at_client in queries {
            let mut pair = Pair::of(&format!("quic://127.0.0.1:0?{at_server}"), at_client).await;
            pair.client.sender.open_lanes(3).unwrap();
            pair.server.sender.open_lanes(3).unwrap();
            pair.round_trip(Lane(2)).await;
            let Pair { client, server } = &mut pair;
            let sending = async {
                for block in 0..4u8 {
                    send(&mut client.sender, Lane(1), vec![block; 200_000]).await;
                }
            };
            let receiving = async {
                for block in 0..4u8 {
                    assert_eq!(recv(&mut server.receiver).await, (Lane(1), vec![block; 200_000].into()));
                }
            };
            tokio::join!(sending, receiving);
        }
    }
}

#[tokio::test]
async fn a_name_with_several_addresses_is_reached() {
    let mut listener = Quic
        .bind(
            &"quic://127.0.0.1:0".parse().unwrap(),
            &ListenOptions::new(Security::Plaintext, std::sync::Arc::new(sinew_auth::AdmitEveryone)),
        )
        .await
        .unwrap();
    let endpoint = format!("quic://localhost:{}", listener.endpoint().port().unwrap()).parse().unwrap();
    let options = sinew_transport_api::ConnectOptions::new(Security::Plaintext, None);
    let (client, server) = tokio::join!(pair::within(Quic.connect(&endpoint, &options)), listener.accept());
    Pair { client: client.unwrap(), server: server.unwrap() }.round_trip(Lane::CONTROL).await;
}

#[tokio::test]
async fn options_that_are_not_known_are_refused() {
    let listen = ListenOptions::new(Security::Plaintext, std::sync::Arc::new(sinew_auth::AdmitEveryone));
    for url in ["quic://127.0.0.1:0?preset=fast", "quic://127.0.0.1:0?mtu=70000", "quic://127.0.0.1", "quic:///p"] {
        let error = Quic.bind(&url.parse().unwrap(), &listen).await.unwrap_err();
        assert!(matches!(error, Error::Endpoint(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn the_path_is_measured() {
    let mut pair = Pair::open("quic://127.0.0.1:0").await;
    pair.round_trip(Lane::CONTROL).await;
    let path = pair.client.sender.path();
    assert!(path.round_trip.is_some_and(|time| !time.is_zero()) && path.packets_sent > Some(1), "{path:?}");
    assert!(path.packets_lost.is_some());
}
