//! quinn alone: one stream in large writes one way, and echoes, on current-thread runtimes.

use std::sync::Arc;
use std::thread;

use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use sinew_auth::Identity;
use tokio::runtime::Runtime;

/// Bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;
/// The application protocol.
const ALPN: &[u8] = b"bench";

/// A stream to a thread that reads, and answers when told to.
#[derive(Debug)]
pub struct BareQuic {
    runtime: Runtime,
    send: SendStream,
    receive: RecvStream,
    _connection: Connection,
    _endpoint: Endpoint,
}

impl BareQuic {
    /// A pair over loopback with raw public keys and the packet size of the `loopback` preset.
    ///
    /// # Panics
    /// If quinn cannot.
    pub fn start() -> Self {
        let identity = Identity::generate();
        let key = identity.public_key();
        let (told, address) = std::sync::mpsc::channel();
        thread::spawn(move || {
            runtime().block_on(async {
                let tls = identity.tls_server_config(&[ALPN], None);
                let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
                let mut config = ServerConfig::with_crypto(Arc::new(crypto));
                config.transport_config(transport());
                let endpoint = endpoint(Some(config));
                told.send(endpoint.local_addr().expect("it is bound")).expect("the client waits");
                let connection = endpoint.accept().await.expect("a client").await.expect("a handshake");
                serve(&connection).await;
            });
        });
        let address = address.recv().expect("the server tells");
        let runtime = runtime();
        let (connection, (send, receive), endpoint) = runtime.block_on(async {
            let endpoint = endpoint(None);
            let (tls, _) = Identity::generate().tls_client_config(key, &[ALPN]);
            let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
            let mut config = ClientConfig::new(Arc::new(crypto));
            config.transport_config(transport());
            let connection =
                endpoint.connect_with(config, address, "sinew").expect("an address").await.expect("a server");
            let streams = connection.open_bi().await.expect("a stream");
            (connection, streams, endpoint)
        });
        Self { runtime, send, receive, _connection: connection, _endpoint: endpoint }
    }

    /// Sends `count` records of `bytes` each in large writes, and waits for the last one's receipt.
    ///
    /// # Panics
    /// If the connection breaks.
    pub fn one_way(&mut self, count: u64, bytes: usize) {
        let Self { runtime, send, receive, .. } = self;
        runtime.block_on(async {
            let total = count * bytes as u64;
            send.write_all(&total.to_le_bytes()).await.expect("it stands");
            let chunk = vec![1; WRITE_BYTES];
            let mut left = total;
            while left > 0 {
                let now = left.min(WRITE_BYTES as u64);
                send.write_all(&chunk[..now as usize]).await.expect("it stands");
                left -= now;
            }
            receive.read_exact(&mut [0]).await.expect("the receipt");
        });
    }

    /// Makes `count` echoes of `bytes` each.
    ///
    /// # Panics
    /// If the connection breaks.
    pub fn round_trips(&mut self, count: u64, bytes: usize) {
        let Self { runtime, send, receive, .. } = self;
        runtime.block_on(async {
            let mut block = (bytes as u64).to_le_bytes().to_vec();
            block.resize(8 + bytes, 1);
            for _ in 0..count {
                send.write_all(&block).await.expect("it stands");
                receive.read_exact(&mut [0]).await.expect("the echo");
            }
        });
    }
}

/// Reads a length and so many bytes, answers with one byte, and again.
async fn serve(connection: &Connection) {
    let Ok((mut send, mut receive)) = connection.accept_bi().await else { return };
    let mut length = [0; 8];
    while receive.read_exact(&mut length).await.is_ok() {
        let mut left = u64::from_le_bytes(length);
        while left > 0 {
            match receive.read_chunk(left.min(WRITE_BYTES as u64) as usize, true).await {
                Ok(Some(chunk)) => left -= chunk.bytes.len() as u64,
                _ => return,
            }
        }
        if send.write_all(&[1]).await.is_err() {
            return;
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config.initial_mtu(6_500).mtu_discovery_config(None);
    config.stream_receive_window(4_194_304_u32.into()).send_window(8 << 20);
    Arc::new(config)
}

fn endpoint(server: Option<ServerConfig>) -> Endpoint {
    let mut config = quinn::EndpointConfig::default();
    config.max_udp_payload_size(6_500).expect("a size of UDP");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let buffers = socket2::SockRef::from(&socket);
    buffers.set_recv_buffer_size(4 << 20).expect("an option");
    buffers.set_send_buffer_size(4 << 20).expect("an option");
    Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).expect("an endpoint")
}
