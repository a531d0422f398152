//! The client's end of one membership: tasks that came and were not taken, attempts whose reports are not known to the server.
//! Plain state behind one short lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sinew_session::{
    Error as SessionError, Header, Record, Reply, Request, ResourceName, Restore, Session, Streams, WeakSession,
};
use tokio::sync::Notify;

use super::job::Recall;
use super::lease::Lease;
use super::{Job, Wish};
use crate::client::{CALL, failure, unreadable};
use crate::protocol::{
    AssignHead, JoinHead, Member, SERVICE, attempt_head, error_of, held_body, read_joined, read_recall, verb,
};
use crate::{Attempt, Error, PAYLOAD_BYTES_MAX, Recalled, Report, Result, TaskQueue, WorkerId};

/// Bytes of a report beside its result: header and head.
const REPORT_BYTES: usize = 64;

/// One membership at the client.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) number: u32,
    pub(crate) worker: WorkerId,
    pub(crate) queue: ResourceName,
    wish: Wish,
    session: WeakSession,
    desks: Weak<Streams<Desk>>,
    state: Mutex<State>,
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Came and was not taken.
    pub(super) waiting: VecDeque<(AssignHead, Bytes)>,
    /// Came, and the server has not said that it knows what became of it.
    pub(super) held: BTreeMap<Attempt, Held>,
    pub(super) confirmed: bool,
    credit: u32,
    draining: bool,
    pub(super) left: bool,
    pub(super) late: u64,
    pub(super) lease: Option<Lease>,
    waker: Option<Waker>,
    pub(super) ended: Option<Error>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    recall: Arc<Recall>,
    pub(super) report: Option<Report>,
    /// The report is on its way.
    pub(super) sending: bool,
}

impl State {
    /// It will not be taken any more.
    pub(super) fn untaken(&mut self, attempt: Attempt) {
        self.waiting.retain(|(head, _)| head.attempt != attempt);
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}

/// Joins, for good.
pub(super) async fn join(queue: &TaskQueue, wish: Wish) -> Result<Arc<Desk>> {
    let (session, shared) = (&queue.tasks.session, &queue.tasks.shared);
    session.room().await?;
    let (number, worker) = (session.number()?, shared.worker());
    let desk = Arc::new(Desk {
        number,
        worker,
        queue: queue.name.clone(),
        wish,
        session: session.downgrade(),
        desks: Arc::downgrade(&shared.desks),
        state: Mutex::default(),
        changed: Notify::new(),
    });
    shared.desks.enter(number, &desk);
    let entered = Entered(&desk);
    let head = desk.join_head();
    loop {
        let pieces: [&[u8]; 1] = [&head];
        let seen = desk.clone();
        let seen = move |reply: &sinew_session::Result<Reply>| {
            if let Ok(reply) = reply {
                seen.confirm(reply);
            }
        };
        match session.call_seen(desk.join_request(&pieces, Bytes::new()), seen).await {
            // Cut in between: it is the same worker that joins again.
            Err(SessionError::OutcomeUnknown) => {}
            reply => {
                reply.map_err(error_of)?;
                break;
            }
        }
    }
    if let Some(error) = desk.ended() {
        return Err(error);
    }
    std::mem::forget(entered);
    Ok(desk)
}

/// Leaves unless it has joined.
struct Entered<'a>(&'a Desk);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Desk {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, if it is still there.
    pub(super) fn session(&self) -> Option<Session> {
        self.session.upgrade()
    }

    pub(super) fn concurrency(&self) -> usize {
        self.lock().credit.max(1) as usize
    }

    pub(super) fn desks(&self) -> Option<Arc<Streams<Desk>>> {
        self.desks.upgrade()
    }

    pub(super) fn key(&self) -> &[u8] {
        self.queue.as_str().as_bytes()
    }

    fn join_head(&self) -> Vec<u8> {
        let Wish { concurrency, tags, name } = self.wish.clone();
        let member = Member { name, tags };
        JoinHead { queue: self.queue.as_str(), worker: self.worker, credit: concurrency, member }.encode()
    }

