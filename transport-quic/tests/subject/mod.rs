//! What the conformance kit needs to know about this transport, and a peer that does not keep to its protocol.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sinew_transport_api::conformance::{Mode, RawPeer, Stage, Subject};
use sinew_transport_api::{Endpoint, Transport};
use sinew_transport_quic::Quic;

/// QUIC in one of its modes.
pub(crate) struct QuicSubject {
    mode: Mode,
}

impl QuicSubject {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode }
    }
}

#[async_trait]
impl Subject for QuicSubject {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Quic)
    }

    fn endpoint(&self) -> Endpoint {
        "quic://127.0.0.1:0".parse().expect("an endpoint")
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    /// quinn's windows, which are not much above `queue_bytes_max`, and a block for each lane.
    fn slack_bytes(&self) -> usize {
        1024 * 1024
    }

    async fn raw(&self, endpoint: &Endpoint, stage: Stage) -> Option<Box<dyn RawPeer>> {
        let address: SocketAddr = endpoint.authority().parse().ok()?;
        match (stage, self.mode) {
            (Stage::BeforeHandshake, _) => {
                let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
                socket.connect(address).await.ok()?;
                Some(Box::new(Datagrams(socket)))
            }
            (Stage::AfterHandshake, Mode::Identity) => None,
            (Stage::AfterHandshake, Mode::Plaintext) => {
                let quic = crate::raw::connect_open(address).await?;
                Some(Box::new(Streams { quic, stream: None }))
            }
        }
    }
}

/// Throws datagrams.
struct Datagrams(tokio::net::UdpSocket);

#[async_trait]
impl RawPeer for Datagrams {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.send(bytes).await.map(|_| ())
    }
}

/// Throws bytes into streams: all into one, whatever it is for.
struct Streams {
    quic: quinn::Connection,
    stream: Option<quinn::SendStream>,
}

#[async_trait]
impl RawPeer for Streams {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stream.is_none() {
            self.stream = Some(self.quic.open_uni().await?);
        }
        let stream = self.stream.as_mut().expect("it was opened just now");
        // A listener that does not read any more has cut us off in its way.
        match tokio::time::timeout(Duration::from_secs(5), stream.write_all(bytes)).await {
            Ok(written) => Ok(written?),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
