//! Calls that may wait: each in a task of its own that the caller may cancel.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use sinew_session::{Failure, Header, Lane, REPLY, Record, to_cbor};
use tokio::task::AbortHandle;

use super::attachment::TaskAttachment;

/// The calls of a session that are under way.
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

/// A body in CBOR.
pub(super) fn cbor<T: Serialize>(value: &T) -> Bytes {
    to_cbor(value).into()
}

impl TaskAttachment {
    /// Does it in a task of its own, and answers with the body that it gives. Permission was asked before.
    pub(super) fn call(
        &self,
        lane: Lane,
        record: &Record<'_>,
        work: impl Future<Output = Result<Bytes, Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        let (link, header, calls) = (self.link.clone(), record.header, self.calls.clone());
        let mut entered = self.calls.lock();
        let max = self.shared.limits.calls_max;
        if entered.len() >= max {
            let reason = format!("{max} calls of this session are under way, the limit; await some of them first");
            return Err(Failure::new("limit", reason));
        }
        entered.insert(header.call, None);
        drop(entered);
        let task = tokio::spawn(async move {
            let outcome = work.await;
            calls.lock().remove(&header.call);
            match outcome {
                Ok(body) => link.pack().push(lane, Header { flags: REPLY, ..header }, &[], &body),
                Err(failure) => link.fail(lane, &header, &failure),
            }
        });
        if let Some(place) = self.calls.lock().get_mut(&header.call) {
            *place = Some(task.abort_handle());
        }
        Ok(())
    }
}
