//! The backlog: tables, and random operation lists beside a plain model with a client that loses what is on its way.

use std::collections::VecDeque;

use proptest::prelude::*;
use sinew_bus::{Backlog, BacklogLimits, Counts, Due, Offer};

const NONE: BacklogLimits = BacklogLimits { records_max: usize::MAX, bytes_max: usize::MAX };

fn drained(backlog: &mut Backlog<u64>) -> Vec<Due<u64>> {
    std::iter::from_fn(|| backlog.next_due()).collect()
}

#[test]
fn with_credit_records_go_straight_on() {
    let mut backlog = Backlog::<u64>::new(100, NONE);
    assert_eq!(backlog.offer(60), Offer::Deliver);
    assert_eq!(backlog.offer(40), Offer::Deliver);
    assert_eq!(backlog.offer(1), Offer::Queue);
    assert_eq!(backlog.push(1, 3), 0);
    assert_eq!(backlog.next_due(), None);
    backlog.grant(100);
    assert_eq!(backlog.offer(1), Offer::Queue, "there is credit again, but another waits");
    assert_eq!(backlog.push(1, 4), 0);
    assert_eq!(drained(&mut backlog), [Due::Record(3), Due::Record(4)]);
    assert_eq!(backlog.counts(), Counts { delivered: 4, ..Counts::default() });
}

#[test]
fn the_oldest_go_and_the_loss_is_told_where_it_is() {
    let mut backlog = Backlog::new(1, BacklogLimits { records_max: 3, bytes_max: 1000 });
    assert_eq!(backlog.offer(1), Offer::Deliver);
    for number in 2..=6 {
        assert_eq!(backlog.offer(1), Offer::Queue);
        assert_eq!(backlog.push(1, number), u64::from(number > 4), "{number}");
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
    assert_eq!((backlog.push(4, 1), backlog.push(4, 2), backlog.push(4, 3)), (0, 0, 1));
    assert_eq!(backlog.queued_bytes(), 8);
    assert_eq!(backlog.push(11, 4), 2, "larger than the queue: it waits alone");
    assert_eq!((backlog.queued_bytes(), backlog.counts().queued), (11, 1));
    assert_eq!(backlog.push(1, 5), 1);
    backlog.grant(1);
    assert_eq!(drained(&mut backlog), [Due::Lagged(4), Due::Record(5)]);
}

#[test]
fn a_record_larger_than_the_window_passes_when_three_quarters_of_the_credit_are_there() {
    let mut backlog = Backlog::new(10, NONE);
    assert_eq!(backlog.offer(3), Offer::Deliver);
    assert_eq!(backlog.offer(25), Offer::Queue, "7 of 10 are less than three quarters");
    assert_eq!(backlog.push(25, 2), 0);
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
        backlog.push(1, number);
    }
    backlog.detach();
    assert_eq!((backlog.offer(1), backlog.push(1, 7)), (Offer::Missed, 0));
    backlog.grant(100);
    assert_eq!((backlog.credit(), backlog.next_due()), (0, None));
    assert_eq!(backlog.counts(), Counts { delivered: 2, dropped: 1, missed: 4, queued: 0 });
    assert_eq!(backlog.resume(1), 6, "the second was on its way, one dropped, two queued, two missed");
    assert_eq!(backlog.resume(1), 6, "the answer was lost: the same again");
    assert_eq!(backlog.resume(100), 0, "a client that claims too much");
    assert_eq!((backlog.offer(1), backlog.position()), (Offer::Deliver, 8));
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
    ]
}

/// The server as plainly as it can be said: every record has its place, all sums are made anew.
struct Model {
    window: i64,
    credit: i64,
    limits: BacklogLimits,
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

    fn push(&mut self, cost: i64) -> u64 {
        self.queue.push_back((cost, self.offered));
        let before = self.dropped;
        let over = |queue: &VecDeque<(i64, u64)>| {
            queue.len() > self.limits.records_max
                || queue.iter().map(|(cost, _)| cost).sum::<i64>() > self.limits.bytes_max as i64
        };
        while self.queue.len() > 1 && over(&self.queue) {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.dropped - before
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
    fn new(window: usize, limits: BacklogLimits) -> Self {
        let window_signed = window as i64;
        let model = Model {
            window: window_signed,
            credit: window_signed,
            limits,
            attached: true,
            offered: 0,
            delivered: 0,
            dropped: 0,
            queue: VecDeque::new(),
        };
        Self { backlog: Backlog::new(window, limits), model, client: Client::default() }
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
                self.backlog.detach();
                self.model.attached = false;
                self.model.queue.clear();
                self.client.wire.clear();
            }
            Operation::Resume => self.resume(),
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
                assert!(self.model.attached && !(self.model.queue.is_empty() && self.model.passes(cost)));
                self.push(bytes);
            }
            Offer::Missed => assert!(!self.model.attached),
        }
    }

    fn push(&mut self, bytes: usize) {
        let expected = if self.model.attached { self.model.push(bytes.max(1) as i64) } else { 0 };
        assert_eq!(self.backlog.push(bytes, self.model.offered), expected);
    }

    fn drain(&mut self, count: usize) {
        for _ in 0..count {
            let head = self.model.queue.front().copied().filter(|(cost, _)| self.model.passes(*cost));
            let due = self.backlog.next_due();
            assert_eq!(due.is_some(), head.is_some());
            let (Some(due), Some((cost, place))) = (due, head) else { return };
            if let Due::Record(found) = &due {
                assert_eq!(*found, place);
                self.model.queue.pop_front();
                self.model.send(cost);
            }
            self.client.wire.push_back(due);
        }
    }

    /// Also without a cut before: then the client noticed it first.
    fn resume(&mut self) {
        self.client.wire.clear();
        self.client.cursor += self.backlog.resume(self.client.cursor);
        self.model.attached = true;
        self.model.queue.clear();
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
        operations in proptest::collection::vec(operation(), 1..200),
    ) {
        let mut pair = Pair::new(window, BacklogLimits { records_max, bytes_max });
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
