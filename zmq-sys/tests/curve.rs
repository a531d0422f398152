//! What the patched build is for: libzmq as the `zmq` crate sees it has CURVE, and the version we wrote against.

#[test]
fn curve_is_there() {
    assert_eq!(zmq::has("curve"), Some(true));
}

#[test]
fn draft_options_and_ipc_are_there() {
    assert_eq!(zmq::has("draft"), Some(true));
    assert_eq!(zmq::has("ipc"), Some(true));
}

#[test]
fn it_is_the_version_that_was_declared() {
    assert_eq!(zmq::version(), (4, 3, 5));
}

#[test]
fn a_key_pair_can_be_made() {
    let pair = zmq::CurveKeyPair::new().expect("CURVE is there");
    assert_ne!(pair.public_key, pair.secret_key);
}

#[test]
fn a_message_has_the_documented_size() {
    assert_eq!(std::mem::size_of::<zmq_sys::zmq_msg_t>(), 64);
}