    fn join_request<'a>(&'a self, head: &'a [&'a [u8]], held: Bytes) -> Request<'a> {
        let request = Request::new(SERVICE, verb::JOIN, self.key(), held, CALL);
        Request { number: Some(self.number), head: Some(head), ..request }
    }

    /// A record for it has come. Gives whom to wake once no more are there.
    pub(crate) fn receive(self: &Arc<Self>, record: &Record<'_>, wakers: &mut Vec<Waker>) {
        match record.header.verb {
            verb::ASSIGN => match AssignHead::read(record.head()) {
                Some(head) => wakers.extend(self.assigned(head, record.body_shared())),
                None => self.end(unreadable("a task that was assigned").into()),
            },
            verb::RECALL => match read_recall(record.head()) {
                Some((attempt, why)) => self.recalled(attempt, why),
                None => self.end(unreadable("a task that was taken back").into()),
            },
            verb::DISMISSED => match failure(record) {
                Error::LeaseOver { .. } | Error::UnknownWorker { .. } => self.join_again(),
                error => self.end(error),
            },
            _ => {}
        }
    }

    fn assigned(self: &Arc<Self>, head: AssignHead, payload: Bytes) -> Option<Waker> {
        let mut state = self.lock();
        state.held.insert(head.attempt, Held::default());
        state.waiting.push_back((head, payload));
        let (hands_back, waker) = (state.draining, state.waker.take());
        drop(state);
        if hands_back {
            self.hand_waiting_back();
        }
        waker
    }

    fn recalled(&self, attempt: Attempt, why: Recalled) {
        let mut state = self.lock();
        state.untaken(attempt);
        if let Some(held) = state.held.remove(&attempt) {
            held.recall.set(why);
            state.late += u64::from(held.report.is_some());
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// What it has is lost to it: it comes back with nothing.
    fn join_again(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.ended.is_some() || state.left {
            return;
        }
        (state.confirmed, state.lease) = (false, None);
        state.waiting.clear();
        let held = std::mem::take(&mut state.held);
        state.late += held.values().filter(|held| held.report.is_some()).count() as u64;
        drop(state);
        held.values().for_each(|held| held.recall.set(Recalled::Lost));
        self.changed.notify_waiters();
        let Some(session) = self.session() else { return };
        let head = self.join_head();
        let again = self.clone();
        session.cast(self.join_request(&[&head], Bytes::new()), move |reply| match reply {
            // The server takes long: it is asked until it says something.
            Err(SessionError::Timeout { .. }) => again.join_again(),
            reply => again.joined(reply),
        });
    }

    /// After a cut: a worker again, with what it has.
    pub(crate) fn restore(self: &Arc<Self>, restore: &mut Restore<'_>) {
        let state = self.lock();
        if !state.confirmed || state.ended.is_some() || state.left {
            return;
        }
        let held = held_body(state.held.keys().copied());
        drop(state);
        let head = self.join_head();
        let again = self.clone();
        restore.call(self.join_request(&[&head], held), move |reply| again.joined(reply));
    }

    fn joined(self: &Arc<Self>, reply: sinew_session::Result<Reply>) {
        match reply {
            Ok(reply) => self.confirm(&reply),
            // Cut again: the next restore asks again.
            Err(error) if error.is_retryable() => self.lock().confirmed = true,
            Err(error) => self.end(error_of(error)),
        }
    }

    /// It has joined. To be called where the answer arrives: a cut after it must find it confirmed.
    fn confirm(self: &Arc<Self>, reply: &Reply) {
        let Some((lease, credit)) = read_joined(&reply.head) else {
            return self.end(unreadable("its answer to a worker").into());
        };
        let Some(session) = self.session() else { return };
        let mut state = self.lock();
        (state.confirmed, state.credit) = (true, credit);
        state.lease = Some(Lease::start(&session, self, lease));
        let draining = state.draining;
        drop(state);
        if draining {
            self.say(verb::DRAIN, &[], &Bytes::new());
        }
        self.send_reports();
    }

    /// It is over.
    pub(crate) fn end(&self, why: Error) {
        let mut state = self.lock();
        state.ended.get_or_insert(why);
        state.waiting.clear();
        state.lease = None;
        let held = std::mem::take(&mut state.held);
        wake(state);
        held.values().for_each(|held| held.recall.set(Recalled::Lost));
        self.changed.notify_waiters();
        if let Some(desks) = self.desks.upgrade() {
            desks.leave(self.number);
        }
    }

    pub(super) fn ended(&self) -> Option<Error> {
        self.lock().ended.clone()
    }

    pub(super) fn late(&self) -> u64 {
        self.lock().late
    }

    pub(super) fn poll_next(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Job>> {
        let mut state = self.lock();
        if let Some((head, payload)) = state.waiting.pop_front() {
            let recall = state.held.get(&head.attempt).map(|held| held.recall.clone()).unwrap_or_default();
            drop(state);
            return Poll::Ready(Some(Job::new(self, head, payload, recall)));
        }
        if state.ended.is_some() || state.left {
            return Poll::Ready(None);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Says something on the membership, without an answer.
    fn say(&self, verb: u8, head: &[u8], body: &Bytes) {
        let Some(session) = self.session() else { return };
        let header = Header { service: SERVICE, verb, flags: 0, call: self.number };
        let mut packer = session.outbox().pack();
        let lane = packer.lane(self.key());
        packer.push(lane, header, &[head], body);
    }

    pub(super) fn renew(self: &Arc<Self>) {
        self.say(verb::RENEW, &[], &Bytes::new());
        self.send_reports();
    }

    /// The largest result that can be reported.
    pub(super) fn result_bytes_max(&self) -> usize {
        let record = self.session().map_or(usize::MAX, |session| session.record_bytes_max());
        record.saturating_sub(REPORT_BYTES).min(PAYLOAD_BYTES_MAX as usize)
    }

    /// Tells how far an attempt is. What finds no room is passed over: it is the newest that matters.
    pub(super) fn progress(&self, attempt: Attempt, data: &Bytes) {
        let Some(session) = self.session() else { return };
        let header = Header { service: SERVICE, verb: verb::PROGRESS, flags: 0, call: self.number };
        let mut packer = session.outbox().pack();
        if packer.has_room() {
            let lane = packer.lane(self.key());
            packer.push(lane, header, &[&attempt_head(attempt)], data);
        }
    }

    pub(super) fn drain(self: &Arc<Self>) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.draining, true) {
            return;
        }
        let confirmed = state.confirmed;
        drop(state);
        if confirmed {
            self.say(verb::DRAIN, &[], &Bytes::new());
        }
        self.hand_waiting_back();
    }
}
