//! Entries of a file into a bucket, many puts at a time.

use std::collections::HashSet;
use std::time::SystemTime;

use sinew::kvstore::{Error, Expected, FileEntry, Key, KvBucket, PutOptions, TimeLeft};
use tokio::task::JoinSet;

use crate::failure::Outcome;

/// Puts that are not acknowledged at one time.
const IN_FLIGHT_MAX: usize = 256;

/// What became of the entries of a file.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Imported {
    pub(crate) put: u64,
    /// Those that were there already, where only absent ones are put.
    pub(crate) kept: u64,
    /// Those whose time to live was over.
    pub(crate) expired: u64,
}

/// Puts under way, at most one for a key, so that the last line of a key is what stays.
pub(crate) struct Puts {
    bucket: KvBucket,
    expected: Option<Expected>,
    keys: HashSet<Key>,
    running: JoinSet<(Key, Result<(), Error>)>,
    imported: Imported,
}

impl Puts {
    /// Puts into this bucket, where a key is what is expected; any will do for `None`.
    pub(crate) fn new(bucket: KvBucket, expected: Option<Expected>) -> Self {
        Self { bucket, expected, keys: HashSet::new(), running: JoinSet::new(), imported: Imported::default() }
    }

    /// What became of those that are done.
    pub(crate) fn done(&self) -> &Imported {
        &self.imported
    }

    /// Begins another one, once there is room for it.
    pub(crate) async fn begin(&mut self, entry: FileEntry) -> Outcome {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let time_to_live = match entry.time_left(now) {
            TimeLeft::Default => None,
            TimeLeft::For(time) => Some(time),
            TimeLeft::Over => {
                self.imported.expired += 1;
                return Ok(());
            }
        };
        while self.keys.len() >= IN_FLIGHT_MAX || self.keys.contains(&entry.key) {
            self.finish_one().await?;
        }
        // A handle on bytes of its own, as the file gave it.
        self.keys.insert(entry.key.clone());
        let (bucket, expected) = (self.bucket.clone(), self.expected);
        self.running.spawn(async move {
            let options = PutOptions { time_to_live, expected, ..PutOptions::default() };
            let stored = bucket.put_with(&entry.key, entry.value, &options).await;
            (entry.key, stored.map(drop))
        });
        Ok(())
    }

    /// Waits until all are done.
    pub(crate) async fn finish(&mut self) -> Outcome {
        while self.finish_one().await? {}
        Ok(())
    }

    /// Waits until one is done; whether there was one.
    async fn finish_one(&mut self) -> Outcome<bool> {
        let Some(done) = self.running.join_next().await else { return Ok(false) };
        let (key, stored) = done?;
        self.keys.remove(&key);
        match stored {
            Ok(()) => self.imported.put += 1,
            Err(Error::Conflict { .. }) if self.expected.is_some() => self.imported.kept += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}
