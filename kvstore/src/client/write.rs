//! Writing one key. Every write has an operation id, and is sent again after a cut until its answer is known: it is done
//! once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew_session::{Error as SessionError, Reply, Request, State};

use super::{KvBucket, unreadable};
use crate::protocol::{SERVICE, WriteHead, error_of, put_head, read_written, verb, write_body};
use crate::{
    Action, Condition, Error, Expected, Key, Level, OPERATIONS_MAX, OPERATIONS_REMEMBERED_FOR, Operation, OperationId,
    Result, Write, Written,
};

/// Each attempt waits as long as it takes: a server that is gone is noticed by the session.
const FOR_EVER: Duration = Duration::MAX;
/// How long a write whose answer was lost is sent again: well within the time that a server remembers it.
const SENT_AGAIN_FOR: Duration = OPERATIONS_REMEMBERED_FOR.saturating_sub(Duration::from_secs(60));

/// What goes with a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// How long the key lives from now on. Not zero. Default: as the bucket says.
    pub time_to_live: Option<Duration>,
    /// What the key must be; else nothing is written, and `Conflict` tells what it is. Default: anything.
    pub expected: Option<Expected>,
    /// The least that the acknowledgement must mean; else nothing is written. Default: whatever the bucket promises.
    pub required: Option<Level>,
}

/// What became of a write of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The write's revision. 0 for the removal of a key that is not there: nothing was written.
    pub revision: u64,
    /// When, in nanoseconds since 1970.
    pub timestamp: u64,
    /// What the acknowledgement means.
    pub level: Level,
    /// It had been written before: the answer to the first time was lost.
    pub duplicate: bool,
}

impl KvBucket {
    /// Puts a value. Resolves once it is as durable as the bucket promises; makes the bucket where there is none, unless the
    /// server forbids it. One round trip and, of a bucket that is fsynced, a share of one sync.
    ///
    /// # Errors
    /// `TooLarge`, `Full`, `Denied`, `NoSpace`: nothing was written. `Busy`: nothing was written, try again. `Session` if the
    /// session has ended, or its answer was not to be had for nine minutes: it may be written or not.
    pub async fn put(&self, key: &Key, value: impl Into<Bytes>) -> Result<Stored> {
        self.put_with(key, value, &PutOptions::default()).await
    }

    /// Puts a value, with options.
    ///
    /// # Errors
    /// As [`put`](Self::put), and `Conflict` where the key is not what was expected, `Invalid` for a time to live of zero,
    /// `LevelUnmet`.
    pub async fn put_with(&self, key: &Key, value: impl Into<Bytes>, options: &PutOptions) -> Result<Stored> {
        let PutOptions { time_to_live, expected, required } = *options;
        let head = |id| put_head(self.name.as_str(), key, &WriteHead { required, id }, expected, time_to_live);
        stored(self.send(verb::PUT, head, value.into()).await?)
    }

    /// Puts a value where there is none.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with); `Conflict` where there is one.
    pub async fn create(&self, key: &Key, value: impl Into<Bytes>) -> Result<Stored> {
        self.put_expecting(key, value, Expected::Absent).await
    }

    /// Puts a value where the present one is of this revision: compare and set.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with); `Conflict` where it is of another one, or not there.
    pub async fn update(&self, key: &Key, value: impl Into<Bytes>, revision: u64) -> Result<Stored> {
        self.put_expecting(key, value, Expected::Revision(revision)).await
    }

    async fn put_expecting(&self, key: &Key, value: impl Into<Bytes>, expected: Expected) -> Result<Stored> {
        self.put_with(key, value, &PutOptions { expected: Some(expected), ..PutOptions::default() }).await
    }

