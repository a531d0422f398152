//! The backlog: tables, and random operation lists beside a plain model with a client that loses what is on its way.

use std::collections::VecDeque;

use proptest::prelude::*;
use sinew_bus::{Backlog, BacklogLimits, Counts, Due, Offer, Overflow, Pushed};

const NONE: BacklogLimits = BacklogLimits { records_max: usize::MAX, bytes_max: usize::MAX };

/// Bytes that held publishers may have sent.
const SLACK: usize = 60;

/// Queues a record; gives how many older ones had to go.
fn push(backlog: &mut Backlog<u64>, bytes: usize, record: u64) -> u64 {
    let mut lost = 0;
    let _ = backlog.push(bytes, || record, SLACK, &mut |_| lost += 1);
    lost
}

fn detach(backlog: &mut Backlog<u64>) {
    backlog.detach(&mut drop);
}

fn resume(backlog: &mut Backlog<u64>, cursor: u64) -> u64 {
    backlog.resume(cursor, &mut drop)
}

fn drained(backlog: &mut Backlog<u64>) -> Vec<Due<u64>> {
    std::iter::from_fn(|| backlog.next_due()).collect()
}

#[test]
fn with_credit_records_go_straight_on() {
    let mut backlog = Backlog::<u64>::new(100, NONE);
    assert_eq!(backlog.offer(60), Offer::Deliver);
    assert_eq!(backlog.offer(40), Offer::Deliver);
    assert_eq!(backlog.offer(1), Offer::Queue);
    assert_eq!(push(&mut backlog, 1, 3), 0);
    assert_eq!(backlog.next_due(), None);
    backlog.grant(100);
    assert_eq!(backlog.offer(1), Offer::Queue, "there is credit again, but another waits");
    assert_eq!(push(&mut backlog, 1, 4), 0);
    assert_eq!(drained(&mut backlog), [Due::Record(3), Due::Record(4)]);
    assert_eq!(backlog.counts(), Counts { delivered: 4, ..Counts::default() });
}

#[test]
fn the_oldest_go_and_the_loss_is_told_where_it_is() {
    let mut backlog = Backlog::new(1, BacklogLimits { records_max: 3, bytes_max: 1000 });
    assert_eq!(backlog.offer(1), Offer::Deliver);
    for number in 2..=6 {
        assert_eq!(backlog.offer(1), Offer::Queue);
        assert_eq!(push(&mut backlog, 1, number), u64::from(number > 4), "{number}");
    }
    backlog.grant(1);
    assert_eq!(drained(&mut backlog), [Due::Lagged(2), Due::Record(4)]);
    assert_eq!(backlog.counts(), Counts { delivered: 2, dropped: 2, missed: 0, queued: 2 });
    assert_eq!(backlog.position(), 4);
}

#[test]
fn bytes_are_limited_too_and_the_newest_always_stays() {
    let mut backlog = Backlog::new(0, BacklogLimits { records_max: 100, bytes_max: 10 });
    assert_eq!(backlog.offer(1), Offer::Deliver);
    assert_eq!((push(&mut backlog, 4, 1), push(&mut backlog, 4, 2), push(&mut backlog, 4, 3)), (0, 0, 1));
    assert_eq!(backlog.queued_bytes(), 8);
    assert_eq!(push(&mut backlog, 11, 4), 2, "larger than the queue: it waits alone");
    assert_eq!((backlog.queued_bytes(), backlog.counts().queued), (11, 1));
    assert_eq!(push(&mut backlog, 1, 5), 1);
    backlog.grant(1);
    assert_eq!(drained(&mut backlog), [Due::Lagged(4), Due::Record(5)]);
}

#[test]
fn a_record_larger_than_the_window_passes_when_three_quarters_of_the_credit_are_there() {
    let mut backlog = Backlog::new(10, NONE);
    assert_eq!(backlog.offer(3), Offer::Deliver);
    assert_eq!(backlog.offer(25), Offer::Queue, "7 of 10 are less than three quarters");
    assert_eq!(push(&mut backlog, 25, 2), 0);
    backlog.grant(1);
    assert_eq!(drained(&mut backlog), [Due::Record(2)]);
    backlog.grant(15);
    assert_eq!((backlog.credit(), backlog.offer(1)), (0, Offer::Queue), "17 of the 25 only pay what went beyond");
    backlog.grant(2);
    backlog.grant(10);
    assert_eq!((backlog.credit(), backlog.offer(25)), (10, Offer::Deliver));
    backlog.grant(usize::MAX);
    assert_eq!(backlog.credit(), 10, "never more than the window");
}

