//! A subscription as the application sees it: a stream of messages, and of what was missed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sinew_session::Reading;

use crate::client::Bus;
use crate::inbox::{Inbox, Item};
use crate::protocol::Tally;
use crate::reader::{Event, Message, Reader};
use crate::{BacklogLimits, Error, Overflow, Result};

/// Bytes consumed before they are counted in the inbox, so that a message costs no lock.
const CONSUME_STEP: u64 = 16 * 1024;

/// How a subscription is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Bytes that the server sends ahead of what was consumed. They wait in this process: its memory for a subscriber
    /// that does not keep up. Default 8 MiB: as much as a publisher's outbox holds, so that what is on its way between two
    /// fast programs need not wait, and be copied once more, in the server.
    pub window_bytes: usize,
    /// What waits at the server beyond that. The server's own limits bound it.
    pub queue: BacklogLimits,
    /// What happens when that is full too. Default: the oldest is dropped.
    pub overflow: Overflow,
    /// The queue group that it is one of: each message goes to one member. A token of at most 64 bytes. Default: none.
    pub group: Option<String>,
    /// Whether it hears the kept values of its pattern first. A member of a group never does. Default: yes.
    pub retained: bool,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            window_bytes: 8 << 20,
            queue: BacklogLimits::default(),
            overflow: Overflow::default(),
            group: None,
            retained: true,
        }
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

/// A confirmed subscription. Dropping it ends it at the server, without waiting.
#[derive(Debug)]
pub struct Subscription {
    bus: Bus,
    pub(crate) inbox: Arc<Inbox>,
    reading: Reading<Item>,
    reader: Reader,
}

impl Subscription {
    pub(crate) fn new(bus: Bus, inbox: Arc<Inbox>) -> Self {
        Self { bus, inbox, reading: Reading::default(), reader: Reader::default() }
    }

    /// The next message or loss; `None` once the session has ended and everything that came was given out, then
    /// [`end`](Self::end) says why. Cancel-safe. No copy of the payload, no lock for each message.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_delivery(cx)).await
    }

    pub(crate) async fn next_event(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Why nothing more comes; `None` while it goes on, and after a [`drain`](Self::drain) that came to its end.
    pub fn end(&self) -> Option<Error> {
        self.inbox.ended()
    }

    /// Lets nothing new match any more, and still gives out what waits here and at the server; then
    /// [`next`](Self::next) gives `None`. One round trip, after which go on reading.
    ///
    /// # Errors
    /// `Session` if the server could not be asked.
    pub async fn drain(&mut self) -> Result<()> {
        self.bus.drain(&self.inbox).await
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
        self.poll_event(cx).map(|event| {
            Some(match event? {
                Event::Message(message) | Event::Asked { message, .. } => Delivery::Message(message),
                Event::Lagged(count) => Delivery::Lagged(count),
                Event::Gap(gap) => Delivery::Gap(gap),
            })
        })
    }

    #[inline]
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.reader.next(self.reading.consumed()) {
                if *self.reading.consumed() >= CONSUME_STEP {
                    self.reading.give_back(&self.inbox.arrivals, |bytes| self.bus.grant(&self.inbox, bytes));
                }
                return Poll::Ready(Some(event));
            }
            let Self { bus, inbox, reading, .. } = self;
            match ready!(reading.poll_item(&inbox.arrivals, |bytes| bus.grant(inbox, bytes), cx)) {
                Some(Item::Records(records)) => self.reader.feed(records),
                Some(Item::Lagged(count)) => return Poll::Ready(Some(Event::Lagged(count))),
                Some(Item::Gap(gap)) => return Poll::Ready(Some(Event::Gap(gap))),
                None => return Poll::Ready(None),
            }
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
