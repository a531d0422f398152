//! The server's end of one subscription: its backlog and the connection it feeds, behind one short lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sinew_session::{Header, Lane, Link, Packer, Record, Run, is_planted, to_cbor};

use crate::accounting::{Account, Event};
use crate::brake::Brake;
use crate::protocol::{Ended, SERVICE, Tally, count_head, keep, outgoing_verb, subject_of, verb};
use crate::requests::Token;
use crate::{Backlog, BacklogLimits, Budget, Due, Offer, Overflow, Pushed};

/// Where a route leads.
#[derive(Debug)]
pub(crate) struct Outlet {
    number: u32,
    window_bytes: usize,
    /// What waits for it goes to others when it leaves.
    shares: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    backlog: Backlog<Waiting>,
    /// `None` while the connection is cut, and once the subscription is over.
    link: Option<Arc<Link>>,
    /// Publishers that wait for it.
    held: Vec<Arc<Brake>>,
    /// Counts how often publishers began to be held back: names the hold that a timer ends.
    hold: u64,
    phase: Phase,
    /// The lane of the last record that had waited: losses behind it are told there, so that they do not overtake it.
    last_lane: Lane,
}

/// How far a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Stands,
    /// Nothing new matches; what waits is still delivered.
    Drains,
    Over,
}

/// A record that waits for a slow subscriber.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) record: Bytes,
    pub(crate) account: Arc<Account>,
    /// Of a request.
    token: Option<Token>,
}

/// Records of one subject on their way to subscribers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shipment<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) run: Run<'a>,
    pub(crate) account: &'a Arc<Account>,
    /// Whose they are, to be held back; none for what the server sends by itself.
    pub(crate) brake: Option<&'a Arc<Brake>>,
    /// Of the request, where it is one.
    pub(crate) token: Option<Token>,
    /// Whether they were not counted as copies before.
    pub(crate) fresh: bool,
}

/// What became of a shipment at one outlet.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) delivered: u64,
    pub(crate) queued: u64,
    /// Refused by a full queue.
    pub(crate) refused: u64,
    pub(crate) missed: u64,
    /// The subscription is over and must leave the router.
    pub(crate) over: bool,
    /// Publishers are held back from now on: whoever carried out the shipment ends that after a while.
    pub(crate) hold: Option<u64>,
    /// Requests that had to go from the queue.
    pub(crate) lost: Vec<Token>,
}

