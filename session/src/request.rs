//! What a client asks and what comes back: requests, replies, and who waits for them.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::cbor::{from_cbor, to_cbor};
use crate::hello::{CallHead, Failure};
use crate::outbox::{Packer, Position};
use crate::record::{CRITICAL, FAILURE, Header, Record};
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
    /// The record's head in pieces, where the verb has one of its own; `None`: a [`CallHead`] with the deadline.
    pub head: Option<&'a [&'a [u8]]>,
    /// The body: a request in CBOR, or a payload. One of 8 KiB or more is not copied.
    pub body: Bytes,
    /// How long the caller waits.
    pub deadline: Duration,
}

impl<'a> Request<'a> {
    /// A call with a fresh number and the usual head.
    pub fn new(service: u8, verb: u8, key: &'a [u8], body: impl Into<Bytes>, deadline: Duration) -> Self {
        Self { service, verb, number: None, key, head: None, body: body.into(), deadline }
    }
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its head, which is empty for most verbs.
    pub head: Bytes,
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

/// The usual head of a call; empty where the request brings its own.
pub(crate) fn call_head(request: &Request<'_>) -> Vec<u8> {
    if request.head.is_some() {
        return Vec::new();
    }
    to_cbor(&CallHead { deadline_ms: request.deadline.min(WAIT_MAX).as_millis() as u64, operation: None })
}

/// Packs a call. `head` is what [`call_head`] gave.
pub(crate) fn pack_call(mut packer: Packer<'_>, number: u32, head: &[u8], request: Request<'_>) -> Position {
    let header = Header { service: request.service, verb: request.verb, flags: CRITICAL, call: number };
    let lane = packer.lane(request.key);
    packer.push_at(lane, header, request.head.unwrap_or(&[head]), &request.body)
}

/// A reply as a result.
pub(crate) fn outcome(record: &Record<'_>) -> Result<Reply> {
    if record.header.flags & FAILURE == 0 {
        return Ok(Reply { head: record.head_shared(0..record.head().len()), body: record.body_shared() });
    }
    let failure = from_cbor::<Failure>(record.body());
    Err(Error::Failed(failure.unwrap_or_else(|error| Failure::new("unreadable", error.to_string()))))
}
