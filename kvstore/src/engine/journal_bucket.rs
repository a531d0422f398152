//! One bucket as the broker sees it.
//!
//! A read is answered where it is asked when memory has it; everything else may wait for a disk and goes to tokio's
//! blocking threads.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sinew_hosting::{blocking, cancellable};
use sinew_session::ResourceName;
use tokio::sync::watch;

use super::stored_bucket::StoredBucket;
use super::{backup, verify};
use crate::{
    BackedUp, Bucket, BucketInfo, BucketRange, ChangePage, Compacted, Entry, Found, Key, Page, PageLimits,
    ProgressSink, Range, Result, Revision, Verified, Write, WriteDone,
};

/// One bucket of a [`JournalEngine`](crate::JournalEngine).
#[derive(Debug)]
pub(super) struct JournalBucket {
    stored: Arc<StoredBucket>,
}

impl JournalBucket {
    pub(super) fn new(stored: Arc<StoredBucket>) -> Self {
        Self { stored }
    }
}

#[async_trait]
impl Bucket for JournalBucket {
    fn name(&self) -> &ResourceName {
        &self.stored.name
    }

    fn write(&self, write: Write, done: WriteDone) {
        self.stored.write(write, done);
    }

    fn get(&self, key: &Key) -> Found {
        self.stored.get(key)
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let (stored, keys) = (self.stored.clone(), keys.to_vec());
        blocking(move || stored.load(&keys)).await
    }

    async fn scan(&self, range: &Range, limits: PageLimits) -> Result<Page> {
        let (stored, range) = (self.stored.clone(), range.clone());
        blocking(move || stored.scan(&range, limits)).await
    }

    async fn history(&self, key: &Key) -> Result<Vec<Revision>> {
        let (stored, key) = (self.stored.clone(), key.clone());
        blocking(move || stored.history(&key)).await
    }

    async fn changes(&self, from: u64, limits: PageLimits) -> Result<ChangePage> {
        let from = from.max(1);
        if let Some(page) = self.stored.changes_here(from, limits) {
            return page;
        }
        let stored = self.stored.clone();
        blocking(move || stored.changes(from, limits)).await
    }

    fn range(&self) -> watch::Receiver<BucketRange> {
        self.stored.range.subscribe()
    }

    async fn info(&self) -> Result<BucketInfo> {
        self.stored.info()
    }

    async fn verify(&self, progress: ProgressSink) -> Result<Verified> {
        let stored = self.stored.clone();
        cancellable(progress, move |go_on| verify::verify(&stored, go_on)).await
    }

    async fn compact(&self, progress: ProgressSink) -> Result<Compacted> {
        let stored = self.stored.clone();
        cancellable(progress, move |go_on| stored.compact(go_on)).await
    }

    async fn backup(&self, target: &Path, progress: ProgressSink) -> Result<BackedUp> {
        let (stored, target) = (self.stored.clone(), target.to_owned());
        cancellable(progress, move |go_on| backup::backup(&stored, &target, go_on)).await
    }
}
