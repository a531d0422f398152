//! How far long work has come, told to a function that may stop it.

use std::ops::ControlFlow;

use crate::error::{Error, Result};

/// How far long work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes there are, as far as was known at the start.
    pub bytes_total: u64,
}

impl Progress {
    /// Counts, and asks whether to go on.
    pub(crate) fn advance(&mut self, bytes: u64, tell: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Result<()> {
        self.bytes_done += bytes;
        match tell(self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}
