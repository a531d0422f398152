//! What one subscription was handed, still waits for, or lost.
//!
//! Every record that matches the subscription has a place in its sequence: 1, 2, 3, … The client keeps a **cursor**, the
//! place it is sure about: 0 at first, one more for each record it receives, `n` more for each loss of `n` it is told.
//! The server keeps four sums, and at all times
//!
//! ```text
//! offered  = delivered + dropped + missed + queued
//! position = offered - queued - untold
//! ```
//!
//! - `delivered`: handed to the subscriber's connection. Whether it arrived is not known here.
//! - `dropped`: thrown out of the queue to make room. The part that the subscriber was not yet told is `untold`.
//! - `missed`: matched while the connection was cut, or still queued when it was.
//! - `position`: the cursor of a client that received everything it was sent so far.
//!
//! While attached, `missed` does not grow, and what was dropped lies directly before the head of the queue: that is
//! where [`Due::Lagged`] comes. The newest record is never dropped, so there is no untold loss without a queue, and a
//! direct delivery with an empty queue is in its place.
//!
//! After a cut the client comes back with its cursor and is told one gap:
//!
//! ```text
//! gap = offered - cursor      (0 if the client claims more than there was)
//! ```
//!
//! which covers what was lost on the way, what was queued, dropped and untold, told but not received, and missed. Its
//! cursor is then `offered`: received and told together are what was offered. If the answer itself is lost, the client
//! comes again with the old cursor and the sum is right again, as the server keeps nothing about what was told.

use std::collections::VecDeque;

/// An empty queue gives memory back if it has more places than this.
const PLACES_KEPT: usize = 64;

/// How much may wait for one slow subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Records in the queue. Default 65,536: what a fast publisher of small records sends in a few tens of
    /// milliseconds, so that a short pause of the subscriber loses nothing; the places take about 3 MiB at most.
    pub records_max: usize,
    /// Bytes in the queue. Default 8 MiB: some 10 ms of a full loopback connection, some 70 ms of gigabit Ethernet; a
    /// hundred stalled subscribers still fit a small machine. A single record above it waits alone.
    pub bytes_max: usize,
}

impl Default for BacklogLimits {
    fn default() -> Self {
        Self { records_max: 65_536, bytes_max: 8 << 20 }
    }
}

/// What is to be done with a record that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a record that is neither written nor pushed makes the counts wrong"]
pub enum Offer {
    /// Write it to the connection now; it is counted as delivered and its credit is taken.
    Deliver,
    /// [`push`](Backlog::push) it; nothing is counted yet.
    Queue,
    /// Nothing: the connection is cut, and it is counted as missed.
    Missed,
}

/// What the subscriber gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due<R> {
    /// So many records are lost at this place. Costs no credit.
    Lagged(u64),
    /// The next record.
    Record(R),
}

/// The sums, as metrics show them. See the top of the page for what they mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the connection.
    pub delivered: u64,
    /// Thrown out of the queue.
    pub dropped: u64,
    /// Lost because the connection was cut.
    pub missed: u64,
    /// Waiting now.
    pub queued: u64,
}

impl Counts {
    /// All that matched.
    pub fn offered(&self) -> u64 {
        self.delivered + self.dropped + self.missed + self.queued
    }
}

/// The delivery state of one subscription at the server; `R` is a record as it waits in the queue. Drops the oldest when
/// the queue is full.
///
/// **Credit** is in bytes of records, each counted as the size that [`offer`](Self::offer) is told, at least 1. The
/// subscriber opens a window when it subscribes and grants back what it has consumed, counted in the same way, once that
/// is a quarter of the window. So what is missing of the window may be less than a quarter for ever, and a record larger
/// than the credit, or than the whole window, passes when three quarters of the credit are there.
#[derive(Debug)]
pub struct Backlog<R> {
    /// What may still be sent. 0 while detached.
    credit: usize,
    /// By how much the last record exceeded the window: paid back before there is credit again.
    deficit: usize,
    window: usize,
    attached: bool,
    delivered: u64,
    dropped: u64,
    missed: u64,
    untold: u64,
    queued_bytes: usize,
    queue: VecDeque<(usize, R)>,
    limits: BacklogLimits,
}

impl<R> Backlog<R> {
    /// A subscription whose subscriber is ready to take `window_bytes`; with 0 one record is sent at a time.
    pub fn new(window_bytes: usize, limits: BacklogLimits) -> Self {
        Self {
            credit: window_bytes,
            deficit: 0,
            window: window_bytes,
            attached: true,
            delivered: 0,
            dropped: 0,
            missed: 0,
            untold: 0,
            queued_bytes: 0,
            queue: VecDeque::new(),
            limits,
        }
    }

