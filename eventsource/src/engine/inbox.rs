//! What waits to be stored: in order, bounded in bytes, and closed for good with the reason.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{Host, locked};
use crate::{Error, Result};

/// Bounded in bytes, by itself and together with all others of its host.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    host: Arc<Host>,
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    queue: VecDeque<(T, usize)>,
    bytes: usize,
    closed: Option<Error>,
}

/// Why something was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// So many bytes wait already.
    Full(usize),
    /// Nothing is taken any more.
    Closed(Error),
}

impl<T> Inbox<T> {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, inner: Mutex::new(Inner { queue: VecDeque::new(), bytes: 0, closed: None }) }
    }

    /// Adds one behind the others, or gives it back. One that alone is above the bound is taken when nothing waits.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), (T, Refused)> {
        let mut inner = locked(&self.inner);
        if let Some(error) = &inner.closed {
            return Err((item, Refused::Closed(error.clone())));
        }
        let is_full = !inner.queue.is_empty() && inner.bytes + bytes > self.host.options.queued_bytes_max;
        if is_full || !self.host.take_queued(bytes) {
            return Err((item, Refused::Full(inner.bytes)));
        }
        inner.bytes += bytes;
        inner.queue.push_back((item, bytes));
        Ok(())
    }

    /// The first ones with at most so many bytes, and at least one if there is one.
    pub(crate) fn take(&self, bytes_max: usize) -> Vec<T> {
        let mut inner = locked(&self.inner);
        let (mut bytes, mut count) = (0, 0);
        for (_, size) in &inner.queue {
            if count > 0 && bytes + size > bytes_max {
                break;
            }
            (bytes, count) = (bytes + size, count + 1);
        }
        inner.bytes -= bytes;
        let taken = inner.queue.drain(..count).map(|(item, _)| item).collect();
        drop(inner);
        self.host.give_queued(bytes);
        taken
    }

    /// Takes nothing more, and says why; the first reason stays. What waits stays.
    pub(crate) fn close(&self, error: Error) {
        locked(&self.inner).closed.get_or_insert(error);
    }

    pub(crate) fn is_empty(&self) -> bool {
        locked(&self.inner).queue.is_empty()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.host.give_queued(locked(&self.inner).bytes);
    }
}
