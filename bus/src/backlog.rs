//! What one subscription was handed, still waits for, or lost.
//!
//! Every record that matches the subscription has a place in its sequence: 1, 2, 3, … The client keeps a **cursor**, the
//! place it is sure about: 0 at first, one more for each record it receives, `n` more for each loss of `n` it is told.
//! The server keeps sums, and at all times
//!
//! ```text
//! offered  = delivered + dropped + missed + queued
//! position = offered - queued - untold
//! ```
//!
//! - `delivered`: handed to the subscriber's connection. Whether it arrived is not known here.
//! - `dropped`: lost to a full queue, the oldest or the newest as its [`Overflow`] says. The part that the subscriber
//!   was not yet told is `untold`.
//! - `missed`: matched while the connection was cut, or still queued when it was.
//! - `position`: the cursor of a client that received everything it was sent so far.
//!
//! A loss keeps its place: it stands before the record that came after it, or behind the last one, and
//! [`Due::Lagged`] tells it exactly there. While attached, `missed` does not grow.
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
use std::sync::Arc;

use sinew_session::is_planted;

use crate::Budget;

/// An empty queue gives memory back if it has more places than this.
const PLACES_KEPT: usize = 64;

/// How much may wait for one slow subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Records in the queue. Default 65,536: what a fast publisher of small records sends in a few tens of
    /// milliseconds, so that a short pause of the subscriber loses nothing; the places take about 4 MiB at most.
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

/// What happens when the queue of a subscription is full. Whatever is lost is told in its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest that waits goes: who catches up sees what is current. The default.
    #[default]
    DropOldest,
    /// The newest is not taken: who catches up sees where it stopped, in order.
    DropNewest,
    /// The subscription ends, with an error: for those who rather stop than miss something. The session goes on.
    Disconnect,
    /// The publishers wait, at most the server's `hold_max`; after that the newest is not taken. Nothing is lost as
    /// long as the subscriber catches up in time, and one slow subscriber slows its publishers down: it needs a
    /// permission of its own.
    Hold,
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

/// What became of a record that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is lost must be counted, and publishers held back"]
pub enum Pushed {
    /// It waits.
    Queued,
    /// It waits, beyond the limits: its publisher is to be held back.
    Held,
    /// It was not taken, and is counted as dropped.
    Refused,
    /// It was not taken, and the subscription must end now: [`finish`](Backlog::finish) it.
    Overflowed,
    /// The connection is cut, and it is counted as missed.
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
    /// Lost to a full queue.
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

/// The delivery state of one subscription at the server; `R` is a record as it waits in the queue.
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
    /// Of the dropped, those that were not told; each stands before an entry or behind the last one.
    untold: u64,
    queued_bytes: usize,
    queue: VecDeque<Entry<R>>,
    /// Losses behind the last entry.
    lost_last: u64,
    limits: BacklogLimits,
    overflow: Overflow,
    /// Bytes that were taken beyond the limits while publishers are held back.
    held_bytes: usize,
    /// Publishers were held back for as long as they may be: until there is room again, the newest is not taken.
    hold_is_over: bool,
    /// What all queues of the broker draw on.
    budget: Option<Arc<Budget>>,
}

/// What a record that waits costs of the budget beside its bytes: its place, its handles and its allocation.
const PLACE_BYTES: usize = 64;

#[derive(Debug)]
struct Entry<R> {
    cost: usize,
    /// Losses before it that were not told.
    lost_before: u64,
    record: R,
}

impl<R> Backlog<R> {
    /// A subscription whose subscriber is ready to take `window_bytes`, and that drops the oldest; with 0 one record is
    /// sent at a time.
    pub fn new(window_bytes: usize, limits: BacklogLimits) -> Self {
        Self::with_overflow(window_bytes, limits, Overflow::DropOldest)
    }

