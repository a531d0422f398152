//! The client's end of a stream, whatever comes on it: what has come and was not consumed yet, the credit that it takes,
//! and who is woken. A subscription of the bus, a follow of the event log and a watch of the key-value store stand on it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

/// What a stream keeps beside its items.
pub trait StreamState {
    /// The window that it has: credit goes back by quarters of it.
    fn window_bytes(&self) -> u64;
    /// Whether nothing more will come.
    fn is_over(&self) -> bool;
}

/// What has come for one reader, with the state of its stream, behind one short lock.
#[derive(Debug)]
pub struct Arrivals<T, S>(Mutex<Inner<T, S>>);

#[derive(Debug)]
struct Inner<T, S> {
    items: VecDeque<T>,
    /// Bytes received and not consumed.
    unconsumed: u64,
    /// Of what was consumed, bytes not yet granted back.
    ungranted: u64,
    waker: Option<Waker>,
    wakes: bool,
    state: S,
}

impl<T, S> Arrivals<T, S> {
    /// Nothing has come yet.
    pub fn new(state: S) -> Self {
        let (items, waker) = (VecDeque::new(), None);
        Self(Mutex::new(Inner { items, unconsumed: 0, ungranted: 0, waker, wakes: false, state }))
    }

    /// The lock. The reader is woken when it is let go, where something has come.
    pub fn lock(&self) -> ArrivalsGuard<'_, T, S> {
        ArrivalsGuard(Some(self.inner()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T, S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, S: StreamState> Arrivals<T, S> {
    /// Takes all that waits, or registers to be woken. `Ready(false)`: nothing waits and nothing will.
    pub fn poll_take(&self, into: &mut VecDeque<T>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.inner();
        if !inner.items.is_empty() {
            std::mem::swap(&mut inner.items, into);
            return Poll::Ready(true);
        }
        if inner.state.is_over() {
            return Poll::Ready(false);
        }
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inner.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// So many bytes were consumed; gives what is to be granted back now, a quarter of the window at least.
    pub fn consume(&self, bytes: u64) -> Option<u64> {
        let mut inner = self.inner();
        inner.unconsumed = inner.unconsumed.saturating_sub(bytes);
        inner.ungranted += bytes;
        let due = inner.ungranted >= inner.state.window_bytes() / 4;
        due.then(|| std::mem::take(&mut inner.ungranted))
    }
}

/// The lock of [`Arrivals`], through which the stream's own state is seen.
#[derive(Debug)]
pub struct ArrivalsGuard<'a, T, S>(Option<MutexGuard<'a, Inner<T, S>>>);

impl<T, S> ArrivalsGuard<'_, T, S> {
    fn inner(&mut self) -> &mut Inner<T, S> {
        self.0.as_mut().expect("held until dropped")
    }

    /// Something has come.
    pub fn push(&mut self, item: T) {
        self.inner().items.push_back(item);
        self.wake();
    }

    /// It takes so many bytes of the window.
    pub fn spend(&mut self, bytes: u64) {
        self.inner().unconsumed += bytes;
    }

    /// Forgets what has come and was not taken.
    pub fn clear(&mut self) {
        self.inner().items.clear();
    }

    /// The reader is to look again.
    pub fn wake(&mut self) {
        self.inner().wakes = true;
    }

    /// Bytes in use, for a server that takes the stream up again: what was consumed is not granted apart from that.
    pub fn in_use(&mut self) -> u64 {
        let inner = self.inner();
        inner.ungranted = 0;
        inner.unconsumed
    }
}

impl<T, S> Deref for ArrivalsGuard<'_, T, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0.as_ref().expect("held until dropped").state
    }
}

impl<T, S> DerefMut for ArrivalsGuard<'_, T, S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.inner().state
    }
}

impl<T, S> Drop for ArrivalsGuard<'_, T, S> {
    fn drop(&mut self) {
        let inner = self.inner();
        let waker = if std::mem::take(&mut inner.wakes) { inner.waker.take() } else { None };
        self.0 = None;
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The reader's own side: what it has taken and not given out yet.
#[derive(Debug)]
pub struct Reading<T> {
    items: VecDeque<T>,
    consumed: u64,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), consumed: 0 }
    }
}

