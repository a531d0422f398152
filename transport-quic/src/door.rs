//! The door task of a listener: limits before anything is answered, the handshake, the question who is let in.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Incoming, SendStream, ServerConfig, VarInt};
use sinew_auth::{Candidate, Claim, PeerKey, Refusal, tls_peer_key};
use sinew_transport_api::{Connection, Endpoint, Error, ListenOptions, Result, Security};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::SCHEME;
use crate::connection::Admitted;
use crate::ending::{Ending, accept_error, refusal_code};
use crate::frames::{WORDS, Word};
use crate::preset::End;
use crate::target::Target;

/// What the door goes by.
pub(crate) struct Rules {
    endpoint: String,
    target: Target,
    config: ServerConfig,
    options: ListenOptions,
}

impl Rules {
    pub(crate) fn new(endpoint: &Endpoint, target: Target, config: ServerConfig, options: &ListenOptions) -> Self {
        Self { endpoint: endpoint.to_string(), target, config, options: options.clone() }
    }
}

pub(crate) struct Door {
    quic: quinn::Endpoint,
    rules: Arc<Rules>,
    arrivals: mpsc::Sender<Result<Connection>>,
    /// Places of connections, from the first packet to the end.
    places: Arc<Semaphore>,
    places_max: u32,
    /// Places of those who are not accepted yet.
    pending: Arc<Semaphore>,
}

/// The places a client takes.
struct Places {
    connection: OwnedSemaphorePermit,
    pending: OwnedSemaphorePermit,
}

impl Door {
    pub(crate) fn new(quic: quinn::Endpoint, rules: Rules, arrivals: mpsc::Sender<Result<Connection>>) -> Self {
        let limits = &rules.options.limits;
        let most = |count: usize| count.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let places_max = most(limits.connections_max);
        Self {
            quic,
            arrivals,
            places: Arc::new(Semaphore::new(places_max)),
            places_max: places_max as u32,
            pending: Arc::new(Semaphore::new(most(limits.pending_max))),
            rules: Arc::new(rules),
        }
    }

    /// Lets clients in until `stopping`, then says through `stopped` whether somebody is still connected, and turns
    /// clients away until nobody is.
    pub(crate) async fn run(self, mut stopping: oneshot::Receiver<()>, stopped: oneshot::Sender<bool>) {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                _ = &mut stopping => break,
                Some(_) = handshakes.join_next() => {}
                incoming = self.quic.accept() => match incoming {
                    Some(incoming) => self.answer(incoming, &mut handshakes),
                    None => return,
                },
            }
        }
        handshakes.shutdown().await;
        let occupied = self.places.available_permits() < self.places_max as usize;
        let _ = stopped.send(occupied);
        tokio::select! {
            _ = self.places.acquire_many(self.places_max) => {}
            () = self.turn_away() => {}
        }
    }

    async fn turn_away(&self) {
        while let Some(incoming) = self.quic.accept().await {
            incoming.refuse();
        }
    }

    /// Starts a handshake, asks for a proof of the address, or refuses.
    fn answer(&self, incoming: Incoming, handshakes: &mut JoinSet<()>) {
        let peer = incoming.remote_address();
        let places = match self.places() {
            Ok(places) => places,
            Err(error) => {
                tracing::warn!(%peer, %error, "refused a client");
                incoming.refuse();
                // Nobody may be listening to errors now, and another one follows.
                let _ = self.arrivals.try_send(Err(error));
                return;
            }
        };
        // Half full: only who can be reached at the address that it says takes a place (RFC 9000, section 8.1).
        let crowded = self.pending.available_permits() < self.rules.options.limits.pending_max / 2;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            return;
        }
        let (rules, arrivals) = (Arc::clone(&self.rules), self.arrivals.clone());
        handshakes.spawn(async move {
            let Places { connection, pending } = places;
            if let Some(arrival) = rules.let_in(incoming, peer, connection).await {
                // An error says that the listener is gone, and the connection with it.
                let _ = arrivals.send(arrival).await;
            }
            drop(pending);
        });
    }

    fn places(&self) -> Result<Places> {
        let limits = &self.rules.options.limits;
        let limit = |what, max| Error::Limit { endpoint: self.rules.endpoint.clone(), what, max };
        let connection = Arc::clone(&self.places).try_acquire_owned();
        let connection = connection.map_err(|_| limit("connections_max", limits.connections_max))?;
        let pending = Arc::clone(&self.pending).try_acquire_owned();
        let pending = pending.map_err(|_| limit("pending_max", limits.pending_max))?;
        Ok(Places { connection, pending })
    }
}

