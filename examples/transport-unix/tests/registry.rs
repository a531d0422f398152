//! Linked by name only, the plug-in is found by its scheme.
#![cfg(unix)]

use sinew_transport_api::Registry;
use sinew_transport_unix as _;

#[test]
fn the_scheme_is_found() {
    let registry = Registry::linked().expect("one transport for each scheme");
    assert_eq!(registry.schemes(), ["mem", "unix"]);
    registry.find(&"unix:///tmp/x".parse().expect("a good endpoint")).expect("the transport for `unix`");
}
