//! Cursors: how far a reader is, kept by the server.

use sinew_session::ResourceName;

use super::{FollowOptions, Log};
use crate::protocol::{ByteString, CursorAct, CursorAsk, Cursors, Position, verb};
use crate::{Follower, Result};

impl Log {
    /// Keeps under `name` that everything below `offset` has been dealt with. Durable when it returns.
    ///
    /// # Errors
    /// `UnknownStream`, `OutOfRange` beyond the end, `Denied`, `NoSpace`, `Limit`; `Session`, with `OutcomeUnknown` where
    /// the answer did not come: commit again.
    pub async fn commit_cursor(&self, stream: &ResourceName, name: &ResourceName, offset: u64) -> Result<()> {
        self.cursors_call(stream, CursorAct::Commit(name.to_string(), offset), false).await.map(drop)
    }

    /// The same with a state of the owner's, at most 8 KiB: it is given back by [`kept_cursor`](Self::kept_cursor), and
    /// nobody else looks at it. One round trip, durable when it returns.
    ///
    /// # Errors
    /// As [`commit_cursor`](Self::commit_cursor).
    pub async fn keep_cursor(
        &self,
        stream: &ResourceName,
        name: &ResourceName,
        offset: u64,
        state: impl Into<Vec<u8>>,
    ) -> Result<()> {
        let act = CursorAct::Keep(name.to_string(), offset, ByteString(state.into()));
        // Done twice it is the same.
        self.cursors_call(stream, act, true).await.map(drop)
    }

    /// The offset and the state that were kept under `name`, if they were.
    ///
    /// # Errors
    /// As [`cursor`](Self::cursor).
    pub async fn kept_cursor(&self, stream: &ResourceName, name: &ResourceName) -> Result<Option<(u64, Vec<u8>)>> {
        let found = self.cursors_call(stream, CursorAct::Get(name.to_string()), true).await?;
        Ok(found.cursors.into_iter().next().map(|(_, offset)| (offset, found.state.0)))
    }

    /// The offset that was kept under `name`, if one was.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`; `Session` if the server cannot be asked.
    pub async fn cursor(&self, stream: &ResourceName, name: &ResourceName) -> Result<Option<u64>> {
        let found = self.cursors_call(stream, CursorAct::Get(name.to_string()), true).await?;
        Ok(found.cursors.first().map(|(_, offset)| *offset))
    }

    /// All cursors of a stream, in the order of their names. Those of groups are not among them.
    ///
    /// # Errors
    /// As [`cursor`](Self::cursor).
    pub async fn cursors(&self, stream: &ResourceName) -> Result<Vec<(String, u64)>> {
        let mut all: Vec<(String, u64)> = Vec::new();
        loop {
            let after = all.last().map(|(name, _)| name.clone());
            let page = self.cursors_call(stream, CursorAct::List(after), true).await?;
            let more = page.more && !page.cursors.is_empty();
            all.extend(page.cursors);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Forgets what was kept under `name`.
    ///
    /// # Errors
    /// As [`commit_cursor`](Self::commit_cursor).
    pub async fn remove_cursor(&self, stream: &ResourceName, name: &ResourceName) -> Result<()> {
        self.cursors_call(stream, CursorAct::Remove(name.to_string()), true).await.map(drop)
    }

    /// Follows from where the cursor is; where there is none, from `otherwise`.
    ///
    /// # Errors
    /// Those of [`cursor`](Self::cursor) and of [`follow`](Self::follow).
    pub async fn follow_from_cursor(
        &self,
        stream: &ResourceName,
        name: &ResourceName,
        otherwise: Position,
        options: FollowOptions,
    ) -> Result<Follower> {
        let kept = self.cursor(stream, name).await?;
        self.follow(stream, kept.map_or(otherwise, Position::Offset), options).await
    }

    async fn cursors_call(&self, stream: &ResourceName, act: CursorAct, surely: bool) -> Result<Cursors> {
        let ask = CursorAsk { stream: stream.to_string(), act };
        if surely {
            self.ask_surely(verb::CURSOR, stream, &ask).await
        } else {
            self.ask(verb::CURSOR, stream, &ask).await
        }
    }
}
