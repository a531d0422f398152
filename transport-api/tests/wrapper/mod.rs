//! `mem` with one fault.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use sinew_transport_api::{
    Block, Capabilities, ConnectOptions, Connection, Endpoint, Lane, LaneSet, Limits, ListenOptions, Listener, Mem,
    Receiver, Result, Sender, Transport,
};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: the wrapper itself keeps every promise.
    None,
    /// Every 19th block comes after the next one of its lane, if that is there already.
    Reorders,
    /// Every 19th block is gone.
    Loses,
    /// Every 19th block comes twice.
    Doubles,
    /// Every 19th block comes in two halves.
    Splits,
    /// Every 19th block lacks its last byte.
    Truncates,
    /// Blocks of any size are taken and given out.
    IgnoresTheLimit,
    /// `close` says goodbye and then does not come back.
    HangsOnClose,
    /// What is not read when `close` is called is gone, and the end comes as if in order.
    LosesOnClose,
    /// A `recv` that is dropped while it waits for its turn takes a block along.
    NotCancelSafe,
    /// Everything is taken at once, into a queue without bound.
    NoBackPressure,
}

/// Which block is hit.
const EVERY: usize = 19;

/// Which ends were closed: the connection's address and the side. Shared, so that the other end can misbehave.
type Closed = Arc<Mutex<HashSet<(String, Side)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Connected,
    Accepted,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    fault: Fault,
    inner: Mem,
    closed: Closed,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, inner: Mem::default(), closed: Closed::default() }
    }

    fn limits(&self, limits: &Limits) -> Limits {
        match self.fault {
            Fault::IgnoresTheLimit => Limits { block_bytes_max: 2 * limits.block_bytes_max, ..limits.clone() },
            Fault::NoBackPressure => Limits { queue_bytes_max: 1 << 40, ..limits.clone() },
            _ => limits.clone(),
        }
    }
}

#[async_trait]
impl Transport for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        let options = ListenOptions { limits: self.limits(&options.limits), ..options.clone() };
        let inner = self.inner.bind(endpoint, &options).await?;
        Ok(Box::new(FaultyListener { fault: self.fault, inner, closed: self.closed.clone() }))
    }

    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        let options = ConnectOptions { limits: self.limits(&options.limits), ..options.clone() };
        Ok(wrap(self.fault, self.inner.connect(endpoint, &options).await?, Side::Connected, &self.closed))
    }
}

#[derive(Debug)]
struct FaultyListener {
    fault: Fault,
    inner: Box<dyn Listener>,
    closed: Closed,
}

#[async_trait]
impl Listener for FaultyListener {
    fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    async fn accept(&mut self) -> Result<Connection> {
        Ok(wrap(self.fault, self.inner.accept().await?, Side::Accepted, &self.closed))
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

fn wrap(fault: Fault, connection: Connection, side: Side, closed: &Closed) -> Connection {
    let Connection { peer, sender, receiver } = connection;
    let other = if side == Side::Connected { Side::Accepted } else { Side::Connected };
    let (here, there) = ((peer.address.clone(), side), (peer.address.clone(), other));
    let sender = FaultySender { fault, inner: sender, here, closed: closed.clone() };
    let receiver =
        FaultyReceiver { fault, inner: receiver, there, closed: closed.clone(), count: 0, ahead: VecDeque::new() };
    Connection { peer, sender: Box::new(sender), receiver: Box::new(receiver) }
}

#[derive(Debug)]
struct FaultySender {
    fault: Fault,
    inner: Box<dyn Sender>,
    here: (String, Side),
    closed: Closed,
}

#[async_trait]
impl Sender for FaultySender {
    fn open_lanes(&mut self, count: u8) -> Result<()> {
        self.inner.open_lanes(count)
    }

    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet> {
        self.inner.ready(wanted).await
    }

    fn try_send(&mut self, lane: Lane, block: &mut Block) -> Result<bool> {
        self.inner.try_send(lane, block)
    }

    async fn flush(&mut self) -> Result<()> {
        self.inner.flush().await
    }

    async fn close(&mut self) -> Result<()> {
        self.closed.lock().expect("no panic").insert(self.here.clone());
        let result = self.inner.close().await;
        if self.fault == Fault::HangsOnClose {
            std::future::pending::<()>().await;
        }
        result
    }
}

type Received = Result<Option<(Lane, Bytes)>>;

#[derive(Debug)]
struct FaultyReceiver {
    fault: Fault,
    inner: Box<dyn Receiver>,
    there: (String, Side),
    closed: Closed,
    count: usize,
    /// What comes next, before anything else is asked for.
    ahead: VecDeque<Received>,
}

impl FaultyReceiver {
    /// Whether the other end closed, so that the rest is to be lost.
    fn loses_the_rest(&self) -> bool {
        self.fault == Fault::LosesOnClose && self.closed.lock().expect("no panic").contains(&self.there)
    }

    /// What the next block becomes. Nothing here waits.
    fn spoil(&mut self, lane: Lane, block: Bytes) -> Option<(Lane, Bytes)> {
        self.count += 1;
        if self.loses_the_rest() {
            return None;
        }
        let (hit, size) = (self.count.is_multiple_of(EVERY), block.len());
        match self.fault {
            Fault::Loses if hit => return None,
            Fault::Doubles if hit => self.ahead.push_back(Ok(Some((lane, block.clone())))),
            Fault::Splits if hit && size > 1 => {
                self.ahead.push_back(Ok(Some((lane, block.slice(size / 2..)))));
                return Some((lane, block.slice(..size / 2)));
            }
            Fault::Truncates if hit && size > 1 => return Some((lane, block.slice(..size - 1))),
            Fault::Reorders if hit => return Some(self.swap(lane, block)),
            _ => {}
        }
        Some((lane, block))
    }

    /// Gives the next block of the same lane first, if it is there already.
    fn swap(&mut self, lane: Lane, block: Bytes) -> (Lane, Bytes) {
        let mut waker = Context::from_waker(Waker::noop());
        while let Poll::Ready(next) = self.inner.recv().as_mut().poll(&mut waker) {
            match next {
                Ok(Some((same, next))) if same == lane => {
                    self.ahead.push_front(Ok(Some((lane, block))));
                    return (lane, next);
                }
                Ok(Some(other)) => self.ahead.push_back(Ok(Some(other))),
                end => {
                    self.ahead.push_back(end);
                    break;
                }
            }
        }
        (lane, block)
    }
}

#[async_trait]
impl Receiver for FaultyReceiver {
    async fn recv(&mut self) -> Received {
        loop {
            if let Some(next) = self.ahead.pop_front() {
                return next;
            }
            let received = self.inner.recv().await;
            if self.fault == Fault::NotCancelSafe {
                // Whoever drops the future here takes the block along.
                tokio::task::yield_now().await;
            }
            match received {
                Ok(Some((lane, block))) => {
                    if let Some(spoilt) = self.spoil(lane, block) {
                        return Ok(Some(spoilt));
                    }
                }
                end => return end,
            }
        }
    }
}
