//! A connection: two halves for the user, and two tasks that own the socket, one for each direction.
//!
//! Between a half and its task stands a queue that is bounded in bytes: a semaphore has a permit for each byte, a
//! block carries its permits along, and gives them back when it is written or received.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sinew_transport_api::{Block, Connection, Error, Lane, LaneSet, Limits, Peer, Receiver, Result, Sender};
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::frames::{self, Frame};

/// A frame on its way to or from the socket, with the room it takes.
type Outgoing = (Frame<Block>, Option<OwnedSemaphorePermit>);
type Incoming = (Lane, Bytes, OwnedSemaphorePermit);

/// What both halves and both tasks know of the connection.
#[derive(Clone, Debug, Default)]
struct State {
    closed_here: bool,
    /// The peer has got our goodbye, and all that was before it.
    acknowledged: bool,
    ended: Option<Ended>,
}

/// Why nothing more comes in.
#[derive(Clone, Debug)]
enum Ended {
    InOrder,
    Lost(String),
    Broken(String),
}

impl State {
    /// Ended, and not in order.
    fn is_gone(&self) -> bool {
        matches!(self.ended, Some(Ended::Lost(_) | Ended::Broken(_)))
    }
}

/// What the two halves share. When both are gone the tasks are ended, and with them the socket: the peer gets `Lost`,
/// unless there was a goodbye.
#[derive(Debug)]
struct Shared {
    peer: String,
    state: watch::Sender<State>,
    _tasks: JoinSet<()>,
    _place: Option<OwnedSemaphorePermit>,
}

/// Makes a connection of an admitted socket.
pub(crate) fn new(
    stream: UnixStream,
    peer: String,
    limits: &Limits,
    place: Option<OwnedSemaphorePermit>,
) -> Connection {
    let (read, write) = stream.into_split();
    let state = watch::Sender::new(State::default());
    let bytes = limits.queue_bytes_max.max(limits.block_bytes_max);
    let (room_out, room_in) = (Arc::new(Semaphore::new(bytes)), Arc::new(Semaphore::new(bytes)));
    // Bounded by the semaphores.
    let (outgoing, to_write) = mpsc::unbounded_channel();
    let (to_receive, incoming) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(write_all(write, to_write, state.clone()));
    tasks.spawn(read_all(read, to_receive, outgoing.clone(), room_in, limits.block_bytes_max, state.clone()));
    let shared = Arc::new(Shared { peer: peer.clone(), state, _tasks: tasks, _place: place });
    let (block_max, close_timeout) = (limits.block_bytes_max, limits.close_timeout);
    let sender =
        UnixSender { shared: shared.clone(), outgoing, room: room_out, bytes, block_max, close_timeout, lanes: 1 };
    Connection {
        peer: Peer { key: None, scheme: "unix".to_owned(), address: peer },
        sender: Box::new(sender),
        receiver: Box::new(UnixReceiver { shared, incoming }),
    }
}

/// Writes what is queued, until the connection is over: then it lets go of the socket, so that the peer learns it too.
/// Flushes when there is nothing more at the moment, and only then gives the room back.
async fn write_all(half: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Outgoing>, state: watch::Sender<State>) {
    let mut half = BufWriter::new(half);
    let mut written = Vec::new();
    let mut changes = state.subscribe();
    let over = changes.wait_for(State::is_gone);
    let writing = async {
        while let Some((frame, room)) = queue.recv().await {
            frames::write(&mut half, &frame).await?;
            written.push(room);
            if queue.is_empty() {
                half.flush().await?;
                written.clear();
            }
        }
        io::Result::Ok(())
    };
    tokio::select! {
        result = writing => if let Err(cause) = result { end(&state, Ended::Lost(cause.to_string())) },
        _ = over => {}
    }
}

/// Reads until the end. Stops reading while the receiver's queue is full, which holds the peer back.
async fn read_all(
    half: OwnedReadHalf,
    queue: mpsc::UnboundedSender<Incoming>,
    answers: mpsc::UnboundedSender<Outgoing>,
    room: Arc<Semaphore>,
    block_max: usize,
    state: watch::Sender<State>,
) {
    let mut half = BufReader::new(half);
    // Taken away by a goodbye: after it the peer may only confirm ours.
    let mut queue = Some(queue);
    let result: io::Result<()> = async {
        loop {
            match (frames::read_head(&mut half, block_max).await?, &queue) {
                (Frame::Block(lane, length), Some(queue)) => {
                    let room = room.clone().acquire_many_owned(length as u32).await.expect("it is never closed");
                    let block = frames::read_block(&mut half, length).await?;
                    let _ = queue.send((lane, block, room));
                }
                (Frame::Goodbye, Some(_)) => {
                    let _ = answers.send((Frame::GotItAll, None));
                    end(&state, Ended::InOrder);
                    queue = None;
                }
                (Frame::GotItAll, _) => state.send_modify(|state| state.acknowledged = true),
                (Frame::Block(..) | Frame::Goodbye, None) => return frames::garbage("it went on after its goodbye"),
            }
        }
    }
    .await;
    match result {
        Err(cause) if cause.kind() == io::ErrorKind::InvalidData => end(&state, Ended::Broken(cause.to_string())),
        Err(cause) => end(&state, Ended::Lost(cause.to_string())),
        Ok(()) => {}
    }
}