#[test]
fn empty_records_cost_credit_too() {
    let mut backlog = Backlog::<u64>::new(2, NONE);
    assert_eq!((backlog.offer(0), backlog.offer(0), backlog.offer(0)), (Offer::Deliver, Offer::Deliver, Offer::Queue));
}

#[test]
fn the_gap_after_a_cut_is_exact() {
    let mut backlog = Backlog::new(2, BacklogLimits { records_max: 2, bytes_max: 1000 });
    assert_eq!((backlog.offer(1), backlog.offer(1)), (Offer::Deliver, Offer::Deliver));
    for number in 3..=5 {
        push(&mut backlog, 1, number);
    }
    detach(&mut backlog);
    assert_eq!((backlog.offer(1), push(&mut backlog, 1, 7)), (Offer::Missed, 0));
    backlog.grant(100);
    assert_eq!((backlog.credit(), backlog.next_due()), (0, None));
    assert_eq!(backlog.counts(), Counts { delivered: 2, dropped: 1, missed: 4, queued: 0 });
    assert_eq!(resume(&mut backlog, 1), 6, "the second was on its way, one dropped, two queued, two missed");
    assert_eq!(resume(&mut backlog, 1), 6, "the answer was lost: the same again");
    assert_eq!(resume(&mut backlog, 100), 0, "a client that claims too much");
    assert_eq!((backlog.offer(1), backlog.position()), (Offer::Deliver, 8));
}

#[test]
fn the_newest_are_refused_and_the_loss_is_told_behind_what_waits() {
    let mut backlog =
        Backlog::with_overflow(1, BacklogLimits { records_max: 2, bytes_max: 1000 }, Overflow::DropNewest);
    assert_eq!(backlog.offer(1), Offer::Deliver);
    let put = |backlog: &mut Backlog<u64>, record| backlog.push(1, || record, SLACK, &mut |_| panic!("none goes"));
    assert_eq!([2, 3, 4, 5].map(|record| put(&mut backlog, record)), {
        use Pushed::{Queued, Refused};
        [Queued, Queued, Refused, Refused]
    });
    assert_eq!(backlog.position(), 1);
    backlog.grant(1);
    assert_eq!(drained(&mut backlog), [Due::Record(2)]);
    assert_eq!(put(&mut backlog, 6), Pushed::Queued);
    backlog.grant(1);
    assert_eq!(drained(&mut backlog), [Due::Record(3)]);
    backlog.grant(1);
    assert_eq!(drained(&mut backlog), [Due::Lagged(2), Due::Record(6)]);
    assert_eq!((backlog.counts(), backlog.position()), (Counts { delivered: 4, dropped: 2, missed: 0, queued: 0 }, 6));
}

#[test]
fn a_loss_behind_the_last_record_is_told_without_another_one() {
    let mut backlog =
        Backlog::with_overflow(1, BacklogLimits { records_max: 1, bytes_max: 1000 }, Overflow::DropNewest);
    assert_eq!(backlog.offer(1), Offer::Deliver);
    (2..=4).for_each(|record| assert_eq!(push(&mut backlog, 1, record), 0));
    backlog.grant(1);
    assert_eq!(backlog.next_due(), Some(Due::Record(2)));
    assert!(!backlog.is_settled() && backlog.offer(0) == Offer::Queue, "nothing overtakes the loss");
    assert_eq!((backlog.next_due(), backlog.next_due()), (Some(Due::Lagged(2)), None));
    assert!(backlog.is_settled());
}

#[test]
fn who_asked_to_be_ended_is_told_how_much_it_does_not_get() {
    let mut backlog =
        Backlog::with_overflow(1, BacklogLimits { records_max: 2, bytes_max: 1000 }, Overflow::Disconnect);
    assert_eq!(backlog.offer(1), Offer::Deliver);
    (2..=3).for_each(|record| assert_eq!(push(&mut backlog, 1, record), 0));
    assert_eq!(backlog.push(1, || 4, SLACK, &mut drop), Pushed::Overflowed);
    let mut gone = Vec::new();
    assert_eq!(backlog.finish(&mut |record| gone.push(record)), (1, 3), "after the first, three are missing");
    assert_eq!((gone, backlog.is_attached()), (vec![2, 3], false));
}

