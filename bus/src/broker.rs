//! The bus at the server: takes what arrives, asks the router, hands it to the outlets. No rule in here.
//!
//! Routing runs where the block arrived: from a received block to the subscribers' outboxes there is no task and no
//! thread in between, and no allocation in steady state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sinew_session::{Attachment, Failure, Lane, Link, Record, Run, Service, read_call};

use crate::outlet::Outlet;
use crate::protocol::{SERVICE, Subscribe, Subscribed, Unsubscribe, count_of, subject_of, verb};
use crate::{BacklogLimits, GenerationWatch, Pattern, RouteCache, Router, Subject, SubscriptionKey};

/// The limits of the bus at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusLimits {
    /// Subscriptions for each session. Default 10,000.
    pub subscriptions_max: usize,
    /// The largest window of a subscription, in bytes. Default 16 MiB. A larger wish is cut to it.
    pub window_bytes_max: usize,
    /// The largest queue of a subscription. A larger wish is cut to it.
    pub queue: BacklogLimits,
}

impl Default for BusLimits {
    fn default() -> Self {
        Self { subscriptions_max: 10_000, window_bytes_max: 16 << 20, queue: BacklogLimits::default() }
    }
}

/// The bus service, to be given to a server.
#[derive(Debug, Default)]
pub struct Broker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    router: Mutex<Router<Arc<Outlet>>>,
    limits: BusLimits,
}

impl Shared {
    fn router(&self) -> MutexGuard<'_, Router<Arc<Outlet>>> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// A bus with these limits.
    pub fn new(limits: BusLimits) -> Self {
        Self { shared: Arc::new(Shared { router: Mutex::default(), limits }) }
    }

    /// Subscriptions at this moment, those of cut sessions included.
    pub fn subscriptions(&self) -> usize {
        self.shared.router().len()
    }
}

impl Service for Broker {
    fn code(&self) -> u8 {
        SERVICE
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        let generation = self.shared.router().generation_watch();
        Box::new(BusAttachment {
            shared: self.shared.clone(),
            connection: link.id(),
            link: link.clone(),
            generation,
            routes: RouteCache::default(),
            outlets: BTreeMap::new(),
        })
    }
}

/// One session's side of the bus.
#[derive(Debug)]
struct BusAttachment {
    shared: Arc<Shared>,
    /// The first link's number: it names the session in the router, through all cuts.
    connection: u64,
    link: Arc<Link>,
    generation: GenerationWatch,
    routes: RouteCache<Arc<Outlet>>,
    /// In the order of their numbers: whatever goes to all of them goes in the same order each time.
    outlets: BTreeMap<u32, Arc<Outlet>>,
}

impl BusAttachment {
    fn key(&self, number: u32) -> SubscriptionKey {
        SubscriptionKey { connection: self.connection, number }
    }

    /// Publishes of one subject, together.
    #[inline]
    fn publish(&mut self, run: Run<'_>) -> Result<(), Failure> {
        let first = run.first().expect("a run is not empty");
        let subject = subject_of(&first).ok_or_else(|| violation("a publish without its subject"))?;
        let generation = self.generation.now();
        if self.routes.lookup(generation, subject).is_none() {
            self.find_route(generation, subject)?;
        }
        let route = self.routes.lookup(generation, subject).expect("just entered");
        route.targets().iter().for_each(|target| target.to.deliver(subject, run));
        Ok(())
    }

    /// Asks the router for a subject that is not in the cache. A client of ours has checked the subject before.
    #[cold]
    fn find_route(&mut self, generation: u64, subject: &[u8]) -> Result<(), Failure> {
        let subject =
            Subject::try_from(Bytes::copy_from_slice(subject)).map_err(|error| violation(&error.to_string()))?;
        subject.check_publishable().map_err(|error| violation(&error.to_string()))?;
        let route = self.shared.router().route(&subject);
        self.routes.insert(generation, &subject, route);
        Ok(())
    }

    fn subscribe(&mut self, lane: Lane, record: &Record<'_>) {
        match self.try_subscribe(record) {
            Ok(subscribed) => self.link.reply(lane, &record.header, &subscribed),
            Err(failure) => self.link.fail(lane, &record.header, &failure),
        }
    }

