//! How calls are answered: at once, from another thread, or by a task of their own that the caller may cancel.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use sinew_session::{FAILURE, Failure, Header, Lane, Link, REPLY, Record, to_cbor};
use tokio::task::AbortHandle;

use super::attachment::KvAttachment;

/// Whom to answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) link: Arc<Link>,
    pub(super) lane: Lane,
    pub(super) header: Header,
}

impl Answer {
    pub(super) fn give(&self, head: &[u8], body: &Bytes) {
        self.link.pack().push(self.lane, Header { flags: REPLY, ..self.header }, &[head], body);
    }

    pub(super) fn fail(&self, failure: &Failure) {
        let header = Header { flags: REPLY | FAILURE, ..self.header };
        self.link.pack().push(self.lane, header, &[], &Bytes::from(to_cbor(failure)));
    }
}

/// What a call is answered with.
pub(super) struct Reply {
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
}

impl Reply {
    /// A body in CBOR.
    pub(super) fn of<T: Serialize>(value: &T) -> Self {
        Self { head: Vec::new(), body: to_cbor(value).into() }
    }
}

/// The calls of a session that are under way. Dropping it ends them.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Mutex<HashMap<u32, Option<AbortHandle>>>>);

impl Calls {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Option<AbortHandle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller no longer waits.
    pub(super) fn cancel(&self, call: u32) {
        let ended = self.lock().remove(&call).flatten();
        ended.into_iter().for_each(|task| task.abort());
    }

    /// Ends all of them: nobody can be answered any more.
    pub(super) fn clear(&self) {
        let ended = std::mem::take(&mut *self.lock());
        ended.into_values().flatten().for_each(|task| task.abort());
    }
}

impl KvAttachment {
    pub(super) fn answer(&self, lane: Lane, record: &Record<'_>) -> Answer {
        Answer { link: self.link.clone(), lane, header: record.header }
    }

    /// Does it in a task of its own. Permission was asked before.
    pub(super) fn call(
        &self,
        lane: Lane,
        record: &Record<'_>,
        work: impl Future<Output = Result<Reply, Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        let (answer, calls, number) = (self.answer(lane, record), self.calls.clone(), record.header.call);
        let mut entered = self.calls.lock();
        let max = self.shared.limits.calls_max;
        if entered.len() >= max {
            let reason = format!("{max} calls of this session are under way, the limit; await some of them first");
            return Err(Failure::new("limit", reason));
        }
        entered.insert(number, None);
        drop(entered);
        let task = tokio::spawn(async move {
            let outcome = work.await;
            calls.lock().remove(&number);
            match outcome {
                Ok(Reply { head, body }) => answer.give(&head, &body),
                Err(failure) => answer.fail(&failure),
            }
        });
        if let Some(place) = self.calls.lock().get_mut(&number) {
            *place = Some(task.abort_handle());
        }
        Ok(())
    }
}
