//! What the comparisons measure: one hop through the session over each transport, and the bare libraries doing the same
//! work beside it. The criterion harness is in `benches/`; `cargo xtask bench transports` runs it and prints the table.

use sinew_transport_quic as _;
use sinew_transport_zmq as _;

mod session_hop;
pub use session_hop::{Hop, HopServer, Secured};
mod bare_tcp;
pub use bare_tcp::BareTcp;
mod bare_zmq;
pub use bare_zmq::BareZmq;
mod bare_quic;
pub use bare_quic::BareQuic;
#[cfg(unix)]
mod server;
#[cfg(unix)]
pub use server::{Server, Watching, disk_bytes};
