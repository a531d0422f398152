//! What the server itself publishes, below subjects that begin with `$`: routed, counted and lost as anything else, but
//! nobody is held back by it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use sinew_session::{Header, Run, encode};

use super::{Broker, Shared};
use crate::accounting::Account;
use crate::outlet::{Outlet, Shipment};
use crate::protocol::{SERVICE, message_tail, publish_head, verb};
use crate::router::Route;
use crate::{GenerationWatch, Headers, Pattern, RouteCache, Subject};

/// Hears of a new subscription to reserved subjects before its subscriber does: what is published from then on is heard.
/// Called where the block arrives; must not wait.
pub type OnReserved = Arc<dyn Fn(&Pattern) + Send + Sync>;

/// Whoever is told of subscriptions to reserved subjects, once there is somebody.
#[derive(Default)]
pub(super) struct Told(OnceLock<OnReserved>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "told" } else { "nobody is told" })
    }
}

impl Told {
    /// A subscription stands.
    pub(super) fn of(&self, pattern: &Pattern) {
        if let Some(told) = self.0.get().filter(|_| pattern.as_str().starts_with('$')) {
            told(pattern);
        }
    }
}

/// Publishes to subjects that begin with `$`, within the server. Calls of one thread are heard in their order.
#[derive(Debug)]
pub struct ReservedPublisher {
    shared: Arc<Shared>,
    generation: GenerationWatch,
    passages: Mutex<RouteCache<Passage>>,
}

#[derive(Clone, Debug)]
struct Passage {
    route: Arc<Route<Arc<Outlet>>>,
    account: Arc<Account>,
}

impl Broker {
    /// A publisher for another service of the same server. `told` hears of subscriptions to reserved subjects.
    ///
    /// # Panics
    /// If there is one already: one hook is told.
    pub fn reserved_publisher(&self, told: OnReserved) -> ReservedPublisher {
        assert!(self.shared.told.0.set(told).is_ok(), "a bus has one publisher to reserved subjects");
        let (shared, generation) = (self.shared.clone(), self.shared.router().generation_watch());
        ReservedPublisher { shared, generation, passages: Mutex::default() }
    }
}

impl ReservedPublisher {
    /// Whether anybody hears a subject that begins with the tokens of `prefix` and has more. One lock and a walk over as many
    /// tokens.
    pub fn is_heard_below(&self, prefix: &Subject) -> bool {
        self.shared.router().is_heard_below(prefix)
    }

    /// Publishes. Never waits: what a subscriber does not take is lost as its overflow policy says, and told to it. Costs
    /// one copy for all who hear it and one for each; nothing but a look-up where nobody does.
    pub fn publish(&self, subject: &Subject, headers: &Headers, body: &[u8]) {
        let Passage { route, account } = self.passage(subject);
        let (length, name) = publish_head(subject.as_bytes());
        let record = if route.is_silent() {
            Bytes::new()
        } else {
            let head = [&length[..], name, &message_tail(0, headers), headers.as_bytes()].concat();
            encode(Header { service: SERVICE, verb: verb::PUBLISH, flags: 0, call: 0 }, &head, body)
        };
        let run = Run::parse(&record).expect("whole records, just made");
        let subject = subject.as_bytes();
        let shipment = Shipment { subject, run, account: &account, brake: None, token: None, fresh: true };
        self.shared.ship(&route, &shipment, 1);
    }

    fn passage(&self, subject: &Subject) -> Passage {
        let mut passages = self.passages.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation.now();
        if let Some(passage) = passages.lookup(generation, subject.as_bytes()) {
            return passage.clone();
        }
        let passage = Passage { route: self.shared.router().route(subject), account: self.shared.accounts.of(subject) };
        passages.insert(generation, subject, passage.clone());
        passage
    }
}
