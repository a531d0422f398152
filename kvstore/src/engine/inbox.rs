//! What waits to be stored: in order, bounded in bytes, and closed for good with the reason.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{Host, locked};
use crate::{Error, Write, WriteDone};

/// A write that waits for its round.
pub(super) struct Request {
    pub(super) write: Write,
    pub(super) done: WriteDone,
    bytes: usize,
}

/// Bounded in bytes, by itself and together with all others of its host.
pub(super) struct Inbox {
    host: Arc<Host>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Request>,
    bytes: usize,
    closed: Option<Error>,
}

/// Why something was not taken.
pub(super) enum Refused {
    /// So many bytes wait already.
    Full(usize),
    /// Nothing is taken any more.
    Closed(Error),
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("bytes", &locked(&self.inner).bytes).finish_non_exhaustive()
    }
}

impl Inbox {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self { host, inner: Mutex::default() }
    }

    /// Adds one behind the others, or gives it back. One that alone is above the bound is taken when nothing waits.
    pub(super) fn push(&self, write: Write, bytes: usize, done: WriteDone) -> Result<(), (WriteDone, Refused)> {
        let mut inner = locked(&self.inner);
        if let Some(error) = &inner.closed {
            return Err((done, Refused::Closed(error.clone())));
        }
        let is_full = !inner.queue.is_empty() && inner.bytes + bytes > self.host.options.queued_bytes_max;
        if is_full || !self.host.take_queued(bytes) {
            return Err((done, Refused::Full(inner.bytes)));
        }
        inner.bytes += bytes;
        inner.queue.push_back(Request { write, done, bytes });
        Ok(())
    }

    /// The first ones with at most so many bytes, and at least one if there is one.
    pub(super) fn take(&self, bytes_max: usize) -> Vec<Request> {
        let mut inner = locked(&self.inner);
        let (mut bytes, mut count) = (0, 0);
        for request in &inner.queue {
            if count > 0 && bytes + request.bytes > bytes_max {
                break;
            }
            (bytes, count) = (bytes + request.bytes, count + 1);
        }
        inner.bytes -= bytes;
        let taken = inner.queue.drain(..count).collect();
        drop(inner);
        self.host.give_queued(bytes);
        taken
    }

    /// Takes nothing more, and says why; the first reason stays. What waits stays.
    pub(super) fn close(&self, error: Error) {
        locked(&self.inner).closed.get_or_insert(error);
    }

    pub(super) fn is_empty(&self) -> bool {
        locked(&self.inner).queue.is_empty()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.host.give_queued(locked(&self.inner).bytes);
    }
}
