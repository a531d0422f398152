//! The bus at the client: publish and subscribe on a session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{
    Consumer, Error as SessionError, HEADER_BYTES, Header, Reply, Request, Restore, Run, Session, to_cbor,
};

use crate::inbox::Inbox;
use crate::protocol::{CALL_SECONDS, SERVICE, Subscribe, Subscribed, Tally, Unsubscribe, count_of, publish_head, verb};
use crate::{Pattern, Result, Subject, SubscribeOptions, Subscription};

const CALL: Duration = Duration::from_secs(CALL_SECONDS);

/// The bus, on a session. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bus {
    session: Session,
    inboxes: Arc<Inboxes>,
}

impl Bus {
    /// Puts the bus on `session`.
    ///
    /// # Errors
    /// `Session(Mounted)` if it is there already: clone that one.
    pub fn new(session: &Session) -> Result<Self> {
        let inboxes = Arc::<Inboxes>::default();
        session.mount(SERVICE, inboxes.clone())?;
        Ok(Self { session: session.clone(), inboxes })
    }

    /// The session it is on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Publishes. Resolves when the message is packed for sending; waits only while the outbox is full. A body below
    /// 8 KiB is copied once, a larger one shared. While the connection is cut it is buffered, up to the outbox's bound.
    /// Cancelling before it resolves publishes nothing.
    ///
    /// # Errors
    /// `ReservedSubject`; `Session` with `RecordSize`, `Disconnected` once the buffer is full, or why the session ended.
    #[inline]
    pub async fn publish(&self, subject: &Subject, body: impl Into<Bytes>) -> Result<()> {
        let body = body.into();
        while !self.try_publish(subject, &body)? {
            self.session.room().await?;
        }
        Ok(())
    }

    /// Publishes if the outbox has room, without waiting; `false` if it has none.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    #[inline]
    pub fn try_publish(&self, subject: &Subject, body: &Bytes) -> Result<bool> {
        subject.check_publishable()?;
        let bytes = HEADER_BYTES + 2 + subject.as_bytes().len() + body.len();
        if bytes > self.session.record_bytes_max() {
            return Err(SessionError::RecordSize { bytes, max: self.session.record_bytes_max() }.into());
        }
        let mut packer = self.session.outbox().pack();
        if !packer.has_room() || packer.is_closed() {
            return Ok(false);
        }
        let (length, subject) = publish_head(subject.as_bytes());
        let lane = packer.lane(subject);
        packer.push(
            lane,
            Header { service: SERVICE, verb: verb::PUBLISH, flags: 0, call: 0 },
            &[&length, subject],
            body,
        );
        Ok(true)
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
    /// `Session` with `Failed` if the server says no (a limit, say), or if it cannot be asked.
    pub async fn subscribe_with(&self, pattern: &Pattern, options: SubscribeOptions) -> Result<Subscription> {
        loop {
            let number = self.session.number()?;
            let inbox = Arc::new(Inbox::new(number, pattern.as_str().to_owned(), options));
            self.inboxes.lock().insert(number, inbox.clone());
            // From here on dropping it, by a failure or by the caller, forgets it again.
            let subscription = Subscription::new(self.clone(), inbox.clone());
            // Confirmed where the answer arrives, so that a cut behind it restores the subscription.
            let confirm = move |reply: &sinew_session::Result<Reply>| {
                if let Ok(Ok(subscribed)) = reply.as_ref().map(Reply::read::<Subscribed>) {
                    inbox.confirm(&subscribed);
                }
            };
            match self.session.call_seen(subscribe_request(&subscription.inbox, None), confirm).await {
                // The connection was cut in between. Whether this one stands or not, and whatever has come for it,
                // it is given up, and another one asked for.
                Err(SessionError::OutcomeUnknown) => drop(subscription),
                reply => {
                    reply?.read::<Subscribed>()?;
                    return Ok(subscription);
                }
            }
        }
    }

    pub(crate) async fn unsubscribe(&self, inbox: &Inbox) -> Result<Tally> {
        let reply = self.session.call(unsubscribe_request(inbox.number, &inbox.pattern)).await;
        if matches!(reply, Ok(_) | Err(SessionError::Failed(_))) {
            self.inboxes.lock().remove(&inbox.number);
        }
        Ok(reply?.read()?)
    }

    /// Ends a subscription without waiting, if it has not been ended.
    pub(crate) fn forget(&self, inbox: &Inbox) {
        let known = self.inboxes.lock().remove(&inbox.number).is_some();
        if known {
            self.inboxes.leaving().insert(inbox.number, inbox.pattern.clone());
            let inboxes = self.inboxes.clone();
            let number = inbox.number;
            self.session.cast(unsubscribe_request(number, &inbox.pattern), move |reply| inboxes.left(number, &reply));
        }
    }

    /// Waits until the server has routed everything published before. One round trip.
    ///
    /// # Errors
    /// `Session` with `Lost` if messages were lost in a cut since the last flush, or `Timeout`.
    pub async fn flush(&self) -> Result<()> {
        Ok(self.session.flush(CALL).await?)
    }

    /// Flushes and ends the session, for all clones: nothing published before is lost.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(&self) -> Result<()> {
        Ok(self.session.close().await?)
    }
}

