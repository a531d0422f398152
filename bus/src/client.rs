//! The bus at the client: what a session is told and asked. Publishing, requests and answers are in `client/`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{
    Consumer, Error as SessionError, Failure, Header, Record, Reply, Request, Restore, Run, Session, Streams,
    from_cbor, is_planted, to_cbor,
};

use crate::inbox::Inbox;
use crate::protocol::{
    CALL_SECONDS, Ended, SERVICE, Subscribe, Subscribed, Tally, Unsubscribe, count_head, count_of, overflow_code,
    read_credit, verb,
};
use crate::{Error, Pattern, Result, SubscribeOptions, Subscription};

mod inspect;
mod publish;
mod request;
mod responder;
mod throttle;
pub use publish::PublishOptions;
pub use request::RequestOptions;
pub use responder::{Asked, Responder};
use throttle::Throttle;

pub(crate) const CALL: Duration = Duration::from_secs(CALL_SECONDS);

/// The bus, on a session. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bus {
    session: Session,
    shared: Arc<Shared>,
}

impl Bus {
    /// Puts the bus on `session`.
    ///
    /// # Errors
    /// `Session(Mounted)` if it is there already: clone that one.
    pub fn new(session: &Session) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        session.mount(SERVICE, shared.clone())?;
        Ok(Self { session: session.clone(), shared })
    }

    /// The session it is on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Subscribes with the default options. See [`subscribe_with`](Self::subscribe_with).
    ///
    /// # Errors
    /// As [`subscribe_with`](Self::subscribe_with).
    pub async fn subscribe(&self, pattern: &Pattern) -> Result<Subscription> {
        self.subscribe_with(pattern, SubscribeOptions::default()).await
    }

    /// Subscribes. Resolves when the server has registered it: whatever anybody publishes after that is heard, no sleep
    /// needed. One round trip. It is restored by itself when the connection was cut.
    ///
    /// # Errors
    /// `Denied` by the policy, `Limit` beyond a limit of the server; `Session` if the server cannot be asked.
    pub async fn subscribe_with(&self, pattern: &Pattern, options: SubscribeOptions) -> Result<Subscription> {
        self.open(pattern, options, false).await
    }

    /// Answers requests to subjects that the pattern stands for. Resolves when the server has registered it. One round
    /// trip. It is restored by itself when the connection was cut.
    ///
    /// # Errors
    /// As [`subscribe_with`](Self::subscribe_with).
    pub async fn respond(&self, pattern: &Pattern) -> Result<Responder> {
        // Requests that wait behind a busy responder had better be told than dropped in favour of newer ones.
        let options = SubscribeOptions { overflow: crate::Overflow::DropNewest, ..SubscribeOptions::default() };
        Ok(Responder::new(self.open(pattern, options, true).await?, self.clone()))
    }

    async fn open(&self, pattern: &Pattern, options: SubscribeOptions, responds: bool) -> Result<Subscription> {
        let opened = self.session.open_stream(|number| {
            let inbox = Arc::new(Inbox::new(number, pattern.as_str().to_owned(), options.clone(), responds));
            self.shared.open.enter(number, &inbox);
            let body = to_cbor(&subscribe_ask(&inbox, None));
            let request = Request::new(SERVICE, verb::SUBSCRIBE, pattern.as_str().as_bytes(), body, CALL);
            let subscription = Subscription::new(self.clone(), inbox.clone());
            (subscription, request, move |subscribed: &Subscribed| inbox.confirm(subscribed))
        });
        opened.await.map_err(Error::of_call)
    }

    /// Gives credit back.
    pub(crate) fn grant(&self, inbox: &Inbox, bytes: u64) {
        let header = Header { service: SERVICE, verb: verb::GRANT, flags: 0, call: inbox.number };
        let mut packer = self.session.outbox().pack();
        let lane = packer.lane(inbox.pattern.as_bytes());
        packer.push(lane, header, &[&count_head(bytes)], &Bytes::new());
    }

    pub(crate) async fn unsubscribe(&self, inbox: &Inbox) -> Result<Tally> {
        let reply = self.session.call(unsubscribe_request(inbox.number, &inbox.pattern, false)).await;
        if matches!(reply, Ok(_) | Err(SessionError::Failed(_))) {
            self.shared.open.leave(inbox.number);
        }
        Ok(reply?.read()?)
    }

    /// Lets nothing new match it; what was offered before still comes.
    pub(crate) async fn drain(&self, inbox: &Inbox) -> Result<()> {
        let reply = self.session.call(unsubscribe_request(inbox.number, &inbox.pattern, true)).await?;
        let Tally { delivered, dropped, missed, queued } = reply.read()?;
        inbox.end_at(delivered + dropped + missed + queued, 0, None);
        Ok(())
    }

    /// Ends a subscription without waiting, if it has not been ended.
    pub(crate) fn forget(&self, inbox: &Inbox) {
        let known = self.shared.open.leave(inbox.number);
        if known {
            if !is_planted("stale subscription") {
                let left = Leaving { pattern: inbox.pattern.clone(), asked: false };
                self.shared.leaving().insert(inbox.number, left);
            }
            let (shared, number) = (self.shared.clone(), inbox.number);
            let request = unsubscribe_request(number, &inbox.pattern, false);
            self.session.cast(request, move |reply| shared.left(number, &reply));
        }
    }

    /// Waits until the server has routed everything published before. One round trip.
    ///
    /// # Errors
    /// `Refused` if the policy did not permit some of it; `Session` with `Lost` if messages were lost in a cut since
    /// the last flush, or `Timeout`.
    pub async fn flush(&self) -> Result<()> {
        self.session.flush(CALL).await?;
        self.shared.tell_refused()
    }

    /// Flushes and ends the session, for all clones: nothing published before is lost.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(&self) -> Result<()> {
        self.session.close().await?;
        self.shared.tell_refused()
    }
}

