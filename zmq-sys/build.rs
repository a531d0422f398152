//! Builds libzmq from source with CURVE, which the published crate of this name leaves out.

use std::env;

use zeromq_src::{Build, LibLocation};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    silence_warnings();
    let sodium = LibLocation::new(sodium_path("DEP_SODIUM_LIB"), sodium_path("DEP_SODIUM_INCLUDE"));
    // Draft: `ZMQ_ZAP_ENFORCE_DOMAIN`, `ZMQ_ROUTER_NOTIFY` and the batch sizes are draft options of 4.3.5.
    Build::new().enable_draft(true).with_libsodium(Some(sodium)).build();
}

fn sodium_path(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("libsodium-sys-stable did not set `{variable}`: build it from source, without SODIUM_LIB_DIR")
    })
}

/// libzmq's own warnings are nothing that a user of this crate can act on.
#[allow(unsafe_code, reason = "setting a variable is unsafe where other threads read it; here is only one")]
fn silence_warnings() {
    let flags = env::var("CXXFLAGS").unwrap_or_default();
    // SAFETY: a build script has one thread here.
    unsafe { env::set_var("CXXFLAGS", format!("{flags} -w")) };
}
