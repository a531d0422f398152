//! Every transport that a feature brings is linked and found by its scheme, and one that is missing is named with its
//! feature.

use sinew::{Client, Registry, Server};

fn schemes() -> Vec<&'static str> {
    let mut schemes = vec!["mem"];
    if cfg!(feature = "quic") {
        schemes.push("quic");
    }
    if cfg!(feature = "zmq") {
        schemes.extend(["zmq", "zmq+ipc"]);
    }
    schemes
}

#[test]
fn every_enabled_transport_is_linked() {
    assert_eq!(Registry::linked().unwrap().schemes(), schemes());
}

#[tokio::test]
async fn an_unknown_scheme_lists_those_there_are() {
    let known = schemes().join(", ");
    let expected = format!("no transport for `pigeon://roof:1`: this program knows {known}");
    let error = Client::builder("pigeon://roof:1").plaintext().connect().await.unwrap_err();
    assert_eq!(error.to_string(), expected);
    let error = Server::builder().listen("pigeon://roof:1").plaintext().start().await.unwrap_err();
    assert_eq!(error.to_string(), expected);
}

/// Runs in builds without one of them; `xtask ci` makes each.
#[tokio::test]
async fn a_missing_transport_of_ours_is_named_with_its_feature() {
    for (scheme, feature, on) in [("quic", "quic", cfg!(feature = "quic")), ("zmq", "zmq", cfg!(feature = "zmq"))] {
        let url = format!("{scheme}://127.0.0.1:1");
        let known = schemes().join(", ");
        let expected = format!("no transport for `{url}`: this program knows {known}; build with --features {feature}");
        if !on {
            let error = Client::builder(&url).plaintext().connect().await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
