//! Endpoints: what they mean, what is refused, and that every one reads back as itself.

use proptest::prelude::*;
use sinew_transport_api::auth::Identity;
use sinew_transport_api::{Endpoint, EndpointError};

/// Scheme, host, port, path of a good endpoint.
fn check(url: &str, scheme: &str, host: &str, port: Option<u16>, path: &str) {
    let endpoint: Endpoint = url.parse().unwrap_or_else(|error| panic!("`{url}`: {error}"));
    let parts = (endpoint.scheme(), endpoint.host(), endpoint.port(), endpoint.path());
    assert_eq!(parts, (scheme, host, port, path), "parts of `{url}`");
    assert_eq!(endpoint.to_string().parse(), Ok(endpoint), "`{url}` reads back as itself");
}

/// The reason that a bad endpoint is refused for.
fn refuse(url: &str, expected: &str) {
    match url.parse::<Endpoint>() {
        Err(error @ EndpointError::Syntax { .. }) => {
            let text = error.to_string();
            assert!(text.contains(expected), "`{url}` is refused with `{text}`, which lacks `{expected}`");
        }
        other => panic!("`{url}` gave {other:?}"),
    }
}

#[test]
fn good_endpoints() {
    check("zmq://localhost:5670", "zmq", "localhost", Some(5670), "");
    check("ZMQ://localhost:5670", "zmq", "localhost", Some(5670), "");
    check("zmq+ipc:///run/sinew.sock", "zmq+ipc", "", None, "/run/sinew.sock");
    check("quic://127.0.0.1:0", "quic", "127.0.0.1", Some(0), "");
    check("quic://[::1]:5670?preset=wan", "quic", "::1", Some(5670), "");
    check("quic://[fe80::1]", "quic", "fe80::1", None, "");
    check("mem://name", "mem", "name", None, "");
    check("mem://name/with/path", "mem", "name", None, "/with/path");
    check("quic://0.0.0.0:65535", "quic", "0.0.0.0", Some(65535), "");
}

#[test]
fn bad_endpoints() {
    for (url, why) in [
        ("", "no `scheme://`"),
        ("localhost:5670", "no `scheme://`"),
        ("://host", "its scheme"),
        ("z_q://host", "its scheme"),
        ("zmq://", "neither a host nor a path"),
        ("zmq://host:", "a port from 0 to 65535"),
        ("zmq://host:65536", "a port from 0 to 65535"),
        ("zmq://host:-1", "a port from 0 to 65535"),
        ("zmq://::1:80", "a port from 0 to 65535"),
        ("zmq://[::1", "a port from 0 to 65535"),
        ("zmq://[::1]80", "a port from 0 to 65535"),
        ("zmq://[host]:80", "IPv6 address in brackets"),
        ("zmq://[[::1]]", "IPv6 address in brackets"),
        ("zmq://ho]st", "IPv6 address in brackets"),
        ("zmq://a b", "white space"),
        ("zmq://a\nb", "white space"),
        ("zmq://a\0b", "white space"),
        ("quic://host:1?preset", "not `name=value`"),
        ("quic://host:1?a=1&a=2", "given twice"),
    ] {
        refuse(url, why);
    }
    refuse(&format!("zmq://{}", "a".repeat(2048)), "longer than 2,048 bytes");
}

#[test]
fn a_key_is_pinned_before_the_at() {
    let key = Identity::from_seed(&[7; 32]).public_key();
    let endpoint: Endpoint = "quic://host:1?preset=wan".parse().expect("a good endpoint");
    let pinned = endpoint.with_key(key);
    assert_eq!(pinned.to_string(), format!("quic://{key}@host:1?preset=wan"));
    assert_eq!(pinned.to_string().parse(), Ok(pinned.clone()));
    assert_eq!(pinned.key(), Some(key));
    assert_eq!(pinned.query("preset"), Some("wan"));
    assert_eq!(pinned.queries().collect::<Vec<_>>(), [("preset", "wan")]);
    assert!(matches!("quic://nonsense@host:1".parse::<Endpoint>(), Err(EndpointError::Key(_))));
}

#[test]
fn authority_is_what_sockets_want() {
    for (url, authority) in [("zmq://h:1", "h:1"), ("zmq://h", "h:0"), ("zmq://[::1]:9", "[::1]:9")] {
        assert_eq!(url.parse::<Endpoint>().expect("a good endpoint").authority(), authority);
    }
    let endpoint: Endpoint = "zmq://h:0".parse().expect("a good endpoint");
    assert_eq!(endpoint.with_port(7).to_string(), "zmq://h:7");
}

#[test]
fn a_long_endpoint_is_cut_in_its_error() {
    let error = "x".repeat(5000).parse::<Endpoint>().expect_err("it is too long");
    assert!(error.to_string().len() < 400, "the error has {} bytes", error.to_string().len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_string_panics(url in ".{0,80}") {
        let _ = url.parse::<Endpoint>();
    }

    #[test]
    fn what_parses_reads_back(url in "[a-z+]{1,5}://([a-z2-7]{52}@)?[\\[\\]a-z0-9:.@/?&=-]{0,30}") {
        if let Ok(endpoint) = url.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }
    }

    #[test]
    fn every_good_one_reads_back(
        scheme in "[a-z][a-z0-9+.-]{0,8}",
        host in "([a-z0-9.-]{1,20}|\\[[0-9a-f]{0,4}:[0-9a-f:]{2,20}\\])",
        port in proptest::option::of(any::<u16>()),
        path in "(/[a-z0-9._-]{0,10}){0,3}",
        options in proptest::collection::btree_map("[a-z]{1,6}", "[a-z0-9]{0,6}", 0..4),
        seed in proptest::option::of(any::<[u8; 32]>()),
    ) {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let options: Vec<String> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
        let key = seed.map(|seed| format!("{}@", Identity::from_seed(&seed).public_key())).unwrap_or_default();
        let url = format!("{scheme}://{key}{host}{port}{path}{query}");
        let endpoint: Endpoint = url.parse().map_err(|error| TestCaseError::fail(format!("`{url}`: {error}")))?;
        prop_assert_eq!(endpoint.to_string(), url);
    }
}
