//! A stream as a reader sees it that follows it: events in order, and where it has caught up.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sinew_session::{Error as SessionError, Reading, ResourceName};

use crate::inbox::{Inbox, Item, ended};
use crate::{Error, Event, EventBatch, Log, Result};

/// What comes to a reader that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// An event.
    Event(Event),
    /// Everything that there was has been given out; what follows was appended since. Told when a follow has caught up for
    /// the first time, and again when it has after it fell behind.
    CaughtUp {
        /// The offset that the next event gets.
        next: u64,
    },
}

/// A follow that stands. Dropping it ends it at the server, without waiting.
#[derive(Debug)]
pub struct Follower {
    log: Log,
    inbox: Arc<Inbox>,
    reading: Reading<Item>,
    events: VecDeque<Event>,
    /// Where an unreadable batch was met.
    broken: Option<Error>,
}

impl Follower {
    pub(crate) fn new(log: Log, inbox: Arc<Inbox>) -> Self {
        Self { log, inbox, reading: Reading::default(), events: VecDeque::new(), broken: None }
    }

    /// What comes next; `None` once it is over and everything that came was given out, then [`end`](Self::end) says why.
    /// Cancel-safe. Payloads are not copied: they share a receive buffer.
    pub async fn next(&mut self) -> Option<Followed> {
        poll_fn(|cx| self.poll_followed(cx)).await
    }

    /// The next event, whatever is told in between. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            match self.next().await? {
                Followed::Event(event) => return Some(event),
                Followed::CaughtUp { .. } => {}
            }
        }
    }

    /// Why nothing more comes: `OutOfRange` where retention was faster, `Ended`, `Denied`, `Damaged`, or the session's
    /// end. `None` while it goes on, and where it came to its end.
    pub fn end(&self) -> Option<Error> {
        self.broken.clone().or_else(|| self.inbox.why_ended())
    }

    /// As [`end`](Self::end), for callers that stop at errors.
    ///
    /// # Errors
    /// Why nothing more comes.
    pub fn finish(self) -> Result<()> {
        ended(self.end())
    }

    /// The stream.
    pub fn stream(&self) -> &ResourceName {
        &self.inbox.stream
    }

    fn poll_followed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Followed>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Some(Followed::Event(event)));
            }
            if self.broken.is_some() {
                return Poll::Ready(None);
            }
            let Self { log, inbox, reading, .. } = self;
            match ready!(reading.poll_item(&inbox.arrivals, |bytes| log.grant(inbox, bytes), cx)) {
                Some(Item::Batch { first, timestamp, body, cost }) => {
                    *self.reading.consumed() += cost;
                    match EventBatch::parse(body) {
                        Ok(batch) => self.events.extend(batch.events(first, timestamp)),
                        Err(error) => self.broken = Some(unreadable(&error)),
                    }
                }
                Some(Item::CaughtUp { next }) => return Poll::Ready(Some(Followed::CaughtUp { next })),
                None => return Poll::Ready(None),
            }
        }
    }
}

fn unreadable(error: &crate::MalformedBatch) -> Error {
    Error::Session(SessionError::Protocol { peer: "the server".into(), why: error.to_string() })
}

impl Stream for Follower {
    type Item = Followed;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Followed>> {
        self.poll_followed(cx)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.log.unfollow(&self.inbox);
    }
}
