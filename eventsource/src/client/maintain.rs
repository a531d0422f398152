//! What takes long: verify, compact, back up, restore, import, at the server.

use serde::de::DeserializeOwned;
use sinew_session::{ResourceName, to_cbor};

use super::Log;
use crate::protocol::{Maintain, MaintainAct, SERVICE, error_of, verb};
use crate::{BackedUp, Compacted, ProgressSink, Result, StreamConfig, StreamInfo, Verified};

impl Log {
    /// Reads everything that a stream has stored and checks it; changes nothing. Damage is in the result and no error.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`, `Storage`, `Unsupported`; `Session`.
    pub async fn verify(&self, stream: &ResourceName, progress: ProgressSink) -> Result<Verified> {
        self.maintain(stream, MaintainAct::Verify, progress).await
    }

    /// Applies compaction by key and retention now. Appends and reads go on.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn compact(&self, stream: &ResourceName, progress: ProgressSink) -> Result<Compacted> {
        self.maintain(stream, MaintainAct::Compact, progress).await
    }

    /// Copies a stream as it is at one moment to a directory of the server's machine, named from the root, which must be
    /// empty or not there.
    /// Needs to be permitted to manage the server as well.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`, `Backup`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn backup(&self, stream: &ResourceName, target: &str, progress: ProgressSink) -> Result<BackedUp> {
        self.maintain(stream, MaintainAct::Backup(target.to_owned()), progress).await
    }

    /// Makes a stream from a backup in a directory of the server's machine, named from the root. Needs to be permitted to manage the server as
    /// well.
    ///
    /// # Errors
    /// `StreamExists`, `Denied`, `Backup`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn restore(&self, stream: &ResourceName, source: &str, progress: ProgressSink) -> Result<StreamInfo> {
        self.maintain(stream, MaintainAct::Restore(source.to_owned()), progress).await
    }

    /// Makes a stream from the files of the original event source in a directory of the server's machine, named from the
    /// root. Needs to be permitted to manage the server as well.
    ///
    /// # Errors
    /// `StreamExists`, `MalformedImport`, `Denied`, `Config`, `NoSpace`, `Storage`, `Unsupported`; `Session`.
    pub async fn import(
        &self,
        stream: &ResourceName,
        config: &StreamConfig,
        source: &str,
        progress: ProgressSink,
    ) -> Result<StreamInfo> {
        self.maintain(stream, MaintainAct::Import(config.clone(), source.to_owned()), progress).await
    }

    async fn maintain<A: DeserializeOwned>(
        &self,
        stream: &ResourceName,
        act: MaintainAct,
        progress: ProgressSink,
    ) -> Result<A> {
        let body = to_cbor(&Maintain { stream: stream.to_string(), act });
        let (asks, key) = ((SERVICE, verb::MAINTAIN), stream.as_str().as_bytes());
        let reply = self.shared.long_calls.call(&self.session, asks, key, body, progress).await;
        Ok(reply.map_err(error_of)?.read()?)
    }
}
