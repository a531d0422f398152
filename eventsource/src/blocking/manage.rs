//! Groups, cursors and maintenance, for callers that wait.

use sinew_session::{ResourceName, block_on};

use super::Log;
use crate::{
    BackedUp, Compacted, GroupInfo, Position, ProgressSink, Redelivery, Result, StreamConfig, StreamInfo, Verified,
};

impl Log {
    /// As [`Log::groups`](crate::Log::groups).
    ///
    /// # Errors
    /// As [`Log::groups`](crate::Log::groups).
    pub fn groups(&self, stream: &ResourceName) -> Result<Vec<String>> {
        block_on(self.inner.groups(stream))?
    }

    /// As [`Log::group`](crate::Log::group).
    ///
    /// # Errors
    /// As [`Log::group`](crate::Log::group).
    pub fn group(&self, stream: &ResourceName, group: &ResourceName) -> Result<GroupInfo> {
        block_on(self.inner.group(stream, group))?
    }

    /// As [`Log::pause_group`](crate::Log::pause_group).
    ///
    /// # Errors
    /// As [`Log::pause_group`](crate::Log::pause_group).
    pub fn pause_group(&self, stream: &ResourceName, group: &ResourceName) -> Result<GroupInfo> {
        block_on(self.inner.pause_group(stream, group))?
    }

    /// As [`Log::resume_group`](crate::Log::resume_group).
    ///
    /// # Errors
    /// As [`Log::resume_group`](crate::Log::resume_group).
    pub fn resume_group(&self, stream: &ResourceName, group: &ResourceName) -> Result<GroupInfo> {
        block_on(self.inner.resume_group(stream, group))?
    }

    /// As [`Log::reset_group`](crate::Log::reset_group).
    ///
    /// # Errors
    /// As [`Log::reset_group`](crate::Log::reset_group).
    pub fn reset_group(&self, stream: &ResourceName, group: &ResourceName, to: Position) -> Result<GroupInfo> {
        block_on(self.inner.reset_group(stream, group, to))?
    }

    /// As [`Log::alter_group`](crate::Log::alter_group).
    ///
    /// # Errors
    /// As [`Log::alter_group`](crate::Log::alter_group).
    pub fn alter_group(
        &self,
        stream: &ResourceName,
        group: &ResourceName,
        redelivery: Redelivery,
    ) -> Result<GroupInfo> {
        block_on(self.inner.alter_group(stream, group, redelivery))?
    }

    /// As [`Log::delete_group`](crate::Log::delete_group).
    ///
    /// # Errors
    /// As [`Log::delete_group`](crate::Log::delete_group).
    pub fn delete_group(&self, stream: &ResourceName, group: &ResourceName) -> Result<()> {
        block_on(self.inner.delete_group(stream, group))?
    }

    /// As [`Log::cursors`](crate::Log::cursors).
    ///
    /// # Errors
    /// As [`Log::cursors`](crate::Log::cursors).
    pub fn cursors(&self, stream: &ResourceName) -> Result<Vec<(String, u64)>> {
        block_on(self.inner.cursors(stream))?
    }

    /// As [`Log::remove_cursor`](crate::Log::remove_cursor).
    ///
    /// # Errors
    /// As [`Log::remove_cursor`](crate::Log::remove_cursor).
    pub fn remove_cursor(&self, stream: &ResourceName, name: &ResourceName) -> Result<()> {
        block_on(self.inner.remove_cursor(stream, name))?
    }

    /// As [`Log::verify`](crate::Log::verify).
    ///
    /// # Errors
    /// As [`Log::verify`](crate::Log::verify).
    pub fn verify(&self, stream: &ResourceName, progress: ProgressSink) -> Result<Verified> {
        block_on(self.inner.verify(stream, progress))?
    }

    /// As [`Log::compact`](crate::Log::compact).
    ///
    /// # Errors
    /// As [`Log::compact`](crate::Log::compact).
    pub fn compact(&self, stream: &ResourceName, progress: ProgressSink) -> Result<Compacted> {
        block_on(self.inner.compact(stream, progress))?
    }

    /// As [`Log::backup`](crate::Log::backup).
    ///
    /// # Errors
    /// As [`Log::backup`](crate::Log::backup).
    pub fn backup(&self, stream: &ResourceName, target: &str, progress: ProgressSink) -> Result<BackedUp> {
        block_on(self.inner.backup(stream, target, progress))?
    }

    /// As [`Log::restore`](crate::Log::restore).
    ///
    /// # Errors
    /// As [`Log::restore`](crate::Log::restore).
    pub fn restore(&self, stream: &ResourceName, source: &str, progress: ProgressSink) -> Result<StreamInfo> {
        block_on(self.inner.restore(stream, source, progress))?
    }

    /// As [`Log::import`](crate::Log::import).
    ///
    /// # Errors
    /// As [`Log::import`](crate::Log::import).
    pub fn import(
        &self,
        stream: &ResourceName,
        config: &StreamConfig,
        source: &str,
        progress: ProgressSink,
    ) -> Result<StreamInfo> {
        block_on(self.inner.import(stream, config, source, progress))?
    }
}
