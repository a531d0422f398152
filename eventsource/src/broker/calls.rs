//! Calls that may wait: each in a task of its own, bounded for each session, answered when it is done.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde::Serialize;
use sinew_session::{Failure, Header, Lane, REPLY, Record, to_cbor};
use tokio::task::AbortHandle;

use super::attachment::LogAttachment;

/// What a call is answered with.
pub(super) struct Answer {
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
}

impl Answer {
    /// A body in CBOR.
    pub(super) fn of<T: Serialize>(value: &T) -> Self {
        Self { head: Vec::new(), body: to_cbor(value).into() }
    }
}

/// A place among the calls of a session.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(calls: &Arc<AtomicUsize>, max: usize) -> Result<Self, Failure> {
        if calls.fetch_add(1, Ordering::Relaxed) >= max {
            calls.fetch_sub(1, Ordering::Relaxed);
            let reason = format!("{max} calls of this session are under way, the limit; await some of them first");
            return Err(Failure::new("limit", reason));
        }
        Ok(Self(calls.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that takes long. Dropping it ends it: nobody waits for its answer any more.
#[derive(Debug)]
pub(super) struct LongCall(AbortHandle);

impl Drop for LongCall {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LogAttachment {
    /// Does it in a task of its own. Permission was asked before. It comes to its end whoever waits for it: what is half
    /// done would be nobody's.
    pub(super) fn call(
        &self,
        lane: Lane,
        record: &Record<'_>,
        work: impl Future<Output = Result<Answer, Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        self.begin(lane, record, work).map(drop)
    }

    /// The same for what takes long, and ends with its caller.
    pub(super) fn long_call(
        &mut self,
        lane: Lane,
        record: &Record<'_>,
        work: impl Future<Output = Result<Answer, Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        self.long.retain(|_, call| !call.0.is_finished());
        let task = self.begin(lane, record, work)?;
        self.long.insert(record.header.call, LongCall(task));
        Ok(())
    }

    fn begin(
        &self,
        lane: Lane,
        record: &Record<'_>,
        work: impl Future<Output = Result<Answer, Failure>> + Send + 'static,
    ) -> Result<AbortHandle, Failure> {
        let place = Place::take(&self.calls, self.shared.limits.calls_max)?;
        let (link, header) = (self.link.clone(), record.header);
        let task = tokio::spawn(async move {
            match work.await {
                Ok(Answer { head, body }) => {
                    link.pack().push(lane, Header { flags: REPLY, ..header }, &[&head], &body);
                }
                Err(failure) => link.fail(lane, &header, &failure),
            }
            drop(place);
        });
        Ok(task.abort_handle())
    }
}
