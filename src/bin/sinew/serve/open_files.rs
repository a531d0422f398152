//! How many connections the system lets this process have: each takes a descriptor over ZeroMQ, and the usual limit of
//! 1,024 is far below the listeners' own.

use sinew::Limits;

/// Descriptors beside those of peers: the libraries' own, files, standard streams.
const OTHERS: u64 = 256;

/// Raises the limit to what the listeners' own limits need, as far as it may be raised, and says so where that is not
/// enough: without descriptors libzmq can take nobody in.
#[cfg(unix)]
pub(super) fn raise() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = Limits::default();
    let wanted = (limits.connections_max + 2 * limits.pending_max) as u64 + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(now) = current.filter(|now| *now < wanted) else { return };
    let possible = maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(now);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum }).is_ok();
    let open_files = if raised { possible } else { now };
    if open_files < wanted {
        eprintln!(
            "warning: the system allows this process {open_files} open files, and there may be {wanted} connections and \
             others; raise the hard limit (`ulimit -Hn`)"
        );
    }
}

/// Nothing to do: there is no such limit.
#[cfg(not(unix))]
pub(super) fn raise() {
    let _ = (OTHERS, Limits::default());
}
