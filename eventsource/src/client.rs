//! The event log at the client: what a session is told and asked. Appending, reading, following and the rest are in
//! `client/`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{
    Consumer, Error as SessionError, LongCalls, Request, ResourceName, Restore, Run, Session, Streams, to_cbor,
};

use crate::Result;
use crate::inbox::Inbox;
use crate::member::Desk;
use crate::producer::Sending;
use crate::protocol::{CALL_SECONDS, SERVICE, error_of};

mod append;
mod cursors;
mod follow;
mod groups;
mod maintain;
mod streams;
pub use append::{AppendOptions, AppendTicket};
pub(crate) use append::{append_request, appended, batch_of, encode_value, send_append};
pub use follow::FollowOptions;
pub use groups::GroupOptions;
pub use streams::Events;

pub(crate) const CALL: Duration = Duration::from_secs(CALL_SECONDS);

/// The event log, on a session. Cheap to clone.
///
/// ```
/// use sinew_eventsource::{FollowOptions, Position, StreamConfig};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, log) = sinew_testkit::memory::log().await;
/// let orders = "orders".parse()?;
/// log.create(&orders, &StreamConfig::default()).await?;
/// let stored = log.append(&orders, "two cups of tea").await?; // durable when this returns
/// assert_eq!(stored.first, 0);
///
/// let mut reader = log.follow(&orders, Position::Start, FollowOptions::default()).await?;
/// let event = reader.next_event().await.expect("it goes on");
/// assert_eq!((event.offset, &event.payload[..]), (0, &b"two cups of tea"[..]));
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) session: Session,
    pub(crate) shared: Arc<Shared>,
}

impl Log {
    /// Puts the event log on `session`.
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

    /// Waits for what was sent before and ends the session, for all clones. What was appended and not acknowledged yet
    /// may be stored or not.
    ///
    /// # Errors
    /// `Session`; it is ended all the same.
    pub async fn close(&self) -> Result<()> {
        Ok(self.session.close().await?)
    }

    pub(crate) fn enter_producer(&self, sending: &Arc<Sending>) {
        self.shared.enter_producer(sending);
    }

    /// Asks once.
    pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        verb: u8,
        stream: &ResourceName,
        ask: &Q,
    ) -> Result<A> {
        let request = Request::new(SERVICE, verb, stream.as_str().as_bytes(), to_cbor(ask), CALL);
        Ok(self.session.call(request).await.map_err(error_of)?.read()?)
    }

    /// Asks until the answer is known: for what may be done twice without harm.
    pub(crate) async fn ask_surely<Q: Serialize, A: DeserializeOwned>(
        &self,
        verb: u8,
        stream: &ResourceName,
        ask: &Q,
    ) -> Result<A> {
        loop {
            match self.ask(verb, stream, ask).await {
                Err(crate::Error::Session(SessionError::OutcomeUnknown)) => {}
                answer => return answer,
            }
        }
    }
}

/// What all clones share. In the order of their numbers: a restore goes in the same order each time.
#[derive(Default)]
pub(crate) struct Shared {
    follows: Streams<Inbox>,
    members: Streams<Desk>,
    producers: Mutex<Vec<Weak<Sending>>>,
    long_calls: LongCalls,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("follows", &self.follows).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// A producer whose batches are to be sent again after a cut.
    fn enter_producer(&self, sending: &Arc<Sending>) {
        let mut producers = lock(&self.producers);
        producers.retain(|producer| producer.strong_count() > 0);
        producers.push(Arc::downgrade(sending));
    }
}

impl Consumer for Shared {
    fn records(&self, run: Run<'_>) {
        for record in run {
            let number = record.header.call;
            if record.header.verb == crate::protocol::verb::PROGRESS {
                self.long_calls.told(&record);
                continue;
            }
            if let Some(inbox) = self.follows.find(number) {
                inbox.receive(&record);
            } else if let Some(desk) = self.members.find(number) {
                desk.receive(&record);
            }
        }
    }

    fn restore(&self, restore: &mut Restore<'_>) {
        // First what waits to be stored: what is read may depend on it, never the other way around.
        let producers: Vec<_> = lock(&self.producers).iter().filter_map(Weak::upgrade).collect();
        producers.iter().for_each(|producer| producer.restore(restore));
        self.follows.all().iter().for_each(|inbox| follow::restore(inbox, restore));
        self.members.all().iter().for_each(|desk| groups::restore(desk, restore));
    }

    fn ended(&self, why: &SessionError) {
        self.follows.all().iter().for_each(|inbox| inbox.end(Some(why.clone().into())));
        self.members.all().iter().for_each(|desk| desk.end(why.clone().into()));
        let producers: Vec<_> = lock(&self.producers).iter().filter_map(Weak::upgrade).collect();
        producers.iter().for_each(|producer| producer.fail(&why.clone().into()));
    }
}