#[test]
fn publishers_are_held_back_for_a_while_and_nothing_of_what_they_sent_is_lost() {
    let mut backlog = Backlog::with_overflow(1, BacklogLimits { records_max: 2, bytes_max: 1000 }, Overflow::Hold);
    assert_eq!(backlog.offer(1), Offer::Deliver);
    let put = |backlog: &mut Backlog<u64>, bytes| backlog.push(bytes, || 0, SLACK, &mut |_| panic!("none goes"));
    assert_eq!([1, 1, 20, 40, 1].map(|bytes| put(&mut backlog, bytes)), {
        use Pushed::{Held, Queued, Refused};
        [Queued, Queued, Held, Held, Refused]
    });
    backlog.end_hold();
    assert_eq!(put(&mut backlog, 1), Pushed::Refused, "the time is over, and there is no room yet");
    backlog.grant(1);
    while backlog.next_due().is_some() {
        backlog.grant(usize::MAX);
    }
    assert!(backlog.is_relieved());
    assert_eq!(put(&mut backlog, 1), Pushed::Queued);
}

#[derive(Debug, Clone)]
enum Operation {
    Offer(usize),
    /// The connection has no room: queued without asking.
    Push(usize),
    Grant(usize),
    /// Write at most so many.
    Drain(usize),
    /// The client takes so many off the wire.
    Receive(usize),
    Cut,
    Resume,
    EndHold,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => (0_usize..40).prop_map(Operation::Offer),
        2 => (0_usize..40).prop_map(Operation::Push),
        4 => (0_usize..60).prop_map(Operation::Grant),
        4 => (0_usize..6).prop_map(Operation::Drain),
        5 => (0_usize..6).prop_map(Operation::Receive),
        1 => Just(Operation::Cut),
        2 => Just(Operation::Resume),
        1 => Just(Operation::EndHold),
    ]
}

/// The server as plainly as it can be said: every record has its place, all sums are made anew.
struct Model {
    window: i64,
    credit: i64,
    limits: BacklogLimits,
    overflow: Overflow,
    held: i64,
    hold_is_over: bool,
    /// Losses behind the last record.
    lost_last: u64,
    attached: bool,
    offered: u64,
    delivered: u64,
    dropped: u64,
    queue: VecDeque<(i64, u64)>,
}

impl Model {
    fn passes(&self, cost: i64) -> bool {
        self.attached && (cost <= self.credit || self.credit >= self.window - self.window / 4)
    }

    fn send(&mut self, cost: i64) {
        self.credit -= cost;
        self.delivered += 1;
    }

    fn bytes(&self) -> i64 {
        self.queue.iter().map(|(cost, _)| cost).sum()
    }

    fn is_relieved(&self) -> bool {
        self.queue.len() <= self.limits.records_max / 2 && self.bytes() <= (self.limits.bytes_max / 2) as i64
    }

    fn pop(&mut self) {
        self.queue.pop_front();
        if self.is_relieved() {
            (self.held, self.hold_is_over) = (0, false);
        }
    }

    fn push(&mut self, cost: i64) -> u64 {
        let full = |model: &Self, cost| {
            !model.queue.is_empty()
                && (model.queue.len() >= model.limits.records_max
                    || model.bytes() + cost > model.limits.bytes_max as i64
                    || model.hold_is_over)
        };
        let before = self.dropped;
        while self.overflow == Overflow::DropOldest && full(self, cost) {
            self.pop();
            self.dropped += 1;
        }
        let evicted = self.dropped - before;
        if full(self, cost) {
            let held = self.held + cost;
            if self.overflow == Overflow::DropNewest || self.hold_is_over || held > SLACK as i64 {
                self.dropped += 1;
                self.lost_last += 1;
                return evicted;
            }
            self.held = held;
        }
        self.queue.push_back((cost, self.offered));
        self.lost_last = 0;
        evicted
    }

    fn cut(&mut self) {
        self.queue.clear();
        (self.held, self.hold_is_over, self.lost_last) = (0, false, 0);
    }
}

/// A client that checks the place of everything it gets.
#[derive(Default)]
struct Client {
    wire: VecDeque<Due<u64>>,
    cursor: u64,
}

impl Client {
    fn receive(&mut self, count: usize) {
        for due in self.wire.drain(..count.min(self.wire.len())) {
            match due {
                Due::Lagged(lost) => self.cursor += lost,
                Due::Record(place) => {
                    assert_eq!(place, self.cursor + 1, "every loss is told, and where it is");
                    self.cursor = place;
                }
            }
        }
    }
}

struct Pair {
    backlog: Backlog<u64>,
    model: Model,
    client: Client,
}

