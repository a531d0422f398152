//! The two halves of a connection: they wait; `outbound.rs` and `inbound.rs` decide; the pump does what is left over.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quinn::{RecvStream, SendStream, VarInt};
use sinew_auth::PeerKey;
use sinew_transport_api::{Block, Connection, Error, Lane, LaneSet, Limits, PathStats, Peer, Receiver, Result, Sender};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::SCHEME;
use crate::ending::{CLOSE_TIMEOUT, CLOSED, DONE, Ending, LEFT, PROTOCOL};
use crate::frames::WordReader;
use crate::inbound::{Found, Inbound};
use crate::outbound::{Outbound, Phase};
use crate::pump::Pump;
use crate::signals::Signals;

/// What an admitted connection begins with.
pub(crate) struct Admitted {
    pub(crate) quic: quinn::Connection,
    pub(crate) key: Option<PeerKey>,
    pub(crate) data_lanes: u8,
    pub(crate) limits: Limits,
    /// The server has said its first word already.
    pub(crate) words_out: Option<SendStream>,
    /// The client has heard it already.
    pub(crate) words_in: Option<(RecvStream, WordReader)>,
    /// Its place in the listener's count.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    /// Starts the pump and gives the two halves.
    pub(crate) fn start(self) -> Result<Connection> {
        let address = self.quic.remote_address().to_string();
        let signals = Arc::new(Signals::default());
        let mut outbound = Outbound::new(self.words_out, &self.limits);
        outbound.open_lanes(&self.quic, 1).map_err(|ending| ending.error(&address))?;
        let shared = Arc::new(Shared {
            outbound: Mutex::new(outbound),
            inbound: Mutex::new(Inbound::new(self.limits.block_bytes_max, Arc::clone(&signals))),
            signals,
            quic: self.quic,
            address: address.clone(),
            ending: OnceLock::new(),
            delivered: AtomicBool::new(false),
            at_end: AtomicBool::new(false),
        });
        tokio::spawn(Pump::new(Arc::clone(&shared), self.words_in));
        let halves = Arc::new(Halves { shared, _place: self.place });
        let sender = Box::new(QuicSender {
            halves: Arc::clone(&halves),
            data_lanes: self.data_lanes,
            close_timeout: self.limits.close_timeout,
            close_by: None,
        });
        let peer = Peer { key: self.key, scheme: SCHEME.to_owned(), address };
        Ok(Connection { peer, sender, receiver: Box::new(QuicReceiver { halves }) })
    }
}

/// What the halves and the pump share.
pub(crate) struct Shared {
    pub(crate) outbound: Mutex<Outbound>,
    pub(crate) inbound: Mutex<Inbound>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) quic: quinn::Connection,
    address: String,
    ending: OnceLock<Ending>,
    /// The peer has given out everything up to our goodbye.
    pub(crate) delivered: AtomicBool,
    /// We have given out everything up to the peer's goodbye.
    pub(crate) at_end: AtomicBool,
}

/// A lock that is held for short, plain pieces of code only.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The connection is over; the first cause counts. Tells the peer if it broke a rule.
    pub(crate) fn end(&self, ending: Ending) -> &Ending {
        let ending = self.ending.get_or_init(|| ending);
        match ending {
            Ending::Fault(why) => self.quic.close(PROTOCOL, why.as_bytes()),
            Ending::PeerDone => self.delivered.store(true, Ordering::Release),
            Ending::PeerLeft(_) | Ending::Lost(_) => {}
        }
        self.wake_all();
        ending
    }

    /// Whoever waits looks again.
    pub(crate) fn wake_all(&self) {
        let waiter = lock(&self.outbound).take_waiter();
        waiter.into_iter().for_each(std::task::Waker::wake);
        self.signals.wake_receiver();
    }

    fn error(&self, ending: &Ending) -> Error {
        ending.error(&self.address)
    }

    /// Whether sending makes sense, as far as the peer is concerned.
    fn peer_is_there(&self) -> Result<()> {
        if let Some(ending) = self.ending.get() {
            return Err(self.error(ending));
        }
        if self.at_end.load(Ordering::Acquire) {
            return Err(self.error(&Ending::PeerDone));
        }
        Ok(())
    }

    /// How a receiver is told of the end of the connection. After our own goodbye it is in order that the peer goes.
    fn receiver_end(&self, ending: &Ending) -> Result<Option<(Lane, Bytes)>> {
        let closed_here = lock(&self.outbound).phase != Phase::Open;
        match ending {
            _ if self.at_end.load(Ordering::Acquire) => Ok(None),
            Ending::PeerDone | Ending::PeerLeft(_) if closed_here => Ok(None),
            ending => Err(self.error(ending)),
        }
    }

    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Option<(Lane, Bytes)>>> {
        if let Some(fault @ Ending::Fault(_)) = self.ending.get() {
            return Poll::Ready(self.receiver_end(fault));
        }
        self.signals.receiver_waits(cx.waker());
        let mut inbound = lock(&self.inbound);
        let found = inbound.next();
        let last_blocks = inbound.has_goodbye();
        drop(inbound);
        match found {
            Ok(Found::Block(lane, bytes)) => {
                if last_blocks {
                    // Nobody may ask for more after the last one, so the pump looks whether this was it.
                    self.signals.wake_pump();
                }
                Poll::Ready(Ok(Some((lane, bytes))))
            }
            // The pump confirms it to the peer first: whoever hears of the end may leave at once.
            Ok(Found::End) if self.at_end.load(Ordering::Acquire) => Poll::Ready(Ok(None)),
            Ok(Found::End) if self.ending.get().is_none() => {
                self.signals.wake_pump();
                Poll::Pending
            }
            Ok(Found::End) => {
                self.at_end.store(true, Ordering::Release);
                Poll::Ready(Ok(None))
            }
            Ok(Found::Nothing) => match self.ending.get() {
                Some(ending) => Poll::Ready(self.receiver_end(ending)),
                None => Poll::Pending,
            },
            Err(ending) => Poll::Ready(self.receiver_end(self.end(ending))),
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut outbound = lock(&self.outbound);
        outbound.may_send()?;
        if let Some(ending) = self.ending.get() {
            return Poll::Ready(Err(self.error(ending)));
        }
        if outbound.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        outbound.wait(cx.waker());
        Poll::Pending
    }

    fn poll_delivered(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut outbound = lock(&self.outbound);
        if self.delivered.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        if let Some(ending) = self.ending.get() {
            return Poll::Ready(Err(self.error(ending)));
        }
        outbound.wait(cx.waker());
        Poll::Pending
    }

    /// Both halves are gone.
    fn leave(&self) {
        let code = match (self.at_end.load(Ordering::Acquire), self.delivered.load(Ordering::Acquire)) {
            (true, _) => DONE,
            (false, true) => CLOSED,
            (false, false) => LEFT,
        };
        self.cut(code, "it was dropped here");
    }

    fn cut(&self, code: VarInt, why: &str) {
        self.end(Ending::Lost(why.to_owned()));
        self.quic.close(code, b"");
    }
}

