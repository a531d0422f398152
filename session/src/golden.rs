//! The golden vectors of `docs/WIRE.md` against what the code makes: page and code cannot drift apart.

use crate::cbor::to_cbor;
use crate::hello::verb::FRAGMENT;
use crate::hello::{CallHead, Failure, Hello, LANE_HASH_FNV1A, Refusal, SessionId, Welcome};
use crate::reassembly::fragment_head;
use crate::record::{Header, LAST, SESSION, encode};

/// The bytes of the vector `name` in the page.
fn vector(name: &str) -> Vec<u8> {
    let page = include_str!("../../docs/WIRE.md");
    let (_, rest) = page.split_once(&format!("```vector {name}\n")).expect("the page has this vector");
    let (hex, _) = rest.split_once("```").expect("it ends");
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn records_are_as_the_page_says() {
    let head = [&9_u16.to_le_bytes()[..], b"room.lamp"].concat();
    let header = Header { service: 1, verb: 1, flags: 0, call: 0 };
    assert_eq!(encode(header, &head, b"on"), vector("record-publish"));
    let header = Header { service: SESSION, verb: FRAGMENT, flags: LAST, call: 0 };
    assert_eq!(encode(header, &fragment_head(20, 16), &[0; 4]), vector("record-fragment"));
}

#[test]
fn hello_welcome_and_refusal_are_as_the_page_says() {
    let hello = Hello {
        protocol_min: 1,
        protocol_max: 1,
        features: 0,
        software: "sinew/0.1.0".into(),
        client: "golden".into(),
        services: vec![1],
        lanes: 8,
        lane_hash: LANE_HASH_FNV1A,
        space: String::new(),
        resume: Some(SessionId::from([7; 16])),
    };
    assert_eq!(to_cbor(&hello), vector("hello"));
    let welcome = Welcome {
        protocol: 1,
        features: 0,
        software: "sinew/0.1.0".into(),
        epoch: 0x0123_4567_89ab_cdef,
        session: SessionId::from([7; 16]),
        services: vec![1],
        lanes: 8,
        record_bytes_max: 8 << 20,
        heartbeat_ms: 1_000,
        lost_after_ms: 5_000,
        acknowledgement: "memory".into(),
        one_way_received: Some(42),
    };
    assert_eq!(to_cbor(&welcome), vector("welcome"));
    assert_eq!(to_cbor(&Refusal { reason: "full".into(), next: "wait".into(), retry: true }), vector("refusal"));
}

#[test]
fn call_heads_and_failures_are_as_the_page_says() {
    assert_eq!(to_cbor(&CallHead { deadline_ms: 5_000, operation: None }), vector("call-head"));
    assert_eq!(to_cbor(&Failure::new("limit", "too many")), vector("failure"));
}
