//! The client's end of one wait for a task: what has come of it so far.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sinew_session::{
    Error as SessionError, FAILURE, Failure, Record, Reply, Request, ResourceName, Restore, Session, from_cbor,
};

use super::{CALL, Shared, unreadable};
use crate::protocol::{AcceptedHead, SERVICE, WaitHead, error_of, read_ending, task_head, verb};
use crate::{Error, Level, Outcome, Result, TaskId};

/// Words of progress that wait to be read; beyond, the oldest is dropped.
const PROGRESS_MAX: usize = 64;

/// One wait.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) number: u32,
    pub(crate) queue: ResourceName,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    task: TaskId,
    /// What the queue promises, once it has accepted the task.
    accepted: Option<AcceptedHead>,
    /// The server need not keep the outcome once it is here.
    releases: bool,
    progress: VecDeque<Bytes>,
    outcome: Option<Result<Outcome>>,
    /// Why who submits it has no answer.
    unanswered: Option<SessionError>,
    end_waker: Option<Waker>,
    progress_waker: Option<Waker>,
}

/// What who submits a task for its outcome hears of it.
#[derive(Debug)]
pub(crate) enum Heard {
    Outcome(Result<Outcome>),
    /// The submission has no answer, and why.
    Unanswered(SessionError),
}

/// Waits that were given up, by number, until the server knows.
#[derive(Debug, Default)]
pub(crate) struct Abandonments(Mutex<BTreeMap<u32, Abandoned>>);

#[derive(Clone, Debug)]
struct Abandoned {
    queue: ResourceName,
    task: TaskId,
}