impl Outlet {
    pub(crate) fn new(number: u32, link: Arc<Link>, window_bytes: usize, shares: bool, backlog: Rule) -> Self {
        let Rule { limits, overflow, budget } = backlog;
        let backlog = Backlog::with_overflow(window_bytes, limits, overflow).drawing_on(budget);
        let state = State {
            backlog,
            link: Some(link),
            held: Vec::new(),
            hold: 0,
            phase: Phase::Stands,
            last_lane: Lane::CONTROL,
        };
        Self { number, window_bytes, shares, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on records of one subject. One lock of the outlet and one of the outbox for all of them; each costs one
    /// copy, or none when it is large.
    #[inline]
    pub(crate) fn deliver(&self, shipment: &Shipment<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut state = self.lock();
        let State { backlog, link, held, phase, last_lane, .. } = &mut *state;
        if *phase != Phase::Stands {
            return outcome; // It has left since the route was made.
        }
        let Some(link) = link else {
            outcome.missed = shipment.run.count() as u64;
            backlog.miss(outcome.missed);
            outcome.account(shipment);
            return outcome;
        };
        let mut packer = link.pack();
        let lane = packer.lane(shipment.subject);
        let mut holds = false;
        for record in shipment.run {
            let offer = if packer.has_room() { backlog.offer(record.size()) } else { Offer::Queue };
            match offer {
                Offer::Deliver => {
                    let verb = outgoing_verb(record.header.verb);
                    packer.push_readdressed(lane, record.raw(), verb, self.number, || record.shared());
                    outcome.delivered += 1;
                }
                Offer::Missed => outcome.missed += 1,
                Offer::Queue => {
                    let pushed = enqueue(backlog, held, shipment, &record, &mut outcome.lost);
                    holds |= pushed == Pushed::Held;
                    outcome.count(pushed);
                    if outcome.over {
                        break;
                    }
                }
            }
        }
        if outcome.queued > 0 && !outcome.over {
            drain(backlog, &mut packer, self.number, last_lane);
        }
        drop(packer);
        outcome.account(shipment);
        if let Some(brake) = shipment.brake.filter(|_| holds) {
            outcome.hold = state.hold_back(brake);
        }
        if outcome.over {
            let reason = "the subscriber is too slow, and it asked to be ended when its queue is full; read faster, or \
                          subscribe with a larger queue or another overflow policy";
            state.end(self.number, "overflow", reason, &mut outcome.lost);
        }
        outcome
    }

    /// Hands on records from the front of `run` while they need not wait, at most `max`; the rest stays in `run`.
    pub(crate) fn take_some(&self, shipment: &Shipment<'_>, run: &mut Run<'_>, max: usize) -> Outcome {
        let mut outcome = Outcome::default();
        let mut state = self.lock();
        let State { backlog, link, .. } = &mut *state;
        let Some(link) = link else { return outcome };
        let mut packer = link.pack();
        let lane = packer.lane(shipment.subject);
        while outcome.delivered < max as u64
            && let Some(record) = run.first()
            && packer.has_room()
            && backlog.can_take(record.size())
            && backlog.offer(record.size()) == Offer::Deliver
        {
            let verb = outgoing_verb(record.header.verb);
            packer.push_readdressed(lane, record.raw(), verb, self.number, || record.shared());
            outcome.delivered += 1;
            run.next();
        }
        outcome.account(shipment);
        outcome
    }

    /// Whether something can reach its subscriber now.
    pub(crate) fn is_attached(&self) -> bool {
        self.lock().link.is_some()
    }

    /// Whether a record of this size would reach its subscriber's connection at once.
    pub(crate) fn is_ready(&self, bytes: usize) -> bool {
        let state = self.lock();
        state.link.is_some() && state.backlog.can_take(bytes)
    }

    /// Whether it stands, with its connection or waiting for it to come back.
    pub(crate) fn stands(&self) -> bool {
        self.lock().phase == Phase::Stands
    }

    /// The subscriber has consumed so many bytes.
    pub(crate) fn grant(&self, bytes: u64) {
        self.relieving(|state| {
            state.backlog.grant(usize::try_from(bytes).unwrap_or(usize::MAX));
            state.drain(self.number);
        });
    }

    /// The connection's outbox has room again.
    pub(crate) fn drain(&self) {
        self.relieving(|state| state.drain(self.number));
    }

    /// Publishers were held back for long enough, if this is still the same hold.
    pub(crate) fn end_hold(&self, hold: u64) {
        let mut state = self.lock();
        if state.hold == hold && !state.held.is_empty() {
            state.backlog.end_hold();
            let held = std::mem::take(&mut state.held);
            drop(state);
            held.iter().for_each(|brake| brake.release());
        }
    }

    /// Does something that may make room, and lets publishers go on if it did.
    fn relieving(&self, act: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        act(&mut state);
        if state.held.is_empty() || !state.backlog.is_relieved() {
            return;
        }
        let held = std::mem::take(&mut state.held);
        drop(state);
        held.iter().for_each(|brake| brake.release());
    }

    /// The connection was cut: from now on what matches is only counted. What waited is lost, or for a group given back
    /// to be handed to other members.
    pub(crate) fn suspend(&self) -> Vec<Waiting> {
        let mut lost = Vec::new();
        let mut shared = Vec::new();
        self.leaving(|state| {
            if self.shares && state.phase == Phase::Stands {
                shared = state.backlog.release().map(Waiting::moves).collect();
            }
            state.backlog.detach(&mut |waiting| waiting.gone(Event::Cut, &mut lost));
            state.link = None;
            if state.phase == Phase::Drains {
                state.phase = Phase::Over;
            }
        });
        shared
    }

    /// A record given back by [`suspend`](Self::suspend) found no other member.
    pub(crate) fn miss(&self, waiting: &Waiting) {
        self.lock().backlog.miss(1);
        waiting.account.add(Event::Cut, 1);
    }

    /// The subscriber is back; gives what it missed since `cursor`. `None`: the subscription is over.
    pub(crate) fn resume(&self, link: Arc<Link>, cursor: u64, used_bytes: u64) -> Option<u64> {
        let mut lost = Vec::new();
        let mut gap = None;
        self.leaving(|state| {
            if state.phase != Phase::Stands {
                return;
            }
            gap = Some(state.backlog.resume(cursor, &mut |waiting| waiting.gone(Event::Cut, &mut lost)));
            state.backlog.spend(usize::try_from(used_bytes).unwrap_or(usize::MAX));
            state.link = Some(link);
        });
        gap
    }

    /// Nothing new matches any more, and what waits is still delivered. Gives the sums.
    pub(crate) fn begin_drain(&self) -> Tally {
        let mut state = self.lock();
        if state.phase == Phase::Stands {
            state.phase = Phase::Drains;
        }
        state.tally()
    }

    /// Ends it at once; what waits is dropped, or for a group given back. Gives the sums before.
    pub(crate) fn unsubscribe(&self) -> (Tally, Vec<Waiting>) {
        let mut lost = Vec::new();
        let mut shared = Vec::new();
        let mut tally = Tally::default();
        self.leaving(|state| {
            tally = state.tally();
            if self.shares {
                shared = state.backlog.release().map(Waiting::moves).collect();
            }
            state.backlog.finish(&mut |waiting| waiting.gone(Event::Ended, &mut lost));
            (state.link, state.phase) = (None, Phase::Over);
        });
        (tally, shared)
    }

    /// The server ends it, and says why.
    pub(crate) fn end(&self, code: &str, reason: &str) {
        self.leaving(|state| state.end(self.number, code, reason, &mut Vec::new()));
    }

    /// Whether nothing more will come of it.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Over || (state.phase == Phase::Drains && state.backlog.is_settled())
    }

    /// Does something after which no publisher needs to wait for it.
    fn leaving(&self, act: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        act(&mut state);
        let held = std::mem::take(&mut state.held);
        drop(state);
        held.iter().for_each(|brake| brake.release());
    }

    /// What may be on its way to the subscriber.
    pub(crate) fn window_bytes(&self) -> usize {
        self.window_bytes
    }
}

/// How much may wait, and what happens beyond.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) limits: BacklogLimits,
    pub(crate) overflow: Overflow,
    /// What the queues of all subscriptions draw on.
    pub(crate) budget: Arc<Budget>,
}

