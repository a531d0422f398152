//! The server's side as the application sees it: bind, accept, close. The work is the router's.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sinew_transport_api::{Connection, Endpoint, Error, ListenOptions, Listener, Result, Security};
use tokio::time::timeout;

use crate::address::{Kind, place};
use crate::curve::Door;
use crate::monitor::{LISTENING, Monitored};
use crate::options::{set_curve_server, set_domain, set_router, set_shared};
use crate::porch::Porch;
use crate::router::{Closing, Router, Rules};
use crate::socket::Socket;

/// How long libzmq's thread may take to close the descriptor that listened: it is a matter of microseconds.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Listens at `endpoint`.
pub(crate) async fn bind(endpoint: &Endpoint, kind: Kind, options: &ListenOptions) -> Result<Box<dyn Listener>> {
    let address = place(endpoint, kind).await?;
    let porch = Arc::new(Porch::default());
    let failed = |cause| Error::Io { what: format!("listening at {endpoint}"), cause };
    let door = match &options.security {
        Security::Identity(_) => Door::open(options.admit.clone(), kind, Arc::clone(&porch))?,
        Security::Plaintext => Door::open_plaintext()?,
    };
    let socket = Socket::open(zmq_sys::ZMQ_ROUTER).map_err(failed)?;
    set_up(&socket, options, &door).map_err(failed)?;
    let monitored = Monitored::new(socket, LISTENING).map_err(failed)?;
    monitored.socket().bind(&address).map_err(|cause| match cause.kind() {
        io::ErrorKind::AddrInUse => Error::AddressInUse { endpoint: endpoint.to_string() },
        _ => failed(cause),
    })?;
    let bound = monitored.socket().last_endpoint().map_err(failed)?;
    let endpoint = match kind {
        Kind::Tcp => endpoint.with_port(port_of(&bound).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?),
        Kind::Ipc => endpoint.clone(),
    };
    let rules = Rules::new(options, endpoint.clone(), kind, door, bound);
    let closing = Arc::new(Closing::default());
    let router = Router::new(monitored, rules, Arc::clone(&porch), Arc::clone(&closing));
    tokio::spawn(router.run());
    Ok(Box::new(ZmqListener { endpoint, porch, closing }))
}

fn set_up(socket: &Socket, options: &ListenOptions, door: &Door) -> io::Result<()> {
    set_shared(socket, &options.limits, options.limits.handshake_timeout)?;
    set_router(socket)?;
    match &options.security {
        Security::Identity(identity) => set_curve_server(socket, &identity.curve_keys().secret, door.domain()),
        Security::Plaintext => set_domain(socket, door.domain()),
    }
}

/// The port in `tcp://address:port`.
fn port_of(bound: &str) -> Option<u16> {
    bound.rsplit_once(':')?.1.parse().ok()
}

struct ZmqListener {
    endpoint: Endpoint,
    porch: Arc<Porch>,
    closing: Arc<Closing>,
}

#[async_trait]
impl Listener for ZmqListener {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn accept(&mut self) -> Result<Connection> {
        poll_fn(|context| self.porch.poll(context.waker())).await
    }

    /// libzmq ends a listener's connections together with the listener: while accepted ones live, newcomers are turned
    /// away as if nobody listened, and the address is free when the last of them has ended. Called again after that it
    /// waits until it is.
    async fn close(&mut self) -> Result<()> {
        self.porch.close();
        let number = self.closing.ask();
        let late = |_| Error::Timeout {
            endpoint: self.endpoint.to_string(),
            what: "free the address",
            after_ms: RELEASE_TIMEOUT.as_millis() as u64,
        };
        timeout(RELEASE_TIMEOUT, self.closing.done(number)).await.map_err(late)
    }
}

impl Drop for ZmqListener {
    fn drop(&mut self) {
        self.porch.close();
        self.closing.ask();
    }
}

impl fmt::Debug for ZmqListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZmqListener({})", self.endpoint)
    }
}
