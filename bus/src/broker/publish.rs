//! A message on its way to those who hear it: looked up, permitted, handed on, counted.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sinew_session::{Failure, Header, Lane, Record, Run, bad_request, encode, is_planted, to_cbor, violation};

use super::Shared;
use super::attachment::BusAttachment;
use crate::Subject;
use crate::accounting::{Account, Event};
use crate::outlet::{Outcome, Outlet, Shipment};
use crate::protocol::{Asks, MessageHead, Receipt, SERVICE, count_head, flag, subject_of, verb};
use crate::router::{Rotation, Route, Target};

/// What a session knows of a subject that it publishes to, for one generation of the router.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) route: Arc<Route<Arc<Outlet>>>,
    pub(super) account: Arc<Account>,
    /// Why it may not publish there.
    denied: Option<Failure>,
    /// Whether it may ask there, once it has asked.
    request: OnceLock<Result<(), Failure>>,
    /// Whether what it publishes there may be kept, once it wished so.
    retain: OnceLock<Result<(), Failure>>,
}

impl BusAttachment {
    /// Publishes of one subject, together.
    #[inline]
    pub(super) fn publish(&mut self, run: Run<'_>) -> Result<(), Failure> {
        let first = run.first().expect("a run is not empty");
        let subject = subject_of(&first).ok_or_else(|| violation("a publish without its subject"))?;
        let generation = self.generation.now();
        if self.passages.lookup(generation, subject).is_none() {
            let checked = publishable(subject).map_err(|failure| violation(&failure.reason))?;
            self.find_passage(generation, &checked);
        }
        let Self { passages, brake, shared, refused, .. } = self;
        let passage = passages.lookup(generation, subject).expect("just entered");
        let count = run.count() as u64;
        if let Some(failure) = &passage.denied {
            passage.account.add(Event::Refused, count);
            let before = refused.take().map_or(0, |(before, _)| before);
            *refused = Some((before + count, failure.clone()));
            return Ok(());
        }
        let account = &passage.account;
        let shipment = Shipment { subject, run, account, brake: Some(brake), token: None, fresh: true };
        shared.ship(&passage.route, &shipment, count);
        Ok(())
    }

    /// What is known of a subject, looked up anew where something has changed.
    pub(super) fn passage(&mut self, subject: &Subject) -> Arc<Passage> {
        let generation = self.generation.now();
        if self.passages.lookup(generation, subject.as_bytes()).is_none() {
            self.find_passage(generation, subject);
        }
        self.passages.lookup(generation, subject.as_bytes()).expect("just entered").clone()
    }

    /// Whether requests to this subject are permitted. The policy is asked once for each generation.
    pub(super) fn may_request(&self, passage: &Passage, subject: &Subject) -> Result<(), Failure> {
        passage.request.get_or_init(|| self.check(Asks::Request(subject.as_str()))).clone()
    }

    /// Asks router and policy for a subject that is not in the cache.
    #[cold]
    fn find_passage(&mut self, generation: u64, subject: &Subject) {
        let denied = self.check(Asks::Publish(subject.as_str())).err();
        let route = self.shared.router().route(subject);
        let account = self.shared.accounts.of(subject);
        let (request, retain) = (OnceLock::new(), OnceLock::new());
        self.passages.insert(generation, subject, Arc::new(Passage { route, account, denied, request, retain }));
    }

    /// A publish that is answered with what became of it, and may be kept.
    pub(super) fn publish_confirmed(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head =
            MessageHead::read(record.head()).ok_or_else(|| bad_request("a message head does not hold together"))?;
        let subject = publishable(head.subject)?;
        let passage = self.passage(&subject);
        if let Some(failure) = &passage.denied {
            passage.account.add(Event::Refused, 1);
            return Err(failure.clone());
        }
        let run = single(record);
        let (account, brake) = (&passage.account, Some(&self.brake));
        let shipment = Shipment { subject: subject.as_bytes(), run, account, brake, token: None, fresh: true };
        let retained = head.flags & flag::RETAIN != 0;
        let sums = if retained {
            passage.retain.get_or_init(|| self.check(Asks::Retain(subject.as_str()))).clone()?;
            let stored =
                encode(Header { service: SERVICE, verb: verb::KEPT, flags: 0, call: 0 }, record.head(), record.body());
            // Under one lock with those who subscribe, so that each hears it once: as kept, or live.
            let mut kept = self.shared.retained();
            let full = |full: crate::RetainedFull| Failure::new("full", full.to_string());
            kept.keep(&subject, stored.len(), stored).map_err(full)?;
            // In a statement of its own: the router must be free again when a subscription ends of this.
            let route = self.shared.router().route(&subject);
            self.shared.ship(&route, &shipment, 1)
        } else {
            self.shared.ship(&passage.route, &shipment, 1)
        };
        let missed = if is_planted("receipt short") { 0 } else { sums.missed };
        let dropped = sums.refused + missed;
        let receipt = Receipt { delivered: sums.delivered, queued: sums.queued, dropped, retained };
        self.link.reply(lane, &record.header, &receipt);
        Ok(())
    }

