//! One stream in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sinew_session::ResourceName;
use tokio::sync::watch;

use super::Shared;
use crate::cursors::{Cursors, PendingCursors};
use crate::producers::Producers;
use crate::stream::{Judgement, StreamState, check_batch};
use crate::{
    Append, AppendDone, Appended, CommitDone, Cursor, CursorUpdate, Error, Level, Page, ProducerGrant, ReadLimits,
    Result, StoredBatch, Stream, StreamConfig, StreamInfo, StreamRange,
};

/// What a batch takes beside its events, about: its place in the queue, its buffer's head, what the allocator adds.
const BATCH_BYTES: usize = 128;

#[derive(Debug)]
pub(super) struct MemoryStream {
    name: ResourceName,
    state: Mutex<State>,
    range: watch::Sender<StreamRange>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct State {
    config: StreamConfig,
    rules: StreamState,
    batches: VecDeque<StoredBatch>,
    first: u64,
    bytes: usize,
    cursors: Cursors,
    ended: bool,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl MemoryStream {
    pub(super) fn new(name: ResourceName, config: StreamConfig, shared: Arc<Shared>) -> Self {
        let producers = Producers::new(config.producers_max);
        let rules = StreamState::new(name.to_string(), 0, 0, producers);
        let (batches, cursors) = (VecDeque::new(), Cursors::default());
        let state = State { config, rules, batches, first: 0, bytes: 0, cursors, ended: false };
        Self { name, state: Mutex::new(state), range: watch::Sender::new(StreamRange::default()), shared }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn living(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.ended { Err(Error::Ended { stream: self.name.to_string() }) } else { Ok(state) }
    }

    pub(super) fn alter(&self, config: StreamConfig) {
        let mut state = self.lock();
        state.rules.limit_producers(config.producers_max);
        state.config = config;
        self.retain(&mut state, now());
    }

    /// It is deleted, or its engine closed.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        self.shared.free(state.bytes + state.batches.len() * BATCH_BYTES);
        (state.bytes, state.batches) = (0, VecDeque::new());
        drop(state);
        self.range.send_modify(|range| range.ended = true);
    }

    pub(super) fn describe(&self) -> StreamInfo {
        let state = self.lock();
        StreamInfo {
            name: self.name.to_string(),
            config: state.config.clone(),
            first: state.first,
            next: state.rules.next(),
            bytes: state.bytes as u64,
            segments: 0,
            producers: state.rules.producers().len() as u64,
            cursors: state.cursors.len() as u64,
            damaged: Vec::new(),
            level: Level::Memory,
        }
    }

    fn store(&self, append: &Append) -> Result<Appended> {
        let mut state = self.living()?;
        check_batch(self.name.as_str(), &state.config, &append.events)?;
        let now = now();
        state.rules.begin(now);
        let appended = match state.rules.judge(append, Level::Memory) {
            Judgement::Answer(answer) => return answer,
            Judgement::Store(appended) => appended,
        };
        let bytes = append.events.body().len();
        if !self.shared.reserve(bytes + BATCH_BYTES) {
            state.rules.discard();
            return Err(Error::NoSpace { stream: self.name.to_string() });
        }
        state.rules.commit();
        // What came over a connection lies in its receive buffer.
        let events = append.events.to_owned_bytes();
        state.batches.push_back(StoredBatch { first: appended.first, timestamp: appended.timestamp, events });
        state.bytes += bytes;
        self.retain(&mut state, now);
        Ok(appended)
    }

    /// Removes what need not be kept, whole batches and never the newest, and tells how far the stream is.
    fn retain(&self, state: &mut State, now: u64) {
        let retention = state.config.retention;
        while state.batches.len() > 1 {
            let oldest = &state.batches[0];
            let age = u128::from(now.saturating_sub(oldest.timestamp));
            let old = retention.age_max.is_some_and(|max| age > max.as_nanos());
            let large = retention.bytes_max.is_some_and(|max| state.bytes as u64 > max);
            let many = retention.events_max.is_some_and(|max| state.rules.next() - oldest.first > max);
            if !(old || large || many) {
                break;
            }
            let bytes = oldest.events.body().len();
            self.shared.free(bytes + BATCH_BYTES);
            state.bytes -= bytes;
            state.batches.pop_front();
            state.first = state.batches[0].first;
        }
        let (first, next) = (state.first, state.rules.next());
        self.range.send_if_modified(|range| {
            let new = StreamRange { first, next, ..*range };
            std::mem::replace(range, new) != new
        });
    }
}

#[async_trait]
impl Stream for MemoryStream {
    fn name(&self) -> &ResourceName {
        &self.name
    }

    fn append(&self, append: Append, done: AppendDone) {
        done(self.store(&append));
    }

    async fn read(&self, from: u64, limits: ReadLimits) -> Result<Page> {
        let state = self.living()?;
        let (first, next) = (state.first, state.rules.next());
        if from < first || from > next {
            return Err(Error::OutOfRange { stream: self.name.to_string(), requested: from, first, next });
        }
        let begin = state.batches.partition_point(|batch| batch.first + u64::from(batch.events.span()) <= from);
        let mut page = Page { batches: Vec::new(), next: from, end: next };
        let (mut bytes, mut events) = (0, 0);
        for batch in state.batches.range(begin..) {
            bytes += batch.events.body().len();
            events += batch.events.count() as usize;
            if !page.batches.is_empty() && (bytes > limits.bytes_max || events > limits.events_max) {
                break;
            }
            page.next = batch.first + u64::from(batch.events.span());
            page.batches.push(batch.clone());
        }
        Ok(page)
    }

    fn range(&self) -> watch::Receiver<StreamRange> {
        self.range.subscribe()
    }

    async fn offset_at(&self, timestamp: u64) -> Result<u64> {
        let state = self.living()?;
        let place = state.batches.partition_point(|batch| batch.timestamp < timestamp);
        Ok(state.batches.get(place).map_or(state.rules.next(), |batch| batch.first))
    }

    async fn info(&self) -> Result<StreamInfo> {
        drop(self.living()?);
        Ok(self.describe())
    }

    async fn open_producer(&self, name: &ResourceName) -> Result<ProducerGrant> {
        let mut state = self.living()?;
        let (_, grant) = state.rules.open_producer(name.as_str(), self.shared.producer());
        state.rules.commit();
        Ok(grant)
    }

    fn commit(&self, updates: Vec<CursorUpdate>, done: CommitDone) {
        let result = self.living().and_then(|mut state| {
            let mut pending = PendingCursors::default();
            state.cursors.judge(self.name.as_str(), &mut pending, updates)?;
            state.cursors.apply(pending.into_updates());
            Ok(())
        });
        done(result);
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>> {
        Ok(self.living()?.cursors.cursor(name))
    }

    async fn cursors(&self, after: Option<&str>, max: usize) -> Result<Vec<(String, Cursor)>> {
        Ok(self.living()?.cursors.page(after, max))
    }
}
