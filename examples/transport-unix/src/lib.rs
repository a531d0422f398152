//! A transport over Unix stream sockets: `unix:///run/sinew.sock`.
//!
//! An example of a plug-in, written as an outsider would write it; `docs/PLUGINS.md` walks through it. Plaintext only:
//! who may connect is a matter of the permissions of the socket's directory, and of [`Admit`](sinew_transport_api::auth::Admit) as always.
#![cfg(unix)]

mod connection;
mod frames;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sinew_transport_api::auth::{Candidate, Claim, Refusal};
use sinew_transport_api::{
    Capabilities, ConnectOptions, Connection, Endpoint, EndpointError, Error, Lane, ListenOptions, Listener, Plugin,
    Result, Security, Transport, submit,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use frames::Answer;

submit! { Plugin { schemes: &["unix"], build: || Arc::new(Unix) } }

/// The transport. It has no state of its own.
#[derive(Debug)]
pub struct Unix;

#[async_trait]
impl Transport for Unix {
    fn capabilities(&self) -> Capabilities {
        Capabilities { independent_lanes: false, secure: false, remote: false, lanes_max: Lane::COUNT_MAX }
    }

    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        let path = path(endpoint, &options.security)?;
        let socket = bind(&path).await.map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => Error::AddressInUse { endpoint: endpoint.to_string() },
            _ => Error::Io { what: format!("listening at {endpoint}"), cause },
        })?;
        let places = Arc::new(Semaphore::new(options.limits.connections_max));
        let (endpoint, options) = (endpoint.clone(), options.clone());
        Ok(Box::new(Door { endpoint, options, path, places, socket: Some(socket), handshakes: JoinSet::new() }))
    }

    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        let path = path(endpoint, &options.security)?;
        if options.server_key.is_some() {
            return Err(no_security(endpoint));
        }
        let handshake = async {
            let mut stream = UnixStream::connect(&path).await?;
            let answer = frames::ask(&mut stream).await?;
            io::Result::Ok((stream, answer))
        };
        let endpoint = || endpoint.to_string();
        match in_time(endpoint(), "answer", options.connect_timeout, handshake).await? {
            Ok((stream, Answer::Admitted)) => Ok(connection::new(stream, endpoint(), &options.limits, None)),
            Ok((_, Answer::Refused)) => Err(Error::Refused { endpoint: endpoint(), refusal: Refusal::Anonymous }),
            Ok((_, Answer::Full)) => Err(Error::Limit { endpoint: endpoint(), what: "connections_max", max: 0 }),
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                Err(Error::Protocol { peer: endpoint(), why: cause.to_string() })
            }
            Err(cause) => Err(Error::Unreachable { endpoint: endpoint(), cause: Some(cause) }),
        }
    }
}

/// Checks that the endpoint makes sense here, and gives its path.
fn path(endpoint: &Endpoint, security: &Security) -> Result<PathBuf> {
    if !endpoint.host().is_empty() {
        let why = "a Unix socket has a path and no host; write it with three slashes";
        return Err(EndpointError::Part { url: endpoint.to_string(), why }.into());
    }
    if let Some((name, value)) = endpoint.queries().next() {
        let (scheme, option) = (endpoint.scheme().to_owned(), format!("{name}={value}"));
        return Err(EndpointError::Option { scheme, option, known: "none" }.into());
    }
    match security {
        Security::Plaintext if endpoint.key().is_none() => Ok(endpoint.path().into()),
        _ => Err(no_security(endpoint)),
    }
}

fn no_security(endpoint: &Endpoint) -> Error {
    let why = "Unix sockets know no keys; ask for plaintext without a key and close the socket's directory to others";
    Error::Security { endpoint: endpoint.to_string(), why: why.to_owned() }
}

/// Waits for `future` for at most `limit`.
async fn in_time<F: Future>(endpoint: String, what: &'static str, limit: Duration, future: F) -> Result<F::Output> {
    let after_ms = limit.as_millis() as u64;
    timeout(limit, future).await.map_err(|_elapsed| Error::Timeout { endpoint, what, after_ms })
}

/// Binds, past a file that a listener which died has left behind: nobody answers there.
async fn bind(path: &PathBuf) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path).await {
            Err(nobody) if nobody.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        result => result,
    }
}

/// The listener.
#[derive(Debug)]
struct Door {
    endpoint: Endpoint,
    options: ListenOptions,
    path: PathBuf,
    /// A permit for each connection there may be.
    places: Arc<Semaphore>,
    /// `None` once closed.
    socket: Option<UnixListener>,
    /// Side by side, so that a silent peer at the door holds up nobody. They end with the listener.
    handshakes: JoinSet<Result<Connection>>,
}

#[async_trait]
impl Listener for Door {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Cancel-safe because both branches are: a socket is either not accepted or in the set of handshakes.
    async fn accept(&mut self) -> Result<Connection> {
        loop {
            let socket = self.socket.as_ref().ok_or(Error::Closed)?;
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    return done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                }
                accepted = socket.accept(), if self.handshakes.len() < self.options.limits.pending_max => {
                    let what = || format!("accepting at {}", self.endpoint);
                    let (stream, _) = accepted.map_err(|cause| Error::Io { what: what(), cause })?;
                    let (options, places) = (self.options.clone(), Arc::clone(&self.places));
                    self.handshakes.spawn(admit(self.endpoint.to_string(), stream, options, places));
                }
            }
        }
    }

    async fn close(&mut self) -> Result<()> {
        self.shut();
        Ok(())
    }
}

/// The listener's side of the handshake.
async fn admit(
    endpoint: String,
    mut stream: UnixStream,
    options: ListenOptions,
    places: Arc<Semaphore>,
) -> Result<Connection> {
    let limit = options.limits.handshake_timeout;
    let peer = || format!("a client of {endpoint}");
    let lost = |cause: io::Error| Error::Lost { peer: peer(), why: cause.to_string() };
    in_time(peer(), "finish the handshake", limit, async {
        frames::expect_hello(&mut stream).await.map_err(|cause| match cause.kind() {
            io::ErrorKind::InvalidData => Error::Protocol { peer: peer(), why: cause.to_string() },
            _ => lost(cause),
        })?;
        let candidate = Candidate { claim: Claim::Anonymous, address: None, scheme: "unix" };
        if let Err(refusal) = options.admit.admit(&candidate) {
            frames::answer(&mut stream, Answer::Refused).await.map_err(lost)?;
            return Err(Error::Refused { endpoint: endpoint.clone(), refusal });
        }
        let Ok(place) = places.try_acquire_owned() else {
            frames::answer(&mut stream, Answer::Full).await.map_err(lost)?;
            let max = options.limits.connections_max;
            return Err(Error::Limit { endpoint: endpoint.clone(), what: "connections_max", max });
        };
        frames::answer(&mut stream, Answer::Admitted).await.map_err(lost)?;
        Ok(connection::new(stream, peer(), &options.limits, Some(place)))
    })
    .await?
}

impl Door {
    fn shut(&mut self) {
        if self.socket.take().is_some() {
            self.handshakes = JoinSet::new();
            // If somebody removed it before us there is nothing left to do.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut();
    }
}
