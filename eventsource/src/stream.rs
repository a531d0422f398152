//! The state of one stream: what a round of requests is to become. No IO and no clock; the engine stores what was judged
//! and then tells whether that worked.
//!
//! 1. Requests are judged one after the other against what is stored and what this round has accepted so far.
//! 2. Nothing of a round is answered before the round is stored: an answer may reveal what is pending.
//! 3. [`commit`](StreamState::commit) keeps all of a round, [`discard`](StreamState::discard) nothing.

use crate::producers::{Opening, Producers, Remembered, Undo, Verdict};
use crate::{Append, Appended, Error, EventBatch, Level, ProducerGrant, Result, StreamConfig};

/// Bytes of the events of one batch. The journal takes no larger ones.
pub const EVENT_BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an append is to become.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// It is stored with this round, and answered so.
    Store(Appended),
    /// There is nothing to store; it is answered so once the round is stored.
    Answer(Result<Appended>),
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct StreamState {
    stream: String,
    next: u64,
    timestamp: u64,
    producers: Producers,
    /// How to take the round back, newest last.
    undo: Vec<Undo>,
    /// `next` and `timestamp` before the round.
    before: (u64, u64),
}

impl StreamState {
    /// As the log says: the next offset, the last log time, and its producers.
    pub(crate) fn new(stream: String, next: u64, timestamp: u64, producers: Producers) -> Self {
        Self { stream, next, timestamp, producers, undo: Vec::new(), before: (next, timestamp) }
    }

    /// Begins a round at this time, in nanoseconds since 1970. Log time does not go back.
    pub(crate) fn begin(&mut self, now: u64) {
        self.before = (self.next, self.timestamp);
        self.timestamp = self.timestamp.max(now);
    }

    /// What an append is to become; its sizes are checked already.
    pub(crate) fn judge(&mut self, append: &Append, level: Level) -> Judgement {
        let (count, timestamp) = (append.events.count(), self.timestamp);
        if let Some(stamp) = &append.producer {
            let (stream, producer, sequence) = (self.stream.clone(), stamp.id, stamp.sequence);
            match self.producers.judge(stamp, count) {
                Verdict::Store => {}
                Verdict::Duplicate(Remembered { first, timestamp, .. }) => {
                    return Judgement::Answer(Ok(Appended { first, count, timestamp, level, duplicate: true }));
                }
                Verdict::Fenced { current } => {
                    return refuse(Error::ProducerFenced { stream, producer, epoch: stamp.epoch, current });
                }
                Verdict::Expired => return refuse(Error::ProducerExpired { stream, producer }),
                Verdict::Gap { expected } => {
                    return refuse(Error::SequenceGap { stream, producer, sequence, expected });
                }
                Verdict::Old { expected } => {
                    return refuse(Error::AlreadyStored { stream, producer, sequence, expected });
                }
            }
        }
        if let Some(expected) = append.expected_next.filter(|expected| *expected != self.next) {
            return refuse(Error::WrongOffset { stream: self.stream.clone(), expected, next: self.next });
        }
        let first = self.next;
        if let Some(stamp) = &append.producer {
            let batch = Remembered { sequence: stamp.sequence, count, first, timestamp };
            self.undo.push(self.producers.store(stamp.id, batch));
        }
        self.next += u64::from(count);
        Judgement::Store(Appended { first, count, timestamp, level, duplicate: false })
    }

    /// Opens a producer; a new one gets `new_id`.
    pub(crate) fn open_producer(&mut self, name: &str, new_id: u64) -> (Opening, ProducerGrant) {
        let (opening, grant, undo) = self.producers.open(name, new_id);
        self.undo.push(undo);
        (opening, grant)
    }

    /// The round is stored.
    pub(crate) fn commit(&mut self) {
        self.undo.clear();
    }

    /// The round is not stored.
    pub(crate) fn discard(&mut self) {
        while let Some(undo) = self.undo.pop() {
            self.producers.undo(undo);
        }
        (self.next, self.timestamp) = self.before;
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Another bound on producers, between rounds.
    pub(crate) fn limit_producers(&mut self, max: u32) {
        self.producers.limit(max);
    }
}

fn refuse(error: Error) -> Judgement {
    Judgement::Answer(Err(error))
}

/// Whether a batch may be appended at all: it has events, at offsets without gaps, none too large.
pub(crate) fn check_batch(stream: &str, config: &StreamConfig, events: &EventBatch) -> Result<()> {
    let malformed = |why: &'static str| crate::MalformedBatch { record: 0, at: 0, why: why.into() };
    if events.count() == 0 {
        return Err(malformed("there is no event in it").into());
    }
    if events.span() != events.count() {
        return Err(malformed("its offsets have gaps").into());
    }
    let too_large = |what: &'static str, bytes, max, advice: &'static str| Error::TooLarge {
        stream: stream.to_owned(),
        what: what.into(),
        bytes,
        max,
        advice: advice.into(),
    };
    let (bytes, max) = (events.largest() as usize, config.event_bytes_max as usize);
    if bytes > max {
        return Err(too_large("an event", bytes, max, "split it, or raise `event_bytes_max` of the stream"));
    }
    if events.body().len() > EVENT_BATCH_BYTES_MAX {
        let bytes = events.body().len();
        return Err(too_large("a batch", bytes, EVENT_BATCH_BYTES_MAX, "append it in smaller ones"));
    }
    Ok(())
}

/// Whether a stream can be configured so.
pub(crate) fn check_config(stream: &str, config: &StreamConfig) -> Result<()> {
    let fault = |field: &'static str, value: String, why: &str| {
        Err(Error::Config { stream: stream.to_owned(), field: field.into(), value, why: why.to_owned() })
    };
    let segment = config.segment_bytes_max;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_LIMIT).contains(&segment) {
        return fault("segment_bytes_max", segment.to_string(), "a segment has 4 KiB to 1 GiB");
    }
    let interval = config.index_interval_bytes;
    if !(INDEX_INTERVAL_BYTES_MIN..=INDEX_INTERVAL_BYTES_LIMIT).contains(&interval) {
        return fault("index_interval_bytes", interval.to_string(), "it is 256 bytes to 16 MiB");
    }
    let event = config.event_bytes_max as usize;
    if !(EVENT_BYTES_MIN..=EVENT_BATCH_BYTES_MAX).contains(&event) {
        return fault("event_bytes_max", event.to_string(), "an event may have 64 bytes to 16 MiB");
    }
    if !(1..=PRODUCERS_LIMIT).contains(&config.producers_max) {
        return fault("producers_max", config.producers_max.to_string(), "1 to 100,000 producers can be remembered");
    }
    Ok(())
}

const SEGMENT_BYTES_MIN: u64 = 4 << 10;
const SEGMENT_BYTES_LIMIT: u64 = 1 << 30;
const INDEX_INTERVAL_BYTES_MIN: u32 = 256;
const INDEX_INTERVAL_BYTES_LIMIT: u32 = 16 << 20;
const EVENT_BYTES_MIN: usize = 64;
/// Their snapshot stays below 256 MiB then.
const PRODUCERS_LIMIT: u32 = 100_000;

#[cfg(test)]
#[path = "stream/tests.rs"]
mod tests;