fn subscribe_ask(inbox: &Inbox, standing: Option<(Option<u64>, u64)>) -> Subscribe {
    Subscribe {
        pattern: inbox.pattern.clone(),
        window_bytes: inbox.options.window_bytes as u64,
        used_bytes: standing.map_or(0, |(_, unconsumed)| unconsumed),
        queue_records_max: inbox.options.queue.records_max as u64,
        queue_bytes_max: inbox.options.queue.bytes_max as u64,
        cursor: standing.and_then(|(cursor, _)| cursor),
        group: inbox.options.group.clone(),
        responds: inbox.responds,
        // After a cut what is live follows what was, and kept values would come out of order.
        live_only: !inbox.options.retained || standing.is_some(),
        overflow: overflow_code(inbox.options.overflow),
    }
}

fn unsubscribe_request(number: u32, pattern: &str, drain: bool) -> Request<'_> {
    let body = to_cbor(&Unsubscribe { number, drain });
    Request::new(SERVICE, verb::UNSUBSCRIBE, pattern.as_bytes(), body, CALL)
}

/// What all clones share: publish credit, refusals, and the subscriptions in the order of their numbers: whatever concerns
/// all of them, a restore above all, goes in the same order each time.
#[derive(Debug, Default)]
struct Shared {
    open: Streams<Inbox>,
    /// Dropped ones with their patterns, until the server has said that they are gone: a cut may swallow the request.
    leaving: Arc<Mutex<BTreeMap<u32, Leaving>>>,
    throttle: Throttle,
    /// Publishes that the server refused since the last flush, with the last reason.
    refused: Mutex<(u64, String)>,
}

