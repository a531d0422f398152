//! The bus with a tap on it: notes at the server, in the order of routing, what arrives. The count kept outside.

use std::sync::{Arc, Mutex, MutexGuard};

use serde::Deserialize;
use sinew_bus::Broker;
use sinew_session::{Attachment, Failure, Lane, Link, Run, Service, from_cbor};

/// Verbs of the bus, written down a second time.
pub mod verb {
    /// A message.
    pub const PUBLISH: u8 = 1;
    /// A subscription is asked for.
    pub const SUBSCRIBE: u8 = 3;
    /// And ended.
    pub const UNSUBSCRIBE: u8 = 4;
    /// Credit.
    pub const GRANT: u8 = 5;
    /// A request, at its responder.
    pub const ASKED: u8 = 9;
    /// The answer.
    pub const ANSWER: u8 = 10;
    /// What the server has counted.
    pub const INSPECT: u8 = 14;
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A new server began.
    Start,
    /// A message: its subject, and the number in the first eight bytes of its body.
    Publish(String, u64),
    /// A subscription was asked for: the window names it. `again`: with a cursor, for taking it up after a cut.
    Subscribe {
        /// The window it wishes for.
        window: u64,
        /// Whether with a cursor.
        again: bool,
    },
}

/// What arrived at all servers of a test, in order.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<Arrival>>>);

impl Log {
    /// All of it.
    pub fn all(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.0.lock().expect("no panic while it is held")
    }
}

/// A bus that writes a log.
#[derive(Clone, Debug)]
pub struct Tapped {
    broker: Arc<Broker>,
    log: Log,
}

impl Tapped {
    /// A tap on `broker`; notes that a server begins.
    pub fn new(broker: Arc<Broker>, log: &Log) -> Self {
        log.all().push(Arrival::Start);
        Self { broker, log: log.clone() }
    }
}

impl Service for Tapped {
    fn code(&self) -> u8 {
        self.broker.code()
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(Tap { inner: self.broker.open(link), log: self.log.clone() })
    }
}

#[derive(Debug)]
struct Tap {
    inner: Box<dyn Attachment>,
    log: Log,
}

#[derive(Deserialize)]
struct Ask {
    window_bytes: u64,
    cursor: Option<u64>,
}

impl Attachment for Tap {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure> {
        let mut log = self.log.all();
        for record in run {
            match record.header.verb {
                verb::PUBLISH => {
                    let subject = String::from_utf8_lossy(record.head().get(2..).unwrap_or_default()).into_owned();
                    let number = record.body().first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
                    log.push(Arrival::Publish(subject, number));
                }
                verb::SUBSCRIBE => {
                    if let Ok(ask) = from_cbor::<Ask>(record.body()) {
                        log.push(Arrival::Subscribe { window: ask.window_bytes, again: ask.cursor.is_some() });
                    }
                }
                _ => {}
            }
        }
        drop(log);
        self.inner.records(lane, run)
    }

    fn cancel(&mut self, call: u32) {
        self.inner.cancel(call);
    }

    fn drained(&mut self) {
        self.inner.drained();
    }

    fn suspend(&mut self) {
        self.inner.suspend();
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.inner.resume(link);
    }
}
