//! A small pool of threads that commits for many: who has something to write says so, and its round runs soon, alone
//! for that one and beside those of others. What gathers while a round runs goes into the next; nothing lingers.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Error, Result};

/// Threads of a committer, at most.
pub const COMMITTER_THREADS_MAX: usize = 64;

/// Whoever has something to commit: typically a queue of requests and a journal.
pub trait Participant: Send + Sync + Debug {
    /// Commits what has gathered. One thread at a time runs it.
    ///
    /// # Errors
    /// Only what the process cannot go on after (a poisoned journal): it is published, and this participant is not run
    /// again. What concerns one request is told to who made it.
    fn round(&self) -> Result<()>;
}

/// The pool. Dropped, it runs what is dirty one last time and ends its threads.
#[derive(Debug)]
pub struct Committer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Tells the committer that its participant has something to do. Cheap to clone and to use; it does not keep the
/// participant alive.
#[derive(Clone, Debug)]
pub struct Wake {
    slot: Arc<Slot>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    failed: watch::Sender<Option<Error>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Kept alive here, so that what was woken gets its round.
    dirty: VecDeque<(Arc<Slot>, Arc<dyn Participant>)>,
    later: Vec<(Instant, Wake)>,
    is_closed: bool,
}

#[derive(Debug)]
struct Slot {
    participant: Weak<dyn Participant>,
    state: AtomicU8,
}

/// Nothing to do.
const IDLE: u8 = 0;
/// In the queue.
const QUEUED: u8 = 1;
/// Its round runs.
const RUNNING: u8 = 2;
/// Its round runs, and more came.
const RUNNING_DIRTY: u8 = 3;
/// Its round failed or panicked.
const FAILED: u8 = 4;

impl Committer {
    /// One with so many threads; none, and its rounds run in [`run_dirty`](Self::run_dirty) alone.
    ///
    /// # Errors
    /// [`Error::Io`] when the operating system gives no thread; [`Error::TooLarge`] above [`COMMITTER_THREADS_MAX`].
    pub fn new(threads: usize) -> Result<Self> {
        if threads > COMMITTER_THREADS_MAX {
            let (bytes, max) = (threads as u64, COMMITTER_THREADS_MAX as u64);
            return Err(Error::TooLarge { what: "a committer's number of threads", bytes, max });
        }
        let shared = Arc::new(Shared { queue: Mutex::default(), work: Condvar::new(), failed: watch::channel(None).0 });
        let mut committer = Self { shared, threads: Vec::new() };
        for number in 0..threads {
            let shared = committer.shared.clone();
            let thread = std::thread::Builder::new().name(format!("sinew-commit-{number}"));
            let thread =
                thread.spawn(move || shared.work()).map_err(Error::io("start", "a committer's thread".as_ref()))?;
            committer.threads.push(thread);
        }
        Ok(committer)
    }

    /// Gives a participant its wake-up call. It lives as long as the caller keeps it; dropping it ends the matter.
    pub fn register(&self, participant: &Arc<dyn Participant>) -> Wake {
        let slot = Slot { participant: Arc::downgrade(participant), state: AtomicU8::new(IDLE) };
        Wake { slot: Arc::new(slot), shared: self.shared.clone() }
    }

    /// The first error that a round ended with; the process should end, and recover at its next start.
    pub fn failed(&self) -> watch::Receiver<Option<Error>> {
        self.shared.failed.subscribe()
    }

    /// Runs the rounds that are due, on this thread, until none is; says how many it ran. For simulations, and for
    /// programs that want no thread. What was to come [later](Wake::wake_after) and is not due yet stays.
    pub fn run_dirty(&self) -> usize {
        let mut count = 0;
        while let Some((slot, participant)) = self.shared.take_due() {
            self.shared.run(&slot, &*participant);
            count += 1;
        }
        count
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_closed = true;
        let later = std::mem::take(&mut queue.later);
        drop(queue);
        later.iter().for_each(|(_, wake)| wake.wake());
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread cannot have panicked: rounds are caught.
            let _ = thread.join();
        }
        self.run_dirty();
    }
}