    /// The same with another rule for a full queue.
    pub fn with_overflow(window_bytes: usize, limits: BacklogLimits, overflow: Overflow) -> Self {
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
            lost_last: 0,
            limits,
            overflow,
            held_bytes: 0,
            hold_is_over: false,
            budget: None,
        }
    }

    /// The same, with a queue that draws on `budget` beside its own limits: when that has not enough for it, the queue is
    /// full, and a single record that does not fit is lost.
    pub fn drawing_on(self, budget: Arc<Budget>) -> Self {
        let mut backlog = self;
        backlog.budget = Some(budget);
        backlog
    }

    /// A record of so many bytes matches: what to do with it. With an empty queue and credit that is three comparisons, a
    /// subtraction and a count; it never allocates.
    #[inline]
    pub fn offer(&mut self, record_bytes: usize) -> Offer {
        let cost = record_bytes.max(1);
        if cost <= self.credit && self.queue.is_empty() && self.lost_last == 0 {
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
        } else if self.can_take(cost) {
            self.pay(cost);
            Offer::Deliver
        } else {
            Offer::Queue
        }
    }

    /// Whether a record of this size would be delivered at once. Counts nothing.
    #[inline]
    pub fn can_take(&self, record_bytes: usize) -> bool {
        self.queue.is_empty() && self.lost_last == 0 && self.covers(record_bytes.max(1))
    }

    /// Queues a record, after [`Offer::Queue`] or instead of asking when the connection itself has no room. `record` is
    /// only made if it is kept. `lost` gets each older one that has to go. Where publishers are held back, `slack_bytes`
    /// is what they may have sent by now and must not be lost. Amortised constant time.
    pub fn push(
        &mut self,
        record_bytes: usize,
        record: impl FnOnce() -> R,
        slack_bytes: usize,
        lost: &mut impl FnMut(R),
    ) -> Pushed {
        if !self.attached {
            self.missed += 1;
            return Pushed::Missed;
        }
        let cost = record_bytes.max(1);
        let full = !self.try_take(cost);
        let overflow = self.overflow;
        match overflow {
            _ if !full => {}
            Overflow::DropOldest if self.make_room(cost, lost) => {}
            Overflow::Disconnect => {
                self.refuse();
                return Pushed::Overflowed;
            }
            Overflow::Hold
                if !self.hold_is_over
                    && self.held_bytes.saturating_add(cost) <= slack_bytes
                    && self.budget_takes(cost) =>
            {
                self.held_bytes += cost;
                self.enqueue(cost, record());
                return Pushed::Held;
            }
            Overflow::DropOldest | Overflow::Hold | Overflow::DropNewest => {
                self.refuse();
                return Pushed::Refused;
            }
        }
        self.enqueue(cost, record());
        Pushed::Queued
    }

    /// Publishers have been held back for as long as they may be: until half of the queue is gone, the newest is not
    /// taken.
    pub fn end_hold(&mut self) {
        self.hold_is_over = !self.is_relieved();
        self.held_bytes = 0;
    }

    /// Whether at most half of the queue is in use, so that publishers who were held back may go on.
    pub fn is_relieved(&self) -> bool {
        self.queue.len() <= self.limits.records_max / 2 && self.queued_bytes <= self.limits.bytes_max / 2
    }

    /// The subscriber consumed so many bytes. Then ask [`next_due`](Self::next_due). More than the window is not
    /// credited, and nothing while detached.
    pub fn grant(&mut self, bytes: usize) {
        if self.attached {
            let bytes = if is_planted("credit leaked") { bytes / 2 } else { bytes };
            let repaid = bytes.min(self.deficit);
            self.deficit -= repaid;
            self.credit = self.credit.saturating_add(bytes - repaid).min(self.window);
        }
    }

    /// What is to be written to the connection next, if the credit covers it: a loss first, then the record after it.
    /// To be called until `None`, or until the connection has no more room.
    pub fn next_due(&mut self) -> Option<Due<R>> {
        let Some(head) = self.queue.front_mut() else {
            let lost = std::mem::take(&mut self.lost_last);
            self.untold -= lost;
            return (lost > 0).then_some(Due::Lagged(lost));
        };
        let cost = head.cost;
        if !(cost <= self.credit || (self.credit >= self.window - self.window / 4 && self.deficit == 0)) {
            return None;
        }
        let lost = std::mem::take(&mut head.lost_before);
        if lost > 0 {
            self.untold -= lost;
            return Some(Due::Lagged(lost));
        }
        let head = self.take_head()?;
        self.pay(cost);
        Some(Due::Record(head.record))
    }

    /// The connection is cut: what waits is missed and given to `lost`, and all that matches from now on is missed.
    pub fn detach(&mut self, lost: &mut impl FnMut(R)) {
        self.missed += self.queue.len() as u64;
        self.empty().for_each(lost);
        self.untold = 0;
        self.lost_last = 0;
        self.credit = 0;
        self.attached = false;
        self.held_bytes = 0;
        self.hold_is_over = false;
    }

    /// Takes out all that waits, as if it had never matched: it goes to others. Then [`detach`](Self::detach), and
    /// [`miss`](Self::miss) what found nobody.
    pub fn release(&mut self) -> impl Iterator<Item = R> + use<R> {
        self.empty()
    }

    /// While detached: so many records matched and were not offered.
    pub fn miss(&mut self, count: u64) {
        self.missed += count;
    }

    /// The subscription ends here: what waits is dropped and given to `lost`. Gives the cursor of a client that
    /// received all it was sent, and how many records it does not get.
    pub fn finish(&mut self, lost: &mut impl FnMut(R)) -> (u64, u64) {
        let position = self.position();
        let waiting = self.queue.len() as u64;
        self.dropped += waiting;
        let untold = self.untold + waiting;
        self.empty().for_each(&mut *lost);
        self.detach(lost);
        (position, untold)
    }

    /// The subscriber is back with this cursor (records received and losses told, together) and with its whole window
    /// open. Returns the exact gap, which the subscriber must be told before anything else; 0 if it claims more than
    /// there was. Where the cut was not noticed here yet, this is also the cut.
    pub fn resume(&mut self, cursor: u64, lost: &mut impl FnMut(R)) -> u64 {
        self.detach(lost);
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

    /// Whether nothing waits and every loss was told.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.lost_last == 0
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
        self.attached && (cost <= self.credit || (self.credit >= self.window - self.window / 4 && self.deficit == 0))
    }

    fn pay(&mut self, cost: usize) {
        self.deficit += cost.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(cost);
        self.delivered += 1;
    }

    /// An empty queue takes a record of any size.
    fn is_full_for(&self, cost: usize) -> bool {
        !self.queue.is_empty()
            && (self.queue.len() >= self.limits.records_max
                || self.queued_bytes.saturating_add(cost) > self.limits.bytes_max
                || self.hold_is_over)
    }

    /// Takes room for a record of this cost, if there is.
    fn try_take(&mut self, cost: usize) -> bool {
        !self.is_full_for(cost) && self.budget_takes(cost)
    }

    fn budget_takes(&self, cost: usize) -> bool {
        let holds = self.queued_bytes.saturating_add(self.queue.len() * PLACE_BYTES);
        self.budget.as_ref().is_none_or(|budget| budget.take(holds, cost.saturating_add(PLACE_BYTES)))
    }

    fn give_back(&self, records: usize, bytes: usize) {
        if let Some(budget) = &self.budget {
            budget.give_back(bytes + records * PLACE_BYTES);
        }
    }

    /// Drops the oldest until a record of this cost fits, and takes the room for it; `false` if none is left and the
    /// budget has still not enough.
    fn make_room(&mut self, cost: usize, lost: &mut impl FnMut(R)) -> bool {
        while !self.try_take(cost) {
            let Some(head) = self.take_head() else { return false };
            self.dropped += 1;
            let told = u64::from(!is_planted("drop not counted"));
            self.untold += told;
            let passed_on = head.lost_before + told;
            match self.queue.front_mut() {
                Some(next) => next.lost_before += passed_on,
                None => self.lost_last += passed_on,
            }
            lost(head.record);
        }
        true
    }

    fn refuse(&mut self) {
        self.dropped += 1;
        self.untold += 1;
        self.lost_last += 1;
    }

    fn enqueue(&mut self, cost: usize, record: R) {
        let lost_before = std::mem::take(&mut self.lost_last);
        self.queue.push_back(Entry { cost, lost_before, record });
        self.queued_bytes += cost;
    }

    fn take_head(&mut self) -> Option<Entry<R>> {
        let head = self.queue.pop_front()?;
        self.queued_bytes -= head.cost;
        self.give_back(1, head.cost);
        if self.hold_is_over || self.held_bytes > 0 {
            self.after_hold();
        }
        if self.queue.is_empty() && self.queue.capacity() > PLACES_KEPT {
            self.queue = VecDeque::new();
        }
        Some(head)
    }

    fn after_hold(&mut self) {
        if self.is_relieved() {
            self.hold_is_over = false;
            self.held_bytes = 0;
        }
    }

    /// All entries, in order; none is left.
    fn empty(&mut self) -> impl Iterator<Item = R> + use<R> {
        self.give_back(self.queue.len(), self.queued_bytes);
        self.queued_bytes = 0;
        std::mem::take(&mut self.queue).into_iter().map(|entry| entry.record)
    }
}

impl<R> Drop for Backlog<R> {
    fn drop(&mut self) {
        self.empty().for_each(drop);
    }
}