impl Pair {
    fn new(window: usize, limits: BacklogLimits, overflow: Overflow) -> Self {
        let window_signed = window as i64;
        let model = Model {
            window: window_signed,
            credit: window_signed,
            limits,
            overflow,
            held: 0,
            hold_is_over: false,
            lost_last: 0,
            attached: true,
            offered: 0,
            delivered: 0,
            dropped: 0,
            queue: VecDeque::new(),
        };
        Self { backlog: Backlog::with_overflow(window, limits, overflow), model, client: Client::default() }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Offer(bytes) => self.offer(bytes),
            Operation::Push(bytes) => {
                self.model.offered += 1;
                self.push(bytes);
            }
            Operation::Grant(bytes) => {
                self.backlog.grant(bytes);
                if self.model.attached {
                    self.model.credit = (self.model.credit + bytes as i64).min(self.model.window);
                }
            }
            Operation::Drain(count) => self.drain(count),
            Operation::Receive(count) => self.client.receive(count),
            Operation::Cut => {
                detach(&mut self.backlog);
                self.model.attached = false;
                self.model.cut();
                self.client.wire.clear();
            }
            Operation::Resume => self.resume(),
            Operation::EndHold => {
                self.backlog.end_hold();
                self.model.hold_is_over = !self.model.is_relieved();
                self.model.held = 0;
            }
        }
    }

    fn offer(&mut self, bytes: usize) {
        let cost = bytes.max(1) as i64;
        self.model.offered += 1;
        match self.backlog.offer(bytes) {
            Offer::Deliver => {
                assert!(self.model.queue.is_empty() && self.model.passes(cost));
                self.model.send(cost);
                self.client.wire.push_back(Due::Record(self.model.offered));
            }
            Offer::Queue => {
                let free = self.model.queue.is_empty() && self.model.lost_last == 0;
                assert!(self.model.attached && !(free && self.model.passes(cost)));
                self.push(bytes);
            }
            Offer::Missed => assert!(!self.model.attached),
        }
    }

    fn push(&mut self, bytes: usize) {
        let expected = if self.model.attached { self.model.push(bytes.max(1) as i64) } else { 0 };
        assert_eq!(push(&mut self.backlog, bytes, self.model.offered), expected);
    }

    fn drain(&mut self, count: usize) {
        for _ in 0..count {
            let head = self.model.queue.front().copied().filter(|(cost, _)| self.model.passes(*cost));
            let due = self.backlog.next_due();
            let behind = self.model.queue.is_empty() && self.model.lost_last > 0;
            assert_eq!(due.is_some(), head.is_some() || behind);
            let Some(due) = due else { return };
            match (&due, head) {
                (Due::Record(found), Some((cost, place))) => {
                    assert_eq!(*found, place);
                    self.model.pop();
                    self.model.send(cost);
                }
                (Due::Lagged(_), Some(_)) => {}
                (Due::Lagged(lost), None) => assert_eq!(*lost, std::mem::take(&mut self.model.lost_last)),
                (Due::Record(_), None) => panic!("a record that does not wait"),
            }
            self.client.wire.push_back(due);
        }
    }

    /// Also without a cut before: then the client noticed it first.
    fn resume(&mut self) {
        self.client.wire.clear();
        self.client.cursor += resume(&mut self.backlog, self.client.cursor);
        self.model.attached = true;
        self.model.cut();
        self.model.credit = self.model.window;
        assert_eq!(self.client.cursor, self.model.offered, "received and told together are what was offered");
    }

    fn check(&self) {
        let (counts, model) = (self.backlog.counts(), &self.model);
        let queued = model.queue.len() as u64;
        assert_eq!((counts.delivered, counts.dropped, counts.queued), (model.delivered, model.dropped, queued));
        assert_eq!(counts.offered(), model.offered);
        assert_eq!(self.backlog.credit() as i64, if model.attached { model.credit.max(0) } else { 0 });
        assert_eq!(self.backlog.queued_bytes() as i64, model.queue.iter().map(|(cost, _)| cost).sum::<i64>());
        assert_eq!(self.backlog.is_attached(), model.attached);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does_and_the_client_can_account_for_every_record(
        window in 0_usize..80,
        records_max in 0_usize..8,
        bytes_max in 0_usize..120,
        overflow in prop_oneof![Just(Overflow::DropOldest), Just(Overflow::DropNewest), Just(Overflow::Hold)],
        operations in proptest::collection::vec(operation(), 1..200),
    ) {
        let mut pair = Pair::new(window, BacklogLimits { records_max, bytes_max }, overflow);
        for operation in operations {
            pair.apply(operation);
            pair.check();
        }
        pair.client.receive(usize::MAX);
        if pair.model.attached {
            assert_eq!(pair.client.cursor, pair.backlog.position());
        }
        pair.resume();
        pair.check();
    }
}
