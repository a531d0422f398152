//! Carries one connection, at either end: reads, writes, and watches whether the other end is alive.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew_transport_api::{Connection, Error as TransportError, Lane, Receiver, Sender};

use crate::hello::verb::HEARTBEAT;
use crate::liveness::{Liveness, Verdict};
use crate::outbox::Outbox;
use crate::record::{Header, SESSION};
use crate::writer::Writer;
use crate::{Error, Result};

/// Blocks read before others on the same thread get a turn: at most a mebibyte of work.
const BLOCKS_PER_TURN: u32 = 16;

/// What one end does with what arrives. Called on the connection's own task, never concurrently with itself.
pub(crate) trait Handler: Sync {
    /// Dispatches a block. An error ends the connection.
    fn block(&self, lane: Lane, block: Bytes) -> Result<()>;
    /// Room has come in the outbox that somebody waited for.
    fn drained(&self);
    /// One-way records taken in so far: what the heartbeat tells.
    fn one_way_received(&self) -> u64;
    /// Nothing more is read while more than this waits to be sent: a peer that asks and does not take the answers
    /// must not fill our memory. If it goes on, it is lost like one that is silent.
    fn unsent_bytes_max(&self) -> usize;
}

/// Why carrying ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The outbox was closed and everything in it was sent.
    Sent,
    /// The peer closed in order.
    PeerClosed,
    /// Something went wrong.
    Failed(Error),
}

/// Heartbeat and loss, and the peer's name for errors.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    pub(crate) heartbeat: Duration,
    pub(crate) lost_after: Duration,
    pub(crate) peer: String,
}

/// Carries the connection until it ends. Cancel-safe: what was not sent is in `writer` and `outbox`.
pub(crate) async fn carry(
    sender: &mut dyn Sender,
    receiver: &mut dyn Receiver,
    outbox: &Outbox,
    writer: &mut Writer,
    pulse: &Pulse,
    handler: &dyn Handler,
) -> End {
    let liveness = Mutex::new(Liveness::new(pulse.heartbeat, pulse.lost_after, now()));
    let writing = async {
        let end = write(outbox, writer, sender, &liveness, handler).await;
        if matches!(&end, End::Failed(Error::Transport(error)) if matches!(**error, TransportError::Lost { .. })) {
            // If the peer has closed in order, what it sent before is still to be read, and reading tells the end.
            // Unless this end has nothing to do with it any more.
            let closed = async {
                while !outbox.pack().is_closed() {
                    outbox.work().await;
                }
            };
            let _ = tokio::time::timeout(pulse.lost_after, closed).await;
        }
        end
    };
    tokio::select! {
        // What has come is read before silence is judged; writing comes last, since it alone can use up a whole turn.
        biased;
        end = read(receiver, outbox, &liveness, handler) => end,
        () = watch(outbox, &liveness, handler) => {
            End::Failed(Error::Silent { peer: pulse.peer.clone(), after: pulse.lost_after })
        }
        end = writing => end,
    }
}

/// How long either end waits, after its own close, for the end of what the other one sends.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Closes the connection in order, and reads on to its end: the peer may be closing as well, and waits for us to read
/// what it sent before. Who leaves without that may not be heard leaving, when its runtime ends right after. What comes
/// is thrown away, since whoever calls this is done with the connection.
pub(crate) async fn close(connection: &mut Connection) {
    let Connection { sender, receiver, .. } = connection;
    let reading = async {
        let mut blocks = 0_u32;
        while let Ok(Some(_)) = receiver.recv().await {
            blocks = blocks.wrapping_add(1);
            if blocks.is_multiple_of(BLOCKS_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
    };
    let closing = sender.close();
    tokio::pin!(closing, reading);
    let closed = tokio::select! {
        biased;
        closed = &mut closing => {
            let _ = tokio::time::timeout(END_TIMEOUT, &mut reading).await;
            closed
        }
        () = &mut reading => closing.await,
    };
    if let Err(error) = closed {
        tracing::debug!(peer = %connection.peer.address, %error, "connection did not close in order");
    }
}

/// The clock of the runtime, so that tests can turn it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn read(receiver: &mut dyn Receiver, outbox: &Outbox, liveness: &Mutex<Liveness>, handler: &dyn Handler) -> End {
    let mut blocks = 0_u32;
    loop {
        if outbox.holds_more_than(handler.unsent_bytes_max()) {
            outbox.room().await;
        }
        let result = match receiver.recv().await {
            Ok(Some((lane, block))) => {
                with(liveness, |live| live.on_received(now()));
                handler.block(lane, block)
            }
            Ok(None) => return End::PeerClosed,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            return End::Failed(error);
        }
        blocks += 1;
        if blocks.is_multiple_of(BLOCKS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

async fn write(
    outbox: &Outbox,
    writer: &mut Writer,
    sender: &mut dyn Sender,
    liveness: &Mutex<Liveness>,
    handler: &dyn Handler,
) -> End {
    let mut sent = |drained| {
        with(liveness, |live| live.on_sent(now()));
        if drained {
            handler.drained();
        }
    };
    match writer.write(outbox, sender, &mut sent).await {
        Ok(()) => End::Sent,
        Err(error) => End::Failed(error.into()),
    }
}

async fn watch(outbox: &Outbox, liveness: &Mutex<Liveness>, handler: &dyn Handler) {
    let mut beaten = None;
    loop {
        let verdict = with(liveness, |live| live.verdict(now()));
        let until = match verdict {
            Verdict::Lost => return,
            Verdict::Wait(until) => until,
            Verdict::Beat => {
                // A heartbeat that waits behind a full lane must not pile up: one for each period.
                let at = beaten.map_or_else(now, |last: Instant| last + with(liveness, |live| live.heartbeat()));
                if at <= now() {
                    let received = Bytes::copy_from_slice(&handler.one_way_received().to_le_bytes());
                    outbox.trim();
                    let header = Header { service: SESSION, verb: HEARTBEAT, ..Header::default() };
                    outbox.pack().push(Lane::CONTROL, header, &[], &received);
                    beaten = Some(now());
                }
                let next = beaten.expect("just set, or before") + with(liveness, |live| live.heartbeat());
                next.min(with(liveness, |live| live.lost()))
            }
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

fn with<T>(liveness: &Mutex<Liveness>, act: impl FnOnce(&mut Liveness) -> T) -> T {
    act(&mut liveness.lock().expect("nothing panics while it is held"))
}
