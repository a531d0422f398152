//! One session's side of the task queue: which record is for whom in this folder.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use sinew_session::{Attachment, CRITICAL, Failure, Lane, Link, Operation, Record, Resource, ResourceName, Run};

use super::Shared;
use super::calls::Calls;
use super::doors::Door;
use super::seats::{Call, Seat, What};
use crate::protocol::{Access, Asks, SERVER_PART, access, bad_request, verb};
use crate::{Asker, Input};

/// Whose the tasks of peers without a key are.
const ANONYMOUS: &str = "anonymous";

/// One session.
#[derive(Debug)]
pub(super) struct TaskAttachment {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    pub(super) seat: Arc<Seat>,
    /// Whose its tasks are.
    pub(super) owner: Arc<str>,
    pub(super) doors: HashMap<Box<str>, Door>,
    /// Those for which this block brings something.
    pub(super) touched: Vec<ResourceName>,
    pub(super) calls: Calls,
}

impl TaskAttachment {
    pub(super) fn new(shared: &Arc<Shared>, link: &Arc<Link>) -> Self {
        let owner = link.peer().key.map_or_else(|| ANONYMOUS.to_owned(), |key| key.to_string());
        Self {
            shared: shared.clone(),
            link: link.clone(),
            seat: shared.seats.enter(link),
            owner: owner.into(),
            doors: HashMap::new(),
            touched: Vec::new(),
            calls: Calls::default(),
        }
    }

    /// Whether the peer may do this: what every request asks before anything else happens.
    pub(super) fn check(&self, asks: Asks<'_>) -> Result<(), Failure> {
        match access(asks) {
            Access::Needs(operation, queue) => self.link.may(operation, Resource::Name(queue)),
            Access::NeedsServerToo(operation, queue) => {
                self.link.may(operation, Resource::Name(queue))?;
                self.link.may(Operation::ServerManage, Resource::Name(SERVER_PART))
            }
            Access::Owner(queue) => self.owner_of(queue).map(drop),
            Access::Own => Ok(()),
        }
    }

    /// Whose a task must be that this peer asks for: its own, or anybody's.
    pub(super) fn owner_of(&self, queue: &str) -> Result<Option<Arc<str>>, Failure> {
        if self.link.is_permitted(Operation::TaskManage, Resource::Name(queue)) {
            return Ok(None);
        }
        self.link.may(Operation::TaskSubmit, Resource::Name(queue))?;
        Ok(Some(self.owner.clone()))
    }

    pub(super) fn asker(&self, call: u32) -> Asker {
        Asker { connection: self.seat.connection, call }
    }

    /// A call that a queue is to answer, of which nothing stands afterwards.
    pub(super) fn enter_once(&mut self, lane: Lane, record: &Record<'_>, queue: &str) -> Result<Asker, Failure> {
        let queue = self.door(queue)?.name.clone();
        // A worker that reports goes on without the answer.
        let is_patient = record.header.verb == verb::REPORT;
        let call = Call { verb: record.header.verb, lane, queue, what: What::Once, is_patient };
        let entered = self.seat.enter(record.header.call, call, self.shared.limits.waits_max);
        entered.map_err(|max| {
            let reason =
                format!("{max} calls of this session wait for their queue, the limit; await some of them first");
            Failure::new("limit", reason)
        })?;
        Ok(self.asker(record.header.call))
    }

    fn one(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        match record.header.verb {
            verb::SUBMIT => self.submit(lane, record),
            verb::REPORT => self.report(lane, record),
            verb::RELEASE => self.release(record),
            verb::RENEW | verb::DRAIN | verb::PROGRESS => self.of_worker(record),
            verb::ATTACH => self.attach(lane, record),
            verb::DETACH => self.detach(lane, record),
            verb::ABANDON => self.abandon(lane, record),
            verb::CANCEL => self.cancel_task(lane, record),
            verb::JOIN => self.join(lane, record),
            verb::LEAVE => self.leave(lane, record),
            verb::QUEUE => self.queue(lane, record),
            verb::LIST => self.list(lane, record),
            verb::LOOK => self.look(lane, record),
            verb::PAYLOAD => self.payload(lane, record),
            verb::DEAD => self.dead(lane, record),
            verb::MAINTAIN => self.maintain(lane, record),
            unknown if record.header.flags & CRITICAL != 0 => {
                let reason = format!("this server's task queue does not know verb {unknown}; update the server");
                Err(Failure::new("unknown-verb", reason))
            }
            _ => Ok(()),
        }
    }
}

/// A name of a queue that a client has sent.
pub(super) fn name(text: &str) -> Result<ResourceName, Failure> {
    ResourceName::try_from(text).map_err(bad_request)
}

impl Attachment for TaskAttachment {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure> {
        for record in run {
            if let Err(failure) = self.one(lane, &record)
                && record.header.flags & CRITICAL != 0
            {
                self.link.fail(lane, &record.header, &failure);
            }
        }
        self.tell_gathered();
        Ok(())
    }

    fn cancel(&mut self, call: u32) {
        self.calls.cancel(call);
    }

    fn drained(&mut self) {
        self.seat.drained();
    }

    /// Waits stay, and the client asks for them again when it is back; workers have their leases.
    fn suspend(&mut self) {
        self.calls.clear();
        for (_, call) in self.seat.all() {
            if let What::Work(worker, _) = call.what {
                self.gather(call.queue.as_str(), Input::Cut { worker, connection: self.seat.connection });
            }
        }
        self.seat.cut();
        self.tell_gathered();
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.link = link.clone();
        self.seat.resume(link);
    }

    /// Nobody comes back to what it waits for; a server that stops leaves that to the next one.
    fn over(&mut self) {
        let connection = self.seat.connection;
        for (_, call) in self.seat.all() {
            if let What::Work(worker, _) = call.what {
                self.gather(call.queue.as_str(), Input::Leave { worker, connection });
            }
        }
        let doors: Vec<_> =
            self.doors.values().filter(|door| !door.is_closed()).map(|door| door.name.clone()).collect();
        for queue in doors {
            self.gather(queue.as_str(), Input::Gone { connection });
        }
        self.tell_gathered();
    }

    fn judge(&mut self) {
        for door in self.doors.values_mut() {
            door.submits = self.link.is_permitted(Operation::TaskSubmit, Resource::Name(door.name.as_str()));
        }
        for (number, call) in self.seat.all() {
            let queue = call.queue.as_str();
            let asks = match call.what {
                What::Once => continue,
                What::Wait(_) => Asks::Attach(queue),
                What::Work(..) => Asks::Join(queue),
            };
            if let Err(failure) = self.check(asks) {
                self.seat.end(number, &failure);
                self.give_up(number, &call);
            }
        }
        self.tell_gathered();
    }
}

impl TaskAttachment {
    /// What stood under this number is over: its task is not waited for, its worker leaves.
    fn give_up(&mut self, number: u32, call: &Call) {
        let input = match call.what {
            What::Once => return,
            What::Wait(task) => Input::Abandon { asker: self.asker(number), task },
            What::Work(worker, _) => Input::Leave { worker, connection: self.seat.connection },
        };
        self.gather(call.queue.as_str(), input);
    }
}

impl Drop for TaskAttachment {
    fn drop(&mut self) {
        self.calls.clear();
        self.shared.seats.leave(self.seat.connection);
    }
}