impl Shared {
    fn leaving(&self) -> MutexGuard<'_, BTreeMap<u32, Leaving>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, count: u64, reason: String) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = (refused.0.saturating_add(count), reason);
    }

    fn tell_refused(&self) -> Result<()> {
        let (count, reason) = std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        if count == 0 { Ok(()) } else { Err(Error::Refused { count, reason }) }
    }

    /// A record that belongs to no subscription, or ends one.
    fn other(&self, record: &Record<'_>) {
        match record.header.verb {
            verb::CREDIT => {
                if let Some((taken, window)) = read_credit(record) {
                    self.throttle.credit(taken, window);
                }
            }
            verb::REFUSED => {
                let reason =
                    from_cbor::<Failure>(record.body()).map_or_else(|error| error.to_string(), |why| why.reason);
                self.refuse(count_of(record).unwrap_or(1), reason);
            }
            _ => {}
        }
    }

    /// What became of the first request to end a dropped subscription. It went behind whatever was asked for that one.
    fn left(&self, number: u32, reply: &sinew_session::Result<Reply>) {
        let mut leaving = self.leaving();
        if is_gone(reply) {
            leaving.remove(&number);
        } else if let Some(left) = leaving.get_mut(&number) {
            left.asked = true;
        }
    }
}

/// A dropped subscription of which the server has not said that it is gone.
#[derive(Clone, Debug)]
struct Leaving {
    pattern: String,
    /// The first request to end it is out of the outbox, and with it the one that may have begun it: until then a server
    /// that does not know it may still get to know it.
    asked: bool,
}

/// The server's word on an unsubscribe: that it is gone, or was before.
fn is_gone(reply: &sinew_session::Result<Reply>) -> bool {
    matches!(reply, Ok(_) | Err(SessionError::Failed(_)))
}

impl Consumer for Shared {
    fn records(&self, mut run: Run<'_>) {
        let inboxes = self.open.lock();
        while let Some(same) = run.split_run(|a, b| a.header.call == b.header.call && a.header.verb == b.header.verb) {
            let first = same.first().expect("a run is not empty");
            if first.header.call == 0 {
                same.for_each(|record| self.other(&record));
                continue;
            }
            // What comes for one that was just ended is late, not wrong.
            let Some(inbox) = inboxes.get(&first.header.call) else { continue };
            match first.header.verb {
                verb::DELIVER | verb::KEPT | verb::ASKED => inbox.receive(same.shared(), same.count() as u64),
                verb::LAGGED => same.filter_map(|record| count_of(&record)).for_each(|count| inbox.lag(count)),
                verb::ENDED => end(inbox, &first),
                _ => {}
            }
        }
    }

    fn disconnected(&self) {
        self.throttle.reset();
    }

    fn restore(&self, restore: &mut Restore<'_>) {
        if !restore.resumed() {
            self.leaving().retain(|_, left| !left.asked);
        }
        for (number, left) in self.leaving().clone() {
            let leaving = self.leaving.clone();
            restore.call(unsubscribe_request(number, &left.pattern, false), move |reply| {
                if left.asked && is_gone(&reply) {
                    leaving.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
                }
            });
        }
        for inbox in self.open.lock().values() {
            let Some(standing) = inbox.standing(restore.resumed()) else { continue };
            let again = inbox.clone();
            let (key, body) = (inbox.pattern.as_bytes(), to_cbor(&subscribe_ask(inbox, Some(standing))));
            let request = Request::new(SERVICE, verb::SUBSCRIBE, key, body, CALL);
            restore.call(Request { number: Some(inbox.number), ..request }, move |reply| {
                match reply.and_then(|reply| reply.read::<Subscribed>()) {
                    Ok(subscribed) => again.confirm(&subscribed),
                    // Cut again: the next restore asks again. Any other word of the server is its last.
                    Err(error) if error.is_retryable() => {}
                    Err(error) => again.end(&Error::of_call(error)),
                }
            });
        }
    }

    fn ended(&self, why: &SessionError) {
        self.throttle.reset();
        let why = Error::Session(why.clone());
        self.open.lock().values().for_each(|inbox| inbox.end(&why));
    }
}

/// The server has ended a subscription.
fn end(inbox: &Inbox, record: &Record<'_>) {
    let Ok(Ended { code, reason, position, lost }) = from_cbor(record.body()) else { return };
    let why = match code.as_str() {
        "denied" => Error::Denied { reason },
        _ => Error::Overflowed { lost, reason },
    };
    inbox.end_at(position, lost, Some(why));
}