impl Outcome {
    fn count(&mut self, pushed: Pushed) {
        match pushed {
            Pushed::Queued | Pushed::Held => self.queued += 1,
            Pushed::Refused => self.refused += 1,
            Pushed::Missed => self.missed += 1,
            Pushed::Overflowed => {
                self.refused += 1;
                self.over = true;
            }
        }
    }

    /// Books it.
    #[inline]
    fn account(&self, shipment: &Shipment<'_>) {
        let account = shipment.account;
        if shipment.fresh {
            account.add(Event::Copies, self.delivered + self.queued + self.refused + self.missed);
        }
        account.add(Event::Delivered, self.delivered);
        if self.queued + self.refused + self.missed > 0 {
            account.add(Event::Queued, self.queued);
            account.add(Event::Newest, self.refused);
            account.add(Event::Cut, self.missed);
        }
    }
}

impl Waiting {
    /// It is lost.
    fn gone(self, why: Event, lost: &mut Vec<Token>) {
        self.account.add(Event::Unqueued, 1);
        if why != Event::Cut || !is_planted("loss not booked") {
            self.account.add(why, 1);
        }
        lost.extend(self.token);
    }

    /// It goes to another one.
    fn moves(self) -> Self {
        self.account.add(Event::Unqueued, 1);
        self
    }
}

