//! Streams as a client makes, changes, lists and reads them.

use serde::de::DeserializeOwned;
use sinew_session::{Error as SessionError, Request, ResourceName, from_value, to_cbor};

use super::{CALL, Log};
use crate::protocol::{
    List, Names, OpenProducer, Position, Read, SERVICE, StreamAct, StreamAsk, error_of, read_pair, take_frame, verb,
};
use crate::{Error, Event, EventBatch, Filter, Producer, ReadLimits, Result, StreamConfig, StreamInfo};

/// A page of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// In order of their offsets. Their bytes share a receive buffer: copy what is kept for long.
    pub events: Vec<Event>,
    /// Where to read on.
    pub next: u64,
    /// The offset that the next event of the stream gets.
    pub end: u64,
}

impl Log {
    /// Makes a stream. One that is there with the same configuration is left as it is. Durable when it returns.
    ///
    /// # Errors
    /// `StreamExists` where it is configured otherwise, `Config`, `Limit`, `Denied`; `Session` if the server cannot be
    /// asked.
    pub async fn create(&self, stream: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        let ask = StreamAsk { stream: stream.to_string(), act: StreamAct::Create(config.clone()) };
        self.ask_surely(verb::STREAM, stream, &ask).await
    }

    /// Changes a stream's configuration.
    ///
    /// # Errors
    /// `UnknownStream`, `Config`, `Denied`; `Session`, with `OutcomeUnknown` where the answer did not come.
    pub async fn alter(&self, stream: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        let ask = StreamAsk { stream: stream.to_string(), act: StreamAct::Alter(config.clone()) };
        self.ask(verb::STREAM, stream, &ask).await
    }

    /// Removes a stream with its events, producers, cursors and groups. Its readers are told.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`; `Session`, with `OutcomeUnknown` where the answer did not come.
    pub async fn delete(&self, stream: &ResourceName) -> Result<()> {
        let ask = StreamAsk { stream: stream.to_string(), act: StreamAct::Delete };
        self.ask(verb::STREAM, stream, &ask).await
    }

    /// What a stream has, and how it is configured.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`; `Session` if the server cannot be asked.
    pub async fn info(&self, stream: &ResourceName) -> Result<StreamInfo> {
        let ask = StreamAsk { stream: stream.to_string(), act: StreamAct::Info };
        self.ask_surely(verb::STREAM, stream, &ask).await
    }

    /// The names of the streams in which we may do something, in order. A round trip for each few hundred.
    ///
    /// # Errors
    /// `Session` if the server cannot be asked.
    pub async fn list(&self) -> Result<Vec<ResourceName>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let body = to_cbor(&List { after });
            let request = Request::new(SERVICE, verb::LIST, b"", body, CALL);
            let page: Names = match self.session.call(request).await {
                Err(SessionError::OutcomeUnknown) => {
                    after = all.last().map(ResourceName::to_string);
                    continue;
                }
                reply => reply.map_err(error_of)?.read()?,
            };
            for name in &page.names {
                all.push(ResourceName::try_from(name.as_str())?);
            }
            match page.after {
                Some(last) => after = Some(last),
                None => return Ok(all),
            }
        }
    }

    /// Reads a page: at least one event where there is one, at most what the limits say.
    ///
    /// # Errors
    /// `UnknownStream`, `OutOfRange`, `Damaged`, `Denied`; `Session` if the server cannot be asked.
    pub async fn read(&self, stream: &ResourceName, from: Position, limits: ReadLimits) -> Result<Events> {
        self.read_filtered(stream, from, limits, Filter::default()).await
    }

    /// Reads a page of those events that the filter wants. It may be empty before the end is reached: read on from its
    /// `next` then.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_filtered(
        &self,
        stream: &ResourceName,
        from: Position,
        limits: ReadLimits,
        filter: Filter,
    ) -> Result<Events> {
        let (bytes_max, events_max) = (limits.bytes_max as u64, limits.events_max as u64);
        let ask = to_cbor(&Read { stream: stream.to_string(), from, bytes_max, events_max, filter });
        let reply = loop {
            let request = Request::new(SERVICE, verb::READ, stream.as_str().as_bytes(), ask.clone(), CALL);
            match self.session.call(request).await {
                Err(SessionError::OutcomeUnknown) => {}
                reply => break reply.map_err(error_of)?,
            }
        };
        let (next, end) = read_pair(&reply.head).ok_or_else(|| unreadable("the head of a page"))?;
        let (mut page, mut rest) = (Events { events: Vec::new(), next, end }, reply.body);
        while !rest.is_empty() {
            let (first, timestamp, body) = take_frame(&mut rest).ok_or_else(|| unreadable("a page"))?;
            page.events.extend(EventBatch::parse(body)?.events(first, timestamp));
        }
        Ok(page)
    }

    /// Opens the idempotent producer of this name: what it sends is stored once and in order, through cuts and restarts.
    /// Whoever had it before is fenced.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`, `NoSpace`; `Session` if the server cannot be asked.
    pub async fn producer(&self, stream: &ResourceName, name: &ResourceName) -> Result<Producer> {
        let ask = OpenProducer { stream: stream.to_string(), name: name.to_string() };
        let grant = self.ask_surely(verb::PRODUCER, stream, &ask).await?;
        Ok(Producer::new(self, stream.clone(), grant))
    }
}

impl Event {
    /// The payload, read as a value in CBOR: at most 64 levels deep, unknown fields skipped, nothing left over. The
    /// `payload` is there whatever comes of it. `stream` is for the error's text.
    ///
    /// # Errors
    /// `Undecodable`, which says what is wrong.
    pub fn value<T: DeserializeOwned>(&self, stream: &ResourceName) -> Result<T> {
        from_value(&self.payload).map_err(|error| Error::Undecodable {
            stream: stream.to_string(),
            offset: self.offset,
            expected: std::any::type_name::<T>(),
            why: error.why,
            bytes: self.payload.len(),
        })
    }
}

fn unreadable(what: &str) -> Error {
    let why = format!("{what} does not hold together");
    Error::Session(SessionError::Protocol { peer: "the server".into(), why })
}
