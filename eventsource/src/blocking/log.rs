//! The event log itself, for callers that wait.

use serde::Serialize;
use sinew_session::{ResourceName, block_on};

use crate::blocking::{Follower, Member, Producer};
use crate::{
    AppendOptions, Appended, EventBatch, Events, Filter, FollowOptions, GroupOptions, NewEvent, Position, ReadLimits,
    Result, StreamConfig, StreamInfo,
};

/// The event log. Cheap to clone.
///
/// ```
/// use sinew_eventsource::{Position, ReadLimits, StreamConfig, blocking};
///
/// # let (_server, log) = sinew_testkit::memory::log_of_its_own();
/// let log = blocking::Log::new(log);
/// let orders = "orders".parse()?;
/// log.create(&orders, &StreamConfig::default())?;
/// log.append(&orders, "two cups of tea")?;
/// let page = log.read(&orders, Position::Start, ReadLimits { bytes_max: 1 << 20, events_max: 100 })?;
/// assert_eq!(&page.events[0].payload[..], b"two cups of tea");
/// # Ok::<(), sinew_eventsource::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Log {
    pub(super) inner: crate::Log,
}

impl Log {
    /// The same log, for callers that wait. Its session must run on a thread of its own, as it does by default.
    pub fn new(inner: crate::Log) -> Self {
        Self { inner }
    }

    /// The same log, for callers that await.
    pub fn inner(&self) -> &crate::Log {
        &self.inner
    }

    /// As [`Log::create`](crate::Log::create).
    ///
    /// # Errors
    /// As [`Log::create`](crate::Log::create).
    pub fn create(&self, stream: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        block_on(self.inner.create(stream, config))?
    }

    /// As [`Log::alter`](crate::Log::alter).
    ///
    /// # Errors
    /// As [`Log::alter`](crate::Log::alter).
    pub fn alter(&self, stream: &ResourceName, config: &StreamConfig) -> Result<StreamInfo> {
        block_on(self.inner.alter(stream, config))?
    }

    /// As [`Log::delete`](crate::Log::delete).
    ///
    /// # Errors
    /// As [`Log::delete`](crate::Log::delete).
    pub fn delete(&self, stream: &ResourceName) -> Result<()> {
        block_on(self.inner.delete(stream))?
    }

    /// As [`Log::info`](crate::Log::info).
    ///
    /// # Errors
    /// As [`Log::info`](crate::Log::info).
    pub fn info(&self, stream: &ResourceName) -> Result<StreamInfo> {
        block_on(self.inner.info(stream))?
    }

    /// As [`Log::list`](crate::Log::list).
    ///
    /// # Errors
    /// As [`Log::list`](crate::Log::list).
    pub fn list(&self) -> Result<Vec<ResourceName>> {
        block_on(self.inner.list())?
    }

    /// As [`Log::append`](crate::Log::append).
    ///
    /// # Errors
    /// As [`Log::append`](crate::Log::append).
    pub fn append(&self, stream: &ResourceName, event: impl Into<NewEvent>) -> Result<Appended> {
        block_on(self.inner.append(stream, event))?
    }

    /// As [`Log::append_with`](crate::Log::append_with).
    ///
    /// # Errors
    /// As [`Log::append_with`](crate::Log::append_with).
    pub fn append_with(
        &self,
        stream: &ResourceName,
        event: impl Into<NewEvent>,
        options: &AppendOptions,
    ) -> Result<Appended> {
        block_on(self.inner.append_with(stream, event, options))?
    }

    /// As [`Log::append_value`](crate::Log::append_value).
    ///
    /// # Errors
    /// As [`Log::append_value`](crate::Log::append_value).
    pub fn append_value<T: Serialize + ?Sized>(&self, stream: &ResourceName, value: &T) -> Result<Appended> {
        block_on(self.inner.append_value(stream, value))?
    }

    /// As [`Log::append_batch`](crate::Log::append_batch).
    ///
    /// # Errors
    /// As [`Log::append_batch`](crate::Log::append_batch).
    pub fn append_batch(&self, stream: &ResourceName, events: EventBatch, options: &AppendOptions) -> Result<Appended> {
        block_on(self.inner.append_batch(stream, events, options))?
    }

    /// As [`Log::read`](crate::Log::read).
    ///
    /// # Errors
    /// As [`Log::read`](crate::Log::read).
    pub fn read(&self, stream: &ResourceName, from: Position, limits: ReadLimits) -> Result<Events> {
        block_on(self.inner.read(stream, from, limits))?
    }

    /// As [`Log::read_filtered`](crate::Log::read_filtered).
    ///
    /// # Errors
    /// As [`Log::read_filtered`](crate::Log::read_filtered).
    pub fn read_filtered(
        &self,
        stream: &ResourceName,
        from: Position,
        limits: ReadLimits,
        filter: Filter,
    ) -> Result<Events> {
        block_on(self.inner.read_filtered(stream, from, limits, filter))?
    }

    /// As [`Log::follow`](crate::Log::follow).
    ///
    /// # Errors
    /// As [`Log::follow`](crate::Log::follow).
    pub fn follow(&self, stream: &ResourceName, from: Position, options: FollowOptions) -> Result<Follower> {
        Ok(Follower::new(block_on(self.inner.follow(stream, from, options))??))
    }

    /// As [`Log::producer`](crate::Log::producer).
    ///
    /// # Errors
    /// As [`Log::producer`](crate::Log::producer).
    pub fn producer(&self, stream: &ResourceName, name: &ResourceName) -> Result<Producer> {
        Ok(Producer::new(block_on(self.inner.producer(stream, name))??))
    }

    /// As [`Log::join`](crate::Log::join).
    ///
    /// # Errors
    /// As [`Log::join`](crate::Log::join).
    pub fn join(&self, stream: &ResourceName, group: &ResourceName, options: GroupOptions) -> Result<Member> {
        Ok(Member::new(block_on(self.inner.join(stream, group, options))??))
    }

    /// As [`Log::cursor`](crate::Log::cursor).
    ///
    /// # Errors
    /// As [`Log::cursor`](crate::Log::cursor).
    pub fn cursor(&self, stream: &ResourceName, name: &ResourceName) -> Result<Option<u64>> {
        block_on(self.inner.cursor(stream, name))?
    }

    /// As [`Log::commit_cursor`](crate::Log::commit_cursor).
    ///
    /// # Errors
    /// As [`Log::commit_cursor`](crate::Log::commit_cursor).
    pub fn commit_cursor(&self, stream: &ResourceName, name: &ResourceName, offset: u64) -> Result<()> {
        block_on(self.inner.commit_cursor(stream, name, offset))?
    }

    /// As [`Log::close`](crate::Log::close).
    ///
    /// # Errors
    /// As [`Log::close`](crate::Log::close).
    pub fn close(&self) -> Result<()> {
        block_on(self.inner.close())?
    }
}
