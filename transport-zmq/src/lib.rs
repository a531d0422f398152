//! Sinew over ZeroMQ: `zmq://host:port` and `zmq+ipc:///path`.
//!
//! | of Sinew | of ZeroMQ |
//! |---|---|
//! | a listener | a ROUTER, one task that owns it |
//! | a connection | a DEALER at the client, one task that owns it; a routing id at the server |
//! | a block | a message of one part, with a byte for its lane (`frames.rs` draws all of them) |
//! | an identity | a CURVE key pair; who is admitted is asked by ZAP, before a message of the peer is seen |
//! | back-pressure | a window in bytes for each connection and direction, since a ROUTER cannot pause one peer |
//! | the end of a connection | libzmq's notices in band; a goodbye and its answer where it ends in order |
//!
//! Lanes share one queue and one window: order holds even across them.
//!
//! **Limits of libzmq that show.** It ends a listener's connections with the listener, so a closed listener keeps its
//! address until the last of its connections has ended. It cannot disconnect a peer: one that was cut off is ignored at
//! once, and a second later, or at once if it floods, the TCP connection is ended underneath (`router/wires.rs`). What
//! libzmq takes in of a flood until then, and parts of a message that never ends, are bounded in time, not in bytes. A
//! CURVE client that is refused learns that it is, not why.
//!
//! Needs libzmq with CURVE, which the published `zmq-sys` does not build: see the README for the two lines of `[patch]`
//! that a project wants, which the error at the first `bind` or `connect` also quotes.
//!
//! ```
//! use sinew_transport_api::{Registry, Security, ListenOptions, ConnectOptions, Lane, Block};
//! use sinew_transport_zmq as _; // links the plug-in
//! # use std::sync::Arc;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let transports = Registry::linked()?;
//! let everyone = Arc::new(sinew_auth::AdmitEveryone);
//! let options = ListenOptions::new(Security::Plaintext, everyone);
//! let mut listener = transports.bind(&"zmq://127.0.0.1:0".parse()?, &options).await?;
//! let connecting = ConnectOptions::new(Security::Plaintext, None);
//! let endpoint = listener.endpoint().clone();
//! let (client, server) = tokio::join!(transports.connect(&endpoint, &connecting), listener.accept());
//! let (mut client, mut server) = (client?, server?);
//! client.sender.try_send(Lane::CONTROL, &mut Block::from(bytes::Bytes::from_static(b"hello")))?;
//! assert_eq!(server.receiver.recv().await?, Some((Lane::CONTROL, bytes::Bytes::from_static(b"hello"))));
//! # Ok(())
//! # }
//! ```

mod address;
mod client;
mod connection;
mod context;
mod curve;
mod descriptor;
mod frames;
mod link;
mod listener;
mod message;
mod monitor;
mod options;
mod porch;
mod router;
mod socket;

use std::sync::Arc;

use async_trait::async_trait;
use sinew_transport_api::{
    Capabilities, ConnectOptions, Connection, Endpoint, Lane, ListenOptions, Listener, Plugin, Result, Transport,
};

use crate::address::Kind;

/// The ZeroMQ transport. It has no state of its own: all values share the one libzmq context of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ZmqTransport;

sinew_transport_api::submit! {
    Plugin { schemes: &["zmq", "zmq+ipc"], build: || Arc::new(ZmqTransport) }
}

#[async_trait]
impl Transport for ZmqTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities { independent_lanes: false, secure: true, remote: true, lanes_max: Lane::COUNT_MAX }
    }

    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        let kind = Kind::of(endpoint)?;
        context::check_build(endpoint)?;
        listener::bind(endpoint, kind, options).await
    }

    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        let kind = Kind::of(endpoint)?;
        context::check_build(endpoint)?;
        client::connect(endpoint, kind, options).await
    }
}
