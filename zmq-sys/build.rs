//! Builds libzmq from source with CURVE, which the published crate of this name leaves out.

use std::env;
use std::path::Path;

use zeromq_src::{Build, LibLocation};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    set_compiler_flags();
    let sodium = LibLocation::new(sodium_path("DEP_SODIUM_LIB"), sodium_path("DEP_SODIUM_INCLUDE"));
    // Draft: `ZMQ_ZAP_ENFORCE_DOMAIN`, `ZMQ_ROUTER_NOTIFY` and the batch sizes are draft options of 4.3.5.
    Build::new().enable_draft(true).with_libsodium(Some(sodium)).build();
}

fn sodium_path(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("libsodium-sys-stable did not set `{variable}`: build it from source, without SODIUM_LIB_DIR")
    })
}

/// What libzmq's own build finds out about the system and `zeromq-src` does not ask: without these it wakes its threads
/// by a pair of sockets each, ignores the keep-alive options and copies each CURVE message twice more. And its warnings
/// are nothing that a user of this crate can act on.
#[allow(unsafe_code, reason = "setting a variable is unsafe where other threads read it; here is only one")]
fn set_compiler_flags() {
    let mut flags = env::var("CXXFLAGS").unwrap_or_default();
    flags.push_str(" -w -DZMQ_HAVE_CRYPTO_BOX_EASY_FNS=1");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("msvc") {
        let settings = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/settings.hpp");
        println!("cargo:rerun-if-changed={}", settings.display());
        flags.push_str(&format!(" -include {}", settings.display()));
    }
    let keep_alive = " -DZMQ_HAVE_SO_KEEPALIVE=1 -DZMQ_HAVE_TCP_KEEPCNT=1 -DZMQ_HAVE_TCP_KEEPINTVL=1";
    match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => {
            flags.push_str(keep_alive);
            flags.push_str(" -DZMQ_HAVE_TCP_KEEPIDLE=1 -DZMQ_HAVE_EVENTFD=1 -DZMQ_HAVE_EVENTFD_CLOEXEC=1");
        }
        Ok("macos") => {
            flags.push_str(keep_alive);
            flags.push_str(" -DZMQ_HAVE_TCP_KEEPALIVE=1");
        }
        _ => {}
    }
    // SAFETY: a build script has one thread here.
    unsafe { env::set_var("CXXFLAGS", flags) };
}
