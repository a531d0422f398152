//! The registry: who is found, and what is said when nobody is.

use std::sync::Arc;

use sinew_transport_api::{Endpoint, Error, Mem, Registry};

fn endpoint(url: &str) -> Endpoint {
    url.parse().expect("a good endpoint")
}

#[test]
fn mem_is_always_linked() {
    let registry = Registry::linked().expect("one transport for each scheme");
    assert_eq!(registry.schemes(), ["mem"]);
    registry.find(&endpoint("mem://x")).expect("the transport for `mem`");
}

#[test]
fn schemes_are_sorted() {
    let mut registry = Registry::default();
    for scheme in ["zmq", "mem", "quic"] {
        registry.add(scheme, Arc::new(Mem::default())).expect("each comes once");
    }
    assert_eq!(registry.schemes(), ["mem", "quic", "zmq"]);
    assert_eq!(format!("{registry:?}"), r#"{"mem", "quic", "zmq"}"#);
}

#[test]
fn an_unknown_scheme_is_told_with_those_there_are() {
    let mut registry = Registry::default();
    for scheme in ["zmq", "mem"] {
        registry.add(scheme, Arc::new(Mem::default())).expect("each comes once");
    }
    let error = registry.find(&endpoint("quic://host:1")).expect_err("there is none");
    assert_eq!(error.to_string(), "no transport for `quic://host:1`: this program knows mem, zmq");
}

#[test]
fn two_transports_for_one_scheme_are_refused() {
    let mut registry = Registry::default();
    registry.add("mem", Arc::new(Mem::default())).expect("the first");
    let error = registry.add("mem", Arc::new(Mem::default())).expect_err("the second");
    assert!(matches!(&error, Error::DuplicateScheme { scheme } if scheme == "mem"), "{error:?}");
    assert_eq!(error.to_string(), "two transports for the scheme `mem`: link only one, or build a `Registry` by hand");
}

#[test]
fn the_first_of_two_stays() {
    let (first, second) = (Arc::new(Mem::default()), Arc::new(Mem::default()));
    let mut registry = Registry::default();
    registry.add("mem", first.clone()).expect("the first");
    registry.add("mem", second).expect_err("the second");
    let found = registry.find(&endpoint("mem://x")).expect("the first is there");
    assert_eq!(Arc::as_ptr(found).cast::<u8>(), Arc::as_ptr(&first).cast::<u8>());
}
