//! Changes told on the bus, `$KV.<bucket>.<key>`: one task for each bucket that somebody hears there, and none for others.
//!
//! A task begins with what is acknowledged after somebody began to listen, and ends at the first commit that nobody hears.
//! Who begins to listen while it runs may also hear what was acknowledged a moment before, and was not told yet.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sinew_session::{KV_SUBJECTS, Pattern, ResourceName};

use crate::{Bucket, Engine, Error, PageLimits, Revision};

/// Bytes of changes read at one time.
const READ_BYTES: usize = 256 * 1024;
/// Changes read at one time.
const READ_ITEMS: usize = 1_024;
/// Names of buckets looked at in one step.
const NAMES_STEP: usize = 1_000;

/// Where copies of changes go: a bus of the same server. Must not wait.
pub trait Copies: Send + Sync + Debug {
    /// Whether somebody hears changes of this bucket.
    fn is_wanted(&self, bucket: &ResourceName) -> bool;
    /// Tells a change. Those of one bucket come in the order of their revisions, each once.
    fn tell(&self, bucket: &ResourceName, change: &Revision);
}

/// Who is copied.
#[derive(Debug)]
pub(super) struct Copying {
    engine: Arc<dyn Engine>,
    copies: Arc<dyn Copies>,
    buckets: Mutex<HashMap<ResourceName, Known>>,
}

/// A bucket that was opened.
#[derive(Debug)]
struct Known {
    bucket: Weak<dyn Bucket>,
    is_copied: bool,
}

impl Copying {
    pub(super) fn new(engine: Arc<dyn Engine>, copies: Arc<dyn Copies>) -> Self {
        Self { engine, copies, buckets: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ResourceName, Known>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A bucket was opened: before anything is written to it.
    pub(super) fn know(self: &Arc<Self>, bucket: &Arc<dyn Bucket>) {
        let mut buckets = self.lock();
        let is_known = |known: &Known| std::ptr::addr_eq(known.bucket.as_ptr(), Arc::as_ptr(bucket));
        if !buckets.get(bucket.name()).is_some_and(is_known) {
            if buckets.len() == buckets.capacity() {
                buckets.retain(|_, known| known.bucket.strong_count() > 0);
            }
            let known = Known { bucket: Arc::downgrade(bucket), is_copied: false };
            buckets.insert(bucket.name().clone(), known);
        }
        if let Some(known) = buckets.get_mut(bucket.name()) {
            self.copy_if_wanted(known);
        }
    }

    /// Somebody has begun to listen, and is not told so yet.
    pub(super) fn listened(self: &Arc<Self>, pattern: &Pattern) {
        let Some(keys) = pattern.as_str().strip_prefix(KV_SUBJECTS) else { return };
        let bucket = keys.split('.').next().unwrap_or(keys);
        self.lock().values_mut().for_each(|known| self.copy_if_wanted(known));
        // Those that nobody has opened since the start may have keys that expire.
        let (copying, name) = (self.clone(), ResourceName::try_from(bucket).ok());
        tokio::spawn(async move {
            match name {
                Some(name) => copying.open(&name).await,
                None => copying.open_all().await,
            }
        });
    }

    async fn open(self: &Arc<Self>, name: &ResourceName) {
        // One that cannot be opened has no changes; who reads or writes it is told why.
        if let Ok(bucket) = self.engine.bucket(name).await {
            self.know(&bucket);
        }
    }

    async fn open_all(self: &Arc<Self>) {
        let mut after = None;
        while let Ok(names) = self.engine.names(after.as_ref(), NAMES_STEP).await {
            for name in &names {
                self.open(name).await;
            }
            if names.len() < NAMES_STEP {
                return;
            }
            after = names.last().cloned();
        }
    }

    fn copy_if_wanted(self: &Arc<Self>, known: &mut Known) {
        let Some(bucket) = known.bucket.upgrade().filter(|_| !known.is_copied) else { return };
        if self.copies.is_wanted(bucket.name()) {
            known.is_copied = true;
            let from = bucket.range().borrow().revision + 1;
            tokio::spawn(self.clone().copy(bucket, from));
        }
    }

    async fn copy(self: Arc<Self>, bucket: Arc<dyn Bucket>, mut next: u64) {
        let mut range = bucket.range();
        let limits = PageLimits { bytes_max: READ_BYTES, items_max: READ_ITEMS, keys_only: false };
        loop {
            let more = range.wait_for(|range| range.ended || range.revision >= next).await;
            if more.map_or(true, |range| range.ended) || self.is_over(&bucket) {
                return;
            }
            match bucket.changes(next, limits).await {
                Ok(page) => {
                    page.changes.iter().for_each(|change| self.copies.tell(bucket.name(), change));
                    next = next.max(page.next);
                }
                Err(Error::Compacted { first, .. }) => {
                    tracing::warn!(bucket = %bucket.name(), missed = first.saturating_sub(next), "changes were removed before they were told on the bus");
                    next = first.max(next + 1);
                }
                Err(error) => {
                    tracing::warn!(bucket = %bucket.name(), %error, "changes are not told on the bus any more");
                    return;
                }
            }
        }
    }

    /// Whether nobody hears this bucket any more. Who begins to listen from here on has it copied anew.
    fn is_over(&self, bucket: &Arc<dyn Bucket>) -> bool {
        let mut buckets = self.lock();
        let over = !self.copies.is_wanted(bucket.name());
        if let Some(known) = buckets.get_mut(bucket.name()).filter(|_| over) {
            known.is_copied = false;
        }
        over
    }
}
