//! A group's member as the application sees it: events to deal with, and what was done with them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use sinew_session::ResourceName;

use crate::protocol::Settled;
use crate::{Error, Event, Log, Result};

mod desk;
pub(crate) use desk::Desk;

/// An event that a member is to deal with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEvent {
    /// The event.
    pub event: Event,
    /// How often it was handed out, this time included.
    pub attempt: u32,
}

impl std::ops::Deref for GroupEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

/// A membership of a consumer group. Dropping it leaves: what was not acknowledged goes to others at once.
///
/// Each event is handed to one member at a time, and again where it is not acknowledged: at least once. After a cut a
/// member comes back by itself, and keeps what it has if it is back in time.
#[derive(Debug)]
pub struct Member {
    log: Log,
    desk: Arc<Desk>,
}

impl Member {
    pub(crate) fn new(log: Log, desk: Arc<Desk>) -> Self {
        Self { log, desk }
    }

    /// The next event to deal with; `None` once it is over, then [`end`](Self::end) says why. Cancel-safe.
    pub async fn next(&mut self) -> Option<GroupEvent> {
        poll_fn(|cx| self.desk.poll_take(cx)).await
    }

    /// The event is dealt with. Does not wait: acknowledgements are gathered while one is on its way, and
    /// [`flush`](Self::flush) waits until all are durable. One that comes too late, because the event was handed to
    /// somebody else meanwhile, is counted by [`late`](Self::late).
    pub fn ack(&self, event: &GroupEvent) {
        self.settle(event, Settled::Done);
    }

    /// The event is to be handed out again, to whoever has room, after `delay`. As [`ack`](Self::ack).
    pub fn nack(&self, event: &GroupEvent, delay: Duration) {
        self.settle(event, Settled::Again(delay));
    }

    fn settle(&self, event: &GroupEvent, settled: Settled) {
        self.desk.settle(event.offset, event.attempt, settled);
        self.desk.pump(&self.log);
    }

    /// Waits until everything that was acknowledged before is durable.
    ///
    /// # Errors
    /// Why it is not: `NoSpace`, `Storage`, `Session`. Told once; the events are handed out again after a restart of the
    /// server at the latest.
    pub async fn flush(&self) -> Result<()> {
        self.desk.flush().await
    }

    /// Acknowledgements that came too late, so that the event may have been dealt with twice. After a cut those are among
    /// them that had arrived and are sent again.
    pub fn late(&self) -> u64 {
        self.desk.late()
    }

    /// Flushes and leaves. One round trip.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); it has left all the same, or the session is over.
    pub async fn leave(self) -> Result<()> {
        let flushed = self.flush().await;
        self.log.leave_surely(&self.desk).await?;
        flushed
    }

    /// Why nothing more comes: `OutOfRange` or `Damaged` where the group cannot go on until it is reset, `GroupEnded`,
    /// `Ended`, `Denied`, or the session's end. `None` while it goes on.
    pub fn end(&self) -> Option<Error> {
        self.desk.ended()
    }

    /// The stream.
    pub fn stream(&self) -> &ResourceName {
        &self.desk.stream
    }

    /// The group.
    pub fn group(&self) -> &ResourceName {
        &self.desk.group
    }
}

impl Stream for Member {
    type Item = GroupEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<GroupEvent>> {
        self.desk.poll_take(cx)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.desk.give_up();
        self.desk.pump(&self.log);
        self.log.leave(&self.desk);
    }
}
