//! The bus at the server: takes what arrives, asks the rules, hands it to the outlets. No rule in here.
//!
//! Routing runs where the block arrived: from a received block to the subscribers' outboxes there is no task and no
//! thread in between, and no allocation in steady state. One session's side is in `broker/attachment.rs`, what it does
//! with each kind of record in the files beside it.
//!
//! Locks are taken in this order: kept values, router, outlet, a publisher's brake, outbox. Requests are locked alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Attachment, Link, Service};
use tokio::time::Instant;

use crate::accounting::{Accounts, SUBJECTS_COUNTED_MAX_DEFAULT};
use crate::outlet::Outlet;
use crate::protocol::SERVICE;
use crate::retained::Retained;
use crate::{Accounting, BacklogLimits, Budget, Pattern, RetainedLimits, Router};

mod attachment;
mod inspect;
mod publish;
mod request;
mod reserved;
mod subscribe;
use attachment::BusAttachment;
use request::Asking;
pub use reserved::{OnReserved, ReservedPublisher};

/// The limits of the bus at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusLimits {
    /// Subscriptions for each session. Default 10,000.
    pub subscriptions_max: usize,
    /// The largest window of a subscription, in bytes. Default 16 MiB. A larger wish is cut to it.
    pub window_bytes_max: usize,
    /// The largest queue of a subscription. A larger wish is cut to it.
    pub queue: BacklogLimits,
    /// Bytes in the queues of all subscriptions together, with 64 more for each record. Default 256 MiB: 32 full queues,
    /// and half of a small machine. No queue may hold more than is still free of it ([`Budget`]): who holds most loses
    /// first, by its own overflow policy.
    pub queued_bytes_max: usize,
    /// What is kept as last values.
    pub retained: RetainedLimits,
    /// Bytes of publishes that a session may have on their way. Default 4 MiB: what a fast connection carries in some
    /// milliseconds, and 80 MB/s over 50 ms.
    pub publish_window_bytes: usize,
    /// How long a subscription may hold its publishers back. Default 1 s: longer than a pause of a busy program, and
    /// not so long that publishers look dead.
    pub hold_max: Duration,
    /// Requests on their way for each session. Default 4,096.
    pub requests_max: usize,
    /// Requests in all that wait for a responder that may come back. Default 1,024.
    pub requests_held_max: usize,
    /// How long a request waits for a responder that was there before a cut or a restart. Default 3 s: a client comes
    /// back within one or two.
    pub return_window: Duration,
    /// Subjects that are counted apart.
    pub subjects_counted_max: usize,
}

impl Default for BusLimits {
    fn default() -> Self {
        Self {
            subscriptions_max: 10_000,
            window_bytes_max: 16 << 20,
            queue: BacklogLimits::default(),
            queued_bytes_max: 256 << 20,
            retained: RetainedLimits::default(),
            publish_window_bytes: 4 << 20,
            hold_max: Duration::from_secs(1),
            requests_max: 4_096,
            requests_held_max: 1_024,
            return_window: Duration::from_secs(3),
            subjects_counted_max: SUBJECTS_COUNTED_MAX_DEFAULT,
        }
    }
}

/// The bus service, to be given to a server.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
}

impl Default for Broker {
    fn default() -> Self {
        Self::new(BusLimits::default())
    }
}

/// What all sessions share.
#[derive(Debug)]
struct Shared {
    router: Mutex<Router<Arc<Outlet>>>,
    retained: Mutex<Retained<Bytes>>,
    accounts: Accounts,
    asking: Mutex<Asking>,
    budget: Arc<Budget>,
    limits: BusLimits,
    /// Who hears of subscriptions to reserved subjects.
    told: reserved::Told,
}

impl Shared {
    fn router(&self) -> MutexGuard<'_, Router<Arc<Outlet>>> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retained(&self) -> MutexGuard<'_, Retained<Bytes>> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// A bus with these limits.
    pub fn new(limits: BusLimits) -> Self {
        let shared = Shared {
            router: Mutex::default(),
            retained: Mutex::new(Retained::new(limits.retained)),
            accounts: Accounts::new(limits.subjects_counted_max),
            asking: Mutex::default(),
            budget: Arc::new(Budget::new(limits.queued_bytes_max)),
            limits,
            told: reserved::Told::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Subscriptions at this moment, those of cut sessions included.
    pub fn subscriptions(&self) -> usize {
        self.shared.router().len()
    }

    /// Bytes that wait for slow subscribers now, as `queued_bytes_max` counts them.
    pub fn queued_bytes(&self) -> usize {
        self.shared.budget.used()
    }

    /// What became of all messages to subjects that the pattern stands for; without one, of all messages since the
    /// start. Costs a walk over the subjects that are counted.
    pub fn accounting(&self, pattern: Option<&Pattern>) -> Accounting {
        self.shared.accounts.sum(pattern)
    }
}

impl Service for Broker {
    fn code(&self) -> u8 {
        SERVICE
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        if link.is_returning() {
            let window = self.shared.limits.return_window;
            self.shared.asking().somebody_returned(Instant::now(), window);
        }
        Box::new(BusAttachment::new(&self.shared, link))
    }
}
