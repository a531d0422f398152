//! The door task of a listener: limits before anything is answered, the handshake, the question who is let in.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Incoming, SendStream, ServerConfig, VarInt};
use sinew_auth::{Candidate, Claim, PeerKey, Refusal, tls_peer_key};
use sinew_transport_api::{Connection, Crowd, CrowdPlace, Endpoint, Error, ListenOptions, Result, Security};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use crate::SCHEME;
use crate::connection::Admitted;
use crate::ending::{Ending, accept_error, refusal_code};
use crate::frames::{WORDS, Word};
use crate::pace::{Pace, Turn};
use crate::preset::End;
use crate::target::Target;

/// Clients answered before those who are let in get a turn of the thread: a fifth of a millisecond, if all are asked for a
/// proof.
const ANSWERS_PER_TURN: u32 = 8;

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
    /// Those who are not accepted yet.
    crowd: Crowd,
    pace: Pace,
    handshakes: JoinSet<CrowdPlace>,
    by_place: HashMap<CrowdPlace, AbortHandle>,
}

impl Door {
    pub(crate) fn new(quic: quinn::Endpoint, rules: Rules, arrivals: mpsc::Sender<Result<Connection>>) -> Self {
        let limits = &rules.options.limits;
        let places_max = limits.connections_max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            quic,
            arrivals,
            places: Arc::new(Semaphore::new(places_max)),
            places_max: places_max as u32,
            crowd: Crowd::new(limits),
            pace: Pace::new(limits.handshakes_per_second_max, Instant::now().into_std()),
            handshakes: JoinSet::new(),
            by_place: HashMap::new(),
            rules: Arc::new(rules),
        }
    }

    /// Who asks it knows how many connections are held.
    pub(crate) fn occupancy(&self) -> Occupancy {
        Occupancy { places: Arc::clone(&self.places), places_max: self.places_max as usize }
    }

    /// Lets clients in until `stopping`, then says through `stopped` whether somebody is still connected, and turns
    /// clients away until nobody is.
    pub(crate) async fn run(mut self, mut stopping: oneshot::Receiver<()>, stopped: oneshot::Sender<bool>) {
        let (mut answered, mut next) = (0_u32, None);
        loop {
            tokio::select! {
                _ = &mut stopping => break,
                Some(ended) = self.handshakes.join_next() => {
                    // One that was aborted has left the crowd before.
                    if let Ok(place) = ended {
                        self.crowd.leave(place);
                        self.by_place.remove(&place);
                    }
                }
                incoming = next_of(&self.quic, &mut next) => match incoming {
                    Some(incoming) => next = self.answer(incoming),
                    None => return,
                },
            }
            answered = answered.wrapping_add(1);
            if answered.is_multiple_of(ANSWERS_PER_TURN) {
                yield_now().await;
            }
        }
        if let Some((_, incoming)) = next {
            incoming.refuse();
        }
        self.handshakes.shutdown().await;
        let _ = stopped.send(self.occupancy().is_held());
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

    /// Starts a handshake, asks for a proof of the address, or refuses; or gives it back with the time of its turn.
    fn answer(&mut self, incoming: Incoming) -> Option<Waiting> {
        let peer = incoming.remote_address();
        let Ok(connection) = Arc::clone(&self.places).try_acquire_owned() else {
            incoming.refuse();
            self.report("connections_max", self.rules.options.limits.connections_max);
            return None;
        };
        let has_proof = incoming.remote_address_validated() || !incoming.may_retry();
        // Half full: only who can be reached at the address that it says takes a place (RFC 9000, section 8.1).
        let turn = match self.crowd.is_half_full() && !has_proof {
            true => Turn::Prove,
            false => self.pace.turn(has_proof, Instant::now().into_std()),
        };
        match turn {
            Turn::Now => self.begin(incoming, peer, connection),
            Turn::At(at) => return Some((at.into(), incoming)),
            // An error says that it may not be asked, which was looked at above.
            Turn::Prove => drop(incoming.retry()),
        }
        None
    }

    fn begin(&mut self, incoming: Incoming, peer: SocketAddr, connection: OwnedSemaphorePermit) {
        let (place, gone) = self.crowd.enter(Some(peer.ip()));
        if let Some(handshake) = gone.and_then(|gone| self.by_place.remove(&gone)) {
            handshake.abort();
            self.report("pending_max", self.rules.options.limits.pending_max);
        }
        let (rules, arrivals) = (Arc::clone(&self.rules), self.arrivals.clone());
        let handshake = self.handshakes.spawn(async move {
            if let Some(arrival) = rules.let_in(incoming, peer, connection).await {
                // An error says that the listener is gone, and the connection with it.
                let _ = arrivals.send(arrival).await;
            }
            place
        });
        self.by_place.insert(place, handshake);
    }

    /// Nobody may be listening to errors now, and another one follows.
    fn report(&self, what: &'static str, max: usize) {
        let _ = self.arrivals.try_send(Err(Error::Limit { endpoint: self.rules.endpoint.clone(), what, max }));
    }
}

/// A client whose turn comes at a time.
type Waiting = (Instant, Incoming);

/// The one that waits for its turn, at its time, else the one that comes next. Cancel-safe.
async fn next_of(quic: &quinn::Endpoint, waiting: &mut Option<Waiting>) -> Option<Incoming> {
    match waiting {
        Some((at, _)) => {
            sleep_until(*at).await;
            waiting.take().map(|(_, incoming)| incoming)
        }
        None => quic.accept().await,
    }
}

/// How many connections of a listener are held.
pub(crate) struct Occupancy {
    places: Arc<Semaphore>,
    places_max: usize,
}

impl Occupancy {
    /// Whether somebody holds one.
    pub(crate) fn is_held(&self) -> bool {
        self.places.available_permits() < self.places_max
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
