//! Subscriptions of a session: begun, taken up again, judged, ended.

use std::sync::Arc;

use sinew_session::{Failure, Lane, Record, Run, bad_request, is_planted, read_call};

use super::attachment::{BusAttachment, Subscribed};
use crate::accounting::Event;
use crate::outlet::{Outlet, Rule, Shipment, Waiting};
use crate::protocol::{self, Asks, Subscribe, Tally, Unsubscribe, overflow_of, subject_of};
use crate::router::Role;
use crate::{BacklogLimits, Overflow, Pattern, Subject};

/// The longest name of a queue group, in bytes: one token.
const GROUP_BYTES_MAX: usize = 64;

impl BusAttachment {
    pub(super) fn subscribe(&mut self, lane: Lane, record: &Record<'_>) {
        match self.try_subscribe(record) {
            Ok(subscribed) => self.link.reply(lane, &record.header, &subscribed),
            Err(failure) => self.link.fail(lane, &record.header, &failure),
        }
    }

    fn try_subscribe(&mut self, record: &Record<'_>) -> Result<protocol::Subscribed, Failure> {
        let (_, ask): (_, Subscribe) = read_call(record)?;
        let number = record.header.call;
        let wished = self.wish(&ask)?;
        if let Some(standing) = self.subscriptions.get(&number) {
            let outlet = standing.outlet.clone();
            if let Some(gap) = outlet.resume(self.link.clone(), ask.cursor.unwrap_or(0), ask.used_bytes) {
                let window_bytes = Some(outlet.window_bytes() as u64);
                self.retry_held(&wished.role);
                return Ok(protocol::Subscribed { gap: ask.cursor.map(|_| gap), window_bytes });
            }
            self.remove(number);
        }
        let limits = &self.shared.limits;
        if self.subscriptions.len() >= limits.subscriptions_max {
            let reason = format!(
                "this session has {} subscriptions, the limit; end some, or raise `subscriptions_max` at the server",
                limits.subscriptions_max
            );
            return Err(Failure::new("limit", reason));
        }
        self.begin(number, &ask, wished)
    }

    /// Reads what is wished, and asks whether it is permitted.
    fn wish(&self, ask: &Subscribe) -> Result<Wish, Failure> {
        let pattern = Pattern::try_from(ask.pattern.as_str()).map_err(bad_request)?;
        let role = match (&ask.group, ask.responds) {
            (None, false) => Role::Hearer,
            (_, true) => Role::Responder,
            (Some(group), false) => Role::Member(checked_group(group)?),
        };
        let overflow = overflow_of(ask.overflow)
            .ok_or_else(|| bad_request(format!("overflow policy {} is not known here; 0 to 3 are", ask.overflow)))?;
        let asks = if ask.responds { Asks::Respond(&ask.pattern) } else { Asks::Subscribe(&ask.pattern) };
        self.check(asks)?;
        if overflow == Overflow::Hold {
            self.check(Asks::Hold(&ask.pattern))?;
        }
        Ok(Wish { pattern, role, overflow })
    }

    fn begin(&mut self, number: u32, ask: &Subscribe, wish: Wish) -> Result<protocol::Subscribed, Failure> {
        let limits = &self.shared.limits;
        let bound = |wish: u64, max: usize| usize::try_from(wish).unwrap_or(max).clamp(1, max);
        let rule = Rule {
            limits: BacklogLimits {
                records_max: bound(ask.queue_records_max, limits.queue.records_max),
                bytes_max: bound(ask.queue_bytes_max, limits.queue.bytes_max),
            },
            overflow: wish.overflow,
            budget: self.shared.budget.clone(),
        };
        let window = bound(ask.window_bytes, limits.window_bytes_max);
        let shares = matches!(wish.role, Role::Member(_));
        let outlet = Arc::new(Outlet::new(number, self.link.clone(), window, shares, rule));
        // Under one lock with those who publish to be kept, so that each value is heard once: as kept, or live.
        let kept = self.shared.retained();
        let entered =
            self.shared.router().subscribe(self.key(number), wish.pattern.clone(), wish.role.clone(), outlet.clone());
        entered.map_err(|error| Failure::new("limit", error.to_string()))?;
        if wish.role == Role::Hearer && !ask.live_only && ask.cursor.is_none() {
            for (subject, _, stored) in
                kept.matching(&wish.pattern, None).skip(usize::from(is_planted("kept value missed")))
            {
                let run = Run::parse(stored).expect("it was a whole record when it was kept");
                let account = &self.shared.accounts.of(subject);
                let subject = subject.as_bytes();
                let _ = outlet.deliver(&Shipment { subject, run, account, brake: None, token: None, fresh: true });
            }
        }
        drop(kept);
        self.shared.told.of(&wish.pattern);
        self.retry_held(&wish.role);
        let holds = wish.overflow == Overflow::Hold;
        self.subscriptions.insert(number, Subscribed { outlet, pattern: wish.pattern, role: wish.role, holds });
        // Kept values may have been more than its queue takes.
        self.forget_drained(number);
        Ok(protocol::Subscribed { gap: None, window_bytes: Some(window as u64) })
    }

