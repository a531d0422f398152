//! One session's side of the bus: which record is for whom in this folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use sinew_session::{Attachment, Failure, Lane, Link, Record, Run, violation};

use super::Shared;
use super::publish::Passage;
use crate::brake::Brake;
use crate::outlet::Outlet;
use crate::protocol::{Access, Asks, access, count_of, subject_of, verb};
use crate::router::Role;
use crate::{GenerationWatch, Pattern, RouteCache, SubscriptionKey};

/// One session.
#[derive(Debug)]
pub(super) struct BusAttachment {
    pub(super) shared: Arc<Shared>,
    /// The first link's number: it names the session in the router, through all cuts.
    pub(super) connection: u64,
    pub(super) link: Arc<Link>,
    pub(super) generation: GenerationWatch,
    pub(super) passages: RouteCache<Arc<Passage>>,
    pub(super) subscriptions: BTreeMap<u32, Subscribed>,
    pub(super) brake: Arc<Brake>,
    /// Publishes of the present block that were not permitted, with the last reason.
    pub(super) refused: Option<(u64, Failure)>,
}

/// A subscription of the session.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) outlet: Arc<Outlet>,
    pub(super) pattern: Pattern,
    pub(super) role: Role,
    /// It holds its publishers back.
    pub(super) holds: bool,
}

impl BusAttachment {
    pub(super) fn new(shared: &Arc<Shared>, link: &Arc<Link>) -> Self {
        let generation = shared.router().generation_watch();
        Self {
            connection: link.id(),
            link: link.clone(),
            generation,
            passages: RouteCache::default(),
            subscriptions: BTreeMap::new(),
            brake: Arc::new(Brake::new(link, shared.limits.publish_window_bytes)),
            refused: None,
            shared: shared.clone(),
        }
    }

    pub(super) fn key(&self, number: u32) -> SubscriptionKey {
        SubscriptionKey { connection: self.connection, number }
    }

    /// Whether the peer may do this: what every request asks before anything else happens.
    pub(super) fn check(&self, asks: Asks<'_>) -> Result<(), Failure> {
        match access(asks) {
            Access::Needs(operation, resource) => self.link.may(operation, resource),
            Access::Own => Ok(()),
        }
    }

    /// Answers a call that came out badly.
    pub(super) fn settle(&self, lane: Lane, record: &Record<'_>, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.link.fail(lane, &record.header, &failure);
        }
    }

    fn other(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        match record.header.verb {
            verb::SUBSCRIBE => self.subscribe(lane, record),
            verb::UNSUBSCRIBE => self.unsubscribe(lane, record),
            verb::GRANT => {
                self.check(Asks::Grant)?;
                let bytes = count_of(record).ok_or_else(|| violation("a grant without its count"))?;
                // One for a subscription that has just ended is late, not wrong.
                if let Some(subscribed) = self.subscriptions.get(&record.header.call) {
                    subscribed.outlet.grant(bytes);
                    self.forget_drained(record.header.call);
                }
            }
            verb::CONFIRMED => {
                let result = self.publish_confirmed(lane, record);
                self.settle(lane, record, result);
            }
            verb::REQUEST => {
                let result = self.request(lane, record);
                self.settle(lane, record, result);
            }
            verb::ANSWER => self.answer(record)?,
            verb::INSPECT => {
                let result = self.inspect(lane, record);
                self.settle(lane, record, result);
            }
            verb::CLEAR => {
                let result = self.clear(lane, record);
                self.settle(lane, record, result);
            }
            verb::LAST => {
                let result = self.last(lane, record);
                self.settle(lane, record, result);
            }
            unknown if record.header.flags & sinew_session::CRITICAL != 0 => {
                let reason = format!("this server's bus does not know verb {unknown}; update the server");
                self.link.fail(lane, &record.header, &Failure::new("unknown-verb", reason));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Attachment for BusAttachment {
    fn records(&mut self, lane: Lane, mut run: Run<'_>) -> Result<(), Failure> {
        let mut taken = 0;
        while let Some(same) = run.split_run(same_subject) {
            let first = same.first().expect("a run is not empty");
            if first.header.verb == verb::PUBLISH {
                taken += same.size();
                self.publish(same)?;
            } else {
                self.other(lane, &first)?;
            }
        }
        if taken > 0 {
            self.brake.take(taken);
        }
        self.tell_refused();
        Ok(())
    }

    fn cancel(&mut self, call: u32) {
        self.cancel_request(call);
    }

    fn drained(&mut self) {
        self.subscriptions.values().for_each(|subscribed| subscribed.outlet.drain());
        self.forget_all_drained();
    }

    fn suspend(&mut self) {
        self.brake.suspend();
        self.leave_requests();
        let numbers: Vec<u32> = self.subscriptions.keys().copied().collect();
        for number in numbers {
            self.suspend_subscription(number);
        }
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.link = link.clone();
        self.brake.resume(link);
    }

    fn judge(&mut self) {
        self.shared.router().invalidate();
        self.judge_subscriptions();
    }
}

impl Drop for BusAttachment {
    fn drop(&mut self) {
        self.suspend();
        self.shared.router().remove_connection(self.connection);
    }
}

#[inline]
fn same_subject(first: &Record<'_>, next: &Record<'_>) -> bool {
    first.header.verb == verb::PUBLISH
        && next.header.verb == verb::PUBLISH
        // Heads that are the same to the last byte, as those without headers, need not be taken apart.
        && (first.head() == next.head() || subject_of(first) == subject_of(next))
}
