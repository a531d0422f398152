//! Workers of a session: they join, renew, report, leave.

use bytes::Bytes;
use sinew_session::{Failure, Lane, Record};

use super::attachment::TaskAttachment;
use super::seats::{Call, What};
use super::waits::{kept, reply_to};
use crate::protocol::{
    Asks, JoinHead, PROGRESS_BYTES_MAX, ReportHead, bad_request, read_attempt, read_held, read_number, verb,
};
use crate::{Input, WorkerId, WorkerSpec};

impl TaskAttachment {
    pub(super) fn join(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head = JoinHead::read(record.head()).ok_or_else(|| bad_request("a join head does not hold together"))?;
        let JoinHead { queue, worker: id, credit, member } = head?;
        self.check(Asks::Join(queue))?;
        let name = self.door(queue)?.name.clone();
        let credit = credit.clamp(1, self.shared.limits.credit_max);
        let call = Call { verb: verb::JOIN, lane, queue: name, what: What::Work(id, credit), is_patient: false };
        let entered = self.seat.enter(record.header.call, call, self.shared.limits.workers_max);
        entered.map_err(|max| {
            let reason = format!("this session has {max} workers, the limit; give them more tasks at one time instead");
            Failure::new("limit", reason)
        })?;
        let (asker, owner) = (self.asker(record.header.call), self.owner.clone());
        let worker = WorkerSpec { id, owner, name: member.name.into(), tags: member.tags, credit };
        self.gather(queue, Input::Join { asker, worker: worker.into(), held: read_held(record.body()).collect() });
        Ok(())
    }

    /// The worker of this membership, and its queue.
    fn worker(&self, number: u32) -> Option<(Call, WorkerId)> {
        let call = self.seat.standing(number)?;
        match call.what {
            What::Work(worker, _) => Some((call, worker)),
            What::Once | What::Wait(_) => None,
        }
    }

    /// What a worker says without an answer. From one that was just dismissed it is late, not wrong.
    pub(super) fn of_worker(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let Some((call, worker)) = self.worker(record.header.call) else { return Ok(()) };
        let input = match record.header.verb {
            verb::RENEW => {
                self.check(Asks::Renew)?;
                Input::Renew { worker }
            }
            verb::DRAIN => {
                self.check(Asks::Drain)?;
                Input::Drain { worker }
            }
            _ => {
                self.check(Asks::Progress)?;
                let attempt = read_attempt(record.head()).ok_or_else(|| bad_request("progress of no attempt"))?;
                if record.body().len() > PROGRESS_BYTES_MAX {
                    return Err(bad_request(format!("progress of more than {PROGRESS_BYTES_MAX} bytes")));
                }
                Input::Progress { worker, attempt, data: kept(record.body_shared()) }
            }
        };
        self.gather(call.queue.as_str(), input);
        Ok(())
    }

    pub(super) fn report(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head =
            ReportHead::read(record.head()).ok_or_else(|| bad_request("a report head does not hold together"))?;
        self.check(Asks::Report)?;
        let Some((call, worker)) = self.worker(head.number) else {
            // Whatever it reports comes too late.
            self.link.pack().push(lane, reply_to(record), &[&[1]], &Bytes::new());
            return Ok(());
        };
        let asker = self.enter_once(lane, record, call.queue.as_str())?;
        let report = head.report(kept(record.body_shared()));
        self.gather(call.queue.as_str(), Input::Report { asker, worker, attempt: head.attempt, report });
        Ok(())
    }

    pub(super) fn leave(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let number = read_number(record.head()).ok_or_else(|| bad_request("a leave without its membership"))?;
        self.check(Asks::Leave)?;
        if let Some((call, worker)) = self.worker(number) {
            self.seat.forget(number);
            self.gather(call.queue.as_str(), Input::Resign { worker, connection: self.seat.connection });
        }
        self.link.pack().push(lane, reply_to(record), &[], &Bytes::new());
        Ok(())
    }
}