    pub(super) fn unsubscribe(&mut self, lane: Lane, record: &Record<'_>) {
        let ask = match read_call::<Unsubscribe>(record) {
            Ok((_, ask)) => ask,
            Err(failure) => return self.link.fail(lane, &record.header, &failure),
        };
        if let Err(failure) = self.check(Asks::Unsubscribe) {
            return self.link.fail(lane, &record.header, &failure);
        }
        match self.leave(&ask) {
            Some(tally) => self.link.reply(lane, &record.header, &tally),
            None => {
                let reason = format!("this session has no subscription {}; it was ended before", ask.number);
                self.link.fail(lane, &record.header, &Failure::new("not-found", reason));
            }
        }
    }

    fn leave(&mut self, ask: &Unsubscribe) -> Option<Tally> {
        let key = self.key(ask.number);
        let outlet = self.subscriptions.get(&ask.number)?.outlet.clone();
        self.shared.router().unsubscribe(key);
        if ask.drain {
            let tally = outlet.begin_drain();
            self.forget_drained(ask.number);
            return Some(tally);
        }
        let (tally, shared) = outlet.unsubscribe();
        let subscribed = self.subscriptions.remove(&ask.number)?;
        self.pass_on(&subscribed, shared, |waiting| waiting.account.add(Event::Ended, 1));
        self.shared.responder_left(key);
        Some(tally)
    }

    /// Forgets a subscription that has drained.
    pub(super) fn forget_drained(&mut self, number: u32) {
        if self.subscriptions.get(&number).is_some_and(|subscribed| subscribed.outlet.is_over()) {
            self.remove(number);
        }
    }

    pub(super) fn forget_all_drained(&mut self) {
        let over = |(number, subscribed): (&u32, &Subscribed)| subscribed.outlet.is_over().then_some(*number);
        let numbers: Vec<u32> = self.subscriptions.iter().filter_map(over).collect();
        numbers.into_iter().for_each(|number| self.remove(number));
    }

    /// Forgets a subscription that is over.
    fn remove(&mut self, number: u32) {
        let key = self.key(number);
        self.subscriptions.remove(&number);
        self.shared.router().unsubscribe(key);
        self.shared.responder_left(key);
    }

    /// The connection was cut.
    pub(super) fn suspend_subscription(&mut self, number: u32) {
        let key = self.key(number);
        let Some(subscribed) = self.subscriptions.get(&number) else { return };
        let shared = subscribed.outlet.suspend();
        let outlet = subscribed.outlet.clone();
        self.pass_on(subscribed, shared, |waiting| outlet.miss(waiting));
        if subscribed.role == Role::Responder {
            self.shared.responder_left(key);
        }
    }

    /// Hands what waited for a member of a group to the others; `unheard` gets what finds nobody.
    fn pass_on(&self, from: &Subscribed, waiting: Vec<Waiting>, unheard: impl Fn(&Waiting)) {
        let Role::Member(group) = &from.role else { return };
        for waiting in waiting {
            let run = Run::parse(&waiting.record).expect("it was a whole record when it was kept");
            let record = run.first().expect("one record");
            let subject = subject_of(&record).expect("its subject was read when it came");
            let route =
                Subject::try_from(bytes::Bytes::copy_from_slice(subject)).map(|s| self.shared.router().route(&s));
            let others = route.ok().and_then(|route| {
                route
                    .groups()
                    .iter()
                    .any(|each| {
                        each.name() == Some(group) && each.members().iter().any(|member| member.to.is_attached())
                    })
                    .then_some(route)
            });
            match others {
                None => unheard(&waiting),
                Some(route) => {
                    let account = &waiting.account;
                    let shipment = Shipment { subject, run, account, brake: None, token: None, fresh: false };
                    let rotation = route.groups().iter().find(|each| each.name() == Some(group)).expect("just found");
                    self.shared.ship_to_group(rotation, &shipment);
                }
            }
        }
    }

    /// The policy has changed: ends what is not permitted any more.
    pub(super) fn judge_subscriptions(&mut self) {
        let mut over = Vec::new();
        for (number, subscribed) in &self.subscriptions {
            let pattern = subscribed.pattern.as_str();
            let asks =
                if subscribed.role == Role::Responder { Asks::Respond(pattern) } else { Asks::Subscribe(pattern) };
            let mut permitted = self.check(asks);
            if subscribed.holds {
                permitted = permitted.and_then(|()| self.check(Asks::Hold(pattern)));
            }
            if let Err(failure) = permitted {
                subscribed.outlet.end("denied", &failure.reason);
                over.push(*number);
            }
        }
        over.into_iter().for_each(|number| self.remove(number));
    }
}

/// What is wished of a subscription.
struct Wish {
    pattern: Pattern,
    role: Role,
    overflow: Overflow,
}

fn checked_group(group: &str) -> Result<Arc<str>, Failure> {
    match Subject::try_from(group) {
        Ok(name) if !group.contains('.') && group.len() <= GROUP_BYTES_MAX && !name.is_reserved() => Ok(group.into()),
        _ => Err(bad_request(format!(
            "a queue group is one token of at most {GROUP_BYTES_MAX} bytes, without dots, wildcards and white space"
        ))),
    }
}