/// Notes the end of the connection. The first reason is the true one.
fn end(state: &watch::Sender<State>, how: Ended) {
    state.send_modify(|state| {
        state.ended.get_or_insert(how);
    });
}

impl Shared {
    /// Whether it is over, as a sender is told.
    fn may_send(&self) -> Result<()> {
        match &*self.state.borrow() {
            State { closed_here: true, .. } => Err(Error::Closed),
            State { ended: Some(ended), .. } => Err(self.error(ended)),
            _ => Ok(()),
        }
    }

    fn error(&self, ended: &Ended) -> Error {
        let peer = self.peer.clone();
        match ended {
            Ended::InOrder => Error::Lost { peer, why: "the peer closed it".to_owned() },
            Ended::Lost(why) => Error::Lost { peer, why: why.clone() },
            Ended::Broken(why) => Error::Protocol { peer, why: why.clone() },
        }
    }

    /// Resolves once the connection has come so far. Cancel-safe.
    async fn until(&self, reached: impl Fn(&State) -> bool) {
        self.state.subscribe().wait_for(|state| reached(state)).await.expect("the sender is in `self`");
    }
}

#[derive(Debug)]
struct UnixSender {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// A permit for each byte that may wait.
    room: Arc<Semaphore>,
    bytes: usize,
    block_max: usize,
    close_timeout: Duration,
    lanes: u8,
}

impl UnixSender {
    fn agreed(&self, lane: Lane) -> Result<()> {
        if lane.0 < self.lanes { Ok(()) } else { Err(Error::UnknownLane { lane, count: self.lanes }) }
    }
}

#[async_trait]
impl Sender for UnixSender {
    fn open_lanes(&mut self, count: u8) -> Result<()> {
        if count == 0 || count > Lane::COUNT_MAX {
            return Err(Error::UnknownLane { lane: Lane(count), count: Lane::COUNT_MAX });
        }
        self.lanes = count;
        Ok(())
    }

    /// All lanes share one queue. Room means room for the largest block, so that `try_send` then takes any.
    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet> {
        wanted.iter().try_for_each(|lane| self.agreed(lane))?;
        tokio::select! {
            () = self.shared.until(|state| state.closed_here || state.ended.is_some()) => {}
            _room = self.room.acquire_many(self.block_max as u32), if !wanted.is_empty() => {}
        }
        self.shared.may_send().map(|()| wanted)
    }

    fn try_send(&mut self, lane: Lane, block: &mut Block) -> Result<bool> {
        self.shared.may_send()?;
        if block.is_empty() || block.len() > self.block_max {
            return Err(Error::BlockSize { bytes: block.len(), max: self.block_max });
        }
        self.agreed(lane)?;
        let Ok(room) = self.room.clone().try_acquire_many_owned(block.len() as u32) else { return Ok(false) };
        // Only a task that ended does not take it, and then the next call says why.
        let _ = self.outgoing.send((Frame::Block(lane, block.take()), Some(room)));
        Ok(true)
    }

    /// All room is free when everything is written.
    async fn flush(&mut self) -> Result<()> {
        tokio::select! {
            () = self.shared.until(|state| state.ended.is_some()) => self.shared.may_send(),
            _all = self.room.acquire_many(self.bytes as u32) => Ok(()),
        }
    }

    async fn close(&mut self) -> Result<()> {
        if !self.shared.state.borrow().closed_here {
            self.shared.state.send_modify(|state| state.closed_here = true);
            let _ = self.outgoing.send((Frame::Goodbye, None));
        }
        let acknowledged = self.shared.until(|state| state.acknowledged || state.is_gone());
        if timeout(self.close_timeout, acknowledged).await.is_err() {
            let after_ms = self.close_timeout.as_millis() as u64;
            end(&self.shared.state, Ended::Lost("it was closed, and the peer did not answer".to_owned()));
            return Err(Error::Timeout { endpoint: self.shared.peer.clone(), what: "close", after_ms });
        }
        match &*self.shared.state.borrow() {
            State { acknowledged: true, .. } => Ok(()),
            State { ended: Some(ended), .. } => Err(self.shared.error(ended)),
            _ => unreachable!("one of the two was waited for"),
        }
    }
}

#[derive(Debug)]
struct UnixReceiver {
    shared: Arc<Shared>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
}

#[async_trait]
impl Receiver for UnixReceiver {
    /// The reading task drops its end of the queue after it has noted why.
    async fn recv(&mut self) -> Result<Option<(Lane, Bytes)>> {
        if let Some((lane, block, _room)) = self.incoming.recv().await {
            return Ok(Some((lane, block)));
        }
        match &*self.shared.state.borrow() {
            State { ended: Some(Ended::InOrder), .. } => Ok(None),
            // We closed it, and the peer left without another word: that is in order.
            State { closed_here: true, ended: Some(Ended::Lost(_)), .. } => Ok(None),
            State { ended: Some(ended), .. } => Err(self.shared.error(ended)),
            State { ended: None, .. } => unreachable!("the queue ends after it was noted why"),
        }
    }
}
