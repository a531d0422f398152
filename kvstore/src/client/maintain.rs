//! What takes long: verify, compact, back up, restore, at the server.

use std::time::Duration;

use serde::de::DeserializeOwned;
use sinew_session::{Record, Request, to_cbor};

use super::{KvBucket, Shared};
use crate::protocol::{Maintain, MaintainAct, SERVICE, error_of, read_pair, verb};
use crate::{BackedUp, BucketInfo, Compacted, Progress, ProgressSink, Result, Verified};

/// How long such a call may take: as long as it does. A server that is gone is noticed by the session.
const LONG: Duration = Duration::MAX;

impl KvBucket {
    /// Reads everything that the bucket has stored and checks it; changes nothing. Damage is in the result and no error.
    ///
    /// # Errors
    /// `UnknownBucket`, `Denied`, `Storage`, `Unsupported`; `Session`.
    pub async fn verify(&self, progress: ProgressSink) -> Result<Verified> {
        self.maintain(MaintainAct::Verify, progress).await
    }

    /// Removes what nobody can ask for any more now. Reads and writes go on.
    ///
    /// # Errors
    /// `UnknownBucket`, `Denied`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn compact(&self, progress: ProgressSink) -> Result<Compacted> {
        self.maintain(MaintainAct::Compact, progress).await
    }

    /// Copies the bucket as it is at one moment to a directory of the server's machine, which must be empty or not there.
    /// Needs to be permitted to manage the server as well.
    ///
    /// # Errors
    /// `UnknownBucket`, `Denied`, `Backup`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn backup(&self, target: &str, progress: ProgressSink) -> Result<BackedUp> {
        self.maintain(MaintainAct::Backup(target.to_owned()), progress).await
    }

    /// Makes the bucket from a backup in a directory of the server's machine. Needs to be permitted to manage the server as
    /// well.
    ///
    /// # Errors
    /// `BucketExists`, `Denied`, `Backup`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn restore(&self, source: &str, progress: ProgressSink) -> Result<BucketInfo> {
        self.maintain(MaintainAct::Restore(source.to_owned()), progress).await
    }

    async fn maintain<A: DeserializeOwned>(&self, act: MaintainAct, progress: ProgressSink) -> Result<A> {
        let number = self.kv.session.number()?;
        self.kv.shared.progress().insert(number, progress);
        let _listening = Listening { shared: &self.kv.shared, number };
        let body = to_cbor(&Maintain { bucket: self.name.to_string(), act });
        let request = Request::new(SERVICE, verb::MAINTAIN, self.lane(), body, LONG);
        let reply = self.kv.session.call(Request { number: Some(number), ..request }).await;
        Ok(reply.map_err(error_of)?.read()?)
    }
}

/// How far a call is.
pub(super) fn told(shared: &Shared, record: &Record<'_>) {
    let sink = shared.progress().get(&record.header.call).cloned();
    if let Some((sink, (done, total))) = sink.zip(read_pair(record.head())) {
        sink(Progress { done, total });
    }
}

/// Forgets who listens, whatever becomes of the call.
struct Listening<'a> {
    shared: &'a Shared,
    number: u32,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.shared.progress().remove(&self.number);
    }
}
