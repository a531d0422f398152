//! A listener: a socket, the door task that lets clients in, and the queue of those who were.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use quinn::{AsyncUdpSocket, Runtime, ServerConfig, TokioRuntime};
use sinew_transport_api::{Connection, Endpoint, Error, ListenOptions, Listener, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::door::{Door, Occupancy, Rules};
use crate::target::{Target, check_own_key};
use crate::{socket, tls};

/// Bytes kept of a client that is not answered yet: three times a first flight with raw keys.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// Bytes kept of all of them.
const INCOMING_BYTES_TOTAL: u64 = 4 * 1024 * 1024;

/// How long a proof of address may be used: a retry is answered within a round trip.
const RETRY_LIFETIME: Duration = Duration::from_secs(5);

/// How long `close` waits for the socket when nobody is connected any more: until the last goodbyes are repeated three
/// times (RFC 9000, section 10.2), and something for a busy machine.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// How often it looks.
const RELEASE_POLL: Duration = Duration::from_millis(1);

pub(crate) async fn bind(endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
    let target = Target::of(endpoint)?;
    check_own_key(endpoint, options)?;
    let std_socket = bind_first(endpoint, target.resolve(endpoint).await?)?;
    let io = |cause| Error::Io { what: format!("listening at {endpoint}"), cause };
    let port = std_socket.local_addr().map_err(io)?.port();
    let socket = TokioRuntime.wrap_udp_socket(std_socket).map_err(io)?;
    let weak_socket = Arc::downgrade(&socket);
    let mut config = ServerConfig::with_crypto(tls::server_crypto(&options.security));
    config
        .migration(true)
        .max_incoming(options.limits.pending_max)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL)
        .retry_token_lifetime(RETRY_LIFETIME);
    config.validation_token.sent(0);
    let endpoint = endpoint.with_port(port);
    let (arrivals, queue) = mpsc::channel(options.limits.pending_max.max(1));
    let (stop, stopping) = oneshot::channel();
    let (stopped, has_stopped) = oneshot::channel();
    let quic = quinn::Endpoint::new_with_abstract_socket(
        tls::server_endpoint(&options.security),
        Some(config.clone()),
        socket,
        Arc::new(TokioRuntime),
    )
    .map_err(io)?;
    let door = Door::new(quic, Rules::new(&endpoint, target, config, options), arrivals);
    let occupancy = door.occupancy();
    let door = tokio::spawn(door.run(stopping, stopped));
    let open = Open { stop, has_stopped };
    Ok(Box::new(QuicListener { endpoint, queue, open: Some(open), door, occupancy, weak_socket }))
}

fn bind_first(endpoint: &Endpoint, addresses: Vec<SocketAddr>) -> Result<std::net::UdpSocket> {
    let mut last = None;
    for address in addresses {
        match socket::bound(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    let cause = last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(match cause.kind() {
        io::ErrorKind::AddrInUse => Error::AddressInUse { endpoint: endpoint.to_string() },
        _ => Error::Io { what: format!("listening at {endpoint}"), cause },
    })
}

struct QuicListener {
    endpoint: Endpoint,
    queue: mpsc::Receiver<Result<Connection>>,
    open: Option<Open>,
    door: JoinHandle<()>,
    occupancy: Occupancy,
    weak_socket: Weak<dyn AsyncUdpSocket>,
}

/// What there is until the listener is closed. Dropping `stop` stops the door as well.
struct Open {
    stop: oneshot::Sender<()>,
    /// Says whether somebody is still connected.
    has_stopped: oneshot::Receiver<bool>,
}

impl QuicListener {
    /// Waits until the socket is closed, where nobody holds a connection.
    async fn release(&mut self, by: Instant) {
        if self.occupancy.is_held() {
            return;
        }
        if !self.door.is_finished() {
            let _ = timeout_at(by, &mut self.door).await;
        }
        while self.weak_socket.strong_count() > 0 && Instant::now() < by {
            sleep(RELEASE_POLL).await;
        }
    }
}

#[async_trait]
impl Listener for QuicListener {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn accept(&mut self) -> Result<Connection> {
        match self.queue.recv().await {
            Some(result) => result,
            None if self.open.is_none() => Err(Error::Closed),
            None => {
                let what = format!("accepting at {}", self.endpoint);
                Err(Error::Io { what, cause: io::Error::other("the socket failed; listen again") })
            }
        }
    }

    /// Those who wait to be accepted are dropped. Accepted connections keep the socket; see the crate's documentation.
    /// Called again when none is held any more, it waits until the socket is closed.
    async fn close(&mut self) -> Result<()> {
        let by = Instant::now() + RELEASE_WAIT;
        if let Some(Open { stop, has_stopped }) = self.open.take() {
            self.queue.close();
            while self.queue.try_recv().is_ok() {}
            // The door may have ended by itself, with its socket.
            let _ = stop.send(());
            let _ = timeout_at(by, has_stopped).await;
        }
        self.release(by).await;
        Ok(())
    }
}

impl fmt::Debug for QuicListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuicListener({})", self.endpoint)
    }
}
