//! Calls that take long and tell now and then how far they are: by records under the call's number, each with done and
//! total as its head. One half for servers, one for clients.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_transport_api::Lane;
use tokio::time::Instant;

use crate::durability::{Progress, ProgressSink};
use crate::heads::{pair_head, read_pair};
use crate::record::{Header, Record};
use crate::request::{Reply, Request};
use crate::{Link, Result, Session};

/// Progress is told this often at most.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How long such a call may take: as long as it does. A server that is gone is noticed by the session.
const LONG: Duration = Duration::MAX;

/// At the server: tells a caller how far its call is, by records with this header, not too often, and not while its outbox
/// is full.
pub fn tell_progress(link: Arc<Link>, lane: Lane, header: Header) -> ProgressSink {
    let told = Mutex::new(None::<Instant>);
    Arc::new(move |Progress { done, total }| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.is_some_and(|told| now - told < TELL_EVERY) {
            return;
        }
        *told = Some(now);
        drop(told);
        let mut packer = link.pack();
        if packer.has_room() {
            packer.push(lane, header, &[&pair_head(done, total)], &Bytes::new());
        }
    })
}

/// At the client: the long calls of a service that are under way, and who hears how far each is.
#[derive(Default)]
pub struct LongCalls(Mutex<BTreeMap<u32, ProgressSink>>);

impl fmt::Debug for LongCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LongCalls").field(&self.lock().keys()).finish()
    }
}

impl LongCalls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, ProgressSink>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls, and waits for as long as it takes; dropping the future cancels. `key` is what the call is ordered with.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn call(
        &self,
        session: &Session,
        (service, verb): (u8, u8),
        key: &[u8],
        body: impl Into<Bytes>,
        progress: ProgressSink,
    ) -> Result<Reply> {
        let number = session.number()?;
        self.lock().insert(number, progress);
        let _listening = Listening { calls: self, number };
        let request = Request::new(service, verb, key, body, LONG);
        session.call(Request { number: Some(number), ..request }).await
    }

    /// A record says how far a call is.
    pub fn told(&self, record: &Record<'_>) {
        let sink = self.lock().get(&record.header.call).cloned();
        if let Some((sink, (done, total))) = sink.zip(read_pair(record.head())) {
            sink(Progress { done, total });
        }
    }
}

/// Forgets who listens, whatever becomes of the call.
struct Listening<'a> {
    calls: &'a LongCalls,
    number: u32,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.number);
    }
}