impl Wake {
    /// The participant has something to do: its round runs soon, once more if it is running now. A few nanoseconds where
    /// it was woken already.
    #[inline]
    pub fn wake(&self) {
        let state = &self.slot.state;
        let mut now = state.load(Ordering::Acquire);
        loop {
            let then = match now {
                IDLE => QUEUED,
                RUNNING => RUNNING_DIRTY,
                // The round to come sees what was done before this call: it takes its state to RUNNING first.
                _ => return,
            };
            match state.compare_exchange_weak(now, then, Ordering::AcqRel, Ordering::Acquire) {
                Ok(IDLE) => return self.shared.push(&self.slot),
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }

    /// The same after a while, for what may wait. It does not take the place of a [`wake`](Self::wake).
    pub fn wake_after(&self, delay: Duration) {
        let mut queue = self.shared.queue();
        let is_there = queue.later.iter().any(|(_, wake)| Arc::ptr_eq(&wake.slot, &self.slot));
        if !is_there && !queue.is_closed {
            queue.later.push((Instant::now() + delay, self.clone()));
            drop(queue);
            self.shared.work.notify_one();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, slot: &Arc<Slot>) {
        // Where it is gone, there is nothing to do; the slot stays as if queued, so that nobody asks again.
        if let Some(participant) = slot.participant.upgrade() {
            self.queue().dirty.push_back((slot.clone(), participant));
            self.work.notify_one();
        }
    }

    /// The same for the thread that has run it, and takes the next one itself: nobody else is woken for the only one.
    fn push_again(&self, slot: &Arc<Slot>) {
        let Some(participant) = slot.participant.upgrade() else { return };
        let mut queue = self.queue();
        queue.dirty.push_back((slot.clone(), participant));
        let others = queue.dirty.len() - 1;
        drop(queue);
        if others > 0 {
            self.work.notify_one();
        }
    }

    /// The next one that is due, if any.
    fn take_due(&self) -> Option<(Arc<Slot>, Arc<dyn Participant>)> {
        self.wake_due();
        self.queue().dirty.pop_front()
    }

    /// Wakes those whose time has come.
    fn wake_due(&self) {
        let mut queue = self.queue();
        if queue.later.is_empty() {
            return;
        }
        let now = Instant::now();
        let due: Vec<_> = queue.later.extract_if(.., |(at, _)| *at <= now).collect();
        drop(queue);
        due.iter().for_each(|(_, wake)| wake.wake());
    }

    fn work(&self) {
        loop {
            self.wake_due();
            let mut queue = self.queue();
            if let Some((slot, participant)) = queue.dirty.pop_front() {
                drop(queue);
                self.run(&slot, &*participant);
                continue;
            }
            if queue.is_closed {
                return;
            }
            // Read under the lock that the wait gives up, so that nothing woken or added since is missed.
            match queue.later.iter().map(|(at, _)| *at).min() {
                Some(next) => drop(self.work.wait_timeout(queue, next.saturating_duration_since(Instant::now()))),
                None => drop(self.work.wait(queue)),
            }
        }
    }

    fn run(&self, slot: &Arc<Slot>, participant: &dyn Participant) {
        slot.state.store(RUNNING, Ordering::Release);
        let ended = catch_unwind(AssertUnwindSafe(|| participant.round()));
        let ended = ended.unwrap_or_else(|panic| Err(Error::Panicked { why: message(&*panic) }));
        if let Err(error) = ended {
            slot.state.store(FAILED, Ordering::Release);
            tracing::error!(%error, "a commit failed for good; the process should end");
            self.failed.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(error);
                is_first
            });
            return;
        }
        if slot.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // More came while it ran: behind those that wait already.
            slot.state.store(QUEUED, Ordering::Release);
            self.push_again(slot);
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message").into()
}
