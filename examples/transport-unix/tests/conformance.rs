//! Unix sockets keep every promise of the contract.
#![cfg(unix)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use sinew_transport_api::conformance::{Mode, RawPeer, Stage, Subject};
use sinew_transport_api::{Endpoint, Transport};
use sinew_transport_unix::Unix;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Sockets in a directory that goes with the test.
struct UnixSockets {
    directory: TempDir,
    next: AtomicUsize,
}

impl UnixSockets {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory can be made"), next: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl Subject for UnixSockets {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Unix)
    }

    fn endpoint(&self) -> Endpoint {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("unix://{}/{number}.sock", self.directory.path().display()).parse().expect("a good endpoint")
    }

    fn mode(&self) -> Mode {
        Mode::Plaintext
    }

    async fn raw(&self, endpoint: &Endpoint, stage: Stage) -> Option<Box<dyn RawPeer>> {
        let mut stream = UnixStream::connect(endpoint.path()).await.expect("the listener is there");
        if stage == Stage::AfterHandshake {
            stream.write_all(b"SINEWUX1").await.expect("the listener listens");
            assert_eq!(stream.read_u8().await.expect("the listener answers"), 1);
        }
        Some(Box::new(Raw(stream)))
    }
}

struct Raw(UnixStream);

#[async_trait]
impl RawPeer for Raw {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

sinew_transport_api::conformance!(UnixSockets::new());
