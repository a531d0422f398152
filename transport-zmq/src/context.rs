//! The one libzmq context of the process, and names that are unique in it.
//!
//! It is made at first use and never ends: ending one waits for every socket, which no task of a runtime may do. Its
//! threads sleep when nothing is open. A process that forked gets its own, since threads do not survive a fork.

#![allow(unsafe_code, reason = "the `zmq` crate cannot set how many sockets its context may have")]

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sinew_transport_api::{Endpoint, Error, Result};

/// Threads that move bytes and encrypt; a connection stays with one of them. More than four bring nothing before the
/// task that owns the socket is the limit.
const IO_THREADS_MAX: usize = 4;
/// Sockets of the context: three for each connection that was made from here (itself and its monitor), two for each
/// listener. libzmq's default of 1,023 is used up by 341 connections.
const SOCKETS_MAX: c_int = 32_768;

/// The context, which lives as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct Context(pub(crate) *mut c_void);

// SAFETY: a context may be used by any thread (zmq_ctx_new(3), "Thread safety"), and it is never ended.
unsafe impl Send for Context {}

/// The context of this process.
pub(crate) fn context() -> io::Result<Context> {
    static CONTEXT: Mutex<Option<(u32, Context)>> = Mutex::new(None);
    let mut slot = CONTEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match *slot {
        Some((owner, context)) if owner == process => Ok(context),
        // What a fork inherited belongs to the parent: it is neither used nor ended here.
        _ => {
            let context = new_context()?;
            *slot = Some((process, context));
            Ok(context)
        }
    }
}

fn new_context() -> io::Result<Context> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(IO_THREADS_MAX));
    // SAFETY: the context is checked before it is used, and no socket of it exists yet.
    unsafe {
        let context = zmq_sys::zmq_ctx_new();
        if context.is_null() {
            return Err(io::Error::last_os_error());
        }
        for (option, value) in [(zmq_sys::ZMQ_IO_THREADS, threads as c_int), (zmq_sys::ZMQ_MAX_SOCKETS, SOCKETS_MAX)] {
            if zmq_sys::zmq_ctx_set(context, option as c_int, value) == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Context(context))
    }
}

/// A number that nothing else in this process has.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Fails where libzmq was built without what we need, and says what to write where.
pub(crate) fn check_build(endpoint: &Endpoint) -> Result<()> {
    if zmq::has("curve") == Some(true) && zmq::has("draft") == Some(true) {
        return Ok(());
    }
    let why = ADVICE.to_owned();
    Err(Error::Security { endpoint: endpoint.to_string(), why })
}

/// What a project does whose libzmq lacks CURVE.
const ADVICE: &str = "this program was built with a libzmq that lacks CURVE and draft options (ROUTER_NOTIFY), because \
a patch is not inherited from a dependency; add these lines to the Cargo.toml of your own workspace and build again:\n\
[patch.crates-io]\n\
zmq-sys = { path = \"PATH/TO/sinew/zmq-sys\" }";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_quotes_the_lines() {
        assert!(ADVICE.ends_with("\n[patch.crates-io]\nzmq-sys = { path = \"PATH/TO/sinew/zmq-sys\" }"));
    }

    #[test]
    fn this_build_has_what_is_needed() {
        check_build(&"zmq://127.0.0.1:1".parse().unwrap()).unwrap();
    }
}
