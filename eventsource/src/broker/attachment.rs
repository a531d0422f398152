//! One session's side of the event log: which record is for whom in this folder.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use sinew_session::{Attachment, CRITICAL, Failure, Lane, Link, Record, ResourceName, Run};
use tokio::sync::{Notify, Semaphore};

use super::Shared;
use super::append::Door;
use super::calls::LongCall;
use super::follow::{FOLLOWS_SENDING_MAX, Following};
use super::members::Membership;
use crate::protocol::{Access, Asks, Grant, SERVER_PART, access, bad_request, verb, violation};

/// One session.
#[derive(Debug)]
pub(super) struct LogAttachment {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    /// The first link's number: it names the session in groups, through all cuts.
    pub(super) connection: u64,
    /// Streams that it appends to.
    pub(super) doors: HashMap<String, Door>,
    pub(super) follows: BTreeMap<u32, Following>,
    pub(super) members: BTreeMap<u32, Membership>,
    /// Told when the outbox has room again.
    pub(super) room: Arc<Notify>,
    /// Has a permit for each follow that may read and send.
    pub(super) turns: Arc<Semaphore>,
    /// Calls under way.
    pub(super) calls: Arc<AtomicUsize>,
    /// Those of them that end with their caller.
    pub(super) long: HashMap<u32, LongCall>,
}

impl LogAttachment {
    pub(super) fn new(shared: &Arc<Shared>, link: &Arc<Link>) -> Self {
        Self {
            shared: shared.clone(),
            link: link.clone(),
            doors: HashMap::new(),
            follows: BTreeMap::new(),
            members: BTreeMap::new(),
            connection: link.id(),
            room: Arc::default(),
            turns: Arc::new(Semaphore::new(FOLLOWS_SENDING_MAX)),
            calls: Arc::default(),
            long: HashMap::new(),
        }
    }

    /// Whether the peer may do this: what every request asks before anything else happens.
    pub(super) fn check(&self, asks: Asks<'_>) -> Result<(), Failure> {
        check(&self.link, asks)
    }

    fn other(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let answered = match record.header.verb {
            verb::FOLLOW => self.follow(lane, record),
            verb::UNFOLLOW => self.unfollow(lane, record),
            verb::GRANT => {
                self.check(Asks::Grant)?;
                let grant = Grant::read(record.head()).ok_or_else(|| violation("a grant without its count"))?;
                // One for a follow that has just ended is late, not wrong.
                if let Some(following) = self.follows.get(&record.header.call) {
                    following.grant(grant);
                }
                Ok(())
            }
            verb::READ => self.read(lane, record),
            verb::STREAM => self.stream(lane, record),
            verb::LIST => self.list(lane, record),
            verb::PRODUCER => self.open_producer(lane, record),
            verb::CURSOR => self.cursor(lane, record),
            verb::MAINTAIN => self.maintain(lane, record),
            verb::JOIN => self.join(lane, record),
            verb::LEAVE => self.leave(lane, record),
            verb::SETTLE => self.settle(lane, record),
            verb::GROUP => self.group(lane, record),
            unknown if record.header.flags & CRITICAL != 0 => {
                let reason = format!("this server's event log does not know verb {unknown}; update the server");
                Err(Failure::new("unknown-verb", reason))
            }
            _ => Ok(()),
        };
        if let Err(failure) = answered {
            self.link.fail(lane, &record.header, &failure);
        }
        Ok(())
    }
}

/// Asks the policy.
pub(super) fn check(link: &Link, asks: Asks<'_>) -> Result<(), Failure> {
    match access(asks) {
        Access::Needs(operation, resource) => link.may(operation, resource),
        Access::NeedsServerToo(operation, resource) => {
            link.may(operation, resource)?;
            let server = sinew_session::Resource::Name(SERVER_PART);
            link.may(sinew_session::Operation::ServerManage, server)
        }
        Access::Own => Ok(()),
    }
}

/// A name of a stream that a client has sent.
pub(super) fn name(text: &str) -> Result<ResourceName, Failure> {
    ResourceName::try_from(text).map_err(bad_request)
}

impl Attachment for LogAttachment {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure> {
        for record in run {
            if record.header.verb == verb::APPEND {
                self.append(lane, &record);
            } else {
                self.other(lane, &record)?;
            }
        }
        Ok(())
    }

    fn cancel(&mut self, call: u32) {
        self.long.remove(&call);
    }

    fn drained(&mut self) {
        self.room.notify_waiters();
        self.members.values().filter_map(Membership::running).for_each(|running| running.poke());
    }

    /// Follows are the client's to resume, by offset; members of groups have a moment to come back. The answers of calls
    /// would reach nobody.
    fn suspend(&mut self) {
        self.follows.clear();
        self.long.clear();
        let window = self.shared.limits.return_window;
        self.members.values().for_each(|membership| membership.cut(window));
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.link = link.clone();
    }

    fn judge(&mut self) {
        self.doors.values_mut().for_each(Door::doubt);
        let denied = |following: &Following| self.check(Asks::Follow(following.stream())).err();
        let ended: Vec<_> =
            self.follows.iter().filter_map(|(number, following)| Some((*number, denied(following)?))).collect();
        for (number, failure) in ended {
            if let Some(following) = self.follows.remove(&number) {
                following.end(&self.link, number, &failure);
            }
        }
        let denied = |membership: &Membership| self.check(Asks::Join(membership.stream())).err();
        let dismissed: Vec<_> =
            self.members.iter().filter_map(|(number, membership)| Some((*number, denied(membership)?))).collect();
        for (number, failure) in dismissed {
            if let Some(membership) = self.members.remove(&number) {
                membership.dismiss(&failure);
            }
        }
    }
}
