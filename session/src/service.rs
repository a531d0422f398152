//! What a service implements to live on a session: [`Service`] and [`Attachment`] at the server, [`Consumer`] at the
//! client.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_auth::{Operation, Resource};
use sinew_transport_api::{Lane, Peer};
use tokio::sync::Notify;

use crate::Error;
use crate::access::Access;
use crate::audit::Gate;
use crate::cbor::{from_cbor, to_cbor};
use crate::hello::{CallHead, Failure};
use crate::outbox::{Outbox, Packer};
use crate::record::{FAILURE, Header, REPLY, Record, Run};
use crate::restore::Restore;

/// A service at the server. One value for all sessions.
pub trait Service: Send + Sync + Debug {
    /// Its code in record headers, from 1 to 255; both ends must agree.
    fn code(&self) -> u8;

    /// A new session wants it.
    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment>;
}

/// A service's side of one session at the server. It lives through cuts, until the session is over; dropping it is
/// the end, of the session or of the server.
///
/// Everything is called where the block arrives and must not wait: what takes long goes to a task of its own, which
/// answers through the [`Link`].
pub trait Attachment: Send + Debug {
    /// Consecutive records of this service. A failure ends the connection: for peers that break the protocol only;
    /// what a call asks wrongly is answered by [`Link::fail`].
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure>;

    /// The caller no longer waits for this call.
    fn cancel(&mut self, _call: u32) {}

    /// The link's outbox was full and has room again.
    fn drained(&mut self) {}

    /// The connection was cut; the session may be resumed within the resume window. Drop the link.
    fn suspend(&mut self) {}

    /// The session is resumed over a new connection.
    fn resume(&mut self, _link: &Arc<Link>) {}

    /// The session is over: its client said goodbye, did not come back in time, or is no longer admitted. Dropped next. Not
    /// called where the server stops: its clients may come back to the next one.
    fn over(&mut self) {}

    /// The policy has changed: what was allowed before is to be asked for again, by [`Link::may`], and what is not
    /// allowed any more ends now. Called for cut sessions too.
    fn judge(&mut self) {}
}

/// The server's handle of one connection: who is there, and what is sent to it.
#[derive(Debug)]
pub struct Link {
    id: u64,
    peer: Peer,
    client: String,
    /// It asked for a session that this server does not know.
    returning: bool,
    epoch: u64,
    outbox: Outbox,
    access: Arc<Access>,
    gate: Gate,
    revoked: AtomicBool,
    revocation: Notify,
}

impl Link {
    pub(crate) fn new(
        id: u64,
        peer: Peer,
        client: String,
        returning: bool,
        epoch: u64,
        outbox: Outbox,
        access: Arc<Access>,
    ) -> Self {
        let (gate, revoked, revocation) = (Gate::of_link(), AtomicBool::new(false), Notify::new());
        Self { id, peer, client, returning, epoch, outbox, access, gate, revoked, revocation }
    }

    /// Whether the peer may do `operation` to `resource`, a name that is final. Services ask before they act; answers may
    /// be kept until [`Attachment::judge`]. Costs a few comparisons for each rule of the peer's roles, and nothing is
    /// waited for. A denial goes to the audit log, which is bounded.
    ///
    /// # Errors
    /// A failure named `denied` that names rule, role and next step, to be answered by [`Link::fail`].
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Failure> {
        self.access.decide(&self.peer, &self.gate, operation, resource)
    }

    /// Whether the peer may do it, for what is only shown or left out: no line in the audit log, nothing to answer.
    pub fn is_permitted(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.access.permits(&self.peer, operation, resource)
    }

    /// Whether the peer may do it to some name that the pattern matches: whether a list shows it what holds these names. No
    /// line in the audit log, and no permission.
    pub fn is_permitted_somewhere(&self, operation: Operation, pattern: &str) -> bool {
        self.access.permits_some(&self.peer, operation, pattern)
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The peer's key is no longer admitted.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.revocation.notify_one();
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Waits until the key was revoked, and then as long as the peer has to hear so. For the connection's task alone.
    pub(crate) async fn overdue(&self, grace: Duration) {
        self.revocation.notified().await;
        tokio::time::sleep(grace).await;
    }

    /// A number for this connection, never used twice by a server.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who is at the other end, as the transport authenticated it.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The server's [`epoch`](crate::Server::epoch): random for each start. What a service gives out by number is told
    /// from what it gave out before a restart by counting from here.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The name that the client gave itself; for logs only.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Whether the client asked for a session that this server does not know: the server has restarted, or has
    /// forgotten it. Others who were connected may be on their way back as well.
    pub fn is_returning(&self) -> bool {
        self.returning
    }

    /// What waits to be sent.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Locks the outbox for packing records.
    pub fn pack(&self) -> Packer<'_> {
        self.outbox.pack()
    }

    /// Answers the call of `request` with a CBOR body, on the lane it came by.
    pub fn reply<T: Serialize>(&self, lane: Lane, request: &Header, body: &T) {
        let header = Header { flags: REPLY, ..*request };
        self.pack().push(lane, header, &[], &Bytes::from(to_cbor(body)));
    }

    /// Answers the call of `request` with a failure, on the lane it came by.
    pub fn fail(&self, lane: Lane, request: &Header, failure: &Failure) {
        let header = Header { flags: REPLY | FAILURE, ..*request };
        self.pack().push(lane, header, &[], &Bytes::from(to_cbor(failure)));
    }
}

/// Reads a call's head and its CBOR request.
///
/// # Errors
/// A failure named `bad-request`, to be answered by [`Link::fail`].
pub fn read_call<T: DeserializeOwned>(record: &Record<'_>) -> Result<(CallHead, T), Failure> {
    Ok((from_cbor(record.head())?, from_cbor(record.body())?))
}

/// A service's side of a session at the client. Called on the session's own thread; it must not wait.
pub trait Consumer: Send + Sync + Debug {
    /// Consecutive records of this service that are no replies.
    fn records(&self, run: Run<'_>);

    /// The connection was cut; the session is trying to connect again.
    fn disconnected(&self) {}

    /// Connected again: ask for what has to stand before new work is sent. Work goes on once every call made here is
    /// answered.
    fn restore(&self, restore: &mut Restore<'_>);

    /// The session is over.
    fn ended(&self, why: &Error);
}
