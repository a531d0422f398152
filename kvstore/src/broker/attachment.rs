//! One session's side of the key-value store: which record is for whom in this folder.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sinew_session::{Attachment, CRITICAL, Failure, Lane, Link, Record, ResourceName, Run};
use tokio::sync::{Notify, Semaphore};

use super::Shared;
use super::answers::Calls;
use super::doors::Door;
use super::gets::{Gathered, Loader};
use super::watches::{Watching, pushing};
use crate::protocol::{Access, Asks, Grant, SERVER_PART, access, bad_request, verb, violation};

/// One session.
#[derive(Debug)]
pub(super) struct KvAttachment {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    /// Buckets that it reads and writes.
    pub(super) doors: HashMap<Box<str>, Door>,
    pub(super) watches: BTreeMap<u32, Watching>,
    pub(super) calls: Calls,
    /// Answers to the gets of the present block.
    pub(super) gathered: Gathered,
    /// Gets that wait for the disk.
    pub(super) loader: Loader,
    /// Told when the outbox has room again.
    pub(super) room: Arc<Notify>,
    /// Lets few watches read and send at one time.
    pub(super) pushing: Arc<Semaphore>,
}

impl KvAttachment {
    pub(super) fn new(shared: &Arc<Shared>, link: &Arc<Link>) -> Self {
        Self {
            shared: shared.clone(),
            link: link.clone(),
            doors: HashMap::new(),
            watches: BTreeMap::new(),
            calls: Calls::default(),
            gathered: Gathered::default(),
            loader: Loader::default(),
            room: Arc::default(),
            pushing: pushing(),
        }
    }

    /// Whether the peer may do this: what every request asks before anything else happens.
    pub(super) fn check(&self, asks: Asks<'_>) -> Result<(), Failure> {
        check(&self.link, asks)
    }

    fn other(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let answered = match record.header.verb {
            verb::GET_MANY => self.get_many(lane, record),
            verb::PUT => self.put(lane, record),
            verb::WRITE => self.write(lane, record),
            verb::SCAN => self.scan(lane, record),
            verb::HISTORY => self.history(lane, record),
            verb::WATCH => self.watch(lane, record),
            verb::UNWATCH => self.unwatch(lane, record),
            verb::GRANT => {
                self.check(Asks::Grant)?;
                let grant = Grant::read(record.head()).ok_or_else(|| violation("a grant without its numbers"))?;
                // One for a watch that has just ended is late, not wrong.
                if let Some(watching) = self.watches.get(&record.header.call) {
                    watching.grant(grant);
                }
                Ok(())
            }
            verb::BUCKET => self.bucket(lane, record),
            verb::LIST => self.list(lane, record),
            verb::MAINTAIN => self.maintain(lane, record),
            unknown if record.header.flags & CRITICAL != 0 => {
                let reason = format!("this server's key-value store does not know verb {unknown}; update the server");
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

/// A name of a bucket that a client has sent.
pub(super) fn name(text: &str) -> Result<ResourceName, Failure> {
    ResourceName::try_from(text).map_err(bad_request)
}

impl Attachment for KvAttachment {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure> {
        for record in run {
            if record.header.verb == verb::GET {
                self.get(lane, &record);
            } else {
                self.other(lane, &record)?;
            }
        }
        self.answer_gets(lane);
        Ok(())
    }

    fn cancel(&mut self, call: u32) {
        self.calls.cancel(call);
    }

    fn drained(&mut self) {
        self.room.notify_waiters();
    }

    /// Watches are the client's to resume, by revision.
    fn suspend(&mut self) {
        self.watches.clear();
        self.calls.clear();
        self.loader.clear();
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.link = link.clone();
    }

    fn judge(&mut self) {
        self.judge_doors();
        self.judge_watches();
    }
}

impl Drop for KvAttachment {
    fn drop(&mut self) {
        self.suspend();
    }
}
