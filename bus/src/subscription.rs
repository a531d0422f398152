//! A subscription as the application sees it: a stream of messages, and of what was missed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use sinew_session::{Header, Run};

use crate::client::Bus;
use crate::inbox::{Inbox, Item};
use crate::protocol::{SERVICE, Tally, count_head, subject_of, verb};
use crate::{BacklogLimits, Error, Result, Subject};

/// Bytes consumed before they are counted in the inbox, so that a message costs no lock.
const CONSUME_STEP: u64 = 16 * 1024;

/// How much may be on its way to a subscriber, and how much may wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Bytes that the server sends ahead of what was consumed. They wait in this process: its memory for a subscriber
    /// that does not keep up. Default 2 MiB: more than a fast connection carries while a thread is not scheduled.
    pub window_bytes: usize,
    /// What waits at the server beyond that; when it is full the oldest is dropped and told as
    /// [`Delivery::Lagged`]. The server's own limits bound it.
    pub queue: BacklogLimits,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { window_bytes: 2 << 20, queue: BacklogLimits::default() }
    }
}

/// What comes on a subscription. `M` is a [`Message`] or, on a typed one, a [`TypedMessage`](crate::TypedMessage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery<M = Message> {
    /// A message.
    Message(M),
    /// The subscriber was too slow: so many messages were dropped at this place, exactly.
    Lagged(u64),
    /// The connection was cut at this place, and comes from a server that has the subscription again.
    Gap(Gap),
}

/// What was missed while the connection was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// So many messages: the server lived on and has counted.
    Exact(u64),
    /// The server restarted, or has forgotten the session: nobody has counted.
    Unknown,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub subject: Subject,
    /// Its payload. It shares a receive buffer: copy what is kept for long.
    pub body: Bytes,
}

/// A confirmed subscription. Dropping it ends it at the server, without waiting.
#[derive(Debug)]
pub struct Subscription {
    bus: Bus,
    pub(crate) inbox: Arc<Inbox>,
    items: VecDeque<Item>,
    records: Bytes,
    at: usize,
    consumed: u64,
    subject: Option<Subject>,
}

impl Subscription {
    pub(crate) fn new(bus: Bus, inbox: Arc<Inbox>) -> Self {
        Self { bus, inbox, items: VecDeque::new(), records: Bytes::new(), at: 0, consumed: 0, subject: None }
    }

    /// The next message or loss; `None` once the session has ended and everything that came was given out, then
    /// [`end`](Self::end) says why. Cancel-safe. No copy of the payload, no lock for each message.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_delivery(cx)).await
    }

    /// Why nothing more comes.
    pub fn end(&self) -> Option<Error> {
        self.inbox.ended().map(Error::Session)
    }

    /// The pattern that was subscribed.
    pub fn pattern(&self) -> &str {
        &self.inbox.pattern
    }

    /// Ends it and waits for the server's word; what was on its way is given up. One round trip.
    ///
    /// # Errors
    /// `Session` if the server could not be asked.
    pub async fn unsubscribe(self) -> Result<Tally> {
        self.bus.unsubscribe(&self.inbox).await
    }

    #[inline]
    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            if let Some(message) = self.next_message() {
                return Poll::Ready(Some(Delivery::Message(message)));
            }
            match self.items.pop_front() {
                Some(Item::Records(records)) => (self.records, self.at) = (records, 0),
                Some(Item::Lagged(count)) => return Poll::Ready(Some(Delivery::Lagged(count))),
                Some(Item::Gap(gap)) => return Poll::Ready(Some(Delivery::Gap(gap))),
                None => {
                    self.give_back();
                    if !ready!(self.inbox.poll_take(&mut self.items, cx)) {
                        return Poll::Ready(None);
                    }
                }
            }
        }
    }

    #[inline]
    fn next_message(&mut self) -> Option<Message> {
        loop {
            let record = Run::resume(&self.records, self.at)?.next()?;
            let subject = subject_of(&record).unwrap_or_default();
            if self.subject.as_ref().is_none_or(|last| last.as_bytes() != subject) {
                self.subject = Subject::try_from(Bytes::copy_from_slice(subject)).ok();
            }
            let message = self.subject.clone().map(|subject| Message { subject, body: record.body_shared() });
            let size = record.size();
            self.at += size;
            self.consumed += size as u64;
            if self.consumed >= CONSUME_STEP {
                self.give_back();
            }
            // Our servers check subjects. What another one sends under none is left out, and what follows is not.
            if message.is_some() {
                return message;
            }
        }
    }

    /// Counts what was consumed, and grants it back to the server when it is enough.
    fn give_back(&mut self) {
        if self.consumed > 0
            && let Some(bytes) = self.inbox.consume(std::mem::take(&mut self.consumed))
        {
            let header = Header { service: SERVICE, verb: verb::GRANT, flags: 0, call: self.inbox.number };
            let mut packer = self.bus.session().outbox().pack();
            let lane = packer.lane(self.inbox.pattern.as_bytes());
            packer.push(lane, header, &[&count_head(bytes)], &Bytes::new());
        }
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_delivery(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.bus.forget(&self.inbox);
    }
}
