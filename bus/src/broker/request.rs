//! Requests: handed to one responder, answered by it alone, and told at once when nobody can.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{
    FAILURE, Failure, Header, Lane, Link, REPLY, Record, Run, bad_request, encode, to_cbor, violation,
};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::attachment::BusAttachment;
use super::publish::{publishable, single};
use crate::accounting::{Account, Event};
use crate::outlet::{Outlet, Shipment};
use crate::protocol::{Asks, MessageHead, SERVICE, keep, read_answer_head, verb};
use crate::requests::{Caller, Requests, Token};
use crate::router::{Role, Route};
use crate::{Subject, SubscriptionKey};

/// A client that comes back to a server this long after its start says that it has restarted.
const RESTART_NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// The longest reason of a responder that is passed on, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Requests under way and requests that wait for a responder.
#[derive(Debug)]
pub(super) struct Asking {
    requests: Requests<Waiter>,
    held: Vec<Held>,
    last_held: u64,
    started: Instant,
    /// Somebody came back who was connected before a restart: until then others may follow.
    returning_until: Option<Instant>,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            requests: Requests::default(),
            held: Vec::new(),
            last_held: 0,
            started: Instant::now(),
            returning_until: None,
        }
    }
}

/// How a requester is answered.
#[derive(Clone, Debug)]
struct Waiter {
    link: Arc<Link>,
    lane: Lane,
    header: Header,
}

/// A request that waits for a responder to come back.
#[derive(Debug)]
struct Held {
    number: u64,
    ask: Ask,
}

/// A request.
#[derive(Debug)]
struct Ask {
    caller: Caller,
    waiter: Waiter,
    subject: Subject,
    record: Bytes,
    account: Arc<Account>,
}

impl Asking {
    pub(super) fn somebody_returned(&mut self, now: Instant, window: Duration) {
        if now - self.started < RESTART_NOTICED_WITHIN {
            self.returning_until = Some(now + window);
        }
    }

    fn forget(&mut self, gone: impl Fn(Caller) -> bool) {
        self.held.retain(|held| !gone(held.ask.caller));
    }
}

impl BusAttachment {
    pub(super) fn request(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head =
            MessageHead::read(record.head()).ok_or_else(|| bad_request("a message head does not hold together"))?;
        head.deadline_ms().ok_or_else(|| bad_request("a request without its deadline"))?;
        let subject = publishable(head.subject)?;
        let passage = self.passage(&subject);
        self.may_request(&passage, &subject)?;
        let max = self.shared.limits.requests_max;
        if self.shared.asking().requests.count_of(self.connection) >= max {
            let reason = format!("{max} requests of this session are under way, the limit; await some of them first");
            return Err(Failure::new("limit", reason));
        }
        let (account, run) = (&passage.account, single(record));
        account.add(Event::Published, 1);
        let copies = Shipment { subject: subject.as_bytes(), run, account, brake: None, token: None, fresh: true };
        self.shared.hand_out(&passage.route, &copies);
        let ask = Ask {
            caller: Caller { connection: self.connection, call: record.header.call },
            waiter: Waiter { link: self.link.clone(), lane, header: record.header },
            record: keep(record),
            account: account.clone(),
            subject,
        };
        match self.shared.dispatch(&passage.route, ask) {
            None => Ok(()),
            Some(ask) => self.shared.hold_or_fail(&passage.route, ask),
        }
    }

    /// A responder answers. What is not its own to answer, or was answered before, is late and left out.
    pub(super) fn answer(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        self.check(Asks::Answer)?;
        let (token, failed, headers_at) =
            read_answer_head(record.head()).ok_or_else(|| violation("an answer whose head does not hold together"))?;
        let waiter = self.shared.asking().requests.answered(token, self.key(record.header.call));
        let Some(waiter) = waiter else { return Ok(()) };
        if failed {
            let reason = String::from_utf8_lossy(record.body());
            let reason = reason.chars().take(REASON_BYTES_MAX).collect();
            waiter.fail("responder-failed", reason);
        } else {
            waiter.answer(&record.head()[headers_at..], &record.body_shared());
        }
        Ok(())
    }

    pub(super) fn cancel_request(&mut self, call: u32) {
        let caller = Caller { connection: self.connection, call };
        let mut asking = self.shared.asking();
        asking.requests.cancel(caller);
        asking.forget(|other| other == caller);
    }

    /// The session's connection is gone, and with it its calls.
    pub(super) fn leave_requests(&mut self) {
        let mut asking = self.shared.asking();
        asking.requests.requester_left(self.connection);
        asking.forget(|caller| caller.connection == self.connection);
    }

