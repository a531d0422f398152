//! Keys in order, in pages: as streams that ask for the next page when they need it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sinew_session::to_cbor;

use super::{KvBucket, unreadable};
use crate::protocol::{PageHead, ScanAsk, take_entry, verb};
use crate::{Entry, Key, Page, PageLimits, Range, Result};

/// What a page brings of a scan that does not say: some tens of thousands of small keys, and well within a window.
const PAGE: PageLimits = PageLimits { bytes_max: 1 << 20, items_max: 4_096, keys_only: false };

type Fetch = Pin<Box<dyn Future<Output = Result<Page>> + Send>>;

/// Entries in the order of their keys' bytes. Each page is of one moment; pages are of different ones, so what is put or
/// removed while it is read may be seen or not, but no key is seen twice.
pub struct Scan {
    bucket: KvBucket,
    range: Range,
    limits: PageLimits,
    entries: VecDeque<Entry>,
    more: bool,
    fetch: Option<Fetch>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("bucket", &self.bucket.name).field("range", &self.range).finish_non_exhaustive()
    }
}

impl KvBucket {
    /// Entries of a range, in order. Asks for the first page when it is read.
    pub fn scan(&self, range: Range) -> Scan {
        self.scan_by(range, PAGE)
    }

    /// The same in pages of this size.
    pub fn scan_by(&self, range: Range, limits: PageLimits) -> Scan {
        Scan { bucket: self.clone(), range, limits, entries: VecDeque::new(), more: true, fetch: None }
    }

    /// Keys of a range, in order, without their values.
    pub fn keys(&self, range: Range) -> Keys {
        Keys { scan: self.scan_by(range, PageLimits { keys_only: true, ..PAGE }) }
    }

    /// One page. One round trip.
    ///
    /// # Errors
    /// `UnknownBucket`; `Denied` unless all that the range can show may be read; `Storage`; `Session` if the server cannot be
    /// asked.
    pub async fn scan_page(&self, range: &Range, limits: PageLimits) -> Result<Page> {
        let PageLimits { bytes_max, items_max, keys_only } = limits;
        let ask = ScanAsk {
            bucket: self.name.to_string(),
            range: range.clone(),
            bytes_max: bytes_max as u64,
            items_max: items_max as u64,
            keys_only,
        };
        let reply = self.page(verb::SCAN, to_cbor(&ask)).await?;
        let PageHead { revision, more } =
            PageHead::read(&reply.head).ok_or_else(|| unreadable("the head of a page"))?;
        let (mut page, mut rest) = (Page { entries: Vec::new(), more, revision }, reply.body);
        while !rest.is_empty() {
            page.entries.push(take_entry(&mut rest).ok_or_else(|| unreadable("a page of keys"))?);
        }
        Ok(page)
    }
}

impl Scan {
    /// The next entry; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// As [`KvBucket::scan_page`]; the same page is asked for again by the next call.
    pub async fn next(&mut self) -> Option<Result<Entry>> {
        std::future::poll_fn(|cx| self.poll_entry(cx)).await
    }

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Entry>>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            if !self.more {
                return Poll::Ready(None);
            }
            let fetch = self.fetch.get_or_insert_with(|| {
                let (bucket, range, limits) = (self.bucket.clone(), self.range.clone(), self.limits);
                Box::pin(async move { bucket.scan_page(&range, limits).await })
            });
            let page = ready!(fetch.as_mut().poll(cx));
            self.fetch = None;
            match page {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(page) => {
                    self.more = page.more && !page.entries.is_empty();
                    self.range.after =
                        page.entries.last().map(|entry| entry.key.to_string()).or(self.range.after.take());
                    self.entries = page.entries.into();
                }
            }
        }
    }
}

impl Stream for Scan {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Entry>>> {
        self.poll_entry(cx)
    }
}

/// Keys in the order of their bytes; as [`Scan`].
#[derive(Debug)]
pub struct Keys {
    scan: Scan,
}

impl Keys {
    /// The next key; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub async fn next(&mut self) -> Option<Result<Key>> {
        Some(self.scan.next().await?.map(|entry| entry.key))
    }
}

impl Stream for Keys {
    type Item = Result<Key>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Key>>> {
        self.scan.poll_entry(cx).map(|entry| Some(entry?.map(|entry| entry.key)))
    }
}