impl<T> Reading<T> {
    /// Bytes that were given out and not counted yet: where whoever takes items apart adds them up.
    #[inline]
    pub fn consumed(&mut self) -> &mut u64 {
        &mut self.consumed
    }

    /// Counts what was consumed; `grant` tells the server, when it is enough.
    pub fn give_back<S: StreamState>(&mut self, arrivals: &Arrivals<T, S>, grant: impl FnOnce(u64)) {
        if self.consumed > 0
            && let Some(bytes) = arrivals.consume(std::mem::take(&mut self.consumed))
        {
            grant(bytes);
        }
    }

    /// The next item; `Ready(None)` once nothing waits and nothing will. No lock while some are at hand; before it waits,
    /// what was consumed is given back.
    #[inline]
    pub fn poll_item<S: StreamState>(
        &mut self,
        arrivals: &Arrivals<T, S>,
        grant: impl FnOnce(u64),
        cx: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        if let Some(item) = self.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        self.give_back(arrivals, grant);
        let more = ready!(arrivals.poll_take(&mut self.items, cx));
        Poll::Ready(if more { self.items.pop_front() } else { None })
    }
}

/// The streams of one service on a session, in the order of their numbers: what concerns all of them, a restore above all,
/// goes in the same order each time.
#[derive(Debug)]
pub struct Streams<S>(Mutex<BTreeMap<u32, Arc<S>>>);

impl<S> Default for Streams<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Streams<S> {
    /// The lock, for whoever looks up many.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters one.
    pub fn enter(&self, number: u32, stream: &Arc<S>) {
        self.lock().insert(number, stream.clone());
    }

    /// The one of this number. What comes for one that was just ended is late, not wrong.
    pub fn find(&self, number: u32) -> Option<Arc<S>> {
        self.lock().get(&number).cloned()
    }

    /// Forgets one; whether it was there.
    pub fn leave(&self, number: u32) -> bool {
        self.lock().remove(&number).is_some()
    }

    /// All of them, for what must not hold the lock.
    pub fn all(&self) -> Vec<Arc<S>> {
        self.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Debug, Default)]
    struct Over(bool);

    impl StreamState for Over {
        fn window_bytes(&self) -> u64 {
            100
        }

        fn is_over(&self) -> bool {
            self.0
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn credit_goes_back_by_quarters_and_not_twice() {
        let arrivals = Arrivals::<u8, Over>::new(Over::default());
        arrivals.lock().spend(60);
        assert_eq!((arrivals.consume(20), arrivals.consume(4), arrivals.consume(1)), (None, None, Some(25)));
        assert_eq!(arrivals.consume(10), None);
        assert_eq!(arrivals.lock().in_use(), 25, "what the server is told to be in use");
        assert_eq!(arrivals.consume(24), None, "the ten before are in that");
    }

    #[test]
    fn the_reader_is_woken_once_the_lock_is_let_go_and_gets_all_in_order() {
        let arrivals = Arrivals::<u8, Over>::new(Over::default());
        let (mut reading, count) = (Reading::default(), Arc::<Count>::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut granted = 0;
        let mut next = |reading: &mut Reading<u8>| reading.poll_item(&arrivals, |bytes| granted += bytes, &mut cx);
        assert_eq!(next(&mut reading), Poll::Pending);
        let mut held = arrivals.lock();
        held.push(1);
        held.push(2);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        drop(held);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        *reading.consumed() = 30;
        assert_eq!([next(&mut reading), next(&mut reading)], [Poll::Ready(Some(1)), Poll::Ready(Some(2))]);
        assert_eq!(next(&mut reading), Poll::Pending);
        let mut held = arrivals.lock();
        held.0.as_mut().expect("held").state.0 = true;
        held.wake();
        drop(held);
        assert_eq!((next(&mut reading), count.0.load(Ordering::Relaxed)), (Poll::Ready(None), 2));
        assert_eq!(granted, 30);
    }
}
