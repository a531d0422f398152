//! One stream on disk: its journal, its state, what waits, and what readers see. Synchronous; `journal_stream.rs` is
//! its async face, `event_log.rs` the one of programs without a server.
//!
//! Locks are taken in this order: writer, then any of the others, each alone and for a few instructions. The writer's is
//! held while a round is stored.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use sinew_hosting::{Bell, Folder, GoOn, Inbox, Refused, locked};
use sinew_journal::{
    BatchHeader, Committer, Error as JournalError, Journal, JournalOptions, JournalReader, Participant, PreparedBatch,
    Recovery, Wake,
};
use sinew_session::ResourceName;
use tokio::sync::watch;

use super::cursor_log::CursorLog;
use super::folder::EVENTS;
use super::tail::Tail;
use super::{Host, storage};
use crate::stream::{StreamState, check_batch};
use crate::{
    Append, AppendDone, Durability, Error, Level, ProducerGrant, Result, StreamConfig, StreamInfo, StreamRange,
};

/// What a batch of the journal is.
pub(crate) const KIND_EVENTS: u16 = 1;
/// A producer was opened; the body is an [`Opening`](crate::producers::Opening).
pub(crate) const KIND_OPENING: u16 = 2;
/// Ranges of damage that are remembered.
const DAMAGED_MAX: usize = 100;
/// Bytes of a batch beside its body.
const HEADER_BYTES: usize = 80;

/// Called once with a producer.
pub(crate) type OpenDone = Box<dyn FnOnce(Result<ProducerGrant>) + Send>;

/// What waits for the next round.
pub(crate) enum Request {
    Append { append: Append, batch: PreparedBatch, done: AppendDone },
    Open { name: String, done: OpenDone },
}

impl Request {
    pub(crate) fn refuse(self, error: Error) {
        match self {
            Self::Append { done, .. } => done(Err(error)),
            Self::Open { done, .. } => done(Err(error)),
        }
    }
}

/// One stream on disk.
#[derive(Debug)]
pub(crate) struct StoredStream {
    pub(crate) name: ResourceName,
    pub(crate) folder: Folder,
    pub(crate) host: Arc<Host>,
    pub(super) config: RwLock<Arc<StreamConfig>>,
    pub(super) inbox: Inbox<Request, Error>,
    pub(super) writer: Mutex<Writer>,
    pub(super) reader: RwLock<JournalReader>,
    pub(super) range: watch::Sender<StreamRange>,
    pub(super) tail: Mutex<Tail>,
    pub(super) producers: AtomicU64,
    pub(crate) cursors: Arc<CursorLog>,
    pub(super) damaged: Mutex<Vec<(u64, u64)>>,
    /// Rings when there may be something to maintain.
    pub(super) bell: Bell,
    /// One at a time maintains it.
    pub(super) upkeep: Mutex<()>,
    /// Shared by all who use it.
    users: Arc<()>,
    wake: OnceLock<Wake>,
}

/// A stream that somebody uses: it is not closed to make room for others. Whoever only has a round to run, or reads the
/// rest of a page, has the stream alone.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    stream: Arc<StoredStream>,
    _user: Arc<()>,
}

impl Deref for Held {
    type Target = Arc<StoredStream>;

    fn deref(&self) -> &Arc<StoredStream> {
        &self.stream
    }
}

/// What only a round changes.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the stream has ended.
    pub(super) journal: Option<Journal>,
    pub(super) state: StreamState,
    /// Of the newest snapshot of producers: its offset, and how many openings it has.
    pub(super) snapshot_at: (u64, u64),
    /// Bytes since a new segment was begun, about.
    pub(super) grown: u64,
}

impl StoredStream {
    /// Opens a stream that is there. Costs what opening its journals costs, and a look at what was appended since the
    /// last snapshot.
    pub(crate) fn open(
        host: &Arc<Host>,
        folder: Folder,
        config: StreamConfig,
        committer: &Committer,
        bell: Bell,
    ) -> Result<Arc<Self>> {
        let storage = storage(folder.name());
        let cursors = CursorLog::open(host, &folder, committer)?;
        let options = journal_options(&config);
        let opened = Journal::open(host.directory.files().clone(), folder.join(EVENTS), options).map_err(&storage)?;
        let (journal, recovery) = opened;
        report(folder.name(), &recovery);
        journal.attach(committer);
        let (state, snapshot_at) =
            super::recovery::restore(folder.name(), &journal, config.producers_max).map_err(&storage)?;
        let (first, next) = journal.reader().range();
        let mut damaged: Vec<_> = recovery.damaged.iter().map(|damage| (damage.from, damage.to)).collect();
        damaged.truncate(DAMAGED_MAX);
        let stream = Arc::new(Self {
            name: folder.name().clone(),
            folder,
            config: RwLock::new(Arc::new(config)),
            inbox: host.inbox(),
            reader: RwLock::new(journal.reader()),
            range: watch::channel(StreamRange { first, next, ended: false }).0,
            tail: Mutex::new(Tail::new(host.options.tail_bytes_max)),
            producers: AtomicU64::new(state.producers().len() as u64),
            writer: Mutex::new(Writer { journal: Some(journal), state, snapshot_at, grown: 0 }),
            cursors,
            damaged: Mutex::new(damaged),
            bell,
            upkeep: Mutex::default(),
            users: Arc::default(),
            wake: OnceLock::new(),
            host: host.clone(),
        });
        let participant: Arc<dyn Participant> = stream.clone();
        // Nobody else has it yet.
        let _ = stream.wake.set(committer.register(&participant));
        Ok(stream)
    }