    /// Removes a key. Its history stays. Of one that is not there nothing is written, and the revision is 0.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn delete(&self, key: &Key) -> Result<Stored> {
        self.one(key, Operation::Delete, None).await
    }

    /// Removes a key whose value is of this revision.
    ///
    /// # Errors
    /// As [`put`](Self::put); `Conflict` where it is of another one, or not there.
    pub async fn delete_if(&self, key: &Key, revision: u64) -> Result<Stored> {
        self.one(key, Operation::Delete, Some(Expected::Revision(revision))).await
    }

    /// Removes a key and its history.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn purge(&self, key: &Key) -> Result<Stored> {
        self.one(key, Operation::Purge, None).await
    }

    /// Adds to a counter, a whole number in decimal text that begins with 0; gives its new value.
    ///
    /// # Errors
    /// As [`put`](Self::put); `NotACounter` where the value is something else, or would be beyond what a number can be.
    pub async fn add(&self, key: &Key, by: i64) -> Result<i64> {
        let written =
            self.write(Write { actions: vec![action(key, Operation::Add(by))], ..Write::default() }, None).await?;
        written.counters.first().copied().ok_or_else(|| unreadable("its answer to an add"))
    }

    async fn one(&self, key: &Key, operation: Operation, expected: Option<Expected>) -> Result<Stored> {
        let conditions = expected.map(|expected| Condition { key: key.clone(), expected }).into_iter().collect();
        stored(self.write(Write { id: None, conditions, actions: vec![action(key, operation)] }, None).await?)
    }

    /// Any write; its id is given here.
    pub(super) async fn write(&self, write: Write, required: Option<Level>) -> Result<Written> {
        let parts = write.conditions.len() + write.actions.len();
        if parts > OPERATIONS_MAX {
            return Err(crate::protocol::too_many(self.name.as_str(), parts));
        }
        let head = |id| WriteHead { required, id }.whole(self.name.as_str());
        self.send(verb::WRITE, head, write_body(&write)).await
    }

    /// Sends a write until its answer is known.
    async fn send(&self, verb: u8, head: impl FnOnce(OperationId) -> Vec<u8>, body: Bytes) -> Result<Written> {
        let session = &self.kv.session;
        session.room().await?;
        let under_way = self.kv.shared.operations.begin().await;
        let head = head(under_way.id);
        let pieces = [&head[..]];
        let (begun, mut sent) = (Instant::now(), false);
        loop {
            let request =
                Request { head: Some(&pieces), ..Request::new(SERVICE, verb, self.lane(), body.clone(), FOR_EVER) };
            match session.call(request).await {
                Err(SessionError::OutcomeUnknown) if begun.elapsed() < SENT_AGAIN_FOR => sent = true,
                // It may be written already, so only the answer will do.
                Err(SessionError::Disconnected { .. }) if sent && begun.elapsed() < SENT_AGAIN_FOR => {
                    connected(session).await?;
                }
                Err(SessionError::Disconnected { .. }) if sent => return Err(SessionError::OutcomeUnknown.into()),
                reply => return written(reply),
            }
        }
    }
}

/// Waits until the session is connected again.
async fn connected(session: &sinew_session::Session) -> Result<()> {
    let mut state = session.state();
    let now = state.wait_for(|state| !matches!(state, State::Reconnecting)).await.map_err(|_| SessionError::Closed)?;
    match &*now {
        State::Ended(error) => Err(error.clone().into()),
        State::Connected | State::Reconnecting => Ok(()),
    }
}

fn action(key: &Key, operation: Operation) -> Action {
    Action { key: key.clone(), operation }
}

fn written(reply: sinew_session::Result<Reply>) -> Result<Written> {
    read_written(&reply.map_err(error_of)?.head).ok_or_else(|| unreadable("its answer to a write"))
}

fn stored(written: Written) -> Result<Stored, Error> {
    let Written { revisions, timestamp, level, duplicate, .. } = written;
    let revision = revisions.first().copied().ok_or_else(|| unreadable("its answer to a write"))?;
    Ok(Stored { revision, timestamp, level, duplicate })
}
