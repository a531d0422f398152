//! The one libzmq context of the process, and names that are unique in it.
//!
//! It is made at first use and never ends: ending one waits for every socket, which no task of a runtime may do. Its
//! threads sleep when nothing is open. A process that forked gets its own, since threads do not survive a fork.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sinew_transport_api::{Endpoint, Error, Result};

/// Threads that move bytes and encrypt; a connection stays with one of them. More than four bring nothing before the
/// task that owns the socket is the limit.
const IO_THREADS_MAX: usize = 4;

/// The context of this process.
pub(crate) fn context() -> io::Result<zmq::Context> {
    static CONTEXT: Mutex<Option<(u32, zmq::Context)>> = Mutex::new(None);
    let mut slot = CONTEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let process = std::process::id();
    if let Some((owner, context)) = &*slot {
        if *owner == process {
            return Ok(context.clone());
        }
    }
    let context = zmq::Context::new();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(IO_THREADS_MAX));
    context.set_io_threads(threads as i32).map_err(io::Error::other)?;
    // Whatever was there belongs to the parent of a fork: neither used nor ended here.
    std::mem::forget(slot.replace((process, context.clone())));
    Ok(context)
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
