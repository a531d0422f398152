//! A log of events in one program, without a server: open a folder, write, read.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use sinew_session::{ResourceName, block_on};
use tokio::sync::oneshot;

use crate::engine::stored_stream::Held;
use crate::{
    Append, Appended, Compacted, Compaction, Durability, EngineOptions, Error, Event, EventBatch, EventBatchBuilder,
    JournalEngine, NewEvent, ReadLimits, Result, Retention, StreamConfig,
};

/// The stream of a folder that belongs to an [`EventLog`].
const STREAM: &str = "events";
/// Bytes that are read at one time.
const READ_BYTES: usize = 1 << 20;

/// How a log is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A file is full at this size, in bytes, and the next is begun. Default 128 MiB; 4 KiB to 1 GiB.
    pub max_log_size: u64,
    /// Bytes between two entries of the index. Default 16 KiB.
    pub index_interval: u32,
    /// The largest event, in bytes, with 16 bytes of head. Default 1 MiB.
    pub event_bytes_max: u32,
    /// When a write returns. Default: once it is synced to disk.
    pub durability: Durability,
    /// How long events are kept. Default: for ever.
    pub retention: Retention,
    /// Whether old values of a key are removed. Default: not.
    pub compaction: Compaction,
}

impl Default for LogOptions {
    fn default() -> Self {
        let StreamConfig { segment_bytes_max, index_interval_bytes, event_bytes_max, .. } = StreamConfig::default();
        Self {
            max_log_size: segment_bytes_max,
            index_interval: index_interval_bytes,
            event_bytes_max,
            durability: Durability::default(),
            retention: Retention::default(),
            compaction: Compaction::default(),
        }
    }
}

impl LogOptions {
    fn config(&self) -> StreamConfig {
        StreamConfig {
            segment_bytes_max: self.max_log_size,
            index_interval_bytes: self.index_interval,
            event_bytes_max: self.event_bytes_max,
            durability: self.durability,
            retention: self.retention,
            compaction: self.compaction,
            ..StreamConfig::default()
        }
    }
}

/// A log of events in a folder of its own, which one process has at a time. Cheap to clone; threads may share it: what
/// they write at the same time is synced together.
///
/// The folder is a data directory with one stream, `events`: a server that is given the folder serves it.
///
/// ```
/// use sinew_eventsource::{EventLog, LogOptions};
/// # let folder = tempfile::tempdir()?;
/// let log = EventLog::open(folder.path().join("log"), LogOptions::default())?;
/// assert_eq!(log.write("first")?, 0); // on disk when it returns
/// let tickets: Vec<_> = ["second", "third"].map(|text| log.write_start(text)).into();
/// for ticket in tickets {
///     ticket.wait()?; // both were synced together
/// }
/// let event = log.get(1)?;
/// assert_eq!((event.offset, event.size(), &event.data()[..]), (1, 6, &b"second"[..]));
/// assert_eq!(log.get_batch(0, 10)?.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct EventLog {
    engine: JournalEngine,
    stream: Held,
}

impl EventLog {
    /// Opens the log in this folder, making it where it is missing; an older one is altered to these options, which hold
    /// for files that are begun from then on. After a crash it recovers: what was acknowledged is there.
    ///
    /// # Errors
    /// `Storage`: another process has it, or it cannot be read; `Config` for options that cannot be; `NoSpace`.
    pub fn open(path: impl AsRef<Path>, options: LogOptions) -> Result<Self> {
        let engine = JournalEngine::open(path, EngineOptions { committer_threads: 1, ..EngineOptions::default() })?;
        Self::on(engine, &options)
    }

    /// Makes a log in this folder from the files of the original event source in `source`: each `.log` file named by its
    /// first offset, records of offset, time, size and payload. Offsets and times stay.
    ///
    /// # Errors
    /// `MalformedImport` with file and byte, after which there is no log; `StreamExists`; as [`open`](Self::open).
    pub fn import(path: impl AsRef<Path>, source: impl AsRef<Path>, options: LogOptions) -> Result<Self> {
        let engine = JournalEngine::open(path, EngineOptions { committer_threads: 1, ..EngineOptions::default() })?;
        engine.import_now(&name(), &options.config(), source.as_ref(), &mut |_| true)?;
        Self::on(engine, &options)
    }

    pub(crate) fn on(engine: JournalEngine, options: &LogOptions) -> Result<Self> {
        let stream = engine.open_now(&name(), &options.config())?;
        Ok(Self { engine, stream })
    }

    /// Writes an event and gives its offset; it has the log's durability when this returns. Costs one sync, shared with
    /// whatever other threads write meanwhile.
    ///
    /// # Errors
    /// `TooLarge`; `NoSpace`, after which nothing of it is stored and a later write may succeed; `Busy`; `Storage`, after
    /// which whether it is stored is known at the next start.
    pub fn write(&self, event: impl Into<NewEvent>) -> Result<u64> {
        self.write_batch([event]).map(|offsets| offsets.start)
    }

    /// Writes events, all or none, and gives their offsets.
    ///
    /// # Errors
    /// As [`write`](Self::write); `Malformed` for no event.
    pub fn write_batch<E: Into<NewEvent>>(&self, events: impl IntoIterator<Item = E>) -> Result<std::ops::Range<u64>> {
        let (done, answer) = oneshot::channel();
        let append = Append { events: batch(events)?, expected_next: None, producer: None };
        self.stream.enqueue(append, Box::new(move |result| drop(done.send(result))));
        Ticket { answer, stream: self.stream.clone() }.wait_range()
    }

