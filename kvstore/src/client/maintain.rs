//! What takes long: verify, compact, back up, restore, at the server.

use serde::de::DeserializeOwned;
use sinew_session::to_cbor;

use super::KvBucket;
use crate::protocol::{Maintain, MaintainAct, SERVICE, error_of, verb};
use crate::{BackedUp, BucketInfo, Compacted, ProgressSink, Result, Verified};

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

    /// Copies the bucket as it is at one moment to a directory of the server's machine, named from the root, which must
    /// be empty or not there. Needs to be permitted to manage the server as well.
    ///
    /// # Errors
    /// `UnknownBucket`, `Denied`, `Backup`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn backup(&self, target: &str, progress: ProgressSink) -> Result<BackedUp> {
        self.maintain(MaintainAct::Backup(target.to_owned()), progress).await
    }

    /// Makes the bucket from a backup in a directory of the server's machine, named from the root. Needs to be permitted to
    /// manage the server as well.
    ///
    /// # Errors
    /// `BucketExists`, `Denied`, `Backup`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn restore(&self, source: &str, progress: ProgressSink) -> Result<BucketInfo> {
        self.maintain(MaintainAct::Restore(source.to_owned()), progress).await
    }

    async fn maintain<A: DeserializeOwned>(&self, act: MaintainAct, progress: ProgressSink) -> Result<A> {
        let (kv, body) = (&self.kv, to_cbor(&Maintain { bucket: self.name.to_string(), act }));
        let asks = (SERVICE, verb::MAINTAIN);
        let reply = kv.shared.long_calls.call(&kv.session, asks, self.lane(), body, progress).await;
        Ok(reply.map_err(error_of)?.read()?)
    }
}