impl Wait {
    pub(crate) fn new(number: u32, queue: ResourceName, task: TaskId, releases: bool) -> Arc<Self> {
        let state = State {
            task,
            accepted: None,
            releases,
            progress: VecDeque::new(),
            outcome: None,
            unanswered: None,
            end_waker: None,
            progress_waker: None,
        };
        Arc::new(Self { number, queue, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn task(&self) -> TaskId {
        self.lock().task
    }

    /// The answer to who submitted it, or wants to hear of it. To be called where it arrives.
    pub(crate) fn accept(&self, reply: &sinew_session::Result<Reply>) {
        if let Some(accepted) = reply.as_ref().ok().and_then(|reply| AcceptedHead::read(&reply.head)) {
            let mut state = self.lock();
            (state.task, state.accepted) = (accepted.task, Some(accepted));
        }
    }

    /// The same where the outcome is what is waited for: nobody is woken because it was accepted.
    pub(crate) fn answered(&self, reply: sinew_session::Result<Reply>) {
        self.accept(&reply);
        let mut state = self.lock();
        let unanswered = match reply {
            Ok(_) if state.accepted.is_some() => return,
            Ok(_) => unreadable("its answer to a task"),
            Err(error) => error,
        };
        state.unanswered = Some(unanswered);
        let waker = state.end_waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<Heard> {
        let mut state = self.lock();
        if let Some(outcome) = state.outcome.clone() {
            return Poll::Ready(Heard::Outcome(outcome));
        }
        if let Some(error) = state.unanswered.take() {
            return Poll::Ready(Heard::Unanswered(error));
        }
        if !state.end_waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.end_waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(crate) fn level(&self) -> Level {
        self.lock().accepted.map_or(Level::Memory, |accepted| accepted.level)
    }

    pub(crate) fn is_duplicate(&self) -> bool {
        self.lock().accepted.is_some_and(|accepted| accepted.duplicate)
    }

    /// The outcome is to be kept by the server, whether it has come or not.
    pub(crate) fn keep(&self) {
        self.lock().releases = false;
    }

    pub(crate) fn progress(&self, data: Bytes) {
        let mut state = self.lock();
        if state.progress.len() >= PROGRESS_MAX {
            state.progress.pop_front();
        }
        state.progress.push_back(data);
        let waker = state.progress_waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// What the server says last of it. Gives the task if its outcome need not be kept, and whom to wake.
    pub(crate) fn end_by(&self, record: &Record<'_>, wakers: &mut Vec<Waker>) -> Option<TaskId> {
        let has_ended = record.header.verb == verb::ENDED;
        let outcome = if has_ended {
            let ending = read_ending(record.head()).ok_or_else(|| unreadable("how a task ended").into());
            ending.map(|ending| Outcome { ending, body: record.body_shared() })
        } else {
            Err(failure(record))
        };
        let mut state = self.lock();
        wakers.extend(state.end(outcome));
        (has_ended && state.releases).then_some(state.task)
    }

    pub(crate) fn end(&self, outcome: Result<Outcome>) {
        let wakers: Vec<_> = self.lock().end(outcome).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().outcome.is_some()
    }

    pub(crate) fn poll_outcome(&self, cx: &mut Context<'_>) -> Poll<Result<Outcome>> {
        let mut state = self.lock();
        match &state.outcome {
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                state.end_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_progress(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.lock();
        if let Some(data) = state.progress.pop_front() {
            return Poll::Ready(Some(data));
        }
        if state.outcome.is_some() {
            return Poll::Ready(None);
        }
        state.progress_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Nobody knows what became of it.
    fn lost(&self) -> Error {
        Error::OutcomeUnknown { queue: self.queue.to_string(), task: self.task() }
    }
}

/// What the body of a last word says.
pub(crate) fn failure(record: &Record<'_>) -> Error {
    debug_assert_eq!(record.header.flags & FAILURE, 0, "a reply goes to its call");
    let failure = from_cbor(record.body()).unwrap_or_else(|error| Failure::new("unreadable", error.to_string()));
    error_of(SessionError::Failed(failure))
}

impl State {
    /// How it ended, unless that is known. Gives whom to wake, with no lock held.
    fn end(&mut self, outcome: Result<Outcome>) -> impl Iterator<Item = Waker> + use<> {
        self.outcome.get_or_insert(outcome);
        [self.end_waker.take(), self.progress_waker.take()].into_iter().flatten()
    }
}

impl Abandonments {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Abandoned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// What the server says to it.
    fn answered(&self, number: u32, reply: &sinew_session::Result<Reply>) {
        // Cut in between: the next restore says it again. Any other word is the last.
        if !matches!(reply, Err(SessionError::OutcomeUnknown)) {
            self.lock().remove(&number);
        }
    }
}

impl Abandoned {
    fn head(&self, number: u32) -> Vec<u8> {
        WaitHead { queue: self.queue.as_str(), task: self.task, number }.encode()
    }

    /// What tells the server.
    fn request<'a>(&'a self, head: &'a [&'a [u8]]) -> Request<'a> {
        let key = self.queue.as_str().as_bytes();
        Request { head: Some(head), ..Request::new(SERVICE, verb::ABANDON, key, Bytes::new(), CALL) }
    }
}

impl Shared {
    pub(super) fn enter(&self, wait: &Arc<Wait>) {
        self.waits.enter(wait.number, wait);
    }

    /// The server has nothing more to say of it, or never had.
    pub(super) fn forget(&self, wait: &Wait) -> bool {
        self.waits.leave(wait.number)
    }

    /// Nobody waits any more: the server is told, again after a cut.
    pub(super) fn abandon(&self, session: &Session, wait: &Wait) {
        if !self.forget(wait) {
            return;
        }
        let (number, abandoned) = (wait.number, Abandoned { queue: wait.queue.clone(), task: wait.task() });
        self.abandoned.lock().insert(number, abandoned.clone());
        let (head, abandonments) = (abandoned.head(number), self.abandoned.clone());
        session.cast(abandoned.request(&[&head]), move |reply| abandonments.answered(number, &reply));
    }
}

/// After a cut: waits again for what was accepted, and gives up again what was given up.
pub(super) fn restore(shared: &Shared, restore: &mut Restore<'_>) {
    for wait in shared.waits.all() {
        if wait.lock().accepted.is_none() {
            continue; // Who submits it sends it again.
        }
        let head = task_head(wait.queue.as_str(), wait.task());
        let pieces: [&[u8]; 1] = [&head];
        let key = wait.queue.as_str().as_bytes();
        let request = Request::new(SERVICE, verb::ATTACH, key, Bytes::new(), CALL);
        let (again, waits) = (wait.clone(), shared.waits.clone());
        restore.call(Request { number: Some(wait.number), head: Some(&pieces), ..request }, move |reply| match reply {
            Ok(_) => {}
            // Cut again: the next restore asks again.
            Err(error) if error.is_retryable() => {}
            Err(error) => {
                waits.leave(again.number);
                again.end(Err(match error_of(error) {
                    Error::UnknownTask { .. } | Error::UnknownQueue { .. } => again.lost(),
                    error => error,
                }));
            }
        });
    }
    let all: Vec<_> = shared.abandoned.lock().iter().map(|(number, abandoned)| (*number, abandoned.clone())).collect();
    for (number, abandoned) in all {
        let (head, abandonments) = (abandoned.head(number), shared.abandoned.clone());
        restore.call(abandoned.request(&[&head]), move |reply| abandonments.answered(number, &reply));
    }
}
