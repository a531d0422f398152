//! What waits to be stored: in order, bounded in bytes, and closed for good with the reason.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::locked;

/// Bytes that may wait in all inboxes of an engine together.
#[derive(Debug)]
pub struct Quota {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl Quota {
    /// At most so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0) })
    }

    /// One that alone is above the bound is taken when nothing waits.
    fn take(&self, bytes: usize) -> bool {
        let take = |now: usize| (now == 0 || now + bytes <= self.bytes_max).then_some(now + bytes);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Requests that wait for a round, bounded in bytes, by itself and together with all others of its [`Quota`]. `E` is why
/// it was closed.
pub struct Inbox<T, E> {
    bytes_max: usize,
    quota: Arc<Quota>,
    inner: Mutex<Inner<T, E>>,
}

struct Inner<T, E> {
    queue: VecDeque<(T, usize)>,
    bytes: usize,
    closed: Option<E>,
}

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused<E> {
    /// So many bytes wait already.
    Full(usize),
    /// Nothing is taken any more.
    Closed(E),
}

impl<T, E: Clone> Inbox<T, E> {
    /// An empty one of at most so many bytes.
    pub fn new(bytes_max: usize, quota: Arc<Quota>) -> Self {
        Self { bytes_max, quota, inner: Mutex::new(Inner { queue: VecDeque::new(), bytes: 0, closed: None }) }
    }

    /// Adds one behind the others. One that alone is above the bound is taken when nothing waits.
    ///
    /// # Errors
    /// Gives it back, and says why.
    pub fn push(&self, item: T, bytes: usize) -> Result<(), (T, Refused<E>)> {
        let mut inner = locked(&self.inner);
        if let Some(error) = &inner.closed {
            return Err((item, Refused::Closed(error.clone())));
        }
        let is_full = !inner.queue.is_empty() && inner.bytes + bytes > self.bytes_max;
        if is_full || !self.quota.take(bytes) {
            return Err((item, Refused::Full(inner.bytes)));
        }
        inner.bytes += bytes;
        inner.queue.push_back((item, bytes));
        Ok(())
    }

    /// The first ones with at most so many bytes, and at least one if there is one.
    pub fn take(&self, bytes_max: usize) -> Vec<T> {
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
        self.quota.give(bytes);
        taken
    }

    /// Takes nothing more, and says why; the first reason stays. What waits stays.
    pub fn close(&self, error: E) {
        locked(&self.inner).closed.get_or_insert(error);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        locked(&self.inner).queue.is_empty()
    }
}

impl<T, E> fmt::Debug for Inbox<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("bytes", &locked(&self.inner).bytes).finish_non_exhaustive()
    }
}

impl<T, E> Drop for Inbox<T, E> {
    fn drop(&mut self) {
        self.quota.give(locked(&self.inner).bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_by_itself_and_with_others() {
        let quota = Quota::new(100);
        let (one, other) = (Inbox::<u8, ()>::new(60, quota.clone()), Inbox::<u8, ()>::new(60, quota.clone()));
        one.push(1, 500).expect("one that is too large goes where nothing waits");
        assert_eq!(one.push(2, 1), Err((2, Refused::Full(500))));
        assert_eq!(other.push(3, 1), Err((3, Refused::Full(0))), "the other one has used up what both may have");
        assert_eq!(one.take(10), [1]);
        for item in 0..6 {
            one.push(item, 10).expect("up to the bound");
        }
        assert_eq!(one.push(6, 1), Err((6, Refused::Full(60))));
        other.push(7, 40).expect("what is left for both");
        assert_eq!(other.push(8, 1), Err((8, Refused::Full(40))));
        assert_eq!(one.take(25), [0, 1]);
        drop(one);
        other.push(8, 20).expect("what was dropped counts no more");
        drop(other);
        assert_eq!(quota.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn closed_with_the_first_reason_and_what_waits_stays() {
        let inbox = Inbox::new(60, Quota::new(100));
        inbox.push(1, 10).expect("room");
        inbox.close("deleted");
        inbox.close("stopped");
        assert_eq!(inbox.push(2, 10), Err((2, Refused::Closed("deleted"))));
        assert!(!inbox.is_empty());
        assert_eq!(inbox.take(usize::MAX), [1]);
        assert!(inbox.is_empty());
    }
}
