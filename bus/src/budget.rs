//! What may wait in all queues of a broker together, and which queue loses when that is not enough. No lock, no clock.
//!
//! A bound for each queue is no bound for the server: ten thousand subscriptions of 8 MiB each are 80 GB. So every queue
//! draws on one budget, by the rule that switches use for their shared packet buffers (Choudhury and Hahne, "Dynamic
//! queue length thresholds for shared-memory packet switches", 1998): **a queue may hold as much as is still free.**
//!
//! - While few wait, none of them notices: one that stalls alone may hold up to half of the budget, far above its own
//!   bound.
//! - When `n` are stalled they settle at one share of `n + 1` each, and the last share stays free, so that a subscriber
//!   that falls behind for a moment finds room at once, whatever the others do.
//! - Who holds more than is free loses, by its own overflow policy, and is told as for its own bound. Nobody has to
//!   look at another's queue.
//!
//! **Invariant:** what was taken and not given back is never above the maximum, not even for a moment.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes for the queues of all subscriptions of a broker.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
}

impl Budget {
    /// One of so many bytes, all of them free.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, used: AtomicUsize::new(0) }
    }

    /// Takes `bytes` for a queue that `holds` so many already. `false` when the queue would hold more than is free: it
    /// has to [give back](Self::give_back) first, or to do without. One atomic step, no allocation.
    #[inline]
    pub fn take(&self, holds: usize, bytes: usize) -> bool {
        let fits = |used: usize| {
            let free = self.bytes_max.saturating_sub(used);
            let fits = bytes <= free && holds.saturating_add(bytes) <= free;
            fits.then(|| used + bytes)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back what was taken.
    #[inline]
    pub fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "{bytes} bytes were given back of {before}");
    }

    /// Bytes that are taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// What a queue may hold now.
    pub fn share(&self) -> usize {
        self.bytes_max.saturating_sub(self.used())
    }

    /// The most that may be taken.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A queue that drops its oldest until the next one fits.
    #[derive(Default)]
    struct Queue {
        records: std::collections::VecDeque<usize>,
        holds: usize,
        lost: usize,
    }

    impl Queue {
        fn push(&mut self, budget: &Budget, bytes: usize) {
            while !budget.take(self.holds, bytes) {
                self.lost += 1;
                if !self.pop(budget) {
                    return;
                }
            }
            self.records.push_back(bytes);
            self.holds += bytes;
        }

        fn pop(&mut self, budget: &Budget) -> bool {
            let Some(bytes) = self.records.pop_front() else { return false };
            budget.give_back(bytes);
            self.holds -= bytes;
            true
        }
    }

    #[test]
    fn one_that_stalls_alone_may_hold_half() {
        let (budget, mut queue) = (Budget::new(1_000), Queue::default());
        (0..1_000).for_each(|_| queue.push(&budget, 10));
        assert_eq!((queue.holds, queue.lost), (500, 950));
    }

    #[test]
    fn those_that_stall_together_hold_the_same_and_leave_a_share_free() {
        let budget = Budget::new(10_000);
        let mut queues: Vec<Queue> = (0..9).map(|_| Queue::default()).collect();
        // The first fills up alone and has to give way.
        (0..1_000).for_each(|_| queues[0].push(&budget, 10));
        for _ in 0..1_000 {
            queues.iter_mut().for_each(|queue| queue.push(&budget, 10));
        }
        for queue in &queues {
            assert!((900..=1_000).contains(&queue.holds), "{} for a tenth", queue.holds);
        }
        let mut late = Queue::default();
        (0..50).for_each(|_| late.push(&budget, 10));
        assert_eq!(late.lost, 0, "who falls behind for a moment finds room");
    }

    #[test]
    fn what_is_larger_than_what_is_free_is_lost_alone() {
        let (budget, mut queue) = (Budget::new(100), Queue::default());
        queue.push(&budget, 101);
        assert_eq!((queue.holds, queue.lost, budget.used(), budget.share()), (0, 1, 0, 100));
        assert!(!budget.take(usize::MAX, 1) && !budget.take(1, usize::MAX));
    }

    proptest! {
        #[test]
        fn never_above_the_maximum_and_all_of_it_comes_back(
            max in 0usize..2_000,
            steps in prop::collection::vec((0usize..8, 0usize..300, any::<bool>()), 0..400),
        ) {
            let budget = Budget::new(max);
            let mut queues: [Queue; 8] = Default::default();
            for (index, bytes, push) in steps {
                if push { queues[index].push(&budget, bytes) } else { let _ = queues[index].pop(&budget); }
                prop_assert!(budget.used() <= max);
                prop_assert_eq!(budget.used(), queues.iter().map(|queue| queue.holds).sum::<usize>());
            }
            for queue in &mut queues { while queue.pop(&budget) {} }
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