    /// A record of so many bytes matches: what to do with it. With an empty queue and credit that is two comparisons, a
    /// subtraction and a count; it never allocates.
    #[inline]
    pub fn offer(&mut self, record_bytes: usize) -> Offer {
        let cost = record_bytes.max(1);
        if self.queue.is_empty() && cost <= self.credit {
            self.credit -= cost;
            self.delivered += 1;
            return Offer::Deliver;
        }
        self.offer_without_credit(cost)
    }

    #[cold]
    fn offer_without_credit(&mut self, cost: usize) -> Offer {
        if !self.attached {
            self.missed += 1;
            Offer::Missed
        } else if self.queue.is_empty() && self.covers(cost) {
            self.pay(cost);
            Offer::Deliver
        } else {
            Offer::Queue
        }
    }

    /// Queues a record, after [`Offer::Queue`] or instead of asking when the connection itself has no room. Returns how
    /// many older ones had to go. Amortised constant time. While detached it only counts the record as missed.
    pub fn push(&mut self, record_bytes: usize, record: R) -> u64 {
        if !self.attached {
            self.missed += 1;
            return 0;
        }
        let cost = record_bytes.max(1);
        let dropped = self.make_room(cost);
        self.queue.push_back((cost, record));
        self.queued_bytes += cost;
        dropped
    }

    /// The subscriber consumed so many bytes. Then ask [`next_due`](Self::next_due). More than the window is not
    /// credited, and nothing while detached.
    pub fn grant(&mut self, bytes: usize) {
        if self.attached {
            let repaid = bytes.min(self.deficit);
            self.deficit -= repaid;
            self.credit = self.credit.saturating_add(bytes - repaid).min(self.window);
        }
    }

    /// What is to be written to the connection next, if the credit covers it: a loss first, then the record after it.
    /// To be called until `None`, or until the connection has no more room.
    pub fn next_due(&mut self) -> Option<Due<R>> {
        let cost = self.queue.front()?.0;
        if !self.covers(cost) {
            return None;
        }
        if self.untold > 0 {
            return Some(Due::Lagged(std::mem::take(&mut self.untold)));
        }
        let (_, record) = self.take_head()?;
        self.pay(cost);
        Some(Due::Record(record))
    }

    /// The connection is cut: what waits is missed, and so is all that matches from now on.
    pub fn detach(&mut self) {
        self.missed += self.queue.len() as u64;
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        self.untold = 0;
        self.credit = 0;
        self.attached = false;
    }

    /// The subscriber is back with this cursor (records received and losses told, together) and with its whole window
    /// open. Returns the exact gap, which the subscriber must be told before anything else; 0 if it claims more than
    /// there was. Where the cut was not noticed here yet, this is also the cut.
    pub fn resume(&mut self, cursor: u64) -> u64 {
        self.detach();
        self.attached = true;
        self.credit = self.window;
        self.deficit = 0;
        self.offered().saturating_sub(cursor)
    }

    /// Takes credit away without a record: after [`resume`](Self::resume), for what the subscriber received before and
    /// has not consumed yet.
    pub fn spend(&mut self, bytes: usize) {
        self.deficit += bytes.saturating_sub(self.credit).min(self.window);
        self.credit = self.credit.saturating_sub(bytes);
    }

    /// The sums.
    pub fn counts(&self) -> Counts {
        Counts {
            delivered: self.delivered,
            dropped: self.dropped,
            missed: self.missed,
            queued: self.queue.len() as u64,
        }
    }

    /// All records that matched so far.
    pub fn offered(&self) -> u64 {
        self.counts().offered()
    }

    /// The cursor of a client that received everything it was sent so far, for heartbeats to compare.
    pub fn position(&self) -> u64 {
        self.offered() - self.queue.len() as u64 - self.untold
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Bytes that may still be sent.
    pub fn credit(&self) -> usize {
        self.credit
    }

    /// Whether the subscriber's connection is there.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Whether a record of this cost may be sent: there is credit, or as much of it as a subscriber is sure to give.
    fn covers(&self, cost: usize) -> bool {
        cost <= self.credit || (self.credit >= self.window - self.window / 4 && self.deficit == 0)
    }

    fn pay(&mut self, cost: usize) {
        self.deficit += cost.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(cost);
        self.delivered += 1;
    }

    /// Drops the oldest until a record of this cost fits, or none is left.
    fn make_room(&mut self, cost: usize) -> u64 {
        let before = self.dropped;
        while !self.queue.is_empty()
            && (self.queue.len() >= self.limits.records_max
                || self.queued_bytes.saturating_add(cost) > self.limits.bytes_max)
        {
            self.take_head();
            self.dropped += 1;
        }
        let dropped = self.dropped - before;
        self.untold += dropped;
        dropped
    }

    fn take_head(&mut self) -> Option<(usize, R)> {
        let head = self.queue.pop_front()?;
        self.queued_bytes -= head.0;
        if self.queue.is_empty() && self.queue.capacity() > PLACES_KEPT {
            self.queue = VecDeque::new();
        }
        Some(head)
    }
}