    /// For use.
    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        Held { stream: self.clone(), _user: self.users.clone() }
    }

    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.users) > 1
    }

    pub(crate) fn config(&self) -> Arc<StreamConfig> {
        self.config.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn reader(&self) -> JournalReader {
        self.reader.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn range(&self) -> watch::Receiver<StreamRange> {
        self.range.subscribe()
    }

    pub(crate) fn current_range(&self) -> StreamRange {
        *self.range.borrow()
    }

    pub(crate) fn level(&self) -> Level {
        level(&self.config())
    }

    pub(crate) fn storage(&self) -> impl Fn(JournalError) -> Error + use<> {
        storage(&self.name)
    }

    /// Puts an append into the queue, and has a round run soon, which stores it.
    pub(crate) fn append(&self, append: Append, done: AppendDone) {
        self.enqueue(append, done);
        self.wake();
    }

    /// The same where the caller runs the round. The batch's checksum is made here, on the caller's thread. Fails at
    /// once, by the same `done`, for what cannot be.
    pub(crate) fn enqueue(&self, append: Append, done: AppendDone) {
        if let Err(error) = check_batch(self.name.as_str(), &self.config(), &append.events) {
            return done(Err(error));
        }
        let (body, count) = (append.events.body().clone(), append.events.count());
        let prepared = PreparedBatch::new(body, count, count).map(|batch| batch.kind(KIND_EVENTS));
        let batch = match (prepared, &append.producer) {
            (Err(error), _) => return done(Err(self.storage()(error))),
            (Ok(batch), None) => batch,
            (Ok(batch), Some(stamp)) => batch.producer(stamp.id, stamp.epoch, stamp.sequence),
        };
        let bytes = append.events.body().len() + HEADER_BYTES;
        self.push(Request::Append { append, batch, done }, bytes);
    }

    /// The same for opening a producer.
    pub(crate) fn open_producer(&self, name: &ResourceName, done: OpenDone) {
        self.push(Request::Open { name: name.to_string(), done }, 2 * HEADER_BYTES);
        self.wake();
    }

    /// Has a round run soon where something still waits.
    pub(crate) fn wake_for_rest(&self) {
        if !self.inbox.is_empty() {
            self.wake();
        }
    }

    /// Has a round run soon.
    pub(super) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake.wake();
        }
    }

    fn push(&self, request: Request, bytes: usize) {
        match self.inbox.push(request, bytes) {
            Ok(()) => {}
            Err((request, Refused::Closed(error))) => request.refuse(error),
            Err((request, Refused::Full(bytes))) => {
                request.refuse(Error::Busy { stream: self.name.to_string(), bytes });
            }
        }
    }

    /// What it has and how it is configured.
    pub(crate) fn info(&self) -> StreamInfo {
        let (config, range, segments) = (self.config(), self.current_range(), self.reader().segments());
        StreamInfo {
            name: self.name.to_string(),
            level: level(&config),
            config: (*config).clone(),
            first: range.first,
            next: range.next,
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments: segments.len() as u64,
            producers: self.producers.load(Ordering::Relaxed),
            cursors: self.cursors.len() as u64,
            damaged: locked(&self.damaged).clone(),
        }
    }

    /// Remembers damage that was found.
    pub(super) fn note_damage(&self, from: u64, to: u64) {
        let mut damaged = locked(&self.damaged);
        if damaged.len() < DAMAGED_MAX && !damaged.contains(&(from, to)) {
            tracing::error!(stream = %self.name, from, to, "events are damaged and cannot be read");
            damaged.push((from, to));
            damaged.sort_unstable();
        }
    }

    /// Changes the configuration, durably. What a journal is opened with takes a moment, in which appends wait.
    pub(crate) fn alter(&self, config: &StreamConfig, committer: &Committer) -> Result<()> {
        let mut writer = locked(&self.writer);
        if writer.journal.is_none() {
            return Err(self.ended());
        }
        let before = self.config();
        self.folder.write_config(config)?;
        writer.state.limit_producers(config.producers_max);
        self.producers.store(writer.state.producers().len() as u64, Ordering::Relaxed);
        *self.config.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(config.clone());
        let of_the_journal = |of: &StreamConfig| (of.durability, of.segment_bytes_max, of.index_interval_bytes);
        if of_the_journal(&before) != of_the_journal(config)
            && let Err(error) = self.reopen(&mut writer, config, committer)
        {
            let told = self.storage()(error.clone());
            if error.is_fatal() {
                self.give_up(&told);
            } else {
                // Nothing is lost: it ends, and is there again once it can be opened.
                drop(writer);
                self.abandon();
            }
            return Err(told);
        }
        drop(writer);
        self.bell.ring();
        Ok(())
    }

    fn reopen(&self, writer: &mut Writer, config: &StreamConfig, committer: &Committer) -> Result<(), JournalError> {
        match writer.journal.take().map_or(Ok(()), Journal::close) {
            // Everything is on disk; only the mark is not, by which a start knows that.
            Err(error) if error.is_fatal() => return Err(error),
            _ => {}
        }
        let files = self.host.directory.files().clone();
        let (journal, _) = Journal::open(files, self.folder.join(EVENTS), journal_options(config))?;
        journal.attach(committer);
        *self.reader.write().unwrap_or_else(std::sync::PoisonError::into_inner) = journal.reader();
        writer.journal = Some(journal);
        Ok(())
    }

    /// Stores what waits, takes nothing more, and closes the files so that the next start is quick.
    pub(crate) fn close(&self) -> Result<()> {
        let stored = self.end();
        // Whoever maintains it stops at the next look.
        let _one = locked(&self.upkeep);
        let mut writer = locked(&self.writer);
        let Some(mut journal) = writer.journal.take() else { return stored };
        let saved = self.save_snapshot(&mut journal, &mut writer);
        let closed = journal.close().map_err(self.storage());
        stored.and(self.cursors.close()).and(saved).and(closed)
    }

    /// The stream is gone: stores nothing more, and leaves the files to whoever removes them.
    pub(crate) fn abandon(&self) {
        self.inbox.close(self.ended());
        self.range.send_modify(|range| range.ended = true);
        let mut writer = locked(&self.writer);
        self.inbox.take(usize::MAX).into_iter().for_each(|request| request.refuse(self.ended()));
        writer.journal = None;
        drop(writer);
        self.cursors.abandon();
        locked(&self.tail).clear();
    }

    /// Runs what takes long, until it is done or the stream has ended.
    pub(super) fn while_it_lives<T>(
        &self,
        go_on: GoOn<'_>,
        work: impl FnOnce(&Self, GoOn<'_>) -> Result<T>,
    ) -> Result<T> {
        let done = work(self, &mut |how_far| go_on(how_far) && !self.current_range().ended);
        done.map_err(|error| if self.current_range().ended { self.ended() } else { error })
    }

    /// Takes nothing more, and stores what waits.
    fn end(&self) -> Result<()> {
        self.inbox.close(self.ended());
        while !self.inbox.is_empty() {
            self.round_now().map_err(self.storage())?;
        }
        self.range.send_modify(|range| range.ended = true);
        Ok(())
    }

    pub(crate) fn ended(&self) -> Error {
        Error::Ended { stream: self.name.to_string() }
    }

    /// Nothing can be acknowledged any more: everything is answered with this error, and the process is to end.
    pub(super) fn give_up(&self, error: &Error) {
        self.inbox.close(error.clone());
        self.inbox.take(usize::MAX).into_iter().for_each(|request| request.refuse(error.clone()));
        self.host.failure.tell(error);
    }

    /// Saves the producers as they are, with everything below the stored end in them.
    pub(super) fn save_snapshot(&self, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
        let offset = writer.state.next();
        journal.save_snapshot(offset, &writer.state.producers().snapshot()).map_err(self.storage())?;
        writer.snapshot_at = (offset, writer.state.producers().openings());
        Ok(())
    }
}

