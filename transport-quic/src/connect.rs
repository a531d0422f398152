//! The connecting end: addresses, handshake, and the wait for the server's word of admission.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, ConnectionError, ReadError, RecvStream, TokioRuntime};
use sinew_auth::{PeerKey, PublicKey, ServerKeyFound};
use sinew_transport_api::{ConnectOptions, Connection, Endpoint, Error, Result};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connection::Admitted;
use crate::ending::{Ending, PROTOCOL, connect_error};
use crate::frames::{WORDS, Word, WordReader};
use crate::preset::End;
use crate::target::{Target, server_key};
use crate::{socket, tls};

/// When a name has several addresses, the next is tried beside the last one after that time (RFC 8305, section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// How often the system is asked whether nobody is there, while a handshake lasts.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Never sent: SNI is off. rustls wants some name.
const SERVER_NAME: &str = "sinew.invalid";

pub(crate) async fn connect(endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
    let target = Target::of(endpoint)?;
    let server_key = server_key(endpoint, options)?;
    let plan = Arc::new(Plan { endpoint: endpoint.clone(), options: options.clone(), target, server_key });
    match timeout(options.connect_timeout, plan.run()).await {
        Ok(result) => result?.start(),
        Err(_elapsed) => {
            let after_ms = options.connect_timeout.as_millis() as u64;
            Err(Error::Timeout { endpoint: endpoint.to_string(), what: "answer", after_ms })
        }
    }
}

struct Plan {
    endpoint: Endpoint,
    options: ConnectOptions,
    target: Target,
    server_key: Option<PublicKey>,
}

impl Plan {
    /// Tries the addresses; the first that is admitted, or the first definite refusal, decides.
    async fn run(self: &Arc<Self>) -> Result<Admitted> {
        let mut addresses = self.target.resolve(&self.endpoint).await?.into_iter();
        let first = addresses.next().expect("at least one address");
        if addresses.len() == 0 {
            return self.attempt(first).await;
        }
        let mut attempts = JoinSet::new();
        let start = |attempts: &mut JoinSet<_>, address| {
            let plan = Arc::clone(self);
            attempts.spawn(async move { plan.attempt(address).await });
        };
        start(&mut attempts, first);
        loop {
            tokio::select! {
                Some(joined) = attempts.join_next() => match joined {
                    Ok(Err(error)) if error.is_retryable() => match addresses.next() {
                        Some(address) => start(&mut attempts, address),
                        None if attempts.is_empty() => return Err(error),
                        None => {}
                    },
                    Ok(result) => return result,
                    Err(failed) => {
                        let cause = io::Error::other(failed);
                        return Err(Error::Io { what: format!("connecting to {}", self.endpoint), cause });
                    }
                },
                () = sleep(NEXT_ADDRESS_AFTER), if addresses.len() > 0 => {
                    addresses.next().into_iter().for_each(|address| start(&mut attempts, address));
                }
            }
        }
    }

    async fn attempt(&self, address: SocketAddr) -> Result<Admitted> {
        tokio::select! {
            result = self.handshake(address) => result,
            cause = nobody_there(address) => {
                Err(Error::Unreachable { endpoint: self.endpoint.to_string(), cause: Some(cause) })
            }
        }
    }

    async fn handshake(&self, address: SocketAddr) -> Result<Admitted> {
        let io = |cause| Error::Io { what: format!("making a UDP socket for {}", self.endpoint), cause };
        let socket = socket::unbound(address).map_err(io)?;
        let quic = quinn::Endpoint::new(tls::client_endpoint(), None, socket, Arc::new(TokioRuntime)).map_err(io)?;
        let (crypto, found) = tls::client_crypto(&self.options.security, self.server_key);
        let tuning = self.target.tuning(address);
        let limits = self.options.limits.clone();
        let mut config = ClientConfig::new(crypto);
        config.transport_config(Arc::new(tuning.transport(&limits, End::Client)));
        let connecting = quic.connect_with(config, reachable(address), SERVER_NAME).map_err(|error| {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, error);
            Error::Unreachable { endpoint: self.endpoint.to_string(), cause: Some(cause) }
        })?;
        let quic = connecting.await.map_err(|error| self.failed(error, &found))?;
        let words_in = match admission(&quic).await {
            Ok(words) => words,
            Err(NotAdmitted::Ended(error)) => return Err(self.failed(error, &found)),
            Err(NotAdmitted::Fault(why)) => {
                quic.close(PROTOCOL, why.as_bytes());
                return Err(Ending::Fault(why).error(&address.to_string()));
            }
        };
        let key = self.server_key.map(PeerKey::Ed25519);
        let (words_in, data_lanes) = (Some(words_in), tuning.data_lanes);
        Ok(Admitted { quic, key, data_lanes, limits, words_out: None, words_in, place: None })
    }

    fn failed(&self, error: ConnectionError, found: &ServerKeyFound) -> Error {
        let endpoint = self.endpoint.to_string();
        match (self.server_key, found.get()) {
            (Some(expected), Some(found)) if expected != found => {
                let (expected, found) = (expected.fingerprint(), Some(found.fingerprint()));
                Error::WrongServerKey { endpoint, expected, found }
            }
            _ => connect_error(endpoint, &self.options.security, error),
        }
    }
}

/// Why there is no word of admission.
enum NotAdmitted {
    Ended(ConnectionError),
    Fault(String),
}

/// The server's first stream carries words, and its first word lets us in.
async fn admission(quic: &quinn::Connection) -> std::result::Result<(RecvStream, WordReader), NotAdmitted> {
    let mut stream = quic.accept_uni().await.map_err(NotAdmitted::Ended)?;
    let mut reader = WordReader::default();
    let mut numbered = false;
    loop {
        let mut bytes = [0; 64];
        let read = match stream.read(&mut bytes).await {
            Ok(Some(count)) => &bytes[..count],
            Err(ReadError::ConnectionLost(error)) => return Err(NotAdmitted::Ended(error)),
            Ok(None) | Err(_) => return Err(NotAdmitted::Fault("it did not say whether we are let in".to_owned())),
        };
        let words = match read {
            words if numbered => words,
            [WORDS, words @ ..] => words,
            _ => return Err(NotAdmitted::Fault("its first stream is not for words".to_owned())),
        };
        numbered = true;
        reader.feed(words).map_err(NotAdmitted::Fault)?;
        match reader.take().map_err(NotAdmitted::Fault)? {
            Some(Word::Admitted) => return Ok((stream, reader)),
            Some(_) => return Err(NotAdmitted::Fault("its first word does not let us in".to_owned())),
            None => {}
        }
    }
}

/// The unspecified address, at which a listener may say that it listens, is this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return address,
    };
    SocketAddr::new(ip, address.port())
}

/// Resolves when the system tells that nobody listens at `address`, and never otherwise. quinn's socket belongs to no
/// peer and so is not told; a socket of its own, with one byte that no QUIC server answers, is. It asks again and again,
/// since a server may end during the handshake.
async fn nobody_there(address: SocketAddr) -> io::Error {
    match ask_until_refused(address).await {
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => cause,
        _ => std::future::pending().await,
    }
}

async fn ask_until_refused(address: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    loop {
        socket.send(&[0]).await?;
        if let Ok(answered) = timeout(ASK_AGAIN_AFTER, socket.recv(&mut [0])).await {
            // Whoever answers is there.
            return answered.map(|_| ());
        }
    }
}
