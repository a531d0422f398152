//! What a client asks and what comes back: requests, replies, and who waits for them.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::cbor::{from_cbor, to_cbor};
use crate::hello::{CallHead, Failure};
use crate::outbox::{Outbox, Position};
use crate::record::{CRITICAL, Header};
use crate::shared::WAIT_MAX;
use crate::{Error, Result};

/// What is asked of the server.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Which service.
    pub service: u8,
    /// What is asked.
    pub verb: u8,
    /// A number from [`Session::number`](crate::Session::number), for a call that opens a stream; `None` takes a fresh one.
    pub number: Option<u32>,
    /// What the call is ordered with: a subject, queue, bucket or stream. Calls of one key arrive in order.
    pub key: &'a [u8],
    /// The request in CBOR.
    pub body: Vec<u8>,
    /// How long the caller waits.
    pub deadline: Duration,
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its body. It shares a receive buffer: copy what is kept for long.
    pub body: Bytes,
}

impl Reply {
    /// The body as CBOR.
    ///
    /// # Errors
    /// `Protocol` if the server sent something else.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        from_cbor(&self.body).map_err(|error| Error::Protocol { peer: "the server".into(), why: error.to_string() })
    }
}

pub(crate) enum Waiter {
    Caller(oneshot::Sender<Result<Reply>>),
    Callback(Box<dyn FnOnce(Result<Reply>) + Send>),
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiter")
    }
}

impl Waiter {
    pub(crate) fn settle(self, result: Result<Reply>) {
        match self {
            // A caller that has gone does not want to know.
            Self::Caller(caller) => drop(caller.send(result)),
            Self::Callback(callback) => callback(result),
        }
    }
}

pub(crate) fn call_head(request: &Request<'_>) -> Vec<u8> {
    to_cbor(&CallHead { deadline_ms: request.deadline.min(WAIT_MAX).as_millis() as u64, operation: None })
}

pub(crate) fn pack_call(outbox: &Outbox, number: u32, head: &[u8], request: Request<'_>) -> Position {
    let header = Header { service: request.service, verb: request.verb, flags: CRITICAL, call: number };
    let mut packer = outbox.pack();
    let lane = packer.lane(request.key);
    packer.push_at(lane, header, &[head], &Bytes::from(request.body))
}

/// A reply's body as a result.
pub(crate) fn outcome(failed: bool, body: Bytes) -> Result<Reply> {
    if !failed {
        return Ok(Reply { body });
    }
    let failure = from_cbor::<Failure>(&body);
    Err(Error::Failed(failure.unwrap_or_else(|error| Failure { code: "unreadable".into(), reason: error.to_string() })))
}
