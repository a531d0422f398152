//! The traits that a plug-in implements. Each sentence of their docs is one case of the conformance kit.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Block, ConnectOptions, Endpoint, Lane, LaneSet, ListenOptions, PathStats, Peer, Result};

/// A way to move blocks. One value serves any number of listeners and connections.
///
/// Futures are polled on a tokio runtime with IO and time enabled, current-thread or multi-thread; a connection is used
/// on the runtime on which it was made.
#[async_trait]
pub trait Transport: Send + Sync + Debug {
    /// What this transport can do; the conformance kit skips what it does not claim.
    fn capabilities(&self) -> Capabilities;

    /// Listens at `endpoint`. Port 0 picks a free one; [`Listener::endpoint`] tells which.
    ///
    /// # Errors
    /// `AddressInUse`, `Endpoint` for one that makes no sense here, `Security` where the options lack what is needed.
    async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>>;

    /// Connects to `endpoint`; resolves only once both sides admitted each other by key, within
    /// `options.connect_timeout`. Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// `Refused` if the server does not admit us, `WrongServerKey` if it is not who it should be, `SecurityMismatch`
    /// if one side is plaintext and the other is not, `Unreachable`, `Timeout`.
    async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection>;
}

/// Accepts connections at one endpoint.
#[async_trait]
pub trait Listener: Send + Debug {
    /// Where it really listens: the port is never 0.
    fn endpoint(&self) -> &Endpoint;

    /// The next admitted connection. Cancel-safe. A peer that was refused is no connection: it comes as
    /// `Err(Error::Refused)`, and the listener goes on; so it does after each error with `Error::is_retryable`.
    async fn accept(&mut self) -> Result<Connection>;

    /// Stops accepting before it resolves: whoever connects from then on is not let in, and whoever was not accepted
    /// yet is lost. Accepted connections live on. The address is free at the latest when they have ended (a transport
    /// whose connections share the listener's socket cannot free it before). Idempotent.
    async fn close(&mut self) -> Result<()>;
}

/// An admitted connection: two halves that may be used from two tasks.
///
/// Dropping both halves without [`Sender::close`] is an abrupt end: the peer gets `Error::Lost`, after a prefix of what
/// was sent.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// The half that sends.
    pub sender: Box<dyn Sender>,
    /// The half that receives.
    pub receiver: Box<dyn Receiver>,
}

/// The sending half.
#[async_trait]
pub trait Sender: Send + Debug {
    /// Tells how many lanes the session agreed on in its hello, control included. Before this call only
    /// [`Lane::CONTROL`] exists. Called once at most, at both ends, before any other lane is used; a block may arrive
    /// on a lane from the peer before our own call.
    fn open_lanes(&mut self, count: u8) -> Result<()>;

    /// Waits until some lane of `wanted` has room and says which do. Cancel-safe: dropping the future loses nothing.
    /// A full lane holds up no other where lanes are independent.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); so a waiting sender learns that the connection has ended.
    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet>;

    /// Takes the whole of `block` or nothing, without waiting. `Ok(true)`: taken, `block` is left empty.
    /// `Ok(false)`: the lane is full, `block` is as it was; wait with [`ready`](Self::ready). What is taken but not yet
    /// on its way is bounded by [`Limits::queue_bytes_max`](crate::Limits::queue_bytes_max) for each connection.
    ///
    /// # Errors
    /// `BlockSize` if it is empty or larger than allowed (nothing is sent, the connection lives on), `UnknownLane`,
    /// `Closed` after `close`, `Lost` when the connection is gone.
    fn try_send(&mut self, lane: Lane, block: &mut Block) -> Result<bool>;

    /// Waits until everything taken has been handed to the network. Cancel-safe.
    async fn flush(&mut self) -> Result<()>;

    /// Ends the connection in order: what was taken before is delivered, then the peer's `recv` gives `None`.
    /// Resolves when the peer has got it all, or fails at the latest after `Limits::close_timeout`, after which the
    /// connection is lost. Idempotent, and may be called again when its future was dropped.
    ///
    /// What the peer took before it learned of this still arrives if it closes in order too; so both ends may close at
    /// the same time. The peer's sending fails from then on.
    async fn close(&mut self) -> Result<()>;

    /// How many data lanes, control not counted, suit this connection: more than one pays where packets get lost. The
    /// client's wish goes into the hello; the server agrees to at most what both sides have.
    fn data_lanes_preferred(&self) -> u8 {
        1
    }

    /// Round trip and loss as the transport measures them; all `None` where it does not.
    fn path(&self) -> PathStats {
        PathStats::default()
    }
}

/// The receiving half.
#[async_trait]
pub trait Receiver: Send + Debug {
    /// The next block, whole, in the order in which it was sent on its lane. `None` when the peer closed in order and
    /// everything before was given out. Cancel-safe. Not calling it holds the peer back, and only this peer.
    ///
    /// # Errors
    /// `Lost` when the connection ended otherwise, `Protocol` when the peer broke the transport's rules; both are final.
    async fn recv(&mut self) -> Result<Option<(Lane, Bytes)>>;
}

/// What a transport claims. The session never depends on these; the conformance kit and `sinew doctor` read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Lanes are independent: a full or lossy lane holds up no other.
    pub independent_lanes: bool,
    /// Peers can be authenticated and traffic encrypted.
    pub secure: bool,
    /// Works between machines.
    pub remote: bool,
    /// The most lanes a connection can have, control included.
    pub lanes_max: u8,
}
