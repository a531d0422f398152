//! The stream that grows, and its events: 128 bytes of payload that begin with the event's own offset, so that whoever
//! reads them knows that they are the right ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use sinew_eventsource::{
    Append, Appended, Engine, EngineOptions, Event, EventBatch, EventBatchBuilder, JournalEngine, NewEvent, Stream,
    StreamConfig,
};
use sinew_session::ResourceName;

use crate::Result;

/// Bytes of an event's payload.
pub(crate) const PAYLOAD_BYTES: usize = 128;
/// Events of one append of the stream that grows.
pub(crate) const BATCH: u64 = 64;
/// Appends that are not acknowledged at one time.
const IN_FLIGHT: usize = 64;

/// The engine in this folder.
pub(crate) fn engine(data: &Path) -> Result<JournalEngine> {
    Ok(JournalEngine::open(data, EngineOptions::default())?)
}

/// The stream of this name, made where it is missing.
pub(crate) async fn stream(engine: &JournalEngine, name: &str) -> Result<Arc<dyn Stream>> {
    let name: ResourceName = name.parse()?;
    engine.create(&name, &StreamConfig::default()).await?;
    Ok(engine.stream(&name).await?)
}

/// The stream that grows.
pub(crate) async fn growing(engine: &JournalEngine) -> Result<Arc<dyn Stream>> {
    stream(engine, "growing").await
}

/// Events from this number on.
pub(crate) fn batch(first: u64, count: u64) -> Result<EventBatch> {
    let (mut builder, mut payload) = (EventBatchBuilder::default(), [0x5a; PAYLOAD_BYTES]);
    for number in first..first + count {
        payload[..8].copy_from_slice(&number.to_le_bytes());
        builder.push(&NewEvent::new(payload.to_vec()))?;
    }
    Ok(builder.finish())
}

/// Whether an event is the one that was appended at its offset.
pub(crate) fn is_right(event: &Event) -> bool {
    event.payload.len() == PAYLOAD_BYTES && event.payload[..8] == event.offset.to_le_bytes()
}

/// Appends to the stream that grows, with as many on their way as there may be.
pub(crate) struct Appender {
    stream: Arc<dyn Stream>,
    next: u64,
    in_flight: usize,
    sender: Sender<sinew_eventsource::Result<Appended>>,
    answers: Receiver<sinew_eventsource::Result<Appended>>,
}

impl Appender {
    /// Goes on at the end.
    pub(crate) fn new(stream: Arc<dyn Stream>) -> Self {
        let next = stream.range().borrow().next;
        let (sender, answers) = channel();
        Self { stream, next, in_flight: 0, sender, answers }
    }

    /// The number that is appended next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Appends a batch, and waits for the oldest while there are too many on their way. Gives the offset behind what was
    /// acknowledged last.
    pub(crate) fn append(&mut self) -> Result<Option<u64>> {
        let sender = self.sender.clone();
        let append = Append { events: batch(self.next, BATCH)?, expected_next: Some(self.next), producer: None };
        self.stream.append(append, Box::new(move |result| drop(sender.send(result))));
        self.next += BATCH;
        self.in_flight += 1;
        let mut acknowledged = None;
        while self.in_flight >= IN_FLIGHT {
            acknowledged = Some(self.answer()?);
        }
        Ok(acknowledged)
    }

    /// Waits for all.
    pub(crate) fn settle(&mut self) -> Result<()> {
        while self.in_flight > 0 {
            self.answer()?;
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<u64> {
        let appended = self.answers.recv()??;
        self.in_flight -= 1;
        Ok(appended.first + u64::from(appended.count))
    }
}