fn subscribe_request(inbox: &Inbox, standing: Option<(Option<u64>, u64)>) -> Request<'_> {
    let ask = Subscribe {
        pattern: inbox.pattern.clone(),
        window_bytes: inbox.options.window_bytes as u64,
        used_bytes: standing.map_or(0, |(_, unconsumed)| unconsumed),
        queue_records_max: inbox.options.queue.records_max as u64,
        queue_bytes_max: inbox.options.queue.bytes_max as u64,
        cursor: standing.and_then(|(cursor, _)| cursor),
    };
    let key = inbox.pattern.as_bytes();
    Request { number: Some(inbox.number), ..Request::new(SERVICE, verb::SUBSCRIBE, key, to_cbor(&ask), CALL) }
}

fn unsubscribe_request(number: u32, pattern: &str) -> Request<'_> {
    let body = to_cbor(&Unsubscribe { number });
    Request::new(SERVICE, verb::UNSUBSCRIBE, pattern.as_bytes(), body, CALL)
}

/// All subscriptions of a session, in the order of their numbers: whatever concerns all of them, a restore above all, goes
/// in the same order each time.
#[derive(Debug, Default)]
struct Inboxes {
    open: Mutex<BTreeMap<u32, Arc<Inbox>>>,
    /// Dropped ones with their patterns, until the server has said that they are gone: a cut may swallow the request.
    leaving: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl Inboxes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Inbox>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self, number: u32, reply: &sinew_session::Result<Reply>) {
        left(&self.leaving, number, reply);
    }
}

/// The server's word on an unsubscribe: that it is gone, or was before.
fn left(leaving: &Mutex<BTreeMap<u32, String>>, number: u32, reply: &sinew_session::Result<Reply>) {
    if matches!(reply, Ok(_) | Err(SessionError::Failed(_))) {
        leaving.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

impl Consumer for Inboxes {
    fn records(&self, mut run: Run<'_>) {
        let inboxes = self.lock();
        while let Some(same) = run.split_run(|a, b| a.header.call == b.header.call && a.header.verb == b.header.verb) {
            let first = same.first().expect("a run is not empty");
            // What comes for one that was just ended is late, not wrong.
            let Some(inbox) = inboxes.get(&first.header.call) else { continue };
            match first.header.verb {
                verb::DELIVER => inbox.receive(same.shared(), same.count() as u64),
                verb::LAGGED => same.filter_map(|record| count_of(&record)).for_each(|count| inbox.lag(count)),
                _ => {}
            }
        }
    }

    fn restore(&self, restore: &mut Restore<'_>) {
        if !restore.resumed() {
            self.leaving().clear();
        }
        for (number, pattern) in self.leaving().clone() {
            let leaving = self.leaving.clone();
            restore.call(unsubscribe_request(number, &pattern), move |reply| left(&leaving, number, &reply));
        }
        for inbox in self.lock().values() {
            let Some(standing) = inbox.standing(restore.resumed()) else { continue };
            let again = inbox.clone();
            restore.call(subscribe_request(inbox, Some(standing)), move |reply| {
                match reply.and_then(|reply| reply.read::<Subscribed>()) {
                    Ok(subscribed) => again.confirm(&subscribed),
                    // Cut again: the next restore asks again. Any other word of the server is its last.
                    Err(error) if error.is_retryable() => {}
                    Err(error) => again.end(&error),
                }
            });
        }
    }

    fn ended(&self, why: &SessionError) {
        self.lock().values().for_each(|inbox| inbox.end(why));
    }
}
