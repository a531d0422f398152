//! A watch as the application sees it: what there is, where that is all, and what changes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sinew_session::{Pattern, Reading};

use crate::client::KvBucket;
use crate::{Entry, Error, Result, Revision};

mod inbox;
pub use inbox::Freshness;
pub(crate) use inbox::Inbox;
use inbox::Item;

/// What comes on a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A key that is there, in the snapshot with which a watch begins: each once, in the order of their bytes.
    Entry(Entry),
    /// Everything that there was has been told; what follows was acknowledged since. Told when a watch has caught up for the
    /// first time, and again when it has after it fell behind or was cut.
    CaughtUp {
        /// Everything up to this revision was told.
        revision: u64,
    },
    /// A change: each once, in the order of their revisions. While the snapshot is told, of keys that it has told already.
    Change(Revision),
    /// Changes that it needs are not kept any more: a new snapshot follows, and what is not in it is gone. Only where that
    /// was asked for.
    Restarted,
}

/// A watch that stands. Dropping it ends it at the server, without waiting.
#[derive(Debug)]
pub struct Watch {
    bucket: KvBucket,
    inbox: Arc<Inbox>,
    reading: Reading<Item>,
}

impl Watch {
    pub(crate) fn new(bucket: KvBucket, inbox: Arc<Inbox>) -> Self {
        Self { bucket, inbox, reading: Reading::default() }
    }

    /// What comes next; `None` once it is over and everything that came was given out, then [`end`](Self::end) says why.
    /// Cancel-safe. Values share a receive buffer: copy what is kept for long.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Why nothing more comes: `Compacted` where it fell too far behind, `Ended`, `Denied`, or the session's end. `None` while
    /// it goes on.
    pub fn end(&self) -> Option<Error> {
        self.inbox.ended()
    }

    /// As [`end`](Self::end), for callers that stop at errors.
    ///
    /// # Errors
    /// Why nothing more comes.
    pub fn finish(self) -> Result<()> {
        self.end().map_or(Ok(()), Err)
    }

    /// How fresh what was told is.
    pub fn freshness(&self) -> Freshness {
        self.inbox.freshness()
    }

    /// The bucket.
    pub fn bucket(&self) -> &KvBucket {
        &self.bucket
    }

    /// The keys.
    pub fn pattern(&self) -> &Pattern {
        &self.inbox.pattern
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let Self { bucket, inbox, reading } = self;
        let item = ready!(reading.poll_item(&inbox.arrivals, |bytes| bucket.grant(inbox, bytes), cx));
        Poll::Ready(item.map(|Item { event, cost }| {
            *self.reading.consumed() += cost;
            event
        }))
    }
}

impl Stream for Watch {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.poll_event(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bucket.unwatch(&self.inbox);
    }
}