impl State {
    /// Lets a publisher wait, unless there is room again already; names the hold if it is the first that waits. Takes the
    /// brake's lock, and so must not be called with an outbox locked.
    fn hold_back(&mut self, brake: &Arc<Brake>) -> Option<u64> {
        if self.backlog.is_relieved() || self.held.iter().any(|held| Arc::ptr_eq(held, brake)) {
            return None;
        }
        self.held.push(Arc::clone(brake));
        brake.hold();
        (self.held.len() == 1).then(|| {
            self.hold += 1;
            self.hold
        })
    }

    fn drain(&mut self, number: u32) {
        if let Some(link) = &self.link {
            drain(&mut self.backlog, &mut link.pack(), number, &mut self.last_lane);
        }
    }

    fn end(&mut self, number: u32, code: &str, reason: &str, lost: &mut Vec<Token>) {
        let Some(link) = self.link.take() else {
            self.phase = Phase::Over;
            return self.backlog.detach(&mut |waiting| waiting.gone(Event::Ended, lost));
        };
        let (position, untold) = self.backlog.finish(&mut |waiting| waiting.gone(Event::Ended, lost));
        self.phase = Phase::Over;
        let body = to_cbor(&Ended { code: code.into(), reason: reason.into(), position, lost: untold });
        let header = Header { service: SERVICE, verb: verb::ENDED, flags: 0, call: number };
        link.pack().push(Lane::CONTROL, header, &[], &Bytes::from(body));
    }

    fn tally(&self) -> Tally {
        let counts = self.backlog.counts();
        Tally { delivered: counts.delivered, dropped: counts.dropped, missed: counts.missed, queued: counts.queued }
    }
}

/// Lets a record wait, if its subscription's queue takes it.
fn enqueue(
    backlog: &mut Backlog<Waiting>,
    held: &[Arc<Brake>],
    shipment: &Shipment<'_>,
    record: &Record<'_>,
    lost: &mut Vec<Token>,
) -> Pushed {
    let waiting = || Waiting { record: keep(record), account: Arc::clone(shipment.account), token: shipment.token };
    let slack = shipment.brake.map_or(0, |brake| {
        let known = held.iter().any(|held| Arc::ptr_eq(held, brake));
        brake.window().saturating_mul(held.len() + usize::from(!known))
    });
    backlog.push(record.size(), waiting, slack, &mut |waiting: Waiting| waiting.gone(Event::Oldest, lost))
}

/// Moves what waits into the outbox, as far as credit and room go.
fn drain(backlog: &mut Backlog<Waiting>, packer: &mut Packer<'_>, number: u32, last_lane: &mut Lane) {
    let mut lost = 0;
    while lost > 0 || packer.has_room() {
        match backlog.next_due() {
            Some(Due::Lagged(count)) => lost = count,
            Some(Due::Record(waiting)) => {
                waiting.account.add(Event::Unqueued, 1);
                waiting.account.add(Event::Delivered, 1);
                *last_lane = pack(packer, number, std::mem::take(&mut lost), &waiting.record);
            }
            None => break,
        }
    }
    if lost > 0 {
        // Behind the last record.
        push_lagged(packer, *last_lane, number, lost);
    }
}

/// Packs a record that has waited, and before it, on the same lane, what was lost there.
fn pack(packer: &mut Packer<'_>, number: u32, lost: u64, bytes: &Bytes) -> Lane {
    let record = Run::parse(bytes).ok().and_then(|mut run| run.next()).expect("it was a whole record when it was kept");
    let lane = packer.lane(subject_of(&record).expect("its subject was read when it came"));
    if lost > 0 {
        push_lagged(packer, lane, number, lost);
    }
    packer.push_readdressed(lane, bytes, outgoing_verb(record.header.verb), number, || bytes.clone());
    lane
}

fn push_lagged(packer: &mut Packer<'_>, lane: Lane, number: u32, count: u64) {
    let header = Header { service: SERVICE, verb: verb::LAGGED, flags: 0, call: number };
    packer.push(lane, header, &[&count_head(count)], &Bytes::new());
}
