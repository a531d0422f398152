//! The two halves of a connection that the application holds: they wait, the link decides.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sinew_transport_api::{Block, Connection, Error, Lane, LaneSet, Peer, Receiver, Result, Sender};
use tokio::time::timeout;

use crate::link::{Answer, Link};

/// The connection over `link`.
pub(crate) fn connection(link: &Arc<Link>, peer: Peer, close_timeout: Duration) -> Connection {
    let sender = ZmqSender { half: Half(Arc::clone(link)), close_timeout };
    Connection { peer, sender: Box::new(sender), receiver: Box::new(ZmqReceiver { half: Half(Arc::clone(link)) }) }
}

/// One of the two; the link counts them.
struct Half(Arc<Link>);

impl Drop for Half {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.peer())
    }
}

#[derive(Debug)]
struct ZmqSender {
    half: Half,
    close_timeout: Duration,
}

#[async_trait]
impl Sender for ZmqSender {
    fn open_lanes(&mut self, count: u8) -> Result<()> {
        self.half.0.open_lanes(count)
    }

    async fn ready(&mut self, wanted: LaneSet) -> Result<LaneSet> {
        poll_fn(|context| poll(self.half.0.room(wanted, context.waker()))).await
    }

    fn try_send(&mut self, lane: Lane, block: &mut Block) -> Result<bool> {
        self.half.0.push(lane, block)
    }

    /// On its way means that libzmq has it.
    async fn flush(&mut self) -> Result<()> {
        poll_fn(|context| poll(self.half.0.flushed(context.waker()))).await
    }

    async fn close(&mut self) -> Result<()> {
        let link = &self.half.0;
        link.close();
        let read = poll_fn(|context| poll(link.closed(context.waker())));
        match timeout(self.close_timeout, read).await {
            Ok(result) => result,
            Err(_elapsed) => {
                link.cut("it was closed here, and the peer did not read the rest in time");
                let after_ms = self.close_timeout.as_millis() as u64;
                Err(Error::Timeout { endpoint: link.peer().to_owned(), what: "close", after_ms })
            }
        }
    }
}

#[derive(Debug)]
struct ZmqReceiver {
    half: Half,
}

#[async_trait]
impl Receiver for ZmqReceiver {
    async fn recv(&mut self) -> Result<Option<(Lane, Bytes)>> {
        poll_fn(|context| poll(self.half.0.pull(context.waker()))).await
    }
}

fn poll<T>(answer: Result<Answer<T>>) -> Poll<Result<T>> {
    match answer {
        Ok(Answer::Now(value)) => Poll::Ready(Ok(value)),
        Ok(Answer::Wait) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}