/// Held by both halves. The connection ends when both are gone.
struct Halves {
    shared: Arc<Shared>,
    /// Its place among those of the listener.
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Halves {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

impl fmt::Debug for Halves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shared.address)
    }
}

#[derive(Debug)]
struct QuicSender {
    halves: Arc<Halves>,
    data_lanes: u8,
    close_timeout: Duration,
    /// Until when the close must be done, once it was asked for.
    close_by: Option<Instant>,
}

#[async_trait]
impl Sender for QuicSender {
    fn open_lanes(&mut self, count: u8) -> Result<()> {
        if count == 0 || count > Lane::COUNT_MAX {
            return Err(Error::UnknownLane { lane: Lane(count), count: Lane::COUNT_MAX });
        }
        let shared = &self.halves.shared;
        let opened = lock(&shared.outbound).open_lanes(&shared.quic, count);
        opened.map_err(|ending| shared.error(shared.end(ending)))
    }

    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet> {
        let shared = &self.halves.shared;
        poll_fn(|cx| {
            // Under the lock, so that an end that comes now finds the waker.
            let mut outbound = lock(&shared.outbound);
            outbound.may_send()?;
            shared.peer_is_there()?;
            match outbound.room(wanted, cx.waker())? {
                LaneSet::EMPTY => Poll::Pending,
                room => Poll::Ready(Ok(room)),
            }
        })
        .await
    }

    fn try_send(&mut self, lane: Lane, block: &mut Block) -> Result<bool> {
        let shared = &self.halves.shared;
        let mut outbound = lock(&shared.outbound);
        outbound.may_send()?;
        shared.peer_is_there()?;
        let taken = outbound.push(lane, block)?;
        drop(outbound);
        taken.map_err(|ending| shared.error(shared.end(ending)))
    }

    async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.halves.shared.poll_flush(cx)).await
    }

    async fn close(&mut self) -> Result<()> {
        let shared = &self.halves.shared;
        let by = *self.close_by.get_or_insert_with(|| {
            let mut outbound = lock(&shared.outbound);
            if outbound.phase == Phase::Open {
                outbound.phase = Phase::Closing;
            }
            Instant::now() + self.close_timeout
        });
        shared.signals.wake_pump();
        match timeout_at(by, poll_fn(|cx| shared.poll_delivered(cx))).await {
            Ok(result) => result,
            Err(_elapsed) => {
                shared.cut(CLOSE_TIMEOUT, "it was closed here, and the rest was not read in time");
                let after_ms = self.close_timeout.as_millis() as u64;
                Err(Error::Timeout { endpoint: shared.address.clone(), what: "close", after_ms })
            }
        }
    }

    fn data_lanes_preferred(&self) -> u8 {
        self.data_lanes
    }

    fn path(&self) -> PathStats {
        let path = self.halves.shared.quic.stats().path;
        PathStats {
            round_trip: Some(path.rtt),
            packets_sent: Some(path.sent_packets),
            packets_lost: Some(path.lost_packets),
        }
    }
}

#[derive(Debug)]
struct QuicReceiver {
    halves: Arc<Halves>,
}

#[async_trait]
impl Receiver for QuicReceiver {
    async fn recv(&mut self) -> Result<Option<(Lane, Bytes)>> {
        poll_fn(|cx| self.halves.shared.poll_recv(cx)).await
    }
}
