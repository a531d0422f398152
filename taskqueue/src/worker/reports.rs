//! What becomes of attempts: reported, and told again after a cut until the server knows.

use std::sync::Arc;

use bytes::Bytes;
use sinew_session::{Error as SessionError, Reply, Request};

use super::desk::Desk;
use crate::client::{CALL, FOR_EVER};
use crate::protocol::{SERVICE, error_of, number_head, report_of, verb};
use crate::{Attempt, Error, Report, Result};

/// Whether a report that was answered so would be answered so again.
fn is_final(error: &SessionError) -> bool {
    matches!(
        error_of(error.clone()),
        Error::TooLarge { .. }
            | Error::Invalid { .. }
            | Error::UnknownWorker { .. }
            | Error::UnknownTask { .. }
            | Error::UnknownQueue { .. }
            | Error::Ended { .. }
            | Error::Session(SessionError::Failed(_))
    )
}

impl Desk {
    /// What became of an attempt. Only the first word counts, and none of one that was recalled.
    pub(super) fn settle(self: &Arc<Self>, attempt: Attempt, report: Report) {
        self.settle_by(false, attempt, report);
    }

    /// The same by a worker that goes on being polled: what it reports in one turn travels together.
    pub(super) fn settle_in_turn(self: &Arc<Self>, attempt: Attempt, report: Report) {
        self.settle_by(true, attempt, report);
    }

    fn settle_by(self: &Arc<Self>, in_turn: bool, attempt: Attempt, report: Report) {
        let mut state = self.lock();
        let Some(held) = state.held.get_mut(&attempt) else { return };
        if held.report.is_some() {
            return;
        }
        held.report = Some(report);
        state.untaken(attempt);
        drop(state);
        self.send_report(in_turn, attempt);
        self.changed.notify_waiters();
    }

    fn send_report(self: &Arc<Self>, in_turn: bool, attempt: Attempt) {
        let Some(session) = self.session() else { return };
        let (head, body) = {
            let mut state = self.lock();
            // It has not joined: what is told now would be nobody's. It is told once it has.
            if !state.confirmed {
                return;
            }
            let Some(held) = state.held.get_mut(&attempt).filter(|held| !held.sending) else { return };
            let Some(report) = &held.report else { return };
            let packed = report_of(self.number, attempt, report);
            held.sending = true;
            packed
        };
        let pieces: [&[u8]; 1] = [&head];
        let request = Request::new(SERVICE, verb::REPORT, self.key(), body, FOR_EVER);
        // Weak: an answer that is awaited keeps no worker.
        let desk = Arc::downgrade(self);
        let done = move |reply: sinew_session::Result<Reply>| {
            if let Some(desk) = desk.upgrade() {
                desk.reported(attempt, &reply);
            }
        };
        let request = Request { head: Some(&pieces), ..request };
        if in_turn { session.cast_in_turn(request, done) } else { session.cast(request, done) }
    }

    fn reported(&self, attempt: Attempt, reply: &sinew_session::Result<Reply>) {
        let mut state = self.lock();
        match reply {
            // Whatever the queue does not take it does not take later either; it has said so to who waits.
            Err(error) if is_final(error) => {
                state.held.remove(&attempt);
                tracing::warn!(queue = %self.queue, task = %attempt.task, %error, "a report was not taken");
            }
            // Cut, or too much at this moment: it goes again once the worker has joined again, or renews.
            Err(_) => {
                if let Some(held) = state.held.get_mut(&attempt) {
                    held.sending = false;
                }
                return;
            }
            Ok(reply) => {
                let is_late = reply.head.first().is_some_and(|late| *late != 0);
                let was_held = state.held.remove(&attempt).is_some();
                state.late += u64::from(is_late && was_held);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Tells again what the server does not know.
    pub(super) fn send_reports(self: &Arc<Self>) {
        let unknown: Vec<Attempt> = {
            let state = self.lock();
            let unsent = state.held.iter().filter(|(_, held)| held.report.is_some() && !held.sending);
            unsent.map(|(attempt, _)| *attempt).collect()
        };
        unknown.into_iter().for_each(|attempt| self.send_report(false, attempt));
    }

    /// What came and was not taken goes back.
    pub(super) fn hand_waiting_back(self: &Arc<Self>) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.iter().for_each(|(head, _)| self.settle(head.attempt, Report::HandedBack));
    }

    /// Everything that has not ended goes back.
    pub(super) fn hand_all_back(self: &Arc<Self>) {
        let all: Vec<Attempt> = self.lock().held.keys().copied().collect();
        all.into_iter().for_each(|attempt| self.settle(attempt, Report::HandedBack));
    }

    /// Waits until everything that was taken has been reported.
    pub(super) async fn idle(&self) -> Result<()> {
        self.until(|held| held.report.is_some()).await
    }

    /// Waits until everything that was reported is known to the server.
    pub(super) async fn flush(&self) -> Result<()> {
        self.until(|held| held.report.is_none()).await
    }

    async fn until(&self, is_fine: impl Fn(&super::desk::Held) -> bool) -> Result<()> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.lock();
                if let Some(error) = &state.ended {
                    return Err(error.clone());
                }
                if state.held.values().all(&is_fine) {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    fn leave_request<'a>(&'a self, head: &'a [&'a [u8]]) -> Request<'a> {
        Request { head: Some(head), ..Request::new(SERVICE, verb::LEAVE, self.key(), Bytes::new(), CALL) }
    }

    /// Forgets it; whether it was still there, so that the server is to be told.
    fn forget(&self) -> bool {
        let mut state = self.lock();
        state.lease = None;
        let was_here = !std::mem::replace(&mut state.left, true);
        let has_ended = state.ended.is_some();
        drop(state);
        if let Some(desks) = self.desks() {
            desks.leave(self.number);
        }
        was_here && !has_ended
    }

    /// Leaves without waiting.
    pub(super) fn leave(&self) {
        if self.forget()
            && let Some(session) = self.session()
        {
            session.cast(self.leave_request(&[&number_head(self.number)]), |_| ());
        }
    }

    pub(super) async fn leave_surely(&self) -> Result<()> {
        let (session, head) = (self.session(), number_head(self.number));
        if self.forget()
            && let Some(session) = session
        {
            session.call(self.leave_request(&[&head])).await.map_err(error_of)?;
        }
        Ok(())
    }
}