impl Rules {
    /// The connection, or the error that the listener is told; `None` where the client just went away.
    async fn let_in(
        &self,
        incoming: Incoming,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Option<Result<Connection>> {
        let deadline = self.options.limits.handshake_timeout;
        match timeout(deadline, self.handshake(incoming, peer, place)).await {
            Ok(Ok(connection)) => Some(Ok(connection)),
            Ok(Err(Some(error))) => {
                tracing::info!(%peer, %error, "no connection");
                Some(Err(error))
            }
            Ok(Err(None)) => {
                tracing::debug!(%peer, "a client left during its handshake");
                None
            }
            Err(_elapsed) => {
                let after_ms = deadline.as_millis() as u64;
                Some(Err(Error::Timeout { endpoint: peer.to_string(), what: "finish the handshake", after_ms }))
            }
        }
    }

    async fn handshake(
        &self,
        incoming: Incoming,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> std::result::Result<Connection, Option<Error>> {
        let failed = |error| accept_error(&self.endpoint, peer.to_string(), &self.options.security, &error);
        let tuning = self.target.tuning(peer);
        let limits = self.options.limits.clone();
        let mut config = self.config.clone();
        config.transport_config(Arc::new(tuning.transport(&limits, End::Server)));
        let quic = incoming.accept_with(Arc::new(config)).map_err(failed)?.await.map_err(failed)?;
        let key = match self.admit(&quic, peer) {
            Ok(key) => key,
            Err(refusal) => {
                let (code, reason): (VarInt, String) = refusal_code(&refusal);
                quic.close(code, reason.as_bytes());
                return Err(Some(Error::Refused { endpoint: self.endpoint.clone(), refusal }));
            }
        };
        let words_out = Some(say_admitted(&quic).await.map_err(|ending| Some(ending.error(&peer.to_string())))?);
        let (data_lanes, place) = (tuning.data_lanes, Some(place));
        let admitted = Admitted { quic, key, data_lanes, limits, words_out, words_in: None, place };
        admitted.start().map_err(Some)
    }

    /// Asked on every connection: what the TLS verifier has seen is not enough, and knows no address.
    fn admit(&self, quic: &quinn::Connection, peer: SocketAddr) -> std::result::Result<Option<PeerKey>, Refusal> {
        let proven = quic.peer_identity().and_then(|identity| tls_peer_key(&*identity));
        let claim = match (&self.options.security, proven) {
            (Security::Identity(_), Some(key)) => Claim::Ed25519(key),
            // Cannot be: the handshake asks for a key. Nobody is let in by a mistake elsewhere.
            (Security::Identity(_), None) => return Err(Refusal::Anonymous),
            (Security::Plaintext, _) => Claim::Anonymous,
        };
        self.options.admit.admit(&Candidate { claim, address: Some(peer.ip().to_canonical()), scheme: SCHEME })
    }
}

/// The first word on the first stream.
async fn say_admitted(quic: &quinn::Connection) -> std::result::Result<SendStream, Ending> {
    let mut words = quic.open_uni().await.map_err(|error| Ending::of(&error))?;
    let said = [&[WORDS][..], &Word::Admitted.encode()].concat();
    words.write_all(&said).await.map_err(|error| Ending::Lost(error.to_string()))?;
    Ok(words)
}