    /// Begins to write an event and returns at once; the [`Ticket`] tells when it is stored. One thread can have as many
    /// on their way as the queue has bytes, and they are stored in the order of these calls.
    pub fn write_start(&self, event: impl Into<NewEvent>) -> Ticket {
        self.write_batch_start([event])
    }

    /// The same for events that are stored all or none; the ticket gives the first one's offset.
    pub fn write_batch_start<E: Into<NewEvent>>(&self, events: impl IntoIterator<Item = E>) -> Ticket {
        let (done, answer) = oneshot::channel();
        let done: crate::AppendDone = Box::new(move |result| drop(done.send(result)));
        match batch(events) {
            Ok(events) => self.stream.append(Append { events, expected_next: None, producer: None }, done),
            Err(error) => done(Err(error)),
        }
        Ticket { answer, stream: self.stream.clone() }
    }

    /// The event at an offset.
    ///
    /// # Errors
    /// `OutOfRange` where there is none: below the first, above the last, or removed by compaction; `Damaged`; `Storage`.
    pub fn get(&self, offset: u64) -> Result<Event> {
        let page = self.stream.read(offset, &ReadLimits { bytes_max: 1, events_max: 1 })?;
        let mut events = page.batches.iter().flat_map(|batch| batch.events.events(batch.first, batch.timestamp));
        events.find(|event| event.offset == offset).ok_or_else(|| self.stream.out_of_range(offset))
    }

    /// At most `count` events from an offset on, in order, from as many files as it takes; fewer at the end.
    ///
    /// # Errors
    /// `OutOfRange` for an offset below the first or behind the last; `Damaged`, where damage is all there is at the
    /// offset; `Storage`.
    pub fn get_batch(&self, offset: u64, count: usize) -> Result<Vec<Event>> {
        let range = self.range();
        if !range.contains(&offset) {
            return Err(self.stream.out_of_range(offset));
        }
        let (mut at, mut events) = (offset, Vec::new());
        while events.len() < count && at < range.end {
            let limits = ReadLimits { bytes_max: READ_BYTES, events_max: count - events.len() };
            let page = match self.stream.read(at, &limits) {
                Err(Error::Damaged { .. } | Error::OutOfRange { .. }) if !events.is_empty() => break,
                page => page?,
            };
            let batches = page.batches.iter().flat_map(|batch| batch.events.events(batch.first, batch.timestamp));
            events.extend(batches.filter(|event| event.offset >= offset).take(count - events.len()));
            at = page.next;
        }
        Ok(events)
    }

    /// The offsets that there are: the first, and the one that the next event gets.
    pub fn range(&self) -> std::ops::Range<u64> {
        let range = self.stream.current_range();
        range.first..range.next
    }

    /// The first offset whose event is not older than `timestamp`, in nanoseconds since 1970; the next one where all are.
    ///
    /// # Errors
    /// `Damaged`, `Storage`.
    pub fn offset_at(&self, timestamp: u64) -> Result<u64> {
        self.stream.offset_at(timestamp)
    }

    /// Applies retention and compaction now, instead of when they are due.
    ///
    /// # Errors
    /// `NoSpace`, `Storage`.
    pub fn compact(&self) -> Result<Compacted> {
        self.stream.compact(&mut |_| true)
    }

    /// Stores what is on its way and closes the files, so that the next start is quick. The last clone that is dropped
    /// does the same and says nothing of what fails.
    ///
    /// # Errors
    /// `NoSpace`, `Storage`.
    pub fn close(self) -> Result<()> {
        self.engine.close_now()
    }
}

fn name() -> ResourceName {
    ResourceName::try_from(STREAM).expect("a name")
}

fn batch<E: Into<NewEvent>>(events: impl IntoIterator<Item = E>) -> Result<EventBatch> {
    let mut builder = EventBatchBuilder::default();
    events.into_iter().try_for_each(|event| builder.push(&event.into()))?;
    Ok(builder.finish())
}

/// A write on its way: a future of the offset, or [`wait`](Self::wait) for it. Dropped, the write goes on.
#[derive(Debug)]
#[must_use = "whether the event is stored is told by the ticket"]
pub struct Ticket {
    answer: oneshot::Receiver<Result<Appended>>,
    stream: Held,
}

impl Ticket {
    /// Waits for the event to be stored, on this thread, and gives its offset.
    ///
    /// # Errors
    /// As [`EventLog::write`].
    pub fn wait(self) -> Result<u64> {
        self.wait_range().map(|offsets| offsets.start)
    }

    fn wait_range(mut self) -> Result<std::ops::Range<u64>> {
        // Whoever waits may as well store: no other thread has to be woken, and what gathers meanwhile goes along.
        let answer = match self.answer.try_recv() {
            Ok(answer) => answer,
            Err(oneshot::error::TryRecvError::Closed) => Err(self.stream.ended()),
            Err(oneshot::error::TryRecvError::Empty) => {
                // What fails is told to everybody whom it concerns.
                let _ = self.stream.round_now();
                self.stream.wake_for_rest();
                let ended = self.stream.ended();
                block_on(self.answer)?.unwrap_or(Err(ended))
            }
        };
        answer.map(|appended| appended.first..appended.first + u64::from(appended.count))
    }
}

impl Future for Ticket {
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        let answer = answer.unwrap_or_else(|_| Err(self.stream.ended()));
        Poll::Ready(answer.map(|appended| appended.first))
    }
}

impl Event {
    /// Bytes of what was written.
    pub fn size(&self) -> usize {
        self.payload.len()
    }

    /// What was written.
    pub fn data(&self) -> &Bytes {
        &self.payload
    }
}

#[cfg(test)]
#[path = "event_log/tests.rs"]
mod tests;
