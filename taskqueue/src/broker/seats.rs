//! Who hears what queues say: a seat for each session, with the calls that are to be answered and the waits and memberships
//! that stand. It lives through cuts, as long as the session.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use sinew_session::{FAILURE, Failure, Header, Lane, Link, Packer, REPLY, ResourceName, to_cbor};

use crate::protocol::{AcceptedHead, AssignHead, SERVICE, ending_head, failure_of, joined_head, recall_head, verb};
use crate::{Answer, Asker, Attempt, Effect, Error, Level, Outcome, TaskId, WorkerId};

/// Seats by the number of their session's first connection.
#[derive(Debug)]
pub(super) struct Seats {
    seats: RwLock<HashMap<u64, Arc<Seat>>>,
    ended_bytes_max: usize,
}

/// One session's.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) connection: u64,
    ended_bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` while the session is cut.
    link: Option<Arc<Link>>,
    calls: HashMap<u32, Call>,
    waits: usize,
    workers: usize,
    /// Calls of which nothing stands afterwards.
    once: usize,
    /// Outcomes for which the connection has no room yet.
    behind: VecDeque<Behind>,
    behind_bytes: usize,
    /// Reused, so that an ending costs no allocation.
    head: Vec<u8>,
}

/// A call that is to be answered, or what has come of it and stands.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) verb: u8,
    pub(super) lane: Lane,
    pub(super) queue: ResourceName,
    pub(super) what: What,
    /// Nobody waits for its answer before something else: that goes with what goes next.
    pub(super) is_patient: bool,
}

/// What stands once a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing.
    Once,
    /// Somebody waits for a task.
    Wait(TaskId),
    /// A worker, with this credit.
    Work(WorkerId, u32),
}

#[derive(Debug)]
struct Behind {
    call: u32,
    lane: Lane,
    outcome: Arc<Outcome>,
}

impl Seats {
    pub(super) fn new(ended_bytes_max: usize) -> Self {
        Self { seats: RwLock::default(), ended_bytes_max }
    }

    /// A seat for a new session.
    pub(super) fn enter(&self, link: &Arc<Link>) -> Arc<Seat> {
        let state = State {
            link: Some(link.clone()),
            calls: HashMap::new(),
            waits: 0,
            workers: 0,
            once: 0,
            behind: VecDeque::new(),
            behind_bytes: 0,
            head: Vec::new(),
        };
        // Counted from the epoch: an engine may have heard of sessions of a server before.
        let (connection, ended_bytes_max) = (link.epoch().wrapping_add(link.id()), self.ended_bytes_max);
        let seat = Arc::new(Seat { connection, ended_bytes_max, state: Mutex::new(state) });
        self.seats.write().unwrap_or_else(PoisonError::into_inner).insert(connection, seat.clone());
        seat
    }

    pub(super) fn leave(&self, connection: u64) {
        self.seats.write().unwrap_or_else(PoisonError::into_inner).remove(&connection);
    }

    pub(super) fn find(&self, connection: u64) -> Option<Arc<Seat>> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner).get(&connection).cloned()
    }

    /// For what concerns all of them and must not hold the lock.
    pub(super) fn all(&self) -> Vec<Arc<Seat>> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A call is answered with no.
    pub(super) fn refuse(&self, to: Asker, error: Error) {
        if let Some(seat) = self.find(to.connection) {
            seat.say(Level::Memory, &[(to, &Effect::Answer { to, answer: Err(error) })]);
        }
    }
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that a queue is to answer. Gives back that there are too many of its kind.
    pub(super) fn enter(&self, number: u32, call: Call, max: usize) -> Result<(), usize> {
        let mut state = self.lock();
        let before = state.calls.remove(&number);
        state.count(before.as_ref(), -1);
        let full = match call.what {
            What::Once => state.once >= max,
            What::Wait(_) => state.waits >= max,
            What::Work(..) => state.workers >= max,
        };
        if full {
            return Err(max);
        }
        state.count(Some(&call), 1);
        state.calls.insert(number, call);
        Ok(())
    }

    /// What stands under this number.
    pub(super) fn standing(&self, number: u32) -> Option<Call> {
        self.lock().calls.get(&number).cloned()
    }

    /// Forgets what stands under this number.
    pub(super) fn forget(&self, number: u32) -> Option<Call> {
        let mut state = self.lock();
        let call = state.calls.remove(&number);
        state.count(call.as_ref(), -1);
        call
    }

    /// Everything that stands.
    pub(super) fn all(&self) -> Vec<(u32, Call)> {
        let mut all: Vec<_> = self.lock().calls.iter().map(|(number, call)| (*number, call.clone())).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    /// The connection is gone: nobody hears answers any more. What stands stands.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.link = None;
        state.calls.retain(|_, call| call.what != What::Once);
        state.once = 0;
        (state.behind, state.behind_bytes) = (VecDeque::new(), 0);
    }

    pub(super) fn resume(&self, link: &Arc<Link>) {
        self.lock().link = Some(link.clone());
    }

    /// The connection has room again.
    pub(super) fn drained(&self) {
        let mut state = self.lock();
        let State { link: Some(link), behind, behind_bytes, head, .. } = &mut *state else { return };
        let mut packer = link.pack();
        while packer.has_room() {
            let Some(Behind { call, lane, outcome }) = behind.pop_front() else { return };
            *behind_bytes -= outcome.body.len();
            push_ended(&mut packer, head, lane, call, &outcome);
        }
    }

    /// Nothing more is told of what stands under this number, and why.
    pub(super) fn end(&self, number: u32, failure: &Failure) {
        let mut state = self.lock();
        let Some(call) = state.calls.remove(&number) else { return };
        state.count(Some(&call), -1);
        if let Some(link) = &state.link {
            push_end(&mut link.pack(), number, &call, failure);
        }
    }

    /// The same of everything that stands in this queue.
    pub(super) fn end_all(&self, queue: &ResourceName, failure: &Failure) {
        let all = self.all();
        all.iter().filter(|(_, call)| call.queue == *queue).for_each(|(number, _)| self.end(*number, failure));
    }

    /// What a queue of this level says to this session, in order: one lock of its outbox.
    pub(super) fn say(&self, level: Level, said: &[(Asker, &Effect)]) {
        let mut state = self.lock();
        let state = &mut *state;
        let link = state.link.clone();
        let mut packer = link.as_ref().map(|link| link.pack());
        for (to, effect) in said {
            state.say_one(self.ended_bytes_max, packer.as_mut(), level, to.call, effect);
        }
    }
}

impl State {
    fn count(&mut self, call: Option<&Call>, by: isize) {
        match call.map(|call| call.what) {
            Some(What::Wait(_)) => self.waits = self.waits.saturating_add_signed(by),
            Some(What::Work(..)) => self.workers = self.workers.saturating_add_signed(by),
            Some(What::Once) => self.once = self.once.saturating_add_signed(by),
            None => {}
        }
    }

    fn forget(&mut self, number: u32) -> Option<Call> {
        let call = self.calls.remove(&number);
        self.count(call.as_ref(), -1);
        call
    }

    fn say_one(
        &mut self,
        ended_bytes_max: usize,
        packer: Option<&mut Packer<'_>>,
        level: Level,
        number: u32,
        effect: &Effect,
    ) {
        match effect {
            Effect::Answer { answer, .. } => self.answer(packer, level, number, answer),
            Effect::Ended { outcome, .. } => {
                if let (Some(call), Some(packer)) = (self.forget(number), packer) {
                    self.ended(ended_bytes_max, packer, number, call, outcome);
                }
            }
            Effect::Progress { data, .. } => {
                // It is the newest that matters: what finds no room is passed over.
                if let (Some(call), Some(packer)) = (self.calls.get(&number), packer)
                    && packer.has_room()
                {
                    packer.push(call.lane, push(verb::PROGRESS, number), &[], data);
                }
            }
            Effect::Assign { spec, number: attempt, deadline, .. } => {
                if let (Some(call), Some(packer)) = (self.calls.get(&number), packer) {
                    let attempt = Attempt { task: spec.id, number: *attempt };
                    let head = AssignHead { attempt, attempts_max: spec.options.attempts_max, left: *deadline };
                    packer.push(call.lane, push(verb::ASSIGN, number), &[&head.encode()], &spec.payload);
                }
            }
            Effect::Recall { attempt, why, .. } => {
                if let (Some(call), Some(packer)) = (self.calls.get(&number), packer) {
                    packer.push(call.lane, push(verb::RECALL, number), &[&recall_head(*attempt, *why)], &Bytes::new());
                }
            }
            Effect::Dismissed { why, .. } => {
                if let (Some(call), Some(packer)) = (self.dismiss(number, why), packer) {
                    push_end(packer, number, &call, &failure_of(why));
                }
            }
        }
    }

    /// The worker under this number is none any more. One that has lost its lease joins again under the same number; until
    /// then it is nobody's, so that the queue hears of reports that come too late, and counts them.
    fn dismiss(&mut self, number: u32, why: &Error) -> Option<Call> {
        if !matches!(why, Error::LeaseOver { .. }) {
            return self.forget(number);
        }
        let call = self.calls.get_mut(&number)?;
        if let What::Work(worker, _) = &mut call.what {
            *worker = WorkerId::nobody();
        }
        Some(call.clone())
    }

    fn answer(&mut self, packer: Option<&mut Packer<'_>>, level: Level, number: u32, answer: &Result<Answer, Error>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let (verb, lane, nothing) = (call.verb, call.lane, Bytes::new());
        let is_patient = call.is_patient && answer.is_ok();
        let reply = |flags| Header { service: SERVICE, verb, flags, call: number };
        let push = |header: Header, head: &[u8], body: &Bytes| match packer {
            Some(packer) if is_patient => packer.push_without_hurry(lane, header, &[head], body),
            Some(packer) => packer.push(lane, header, &[head], body),
            None => {}
        };
        match (answer, &mut call.what) {
            (Ok(Answer::Accepted { task, duplicate }), What::Wait(waits)) => {
                *waits = *task;
                return push(
                    reply(REPLY),
                    &AcceptedHead { task: *task, level, duplicate: *duplicate }.encode(),
                    &nothing,
                );
            }
            (Ok(Answer::Accepted { task, duplicate }), _) => {
                push(reply(REPLY), &AcceptedHead { task: *task, level, duplicate: *duplicate }.encode(), &nothing);
            }
            (Ok(Answer::Joined { lease }), What::Work(_, credit)) => {
                return push(reply(REPLY), &joined_head(*lease, *credit), &nothing);
            }
            (Ok(Answer::Joined { lease }), _) => push(reply(REPLY), &joined_head(*lease, 0), &nothing),
            (Ok(Answer::Cancelled { had_ended: so } | Answer::Settled { late: so }), _) => {
                push(reply(REPLY), &[u8::from(*so)], &nothing);
            }
            (Err(error), _) => {
                push(reply(REPLY | FAILURE), &[], &Bytes::from(to_cbor(&failure_of(error))));
            }
        }
        self.forget(number);
    }

    fn ended(&mut self, bytes_max: usize, packer: &mut Packer<'_>, number: u32, call: Call, outcome: &Arc<Outcome>) {
        if self.behind.is_empty() && packer.has_room() {
            return push_ended(packer, &mut self.head, call.lane, number, outcome);
        }
        if self.behind_bytes + outcome.body.len() > bytes_max {
            let reason = format!(
                "more than {bytes_max} bytes of outcomes wait until this session reads them; wait for fewer tasks at one \
                 time, raise `ended_bytes_max`, or fetch the outcome by the task's id"
            );
            return push_end(packer, number, &call, &Failure::new("limit", reason));
        }
        self.behind_bytes += outcome.body.len();
        self.behind.push_back(Behind { call: number, lane: call.lane, outcome: outcome.clone() });
    }
}

fn push(verb: u8, call: u32) -> Header {
    Header { service: SERVICE, verb, flags: 0, call }
}

fn push_ended(packer: &mut Packer<'_>, head: &mut Vec<u8>, lane: Lane, number: u32, outcome: &Outcome) {
    ending_head(&outcome.ending, head);
    packer.push(lane, push(verb::ENDED, number), &[head], &outcome.body);
}

/// A wait or a membership is over.
fn push_end(packer: &mut Packer<'_>, number: u32, call: &Call, failure: &Failure) {
    let header = match call.what {
        What::Wait(_) => push(verb::FAILED, number),
        What::Work(..) => push(verb::DISMISSED, number),
        What::Once => Header { service: SERVICE, verb: call.verb, flags: REPLY | FAILURE, call: number },
    };
    packer.push(call.lane, header, &[], &Bytes::from(to_cbor(failure)));
}
