//! Tasks that are submitted, waited for, given up, cancelled.

use std::sync::Arc;

use bytes::Bytes;
use sinew_session::{Failure, Lane, Record};

use super::attachment::TaskAttachment;
use super::doors::Told;
use super::seats::{Call, What};
use crate::protocol::{Asks, DeadAct, DeadHead, SubmitHead, WaitHead, bad_request, read_queue, read_task, read_tasks};
use crate::{Input, Moment, Spec, TaskId};

/// A payload below this is copied, so that a small one that is kept for long pins no receive buffer.
const SHARED_FROM: usize = 16 * 1024;

pub(super) fn kept(bytes: Bytes) -> Bytes {
    if bytes.len() >= SHARED_FROM { bytes } else { Bytes::copy_from_slice(&bytes) }
}

impl TaskAttachment {
    pub(super) fn submit(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head =
            SubmitHead::read(record.head()).ok_or_else(|| bad_request("a submit head does not hold together"))?;
        let SubmitHead { queue, task, required, again, patient, options } = head?;
        if !self.door(queue)?.submits {
            self.check(Asks::Submit(queue))?;
        }
        self.wait(lane, record, queue, (task, patient))?;
        let spec = Spec {
            id: task,
            owner: self.owner.clone(),
            submitted: Moment::default(),
            options,
            payload: kept(record.body_shared()),
            fingerprint: 0,
        };
        let elsewhere = again.is_some_and(|epoch| epoch != self.link.epoch());
        let input = Input::Submit { asker: self.asker(record.header.call), spec: Arc::new(spec) };
        self.gather(queue, Told { input, required, elsewhere });
        Ok(())
    }

    pub(super) fn attach(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (queue, task) = task_of(record)?;
        self.check(Asks::Attach(queue))?;
        let owner = self.owner_of(queue)?;
        self.wait(lane, record, queue, (task, false))?;
        self.gather(queue, Input::Attach { asker: self.asker(record.header.call), task, owner });
        Ok(())
    }

    /// Somebody waits under this number from now on, and for the answer as well unless that is patient.
    fn wait(
        &mut self,
        lane: Lane,
        record: &Record<'_>,
        queue: &str,
        (task, is_patient): (TaskId, bool),
    ) -> Result<(), Failure> {
        let queue = self.door(queue)?.name.clone();
        let call = Call { verb: record.header.verb, lane, queue, what: What::Wait(task), is_patient };
        let entered = self.seat.enter(record.header.call, call, self.shared.limits.waits_max);
        entered.map_err(|max| {
            let reason = format!(
                "this session waits for {max} tasks, the limit; await some of them first, or raise `waits_max`"
            );
            Failure::new("limit", reason)
        })
    }

    pub(super) fn detach(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (WaitHead { queue, number, .. }, task) = self.wait_of(record)?;
        self.check(Asks::Detach)?;
        let asker = self.enter_once(lane, record, queue)?;
        self.seat.forget(number);
        self.gather(queue, Input::Detach { asker, call: number, task });
        Ok(())
    }

    pub(super) fn abandon(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (WaitHead { queue, number, .. }, task) = self.wait_of(record)?;
        self.check(Asks::Abandon)?;
        self.door(queue)?;
        self.seat.forget(number);
        self.gather(queue, Input::Abandon { asker: self.asker(number), task });
        // Whatever becomes of it: nobody waits.
        self.link.pack().push(lane, reply_to(record), &[], &Bytes::new());
        Ok(())
    }

    /// A wait that is given up, and its task as it was accepted.
    fn wait_of<'a>(&self, record: &Record<'a>) -> Result<(WaitHead<'a>, TaskId), Failure> {
        let head = WaitHead::read(record.head()).ok_or_else(|| bad_request("a wait head does not hold together"))?;
        let standing = self.seat.standing(head.number).filter(|call| call.queue.as_str() == head.queue);
        let task = match standing.map(|call| call.what) {
            Some(What::Wait(task)) => task,
            _ => head.task,
        };
        Ok((head, task))
    }

    pub(super) fn release(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        self.check(Asks::Release)?;
        let queue = read_queue(&mut record.head()).ok_or_else(|| bad_request("a release names no queue"))?;
        self.door(queue)?;
        for task in read_tasks(record.body()) {
            self.gather(queue, Input::Release { task, owner: self.owner.clone() });
        }
        Ok(())
    }

    pub(super) fn cancel_task(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (queue, task) = task_of(record)?;
        self.check(Asks::Cancel(queue))?;
        let owner = self.owner_of(queue)?;
        let asker = self.enter_once(lane, record, queue)?;
        self.gather(queue, Input::Cancel { asker: Some(asker), task, owner });
        Ok(())
    }

    pub(super) fn dead(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head = DeadHead::read(record.head()).ok_or_else(|| bad_request("a dead head does not hold together"))?;
        let DeadHead { queue, task, act } = head;
        self.check(match act {
            DeadAct::Retry(_) => Asks::RetryDead(queue),
            DeadAct::Drop => Asks::DropDead(queue),
        })?;
        let asker = self.enter_once(lane, record, queue)?;
        let input = match act {
            DeadAct::Retry(as_task) => Input::RetryDead { asker, task, as_task },
            DeadAct::Drop => Input::DropDead { asker, task },
        };
        self.gather(queue, input);
        Ok(())
    }
}

fn task_of<'a>(record: &Record<'a>) -> Result<(&'a str, TaskId), Failure> {
    read_task(record.head()).ok_or_else(|| bad_request("a head names no queue and task"))
}

/// The header of an answer.
pub(super) fn reply_to(record: &Record<'_>) -> sinew_session::Header {
    sinew_session::Header { flags: sinew_session::REPLY, ..record.header }
}
