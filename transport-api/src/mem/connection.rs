//! The two halves of a `mem` connection: they wait, the link decides.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep_until, timeout};

use super::link::{Found, Link, Side};
use crate::{Block, Connection, Error, Lane, LaneSet, Peer, Receiver, Result, Sender};

/// The connection of one side.
pub(super) fn connection(
    link: &Arc<Link>,
    side: Side,
    peer: Peer,
    close_timeout: Duration,
    permit: Option<OwnedSemaphorePermit>,
) -> Connection {
    let end = Arc::new(End { link: Arc::clone(link), side, _permit: permit });
    let sender = Box::new(MemSender { end: Arc::clone(&end), close_timeout, done: false });
    Connection { peer, sender, receiver: Box::new(MemReceiver { end }) }
}

/// One end, shared by its two halves. It is left when both are gone.
struct End {
    link: Arc<Link>,
    side: Side,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.link.leave(self.side);
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.link.address())
    }
}

#[derive(Debug)]
struct MemSender {
    end: Arc<End>,
    close_timeout: Duration,
    /// Closed in order, and the peer has read everything.
    done: bool,
}

#[async_trait]
impl Sender for MemSender {
    fn open_lanes(&mut self, count: u8) -> Result<()> {
        if count == 0 || count > Lane::COUNT_MAX {
            return Err(Error::UnknownLane { lane: Lane(count), count: Lane::COUNT_MAX });
        }
        self.end.link.open_lanes(self.end.side, count);
        Ok(())
    }

    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet> {
        poll_fn(|cx| match self.end.link.room(self.end.side, wanted, cx.waker()) {
            Ok(room) if room.is_empty() => Poll::Pending,
            result => Poll::Ready(result),
        })
        .await
    }

    fn try_send(&mut self, lane: Lane, block: &mut Block) -> Result<bool> {
        self.end.link.push(self.end.side, lane, block)
    }

    /// A block is on its way as soon as it is taken.
    async fn flush(&mut self) -> Result<()> {
        self.end.link.may_send(self.end.side)
    }

    async fn close(&mut self) -> Result<()> {
        if self.done {
            return Ok(());
        }
        let End { link, side, .. } = &*self.end;
        link.finish(*side);
        let read = poll_fn(|cx| match link.is_read(*side, cx.waker()) {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        });
        match timeout(self.close_timeout, read).await {
            Ok(result) => {
                result?;
                self.done = true;
                Ok(())
            }
            Err(_elapsed) => {
                link.cut("it was closed, and the rest was not read in time");
                let after_ms = self.close_timeout.as_millis() as u64;
                Err(Error::Timeout { endpoint: link.address(), what: "close", after_ms })
            }
        }
    }
}

#[derive(Debug)]
struct MemReceiver {
    end: Arc<End>,
}

#[async_trait]
impl Receiver for MemReceiver {
    async fn recv(&mut self) -> Result<Option<(Lane, Bytes)>> {
        let End { link, side, .. } = &*self.end;
        loop {
            let found = poll_fn(|cx| match link.pull(*side, cx.waker()) {
                Ok(Found::Nothing) => Poll::Pending,
                result => Poll::Ready(result),
            });
            match found.await? {
                Found::Block(lane, block) => return Ok(Some((lane, block.into_bytes()))),
                Found::End => return Ok(None),
                Found::Nothing => {}
                Found::Later(time, changes) => {
                    let changed = poll_fn(|cx| match link.has_changed(*side, changes, cx.waker()) {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    });
                    tokio::select! { biased; () = changed => {}, () = sleep_until(time) => {} }
                }
            }
        }
    }
}