    /// Tells the publisher what was refused in this block.
    pub(super) fn tell_refused(&mut self) {
        if let Some((count, failure)) = self.refused.take() {
            let header = Header { service: SERVICE, verb: verb::REFUSED, flags: 0, call: 0 };
            self.link.pack().push(Lane::CONTROL, header, &[&count_head(count)], &Bytes::from(to_cbor(&failure)));
        }
    }
}

impl Shared {
    /// Hands a shipment of `count` messages to everybody who hears it, and counts.
    #[inline]
    pub(super) fn ship(self: &Arc<Self>, route: &Route<Arc<Outlet>>, shipment: &Shipment<'_>, count: u64) -> Outcome {
        shipment.account.add(Event::Published, count);
        if route.is_silent() {
            shipment.account.add(Event::Unheard, count);
            return Outcome::default();
        }
        self.hand_out(route, shipment)
    }

    /// The same without counting the messages, only their copies.
    #[inline]
    pub(super) fn hand_out(self: &Arc<Self>, route: &Route<Arc<Outlet>>, shipment: &Shipment<'_>) -> Outcome {
        let mut sums = Outcome::default();
        for target in route.hearers() {
            let outcome = target.to.deliver(shipment);
            sums.add(&outcome);
            self.follow_up(target, outcome);
        }
        for group in route.groups() {
            sums.add(&self.ship_to_group(group, shipment));
        }
        sums
    }

    /// Hands each message to one member: those who need not wait share them, and what is left waits for one of them.
    pub(super) fn ship_to_group(self: &Arc<Self>, group: &Rotation<Arc<Outlet>>, shipment: &Shipment<'_>) -> Outcome {
        let mut rest = shipment.run;
        let mut sums = Outcome::default();
        let members = group.turn();
        let count = rest.count();
        let share = count.div_ceil(group.members().len().max(1));
        if is_planted("group twice")
            && let Some(last) = members.clone().last()
        {
            let mut again = rest;
            sums.add(&last.to.take_some(shipment, &mut again, 1));
        }
        for most in [share, count] {
            for member in members.clone() {
                if rest.first().is_none() {
                    return sums;
                }
                sums.add(&member.to.take_some(shipment, &mut rest, most));
            }
        }
        if rest.first().is_some() {
            let there = members.clone().find(|member| member.to.is_attached());
            // If all are cut, one of them misses it, and is told so.
            if let Some(member) = there.or_else(|| members.clone().find(|member| member.to.stands())) {
                let outcome = member.to.deliver(&Shipment { run: rest, ..*shipment });
                sums.add(&outcome);
                self.follow_up(member, outcome);
            }
        }
        sums
    }

    /// Does what an outlet cannot do itself while it is locked.
    #[inline]
    pub(super) fn follow_up(self: &Arc<Self>, target: &Target<Arc<Outlet>>, outcome: Outcome) {
        if outcome.over || outcome.hold.is_some() || !outcome.lost.is_empty() {
            self.follow_up_slow(target, outcome);
        }
    }

    #[cold]
    fn follow_up_slow(self: &Arc<Self>, target: &Target<Arc<Outlet>>, outcome: Outcome) {
        if outcome.over {
            self.router().unsubscribe(target.key);
            self.responder_left(target.key);
        }
        if let Some(hold) = outcome.hold {
            let (outlet, hold_max) = (target.to.clone(), self.limits.hold_max);
            tokio::spawn(async move {
                tokio::time::sleep(hold_max).await;
                outlet.end_hold(hold);
            });
        }
        outcome.lost.into_iter().for_each(|token| self.request_lost(token));
    }
}

impl Outcome {
    #[inline]
    fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.queued += other.queued;
        self.refused += other.refused;
        self.missed += other.missed;
    }
}

/// A subject that a client may publish to, if it is one. A client of ours has checked it before.
pub(super) fn publishable(subject: &[u8]) -> Result<Subject, Failure> {
    let subject = Subject::try_from(Bytes::copy_from_slice(subject)).map_err(bad_request)?;
    subject.check_publishable().map_err(bad_request)?;
    Ok(subject)
}

/// The one record as a run.
pub(super) fn single<'a>(record: &Record<'a>) -> Run<'a> {
    record.as_run()
}
