//! The bus with a tap on it: notes at the server, in the order of routing, what arrives. The count kept outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Deserialize;
use sinew_bus::Broker;
use sinew_session::{Attachment, Failure, Lane, Link, Record, Run, Service, from_cbor};

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
    /// A message that is answered with what became of it.
    pub const CONFIRMED: u8 = 7;
    /// A request.
    pub const REQUEST: u8 = 8;
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
    /// A message, confirmed ones and requests included.
    Publish {
        /// What it is about.
        subject: String,
        /// The number in the first eight bytes of its body.
        number: u64,
        /// Whether it is to be kept as the subject's last value.
        keeps: bool,
    },
    /// A subscription was asked for, for the first time or again after a cut.
    Subscribe {
        /// The window it wishes for: names it for the test.
        window: u64,
        /// Whose it is at the server: counted through all servers of the log.
        session: u64,
        /// Its number in that session.
        number: u32,
        /// Whether it hears the kept values of its pattern first.
        wants_kept: bool,
        /// What it listens to.
        pattern: String,
        /// What it is to a message.
        hears: Hears,
    },
    /// The subscription of this session and number is to end at once.
    Unsubscribe {
        /// Whose it is at the server.
        session: u64,
        /// Its number in that session.
        number: u32,
    },
    /// It is to hear nothing new, and what waits for it is still delivered.
    Drain {
        /// Whose it is at the server.
        session: u64,
        /// Its number in that session.
        number: u32,
    },
    /// The server forgets this session, with its subscriptions.
    Forget {
        /// Which one.
        session: u64,
    },
}

/// How a subscription stands to the messages that match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hears {
    /// It hears each.
    All,
    /// It hears each, until its queue is full: then the server ends it.
    UntilFull,
    /// The group of this name hears each once.
    Shared(String),
    /// It answers requests and hears nothing else.
    Requests,
}

/// What arrived at all servers of a test, in order.
#[derive(Clone, Debug, Default)]
pub struct Log {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    sessions: Arc<AtomicU64>,
}

impl Log {
    /// All of it.
    pub fn all(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().expect("no panic while it is held")
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
        let session = self.log.sessions.fetch_add(1, Ordering::Relaxed);
        Box::new(Tap { inner: self.broker.open(link), log: self.log.clone(), session })
    }
}

#[derive(Debug)]
struct Tap {
    inner: Box<dyn Attachment>,
    log: Log,
    session: u64,
}

#[derive(Deserialize)]
struct Ask {
    window_bytes: u64,
    cursor: Option<u64>,
    group: Option<String>,
    #[serde(default)]
    responds: bool,
    #[serde(default)]
    live_only: bool,
    pattern: String,
    #[serde(default)]
    overflow: u8,
}

/// The overflow policy that ends a subscription, written down a second time.
const DISCONNECT: u8 = 2;

#[derive(Deserialize)]
struct Leave {
    number: u32,
    #[serde(default)]
    drain: bool,
}

impl Ask {
    fn wants_kept(&self) -> bool {
        self.cursor.is_none() && self.group.is_none() && !self.responds && !self.live_only
    }

    fn hears(&self) -> Hears {
        match &self.group {
            _ if self.responds => Hears::Requests,
            Some(group) => Hears::Shared(group.clone()),
            None if self.overflow == DISCONNECT => Hears::UntilFull,
            None => Hears::All,
        }
    }
}

/// The message in a record that begins with a message head.
fn message(record: &Record<'_>) -> Arrival {
    let head = record.head();
    let end = 2 + head.first_chunk().map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
    let subject = String::from_utf8_lossy(head.get(2..end).unwrap_or_default()).into_owned();
    let number = record.body().first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
    let flags = head.get(end).copied().unwrap_or(0);
    Arrival::Publish { subject, number, keeps: record.header.verb == verb::CONFIRMED && flags & 1 != 0 }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.log.all().push(Arrival::Forget { session: self.session });
    }
}

impl Attachment for Tap {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure> {
        let mut log = self.log.all();
        for record in run {
            match record.header.verb {
                verb::PUBLISH | verb::CONFIRMED | verb::REQUEST => log.push(message(&record)),
                verb::SUBSCRIBE => {
                    if let Ok(ask) = from_cbor::<Ask>(record.body()) {
                        let (window, session, number) = (ask.window_bytes, self.session, record.header.call);
                        let (wants_kept, hears, pattern) = (ask.wants_kept(), ask.hears(), ask.pattern);
                        log.push(Arrival::Subscribe { window, session, number, wants_kept, pattern, hears });
                    }
                }
                verb::UNSUBSCRIBE => {
                    if let Ok(Leave { number, drain }) = from_cbor(record.body()) {
                        let session = self.session;
                        log.push(match drain {
                            true => Arrival::Drain { session, number },
                            false => Arrival::Unsubscribe { session, number },
                        });
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

    fn judge(&mut self) {
        self.inner.judge();
    }
}
