//! Several keys of a bucket together: all or nothing.

use std::time::Duration;

use bytes::Bytes;

use super::KvBucket;
use crate::{Action, Condition, Expected, Key, Level, Operation, Result, Write, Written};

/// Conditions and actions that are done together or not at all, built step by step.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, kv) = sinew_testkit::memory::kv().await;
/// let accounts = kv.bucket(&"accounts".parse()?);
/// let (from, to) = ("ada".parse()?, "ben".parse()?);
/// let had = accounts.put(&from, "100").await?;
/// let moved = accounts.transaction().expect_revision(&from, had.revision).put(&from, "60").put(&to, "40").commit().await?;
/// assert_eq!(moved.revisions, [had.revision + 1, had.revision + 2]);
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is written until it is committed"]
pub struct Transaction {
    bucket: KvBucket,
    write: Write,
    required: Option<Level>,
}

impl KvBucket {
    /// Begins a transaction over keys of this bucket.
    pub fn transaction(&self) -> Transaction {
        Transaction { bucket: self.clone(), write: Write::default(), required: None }
    }
}

impl Transaction {
    fn expect(mut self, key: &Key, expected: Expected) -> Self {
        self.write.conditions.push(Condition { key: key.clone(), expected });
        self
    }

    fn act(mut self, key: &Key, operation: Operation) -> Self {
        self.write.actions.push(Action { key: key.clone(), operation });
        self
    }

    /// Only if nothing is under this key.
    pub fn expect_absent(self, key: &Key) -> Self {
        self.expect(key, Expected::Absent)
    }

    /// Only if something is under this key.
    pub fn expect_present(self, key: &Key) -> Self {
        self.expect(key, Expected::Present)
    }

    /// Only if what is under this key has this revision.
    pub fn expect_revision(self, key: &Key, revision: u64) -> Self {
        self.expect(key, Expected::Revision(revision))
    }

    /// Puts a value, which lives as long as the bucket says.
    pub fn put(self, key: &Key, value: impl Into<Bytes>) -> Self {
        self.act(key, Operation::Put { value: value.into(), time_to_live: None })
    }

    /// Puts a value that lives so long. Not zero.
    pub fn put_for(self, key: &Key, value: impl Into<Bytes>, time_to_live: Duration) -> Self {
        self.act(key, Operation::Put { value: value.into(), time_to_live: Some(time_to_live) })
    }

    /// Removes a key. Its history stays.
    pub fn delete(self, key: &Key) -> Self {
        self.act(key, Operation::Delete)
    }

    /// Removes a key and its history.
    pub fn purge(self, key: &Key) -> Self {
        self.act(key, Operation::Purge)
    }

    /// Adds to a counter.
    pub fn add(self, key: &Key, by: i64) -> Self {
        self.act(key, Operation::Add(by))
    }

    /// The least that the acknowledgement must mean.
    pub fn require(mut self, level: Level) -> Self {
        self.required = Some(level);
        self
    }

    /// Does it: each action gets a revision, in their order. As [`KvBucket::put`] in cost; sent again after a cut until the
    /// answer is known.
    ///
    /// # Errors
    /// As [`KvBucket::put_with`]: `Conflict` names the first condition that does not hold. `Invalid` for a transaction without
    /// actions, one that names a key twice, or one of more than [`OPERATIONS_MAX`](crate::OPERATIONS_MAX) conditions and
    /// actions. Nothing was written then.
    pub async fn commit(self) -> Result<Written> {
        self.bucket.write(self.write, self.required).await
    }
}