    fn try_subscribe(&mut self, record: &Record<'_>) -> Result<Subscribed, Failure> {
        let (_, ask): (_, Subscribe) = read_call(record)?;
        let number = record.header.call;
        if let Some(outlet) = self.outlets.get(&number) {
            let gap = outlet.resume(self.link.clone(), ask.cursor.unwrap_or(0), ask.used_bytes);
            let window_bytes = Some(outlet.window_bytes() as u64);
            return Ok(Subscribed { gap: ask.cursor.map(|_| gap), window_bytes });
        }
        let limits = &self.shared.limits;
        if self.outlets.len() >= limits.subscriptions_max {
            let reason = format!(
                "this session has {} subscriptions, the limit; end some, or raise `subscriptions_max` at the server",
                limits.subscriptions_max
            );
            return Err(Failure { code: "limit".into(), reason });
        }
        let pattern = Pattern::try_from(ask.pattern.as_str()).map_err(|error| bad_request(&error.to_string()))?;
        let bound = |wish: u64, max: usize| usize::try_from(wish).unwrap_or(max).clamp(1, max);
        let queue = BacklogLimits {
            records_max: bound(ask.queue_records_max, limits.queue.records_max),
            bytes_max: bound(ask.queue_bytes_max, limits.queue.bytes_max),
        };
        let window = bound(ask.window_bytes, limits.window_bytes_max);
        let outlet = Arc::new(Outlet::new(number, self.link.clone(), window, queue));
        let entered = self.shared.router().subscribe(self.key(number), pattern, outlet.clone());
        entered.map_err(|error| bad_request(&error.to_string()))?;
        self.outlets.insert(number, outlet);
        Ok(Subscribed { gap: None, window_bytes: Some(window as u64) })
    }

    fn unsubscribe(&mut self, lane: Lane, record: &Record<'_>) {
        let ask = match read_call::<Unsubscribe>(record) {
            Ok((_, ask)) => ask,
            Err(failure) => return self.link.fail(lane, &record.header, &failure),
        };
        self.shared.router().unsubscribe(self.key(ask.number));
        match self.outlets.remove(&ask.number) {
            Some(outlet) => {
                self.link.reply(lane, &record.header, &outlet.tally());
                // Cached routes may keep the outlet itself for long, but not what waits in it.
                outlet.suspend();
            }
            None => {
                let reason = format!("this session has no subscription {}; it was ended before", ask.number);
                self.link.fail(lane, &record.header, &Failure { code: "not-found".into(), reason });
            }
        }
    }

    fn other(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        match record.header.verb {
            verb::SUBSCRIBE => self.subscribe(lane, record),
            verb::UNSUBSCRIBE => self.unsubscribe(lane, record),
            verb::GRANT => {
                let bytes = count_of(record).ok_or_else(|| violation("a grant without its count"))?;
                // One for a subscription that has just ended is late, not wrong.
                if let Some(outlet) = self.outlets.get(&record.header.call) {
                    outlet.grant(bytes);
                }
            }
            unknown if record.header.flags & sinew_session::CRITICAL != 0 => {
                let reason = format!("this server's bus does not know verb {unknown}; update the server");
                self.link.fail(lane, &record.header, &Failure { code: "unknown-verb".into(), reason });
            }
            _ => {}
        }
        Ok(())
    }
}

impl Attachment for BusAttachment {
    fn records(&mut self, lane: Lane, mut run: Run<'_>) -> Result<(), Failure> {
        while let Some(same) = run.split_run(same_subject) {
            let first = same.first().expect("a run is not empty");
            if first.header.verb == verb::PUBLISH { self.publish(same)? } else { self.other(lane, &first)? }
        }
        Ok(())
    }

    fn drained(&mut self) {
        self.outlets.values().for_each(|outlet| outlet.drain());
    }

    fn suspend(&mut self) {
        self.outlets.values().for_each(|outlet| outlet.suspend());
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.link = link.clone();
    }
}

impl Drop for BusAttachment {
    fn drop(&mut self) {
        self.shared.router().remove_connection(self.connection);
    }
}

#[inline]
fn same_subject(first: &Record<'_>, next: &Record<'_>) -> bool {
    first.header.verb == verb::PUBLISH && next.header.verb == verb::PUBLISH && subject_of(first) == subject_of(next)
}

fn violation(reason: &str) -> Failure {
    Failure { code: "protocol".into(), reason: reason.into() }
}

fn bad_request(reason: &str) -> Failure {
    Failure { code: "bad-request".into(), reason: reason.into() }
}
