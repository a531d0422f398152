//! Appending: one event or a batch, awaited or many in flight.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use sinew_session::{Error as SessionError, HEADER_BYTES, Reply, Request, ResourceName, Session, to_value};
use tokio::sync::oneshot;

use super::{CALL, Log};
use crate::protocol::{AppendHead, SERVICE, error_of, read_appended, verb};
use crate::{Appended, Error, EventBatch, EventBatchBuilder, Level, NewEvent, Result};

/// What goes with an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendOptions {
    /// Only if the next offset is this one; else nothing is stored, and `WrongOffset` tells the next one. Default: any.
    pub expected_next: Option<u64>,
    /// The least that the acknowledgement must mean; else nothing is stored. Default: whatever the stream promises.
    pub required: Option<Level>,
    /// How long to wait for the acknowledgement. Default: 30 s.
    pub deadline: Duration,
}

impl Default for AppendOptions {
    fn default() -> Self {
        Self { expected_next: None, required: None, deadline: CALL }
    }
}

/// An append that is under way: await it for what became of it. Dropping it does not take it back.
#[derive(Debug)]
#[must_use = "await it to know what became of the append"]
pub struct AppendTicket {
    reply: oneshot::Receiver<Result<Appended>>,
}

impl AppendTicket {
    pub(crate) fn new() -> (oneshot::Sender<Result<Appended>>, Self) {
        let (told, reply) = oneshot::channel();
        (told, Self { reply })
    }
}

impl Future for AppendTicket {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(cx).map(|result| result.unwrap_or(Err(SessionError::Closed.into())))
    }
}

impl Log {
    /// Appends an event. Resolves once it is as durable as the stream promises. One round trip and, of a stream that
    /// is fsynced, a share of one sync.
    ///
    /// # Errors
    /// As [`append_batch`](Self::append_batch).
    pub async fn append(&self, stream: &ResourceName, event: impl Into<NewEvent>) -> Result<Appended> {
        self.append_with(stream, event, &AppendOptions::default()).await
    }

    /// Appends an event, with options.
    ///
    /// # Errors
    /// As [`append_batch`](Self::append_batch).
    pub async fn append_with(
        &self,
        stream: &ResourceName,
        event: impl Into<NewEvent>,
        options: &AppendOptions,
    ) -> Result<Appended> {
        self.append_batch(stream, batch_of(&event.into())?, options).await
    }

    /// Appends `value` in CBOR. As [`append`](Self::append).
    ///
    /// # Errors
    /// `Unencodable` if the value's own `Serialize` fails, and as [`append`](Self::append).
    pub async fn append_value<T: Serialize + ?Sized>(&self, stream: &ResourceName, value: &T) -> Result<Appended> {
        self.append(stream, encode_value(stream, value)?).await
    }

    /// Appends a batch: all of it or nothing, at offsets that follow one another.
    ///
    /// # Errors
    /// `UnknownStream`, `WrongOffset`, `LevelUnmet`, `TooLarge`, `Denied`, `NoSpace`: nothing was stored. `Busy`: nothing
    /// was stored, try again. `Session` with `OutcomeUnknown` or `Timeout` where the answer did not come: it may be
    /// stored; a [`Producer`](crate::Producer) sends again without doubling.
    pub async fn append_batch(
        &self,
        stream: &ResourceName,
        events: EventBatch,
        options: &AppendOptions,
    ) -> Result<Appended> {
        self.session.room().await?;
        self.append_start(stream, events, options).await
    }

    /// Sends a batch on its way without waiting for anything, and gives the ticket: many can be in flight, and those of
    /// one session to one stream are stored in order. Await some before the outbox is full: it is not looked at here.
    pub fn append_start(&self, stream: &ResourceName, events: EventBatch, options: &AppendOptions) -> AppendTicket {
        let (told, ticket) = AppendTicket::new();
        let (expected_next, required) = (options.expected_next, options.required);
        let head = AppendHead { stream: stream.as_str(), required, expected_next, producer: None };
        let done = move |result| drop(told.send(appended(result)));
        send_append(&self.session, stream.as_str(), &head.encode(), &events, options.deadline, done);
        ticket
    }
}

/// Packs an append; `done` hears what became of it.
pub(crate) fn send_append(
    session: &Session,
    stream: &str,
    head: &[u8],
    events: &EventBatch,
    deadline: Duration,
    done: impl FnOnce(sinew_session::Result<Reply>) + Send + 'static,
) {
    let bytes = HEADER_BYTES + head.len() + events.body().len();
    let max = session.record_bytes_max();
    if bytes > max {
        return done(Err(SessionError::RecordSize { bytes, max }));
    }
    session.cast(append_request(stream, &[head], events, deadline), done);
}

pub(crate) fn append_request<'a>(
    stream: &'a str,
    head: &'a [&'a [u8]],
    events: &EventBatch,
    deadline: Duration,
) -> Request<'a> {
    let body = events.body().clone();
    Request { head: Some(head), ..Request::new(SERVICE, verb::APPEND, stream.as_bytes(), body, deadline) }
}

/// What an answer to an append says.
pub(crate) fn appended(result: sinew_session::Result<Reply>) -> Result<Appended> {
    let reply = result.map_err(error_of)?;
    read_appended(&reply.head).ok_or_else(|| {
        let why = "its answer to an append does not hold together".into();
        Error::Session(SessionError::Protocol { peer: "the server".into(), why })
    })
}

/// One event as a batch.
pub(crate) fn batch_of(event: &NewEvent) -> Result<EventBatch> {
    let mut builder = EventBatchBuilder::default();
    builder.push(event)?;
    Ok(builder.finish())
}

/// A value as an event.
pub(crate) fn encode_value<T: Serialize + ?Sized>(stream: &ResourceName, value: &T) -> Result<NewEvent> {
    match to_value(&value) {
        Ok(bytes) => Ok(NewEvent::new(bytes)),
        Err(error) => {
            Err(Error::Unencodable { stream: stream.to_string(), given: std::any::type_name::<T>(), why: error.why })
        }
    }
}
