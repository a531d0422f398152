//! Connections that do nothing (idle clients), or harm: silent, half-open and garbage-sending peers, each of which comes
//! back three seconds after it was cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::sleep;

use crate::{Result, Server};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: Server,
    /// How many
    #[arg(long)]
    count: usize,
    /// Harm instead of clients that are idle
    #[arg(long)]
    hostile: bool,
}

/// How long a peer that was cut off stays away.
const AWAY: Duration = Duration::from_secs(3);
/// A greeting of ZMTP 3 with CURVE; a half-open peer says half of it.
const GREETING: &[u8] = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

pub(crate) async fn run(options: Options) -> Result<()> {
    let mut clients = Vec::new();
    if options.hostile {
        let (scheme, rest) = options.server.url.split_once("://").ok_or("a URL")?;
        let address: SocketAddr = rest.rsplit('@').next().ok_or("an address")?.parse()?;
        for number in 0..options.count {
            match scheme {
                "quic" => tokio::spawn(by_udp(number, address)),
                _ => tokio::spawn(by_tcp(number, address)),
            };
            if number % 100 == 99 {
                sleep(Duration::from_millis(10)).await;
            }
        }
    } else {
        for _ in 0..options.count {
            clients.push(options.server.connect().await?);
        }
    }
    println!("ready");
    let mut end = Vec::new();
    tokio::io::stdin().read_to_end(&mut end).await?;
    let mut lost = 0;
    for client in &clients {
        lost += usize::from(!matches!(*client.session().state().borrow(), sinew::State::Connected));
    }
    println!("{lost}");
    Ok(())
}

async fn by_tcp(number: usize, address: SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let said: &[u8] = match number % 3 {
                0 => b"",
                1 => [&GREETING[..20], GREETING][number / 3 % 2],
                _ => &[0x5a; 600],
            };
            let _ = stream.write_all(said).await;
            let mut buffer = [0; 256];
            while let Ok(1..) = stream.read(&mut buffer).await {}
        }
        sleep(AWAY).await;
    }
}

/// Silent: one byte that is no packet, so that there is somebody. Half-open: a client's first packet, and nothing after
/// it. Garbage: what looks like a first packet.
async fn by_udp(number: usize, address: SocketAddr) {
    let Ok(socket) = UdpSocket::bind("127.0.0.1:0").await else { return };
    loop {
        let said = match number % 3 {
            0 => vec![0],
            1 => first_packet(address).await.unwrap_or_default(),
            _ => [&[0xc3, 0, 0, 0, 1, 8][..], &number.to_le_bytes(), &[0x5a; 1_186]].concat(),
        };
        let _ = socket.send_to(&said, address).await;
        sleep(AWAY).await;
    }
}

/// The first packet of a real client: a client connects to a socket of ours, which keeps it.
async fn first_packet(_server: SocketAddr) -> Result<Vec<u8>> {
    let sink = UdpSocket::bind("127.0.0.1:0").await?;
    let identity = sinew::Identity::generate();
    let (tls, _) = identity.tls_client_config(sinew::Identity::generate().public_key(), &[b"sinew/1"]);
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
    let _connecting = endpoint.connect_with(config, sink.local_addr()?, "stress.invalid")?;
    let mut packet = vec![0; 2_000];
    let (size, _) = sink.recv_from(&mut packet).await?;
    packet.truncate(size);
    Ok(packet)
}
