//! What a connector is: a [`Source`], a [`Sink`], or both, made for an [`Address`](crate::Address).
//!
//! A [`Connection`](crate::Connection) moves batches from one to the other. The rules below are what its guarantees rest
//! on; `docs/CONNECTORS.md` builds one step by step.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Batch, BatchLimits, Mark, Position, Result, Standing};

/// Where items come from.
#[async_trait]
pub trait Source: Send + Debug {
    /// What it gives, as text: the same in every run that gives the same items in the same order. What one connection
    /// remembers is not used for another origin.
    fn origin(&self) -> String;

    /// What this source has kept with [`remember`](Self::remember). Asked once, first. Default: nothing.
    ///
    /// # Errors
    /// Why it cannot be told.
    async fn recall(&mut self) -> Result<Option<Mark>> {
        Ok(None)
    }

    /// Goes to where the sink stands, so that [`next`](Self::next) gives what comes behind. One that can go anywhere asks
    /// [`Standing::resume`], or goes behind [`last_offset`](Standing::last_offset); one that cannot begins now, and says so
    /// by a [`Lost::Unknown`](crate::Lost) where there was a run before. Called once, before `next`. Gives the place where
    /// it stands, which is remembered where nothing was before; a default one where there are no places.
    ///
    /// # Errors
    /// Why it cannot; a retryable error is followed by another call.
    async fn start(&mut self, standing: &Standing) -> Result<Position>;

    /// The next batch, when there is something; `None` at the end. Items keep their order, and none is given twice.
    ///
    /// Cancel-safe: what was on its way when the future was dropped is given by the next call.
    ///
    /// # Errors
    /// Why there is none. After a retryable error the next call goes on where this one was.
    async fn next(&mut self, limits: BatchLimits) -> Result<Option<Batch>>;

    /// Keeps this mark for [`recall`](Self::recall), durably when it returns: everything up to it is in the sink. Default:
    /// keeps nothing.
    ///
    /// # Errors
    /// Why it cannot; a retryable error is followed by another call.
    async fn remember(&mut self, mark: &Mark) -> Result<()> {
        let _ = mark;
        Ok(())
    }
}

/// Where items go.
#[async_trait]
pub trait Sink: Send + Debug {
    /// What it has already, and the mark that it has kept. Asked once, first: here it connects, opens or makes what it
    /// writes to, and mends what an earlier run has left half done.
    ///
    /// # Errors
    /// Why it cannot take anything; a retryable error is followed by another call.
    async fn standing(&mut self) -> Result<Standing>;

    /// Takes a batch. It waits while there is no room, which is what holds the source back.
    ///
    /// # Errors
    /// Why it did not. After a retryable error the same batch is given again: nothing of it may be taken twice, or the
    /// sink says that it is at least once.
    async fn write(&mut self, batch: &Batch) -> Result<()>;

    /// Waits until everything written is where it is safe, as far as this sink can tell.
    ///
    /// # Errors
    /// Why it is not; a retryable error is followed by another call.
    async fn flush(&mut self) -> Result<()>;

    /// Keeps this mark for [`standing`](Self::standing), durably when it returns. Called after a flush. Default: keeps
    /// nothing.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    async fn remember(&mut self, mark: &Mark) -> Result<()> {
        let _ = mark;
        Ok(())
    }
}
