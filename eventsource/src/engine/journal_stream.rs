//! One stream as the broker sees it.
//!
//! A read is answered where it is asked when the end of the stream or the newest batches in memory are all it needs, which
//! is what those who follow ask for; everything else may wait for a disk and goes to tokio's blocking threads. Trying the
//! page cache first without waiting would need `preadv2`, which not every system has.

use std::path::Path;

use async_trait::async_trait;
use sinew_hosting::{GoOn, blocking, cancellable};
use sinew_session::ResourceName;
use tokio::sync::{oneshot, watch};

use super::stored_stream::{Held, StoredStream};
use super::{backup, verify};
use crate::{
    Append, AppendDone, BackedUp, CommitDone, Compacted, Cursor, CursorUpdate, Page, ProducerGrant, ProgressSink,
    ReadLimits, Result, Stream, StreamInfo, StreamRange, Verified,
};

/// One stream of a [`JournalEngine`](crate::JournalEngine). It stays open while there is one of these.
#[derive(Debug)]
pub(super) struct JournalStream {
    stored: Held,
}

impl JournalStream {
    pub(super) fn new(stored: Held) -> Self {
        Self { stored }
    }

    /// Runs what takes long. It ends with the stream: whoever removes that does not wait for it.
    async fn beside<T: Send + 'static>(
        &self,
        progress: ProgressSink,
        work: impl FnOnce(&StoredStream, GoOn<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stored = self.stored.clone();
        cancellable(progress, move |go_on| stored.while_it_lives(go_on, work)).await
    }
}

#[async_trait]
impl Stream for JournalStream {
    fn name(&self) -> &ResourceName {
        &self.stored.name
    }

    fn append(&self, append: Append, done: AppendDone) {
        self.stored.append(append, done);
    }

    async fn read(&self, from: u64, limits: ReadLimits) -> Result<Page> {
        if let Some(page) = self.stored.read_here(from, &limits) {
            return page;
        }
        let stored = self.stored.clone();
        blocking(move || stored.read(from, &limits)).await
    }

    fn range(&self) -> watch::Receiver<StreamRange> {
        self.stored.range()
    }

    async fn offset_at(&self, timestamp: u64) -> Result<u64> {
        let stored = self.stored.clone();
        blocking(move || stored.offset_at(timestamp)).await
    }

    async fn info(&self) -> Result<StreamInfo> {
        Ok(self.stored.info())
    }

    async fn open_producer(&self, name: &ResourceName) -> Result<ProducerGrant> {
        let (done, granted) = oneshot::channel();
        // Whoever dropped the future wants no answer.
        self.stored.open_producer(name, Box::new(move |grant| drop(done.send(grant))));
        granted.await.unwrap_or_else(|_| Err(self.stored.ended()))
    }

    fn commit(&self, updates: Vec<CursorUpdate>, done: CommitDone) {
        self.stored.cursors.commit(updates, done);
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>> {
        Ok(self.stored.cursors.cursor(name))
    }

    async fn cursors(&self, after: Option<&str>, max: usize) -> Result<Vec<(String, Cursor)>> {
        Ok(self.stored.cursors.page(after, max))
    }

    async fn verify(&self, progress: ProgressSink) -> Result<Verified> {
        self.beside(progress, verify::verify).await
    }

    async fn compact(&self, progress: ProgressSink) -> Result<Compacted> {
        self.beside(progress, StoredStream::compact).await
    }

    async fn backup(&self, target: &Path, progress: ProgressSink) -> Result<BackedUp> {
        let target = target.to_owned();
        self.beside(progress, move |stored, go_on| backup::backup(stored, &target, go_on)).await
    }
}