    /// A responder is there: what waits for one is tried again.
    pub(super) fn retry_held(&self, role: &Role) {
        if *role != Role::Responder {
            return;
        }
        let waiting = std::mem::take(&mut self.shared.asking().held);
        for Held { number, ask } in waiting {
            let route = self.shared.router().route(&ask.subject);
            if let Some(ask) = self.shared.dispatch(&route, ask) {
                self.shared.asking().held.push(Held { number, ask });
            }
        }
    }
}

impl Shared {
    /// Hands a request to one responder, one that need not let it wait if there is one; gives it back if none is there.
    fn dispatch(self: &Arc<Self>, route: &Route<Arc<Outlet>>, ask: Ask) -> Option<Ask> {
        let turn = route.responders().turn();
        let ready = turn.clone().find(|target| target.to.is_ready(ask.record.len()));
        let Some(target) = ready.or_else(|| turn.clone().find(|target| target.to.is_attached())) else {
            return Some(ask);
        };
        let token = self.asking().requests.enter(ask.waiter.link.epoch(), ask.caller, target.key, ask.waiter);
        let run = Run::parse(&ask.record).expect("it was a whole record when it came");
        let record = run.first().expect("one record");
        let head = [record.head(), &token.to_le_bytes()].concat();
        let asked = encode(Header { service: SERVICE, verb: verb::ASKED, flags: 0, call: 0 }, &head, record.body());
        let run = Run::parse(&asked).expect("just encoded");
        let (subject, account) = (ask.subject.as_bytes(), &ask.account);
        let shipment = Shipment { subject, run, account, brake: None, token: Some(token), fresh: true };
        let outcome = target.to.deliver(&shipment);
        if outcome.refused + outcome.missed > 0 {
            self.request_lost(token);
        }
        self.follow_up(target, outcome);
        None
    }

    /// Nobody is there to answer. If somebody was, and may come back, the request waits for that.
    fn hold_or_fail(self: &Arc<Self>, route: &Route<Arc<Outlet>>, ask: Ask) -> Result<(), Failure> {
        let now = Instant::now();
        let cut = route.responders().members().iter().any(|target| target.to.stands());
        let mut asking = self.asking();
        let returning = asking.returning_until.is_some_and(|until| now < until);
        if !(cut || returning) || asking.held.len() >= self.limits.requests_held_max {
            drop(asking);
            if route.is_silent() {
                ask.account.add(Event::Unheard, 1);
            }
            let reason = format!("nobody answers requests to `{}`; start a responder for it", ask.subject);
            return Err(Failure::new("no-responders", reason));
        }
        asking.last_held += 1;
        let number = asking.last_held;
        asking.held.push(Held { number, ask });
        drop(asking);
        let (shared, until) = (Arc::downgrade(self), now + self.limits.return_window);
        tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(shared) = shared.upgrade() {
                shared.give_up(number);
            }
        });
        Ok(())
    }

    /// A request has waited for long enough.
    fn give_up(&self, number: u64) {
        let mut asking = self.asking();
        let Some(index) = asking.held.iter().position(|held| held.number == number) else { return };
        let Ask { waiter, subject, .. } = asking.held.swap_remove(index).ask;
        drop(asking);
        let after = self.limits.return_window;
        waiter.fail("no-responders", format!("nobody came back within {after:?} to answer requests to `{subject}`"));
    }

    /// A request was lost before its responder got it.
    pub(super) fn request_lost(&self, token: Token) {
        let waiter = self.asking().requests.lost(token);
        if let Some(waiter) = waiter {
            waiter.lost();
        }
    }

    /// A responder is gone: those who wait for it are told.
    pub(super) fn responder_left(&self, responder: SubscriptionKey) {
        let waiters = self.asking().requests.responder_left(responder);
        waiters.iter().for_each(Waiter::lost);
    }
}

impl Waiter {
    /// Passes an answer on: its headers with their length, and its body.
    fn answer(&self, headers: &[u8], body: &Bytes) {
        let mut packer = self.link.pack();
        if !packer.has_room() {
            drop(packer);
            let reason =
                "the answer came, but this connection's outbox at the server is full; read faster, or ask less at once";
            return self.fail("limit", reason.into());
        }
        packer.push(self.lane, Header { flags: REPLY, ..self.header }, &[headers], body);
    }

    fn lost(&self) {
        let reason = "the responder has left, or was too slow to take the request; whether it did something is unknown";
        self.fail("responder-lost", reason.into());
    }

    fn fail(&self, code: &str, reason: String) {
        let body = to_cbor(&Failure::new(code, reason));
        self.link.pack().push(self.lane, Header { flags: REPLY | FAILURE, ..self.header }, &[], &Bytes::from(body));
    }
}
