//! A task as its worker has it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use sinew_session::ResourceName;

use super::{Desk, TaskError};
use crate::protocol::{AssignHead, PROGRESS_BYTES_MAX};
use crate::scheduler::{MESSAGE_BYTES_MAX, without_details};
use crate::{Attempt, Error, Recalled, Report, Result, TaskId};

/// An attempt at a task. Cheap to clone; what became of it is told once, by [`done`](Self::done), [`fail`](Self::fail) or
/// [`hand_back`](Self::hand_back). Once the last clone is dropped without a word, it is handed back.
#[derive(Clone, Debug)]
pub struct Job {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: Arc<Desk>,
    head: AssignHead,
    payload: Bytes,
    deadline: Option<Instant>,
    recall: Arc<Recall>,
}

/// Whether an attempt was taken back, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Recall(Mutex<RecallState>);

#[derive(Debug, Default)]
struct RecallState {
    why: Option<Recalled>,
    wakers: Vec<Waker>,
}

impl Recall {
    fn lock(&self) -> MutexGuard<'_, RecallState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, why: Recalled) {
        let mut state = self.lock();
        state.why.get_or_insert(why);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Job {
    pub(super) fn new(desk: &Arc<Desk>, head: AssignHead, payload: Bytes, recall: Arc<Recall>) -> Self {
        let deadline = head.left.and_then(|left| Instant::now().checked_add(left));
        Self { inner: Arc::new(Inner { desk: desk.clone(), head, payload, deadline, recall }) }
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.inner.head.attempt.task
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.head.attempt.number
    }

    /// How often the task is begun at most.
    pub fn attempts_max(&self) -> u32 {
        self.inner.head.attempts_max
    }

    /// The queue that it is from.
    pub fn queue(&self) -> &ResourceName {
        &self.inner.desk.queue
    }

    /// What is to be done. It shares a receive buffer: copy what is kept for long.
    pub fn payload(&self) -> &Bytes {
        &self.inner.payload
    }

    /// The payload, read from CBOR: at most 64 levels deep, unknown fields skipped, nothing left over.
    ///
    /// # Errors
    /// `Undecodable`, which says what is wrong. As a [`TaskError`] it is one for good.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        crate::client::decoded(self.queue(), self.payload())
    }

    /// When it is over, if ever: it is [cancelled](Self::cancelled) then.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// How much time is left, if it has an end.
    pub fn time_left(&self) -> Option<Duration> {
        self.inner.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Tells who waits for the task how far it is, and its queue that it goes on. Does not wait; what the connection has no
    /// room for is dropped, and so is what is above 64 KiB.
    pub fn progress(&self, data: impl Into<Bytes>) {
        let data = data.into();
        if data.len() <= PROGRESS_BYTES_MAX {
            self.inner.desk.progress(self.inner.head.attempt, &data);
        }
    }

    /// Whether it need not be done any more, and why: whatever is reported then comes too late.
    pub fn recalled(&self) -> Option<Recalled> {
        self.inner.recall.lock().why
    }

    /// Waits until it need not be done any more: it was cancelled, its deadline has passed, it told no progress for too long,
    /// or the worker's lease was lost. Cancel-safe.
    pub async fn cancelled(&self) -> Recalled {
        poll_fn(|cx| {
            let mut state = self.inner.recall.lock();
            match state.why {
                Some(why) => Poll::Ready(why),
                None => {
                    if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                        state.wakers.push(cx.waker().clone());
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// It is done. Does not wait: [`Worker::flush`](crate::Worker::flush) does, and it is told again after a cut. Only the
    /// first word counts.
    pub fn done(&self, result: impl Into<Bytes>) {
        self.done_by(result.into(), Desk::settle);
    }

    /// The same from a worker that goes on being polled.
    pub(super) fn done_in_turn(&self, result: impl Into<Bytes>) {
        self.done_by(result.into(), Desk::settle_in_turn);
    }

    fn done_by(&self, result: Bytes, settle: fn(&Arc<Desk>, Attempt, Report)) {
        let (bytes, max) = (result.len(), self.inner.desk.result_bytes_max());
        if bytes > max {
            let advice = "store it elsewhere and return where it is".into();
            let error =
                Error::TooLarge { queue: self.queue().to_string(), what: "a result".into(), bytes, max, advice };
            return self.fail(TaskError::new("result-too-large", error).for_good());
        }
        settle(&self.inner.desk, self.attempt_id(), Report::Done(result));
    }

    /// It failed. As [`done`](Self::done). Details that are too large are left out, and the message says so.
    pub fn fail(&self, error: TaskError) {
        let TaskError { code, mut message, mut details, is_final } = error;
        // Code and message have their place, too.
        let max = self.inner.desk.result_bytes_max().saturating_sub(MESSAGE_BYTES_MAX * 2);
        if details.len() > max {
            message = without_details(message, details.len(), max);
            details = Bytes::new();
        }
        self.settle(Report::Failed { code, message, details, is_final });
    }

    /// It was not begun, or is undone: somebody else may have it, and it counts as no attempt. As [`done`](Self::done).
    pub fn hand_back(&self) {
        self.settle(Report::HandedBack);
    }

    fn settle(&self, report: Report) {
        self.inner.desk.settle(self.attempt_id(), report);
    }

    fn attempt_id(&self) -> Attempt {
        self.inner.head.attempt
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.desk.settle(self.head.attempt, Report::HandedBack);
    }
}

/// A payload that cannot be read will not become readable.
impl From<Error> for TaskError {
    fn from(error: Error) -> Self {
        let code = if matches!(error, Error::Undecodable { .. }) { "undecodable" } else { "failed" };
        let is_final = matches!(error, Error::Undecodable { .. } | Error::Unencodable { .. });
        Self { is_final, ..Self::new(code, error) }
    }
}
