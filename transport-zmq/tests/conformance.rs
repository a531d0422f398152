//! ZeroMQ keeps every promise of the contract, over TCP and Unix sockets, plaintext and with CURVE.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use sinew_transport_api::conformance::{Mode, RawPeer, Stage, Subject};
use sinew_transport_api::{Endpoint, Transport};
use sinew_transport_zmq::ZmqTransport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

struct Zmq {
    mode: Mode,
    /// Where the sockets go, for Unix sockets.
    folder: Option<tempfile::TempDir>,
}

impl Zmq {
    fn tcp(mode: Mode) -> Self {
        Self { mode, folder: None }
    }

    fn ipc(mode: Mode) -> Self {
        Self { mode, folder: Some(tempfile::tempdir().expect("a folder can be made")) }
    }
}

#[async_trait]
impl Subject for Zmq {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(ZmqTransport)
    }

    fn endpoint(&self) -> Endpoint {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let url = match &self.folder {
            None => "zmq://127.0.0.1:0".to_owned(),
            Some(folder) => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                format!("zmq+ipc://{}/{number}", folder.path().display())
            }
        };
        url.parse().expect("a good endpoint")
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    /// The window is counted from end to end: nothing waits outside of it.
    fn slack_bytes(&self) -> usize {
        0
    }

    async fn raw(&self, endpoint: &Endpoint, stage: Stage) -> Option<Box<dyn RawPeer>> {
        if stage == Stage::AfterHandshake && self.mode == Mode::Identity {
            // Would need the server's key, which the kit keeps; `hostile.rs` does it.
            return None;
        }
        let mut raw: Box<dyn Stream> = match &self.folder {
            None => Box::new(TcpStream::connect(endpoint.authority()).await.expect("somebody listens")),
            Some(_) => Box::new(UnixStream::connect(endpoint.path()).await.expect("somebody listens")),
        };
        if stage == Stage::AfterHandshake {
            shake_hands(&mut raw).await.expect("the listener lets a good peer in");
        }
        Some(Box::new(Raw(raw)))
    }
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

struct Raw(Box<dyn Stream>);

#[async_trait]
impl RawPeer for Raw {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

/// ZMTP 3.0 (ZeroMQ RFC 23) with the NULL mechanism, by hand, and then our hello.
async fn shake_hands(raw: &mut Box<dyn Stream>) -> io::Result<()> {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    raw.write_all(&greeting).await?;
    raw.write_all(b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER").await?;
    hear(raw, b"\x05READY").await?;
    raw.write_all(b"\x00\x0f\x01SNEW\x01\x00\x00\x00\x01\x00\x00\x00\x07\x00").await?;
    // The acceptance, a frame of 15 bytes.
    hear(raw, b"\x0f\x02SNEW").await
}

async fn hear(raw: &mut Box<dyn Stream>, what: &[u8]) -> io::Result<()> {
    let mut heard = Vec::new();
    while !heard.windows(what.len()).any(|window| window == what) {
        let mut some = [0; 256];
        let count = raw.read(&mut some).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        heard.extend_from_slice(&some[..count]);
    }
    Ok(())
}

sinew_transport_api::conformance!(mod tcp_plaintext, Zmq::tcp(Mode::Plaintext));
sinew_transport_api::conformance!(mod tcp_curve, Zmq::tcp(Mode::Identity));
sinew_transport_api::conformance!(mod ipc_plaintext, Zmq::ipc(Mode::Plaintext));
sinew_transport_api::conformance!(mod ipc_curve, Zmq::ipc(Mode::Identity));
