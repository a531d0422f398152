//! A network in memory of a test's own: `mem://`, and `wide://` for the same with eight data lanes. On request it writes
//! a trace of every block.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sinew_transport_api::{
    Block, Capabilities, ConnectOptions, Connection, Endpoint, FaultControl, Lane, LaneSet, ListenOptions, Listener,
    Mem, PathStats, Receiver, Registry, Result, Sender, Transport,
};

use crate::trace::{Trace, digest};

/// Data lanes of a `wide://` connection.
pub const WIDE_LANES: u8 = 8;

/// A network that no other test sees.
#[derive(Clone, Debug)]
pub struct Net {
    mem: Mem,
    registry: Registry,
}

impl Default for Net {
    fn default() -> Self {
        Self::traced(&Trace::off())
    }
}

impl Net {
    /// One that writes down what clients send and receive, block by block.
    ///
    /// # Panics
    /// Never: its two schemes differ.
    pub fn traced(trace: &Trace) -> Self {
        let (mem, mut registry) = (Mem::default(), Registry::default());
        for (scheme, lanes) in [("mem", None), ("wide", Some(WIDE_LANES))] {
            let watched = Watched { mem: mem.clone(), lanes, trace: trace.clone() };
            registry.add(scheme, Arc::new(watched)).expect("each once");
        }
        Self { mem, registry }
    }

    /// Its transports.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Bad weather for the connections of a name.
    pub fn faults(&self, name: &str) -> FaultControl {
        self.mem.faults(name)
    }
}

/// `mem` whose connections may prefer other lanes, and whose clients are watched.
#[derive(Debug)]
struct Watched {
    mem: Mem,
    lanes: Option<u8>,
    trace: Trace,
}

#[async_trait]
impl Transport for Watched {
    fn capabilities(&self) -> Capabilities {
        self.mem.capabilities()
    }

    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        self.mem.bind(endpoint, options).await
    }

    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        let connection = self.mem.connect(endpoint, options).await?;
        if self.lanes.is_none() && !self.trace.is_on() {
            return Ok(connection); // Nothing to see, and tests count what a connection allocates.
        }
        let Connection { peer, sender, receiver } = connection;
        let (trace, address) = (self.trace.clone(), peer.address.clone());
        let receiver = WatchedReceiver { inner: receiver, trace: trace.clone(), address: address.clone() };
        let sender = WatchedSender { inner: sender, lanes: self.lanes, trace, address };
        Ok(Connection { peer, sender: Box::new(sender), receiver: Box::new(receiver) })
    }
}

#[derive(Debug)]
struct WatchedReceiver {
    inner: Box<dyn Receiver>,
    trace: Trace,
    address: String,
}

#[async_trait]
impl Receiver for WatchedReceiver {
    async fn recv(&mut self) -> Result<Option<(Lane, Bytes)>> {
        let received = self.inner.recv().await;
        self.trace.note(|| match &received {
            Ok(Some((lane, block))) => {
                let hash = digest(block.iter().copied());
                format!("{} lane {} in: {} bytes {hash:x}", self.address, lane.0, block.len())
            }
            other => format!("{} in: {other:?}", self.address),
        });
        received
    }
}

#[derive(Debug)]
struct WatchedSender {
    inner: Box<dyn Sender>,
    lanes: Option<u8>,
    trace: Trace,
    address: String,
}

#[async_trait]
impl Sender for WatchedSender {
    fn open_lanes(&mut self, count: u8) -> Result<()> {
        self.inner.open_lanes(count)
    }

    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet> {
        self.inner.ready(wanted).await
    }

    fn try_send(&mut self, lane: Lane, block: &mut Block) -> Result<bool> {
        self.trace.note(|| {
            let hash = digest(block.chunks().iter().flatten().copied());
            format!("{} lane {} out: {} bytes {hash:x}", self.address, lane.0, block.len())
        });
        self.inner.try_send(lane, block)
    }

    async fn flush(&mut self) -> Result<()> {
        self.inner.flush().await
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }

    fn data_lanes_preferred(&self) -> u8 {
        self.lanes.unwrap_or_else(|| self.inner.data_lanes_preferred())
    }

    fn path(&self) -> PathStats {
        self.inner.path()
    }
}
