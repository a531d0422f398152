//! QUIC connections without a Sinew behind them.
#![allow(dead_code, reason = "each test file uses its own part of this module")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use sinew_auth::{Identity, tls_open_client_config};
use tokio::net::UdpSocket;

/// A connection to a plaintext listener.
pub(crate) async fn connect_open(address: SocketAddr) -> Option<quinn::Connection> {
    connect_with(address, tls_open_client_config(&[b"sinew-open/1"])).await
}

/// The same, with a proven key.
pub(crate) async fn connect_secured(
    address: SocketAddr,
    ours: &Identity,
    server: &Identity,
) -> Option<quinn::Connection> {
    connect_with(address, ours.tls_client_config(server.public_key(), &[b"sinew/1"]).0).await
}

async fn connect_with(address: SocketAddr, config: rustls::ClientConfig) -> Option<quinn::Connection> {
    let crypto = QuicClientConfig::try_from(config).ok()?;
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).ok()?;
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    endpoint.connect_with(config, address, "raw.invalid").ok()?.await.ok()
}

/// The first packet of a client of a plaintext listener: it connects to a socket of ours, which keeps it.
pub(crate) async fn first_packet() -> Vec<u8> {
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = sink.local_addr().unwrap();
    let connecting = tokio::spawn(connect_open(address));
    let mut packet = vec![0; 2_048];
    let size = sink.recv(&mut packet).await.unwrap();
    connecting.abort();
    packet.truncate(size);
    packet
}