/// What a stream's acknowledgements mean.
pub(crate) fn level(config: &StreamConfig) -> Level {
    config.durability.into()
}

fn journal_options(config: &StreamConfig) -> JournalOptions {
    JournalOptions {
        segment_bytes: config.segment_bytes_max,
        index_interval_bytes: config.index_interval_bytes,
        durability: match config.durability {
            Durability::Fsynced => sinew_journal::Durability::Fsynced,
            Durability::Written => sinew_journal::Durability::Written,
        },
        ..JournalOptions::default()
    }
}

/// What a start has to say.
fn report(name: &ResourceName, recovery: &Recovery) {
    if let Some(cut) = &recovery.cut {
        let (bytes, saved) = (cut.bytes, cut.saved.as_ref().map(|path| path.display().to_string()));
        tracing::warn!(stream = %name, bytes, saved, "what was never acknowledged was cut off the end");
    }
    for damage in &recovery.damaged {
        tracing::error!(stream = %name, from = damage.from, to = damage.to, "events are damaged and cannot be read");
    }
    for (path, why) in &recovery.suspect {
        tracing::warn!(stream = %name, path = %path.display(), "{why}");
    }
}

/// Whether a batch has events, and which offsets it takes.
pub(super) fn is_events(header: &BatchHeader) -> bool {
    header.kind == KIND_EVENTS && header.span > 0
}
