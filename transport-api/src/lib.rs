//! The contract between Sinew and its transports.
//!
//! A transport moves **blocks**: opaque byte strings of at most [`Limits::block_bytes_max`] bytes, whole, in order
//! within a **lane**, reliable until the connection ends. It knows nothing of records, services, batching or
//! heartbeats. Write your own against this crate alone; `docs/PLUGINS.md` shows how, step by step.

mod transport;
pub use transport::{Capabilities, Connection, Listener, Receiver, Sender, Transport};
mod block;
pub use block::Block;
mod lane;
pub use lane::{Lane, LaneSet};
mod endpoint;
pub use endpoint::{Endpoint, EndpointError};
mod options;
pub use options::{ConnectOptions, Limits, ListenOptions, Security};
mod peer;
pub use peer::{PathStats, Peer};
mod error;
pub use error::{Error, Result};
mod registry;
pub use registry::{Plugin, Registry};
mod mem;
pub use mem::{FaultControl, Faults, Mem};
#[cfg(feature = "conformance")]
pub mod conformance;
mod random;

#[doc(hidden)]
pub use inventory;
pub use sinew_auth as auth;
