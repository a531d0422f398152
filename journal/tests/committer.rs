//! The committer: every wake-up is answered, one thread at a time for each, several at once for many.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use sinew_journal::{Committer, Error, Participant, Result, Wake};

/// A queue whose round takes everything.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<usize>,
    done: Mutex<usize>,
    changed: Condvar,
    rounds: AtomicUsize,
    is_running: AtomicBool,
    fails: AtomicBool,
    panics: AtomicBool,
}

impl Queue {
    fn put(&self, wake: &Wake) {
        *self.waiting.lock().expect("no panic") += 1;
        wake.wake();
    }

    fn wait_for(&self, count: usize) {
        let done = self.done.lock().expect("no panic");
        drop(self.changed.wait_while(done, |done| *done < count).expect("no panic"));
    }
}

impl Participant for Queue {
    fn round(&self) -> Result<()> {
        assert!(!self.is_running.swap(true, Ordering::SeqCst), "two threads in one participant");
        self.rounds.fetch_add(1, Ordering::SeqCst);
        let taken = std::mem::take(&mut *self.waiting.lock().expect("no panic"));
        *self.done.lock().expect("no panic") += taken;
        self.changed.notify_all();
        self.is_running.store(false, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        match self.fails.load(Ordering::SeqCst) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }
}

fn registered(committer: &Committer) -> (Arc<Queue>, Wake) {
    let queue = Arc::new(Queue::default());
    let wake = committer.register(&(queue.clone() as Arc<dyn Participant>));
    (queue, wake)
}

#[test]
fn no_wake_up_is_lost() {
    const EACH: usize = 20_000;
    let committer = Committer::new(3).expect("threads");
    let queues: Vec<_> = (0..3).map(|_| registered(&committer)).collect();
    std::thread::scope(|scope| {
        for (queue, wake) in queues.iter().chain(&queues) {
            scope.spawn(|| (0..EACH).for_each(|_| queue.put(wake)));
        }
    });
    for (queue, _) in &queues {
        queue.wait_for(2 * EACH);
        assert!(queue.rounds.load(Ordering::SeqCst) <= 2 * EACH + 1);
    }
    assert!(committer.failed().borrow().is_none());
}

#[test]
fn without_threads_rounds_run_where_they_are_asked_for() {
    let committer = Committer::new(0).expect("no thread");
    let ((one, wake_one), (other, wake_other)) = (registered(&committer), registered(&committer));
    assert_eq!(committer.run_dirty(), 0);
    (0..10).for_each(|_| one.put(&wake_one));
    other.put(&wake_other);
    assert_eq!(committer.run_dirty(), 2);
    assert_eq!((one.rounds.load(Ordering::SeqCst), *one.done.lock().expect("no panic")), (1, 10));
    wake_one.wake_after(Duration::from_secs(3600));
    assert_eq!(committer.run_dirty(), 0, "it is not due yet");
    wake_one.wake_after(Duration::ZERO);
    assert_eq!(committer.run_dirty(), 0, "the first one stands");
    wake_other.wake_after(Duration::ZERO);
    assert_eq!(committer.run_dirty(), 1);
}

#[test]
fn what_may_wait_comes_by_itself() {
    let committer = Committer::new(1).expect("a thread");
    let (queue, wake) = registered(&committer);
    *queue.waiting.lock().expect("no panic") = 1;
    wake.wake_after(Duration::from_millis(1));
    queue.wait_for(1);
}

#[test]
fn the_last_round_runs_when_the_committer_is_dropped() {
    for threads in [0, 2] {
        let committer = Committer::new(threads).expect("threads");
        let ((queue, wake), (later, wake_later)) = (registered(&committer), registered(&committer));
        queue.put(&wake);
        *later.waiting.lock().expect("no panic") = 1;
        wake_later.wake_after(Duration::from_secs(3600));
        drop(committer);
        assert_eq!(*queue.done.lock().expect("no panic"), 1);
        assert_eq!(*later.done.lock().expect("no panic"), 1);
        wake.wake();
    }
}

#[test]
fn the_first_error_is_published_and_a_panic_is_one() {
    let committer = Committer::new(0).expect("no thread");
    let ((fails, wake_fails), (panics, wake_panics)) = (registered(&committer), registered(&committer));
    panics.panics.store(true, Ordering::SeqCst);
    fails.fails.store(true, Ordering::SeqCst);
    panics.put(&wake_panics);
    assert_eq!(committer.run_dirty(), 1);
    let first = committer.failed().borrow().clone();
    assert!(matches!(&first, Some(Error::Panicked { why }) if why.contains("on purpose")), "{first:?}");
    fails.put(&wake_fails);
    assert_eq!(committer.run_dirty(), 1);
    assert!(matches!(&*committer.failed().borrow(), Some(Error::Panicked { .. })), "the first one stands");
    fails.put(&wake_fails);
    panics.put(&wake_panics);
    assert_eq!(committer.run_dirty(), 0, "neither is run again");
}

#[test]
fn a_participant_that_is_gone_is_no_matter() {
    let committer = Committer::new(1).expect("a thread");
    let (queue, wake) = registered(&committer);
    drop(queue);
    wake.wake();
    let (queue, wake) = registered(&committer);
    queue.put(&wake);
    queue.wait_for(1);
}

/// Its round ends once as many are in theirs.
#[derive(Debug)]
struct Together(Arc<Barrier>);

impl Participant for Together {
    fn round(&self) -> Result<()> {
        self.0.wait();
        Ok(())
    }
}

#[test]
fn several_run_at_one_time() {
    let committer = Committer::new(3).expect("threads");
    let barrier = Arc::new(Barrier::new(4));
    let participants: Vec<Arc<dyn Participant>> =
        (0..3).map(|_| Arc::new(Together(barrier.clone())) as Arc<dyn Participant>).collect();
    let wakes: Vec<_> = participants.iter().map(|participant| committer.register(participant)).collect();
    wakes.iter().for_each(Wake::wake);
    // Comes back only when all three are in their rounds.
    barrier.wait();
}
