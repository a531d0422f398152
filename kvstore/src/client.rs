//! The key-value store at the client: what a session is told and asked. Reading, writing, watching and the rest are in
//! `client/`.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{
    Consumer, Error as SessionError, LongCalls, Request, ResourceName, Restore, Run, Session, Streams, to_cbor,
};

use crate::Result;
use crate::protocol::{CALL_SECONDS, SERVICE, error_of, verb};
use crate::watch::Inbox;

mod administer;
mod bucket;
mod maintain;
mod operations;
mod read;
mod scan;
mod transaction;
mod typed;
mod watching;
mod write;
pub use bucket::KvBucket;
use operations::Operations;
pub use scan::{Keys, Scan};
pub use transaction::Transaction;
pub(crate) use watching::ask_again;
pub use watching::{WatchFrom, WatchOptions};
pub use write::{PutOptions, Stored};

pub(crate) const CALL: Duration = Duration::from_secs(CALL_SECONDS);

/// The key-value store, on a session. Cheap to clone.
///
/// ```
/// use sinew_kvstore::{Key, WatchEvent, WatchFrom};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, kv) = sinew_testkit::memory::kv().await;
/// let config = kv.bucket(&"config".parse()?);
/// let lamp: Key = "lights.hall".parse()?;
/// let stored = config.put(&lamp, "on").await?; // durable when this returns
/// let entry = config.get(&lamp).await?.expect("just put");
/// assert_eq!((&entry.value[..], entry.revision), (&b"on"[..], stored.revision));
///
/// // What there is, then what changes: no gap in between, whatever happens to the connection.
/// let mut lights = config.watch(&"lights.>".try_into()?, WatchFrom::Snapshot).await?;
/// assert_eq!(lights.next().await, Some(WatchEvent::Entry(entry)));
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
pub struct Kv {
    pub(crate) session: Session,
    pub(crate) shared: Arc<Shared>,
}

impl Kv {
    /// Puts the key-value store on `session`.
    ///
    /// # Errors
    /// `Session(Mounted)` if it is there already: clone that one.
    pub fn new(session: &Session) -> Result<Self> {
        let operations = Operations::new(session.random());
        let shared = Arc::new(Shared { watches: Streams::default(), long_calls: LongCalls::default(), operations });
        session.mount(SERVICE, shared.clone())?;
        Ok(Self { session: session.clone(), shared })
    }

    /// The session it is on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// A bucket by its name. Asks nobody: whether it is there the first call on it tells.
    pub fn bucket(&self, name: &ResourceName) -> KvBucket {
        KvBucket { kv: self.clone(), name: name.clone() }
    }

    /// Waits for what was sent before and ends the session, for all clones. What was written and not acknowledged yet may
    /// be stored or not.
    ///
    /// # Errors
    /// `Session`; it is ended all the same.
    pub async fn close(&self) -> Result<()> {
        Ok(self.session.close().await?)
    }

    /// Asks once.
    pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        verb: u8,
        bucket: &ResourceName,
        ask: &Q,
    ) -> Result<A> {
        let request = Request::new(SERVICE, verb, bucket.as_str().as_bytes(), to_cbor(ask), CALL);
        Ok(self.session.call(request).await.map_err(error_of)?.read()?)
    }

    /// Asks until the answer is known: for what may be done twice without harm.
    pub(crate) async fn ask_surely<Q: Serialize, A: DeserializeOwned>(
        &self,
        verb: u8,
        bucket: &ResourceName,
        ask: &Q,
    ) -> Result<A> {
        loop {
            match self.ask(verb, bucket, ask).await {
                Err(crate::Error::Session(SessionError::OutcomeUnknown)) => {}
                answer => return answer,
            }
        }
    }
}

/// What all clones share.
pub(crate) struct Shared {
    pub(crate) watches: Streams<Inbox>,
    long_calls: LongCalls,
    pub(crate) operations: Operations,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("watches", &self.watches).finish_non_exhaustive()
    }
}

impl Consumer for Shared {
    fn records(&self, run: Run<'_>) {
        for record in run {
            if record.header.verb == verb::PROGRESS {
                self.long_calls.told(&record);
            } else if let Some(inbox) = self.watches.find(record.header.call) {
                inbox.receive(&record);
            }
        }
    }

    fn disconnected(&self) {
        self.watches.all().iter().for_each(|inbox| inbox.cut());
    }

    fn restore(&self, restore: &mut Restore<'_>) {
        self.watches.all().iter().for_each(|inbox| watching::restore(inbox, restore));
    }

    fn ended(&self, why: &SessionError) {
        self.watches.all().iter().for_each(|inbox| inbox.end(why.clone().into()));
    }
}

/// What the server has sent does not hold together.
pub(crate) fn unreadable(what: &str) -> crate::Error {
    let why = format!("{what} does not hold together");
    crate::Error::Session(SessionError::Protocol { peer: "the server".into(), why })
}
