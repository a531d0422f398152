//! The contract between Sinew and its transports.
//!
//! A transport moves **blocks**: opaque byte strings of at most [`Limits::block_bytes_max`] bytes, whole, in order
//! within a **lane**, reliable until the connection ends. It knows nothing of records, services, batching or
//! heartbeats. Write your own against this crate alone; `docs/PLUGINS.md` shows how, step by step.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use sinew_transport_api::auth::{AdmitEveryone, Identity};
//! use sinew_transport_api::{Block, ConnectOptions, Lane, LaneSet, ListenOptions, Registry, Security};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::linked()?; // `mem`, and whatever plug-ins the program links
//! let (server, client) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
//!
//! let endpoint = "mem://kitchen".parse()?;
//! let options = ListenOptions::new(Security::Identity(server.clone()), Arc::new(AdmitEveryone));
//! let mut listener = registry.bind(&endpoint, &options).await?;
//!
//! let endpoint = listener.endpoint().with_key(server.public_key()); // as a server prints it
//! let options = ConnectOptions::new(Security::Identity(client), None);
//! let mut ours = registry.connect(&endpoint, &options).await?;
//! let mut theirs = listener.accept().await?;
//!
//! let mut block = Block::from(Bytes::from("first records"));
//! block.push(Bytes::from(", then a large payload, uncopied"));
//! while !ours.sender.try_send(Lane::CONTROL, &mut block)? {
//!     ours.sender.ready(LaneSet::from(Lane::CONTROL)).await?; // full: wait for room, then try again
//! }
//! let (lane, bytes) = theirs.receiver.recv().await?.expect("a block");
//! assert_eq!((lane, &bytes[..]), (Lane::CONTROL, &b"first records, then a large payload, uncopied"[..]));
//!
//! ours.sender.close().await?;
//! assert!(theirs.receiver.recv().await?.is_none());
//! # Ok(())
//! # }
//! ```

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
mod crowd;
pub use crowd::{Crowd, CrowdPlace};
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
