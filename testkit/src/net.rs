//! A network in memory of a test's own: `mem://`, and `wide://` for the same with eight data lanes.

use std::sync::Arc;

use async_trait::async_trait;
use sinew_transport_api::{
    Block, Capabilities, ConnectOptions, Connection, Endpoint, FaultControl, LaneSet, ListenOptions, Listener, Mem,
    PathStats, Registry, Result, Sender, Transport,
};

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
        let (mem, mut registry) = (Mem::default(), Registry::default());
        registry.add("mem", Arc::new(mem.clone())).expect("the first");
        registry.add("wide", Arc::new(Wide(mem.clone()))).expect("the second");
        Self { mem, registry }
    }
}

impl Net {
    /// Its transports.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Bad weather for the connections of a name.
    pub fn faults(&self, name: &str) -> FaultControl {
        self.mem.faults(name)
    }
}

/// `mem` whose connections prefer eight data lanes.
#[derive(Debug)]
struct Wide(Mem);

#[async_trait]
impl Transport for Wide {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        self.0.bind(endpoint, options).await
    }

    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        let Connection { peer, sender, receiver } = self.0.connect(endpoint, options).await?;
        Ok(Connection { peer, sender: Box::new(WideSender(sender)), receiver })
    }
}

#[derive(Debug)]
struct WideSender(Box<dyn Sender>);

#[async_trait]
impl Sender for WideSender {
    fn open_lanes(&mut self, count: u8) -> Result<()> {
        self.0.open_lanes(count)
    }

    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet> {
        self.0.ready(wanted).await
    }

    fn try_send(&mut self, lane: sinew_transport_api::Lane, block: &mut Block) -> Result<bool> {
        self.0.try_send(lane, block)
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(&mut self) -> Result<()> {
        self.0.close().await
    }

    fn data_lanes_preferred(&self) -> u8 {
        WIDE_LANES
    }

    fn path(&self) -> PathStats {
        self.0.path()
    }
}
