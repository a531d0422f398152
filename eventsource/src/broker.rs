//! The event log at the server: takes what arrives, asks who may, hands it to the engine, answers. No rule in here.
//!
//! Appends go to the engine where the block arrived, and are answered from the engine's thread; a reader that follows has
//! one task, which wakes once for each commit, and so has a group that is loaded (`broker/running.rs`).
//!
//! Locks are taken in this order: session, door or group, outbox. None is held while the engine is called, which may
//! answer at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sinew_session::{Attachment, Link, ResourceName, Service};

use crate::protocol::SERVICE;
use crate::{Engine, Error, Result, Stream};

mod append;
mod attachment;
mod calls;
mod follow;
mod groups;
mod loaded;
mod maintain;
mod members;
mod running;
mod streams;
use append::Doors;
use attachment::LogAttachment;
use loaded::Groups;

/// The limits of the event log at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Follows and memberships of a session. Default 1,000.
    pub follows_max: usize,
    /// The largest window of a follow, in bytes. Default 16 MiB. A larger wish is cut to it.
    pub window_bytes_max: usize,
    /// The largest page that is read, in bytes. Default 4 MiB. A larger wish is cut to it.
    pub page_bytes_max: usize,
    /// Calls of a session other than appends that are under way. Default 256.
    pub calls_max: usize,
    /// Bytes of appends of a session that wait for their stream to be opened. Default 8 MiB; beyond, they fail as busy.
    pub opening_bytes_max: usize,
    /// Streams of a session that are kept open for appending. Default 1,024; beyond, they are looked up anew.
    pub doors_max: usize,
    /// Groups that are in use. Default 10,000; beyond, those without members are unloaded.
    pub groups_max: usize,
    /// How long a group without members stays loaded, and keeps its stream open. Default 60 s; less where its place is
    /// needed. How often its events were handed out is counted anew after it.
    pub group_idle: Duration,
    /// Events that a group has read ahead and that are not dealt with. Default 2,048: as many ranges its cursor may have.
    pub group_events_max: usize,
    /// Their bytes. Default 8 MiB.
    pub group_bytes_max: usize,
    /// Events that a member of a group may have at one time. Default 1,024. A larger wish is cut to it.
    pub in_flight_max: usize,
    /// How long a member of a group whose connection was cut keeps its events. Default 3 s: a client comes back within one
    /// or two.
    pub return_window: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            follows_max: 1_000,
            window_bytes_max: 16 << 20,
            page_bytes_max: 4 << 20,
            calls_max: 256,
            opening_bytes_max: 8 << 20,
            doors_max: 1_024,
            groups_max: 10_000,
            group_idle: Duration::from_secs(60),
            group_events_max: 2_048,
            group_bytes_max: 8 << 20,
            in_flight_max: 1_024,
            return_window: Duration::from_secs(3),
        }
    }
}

/// The event log service, to be given to a server.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
}

/// What all sessions share.
#[derive(Debug)]
struct Shared {
    engine: Arc<dyn Engine>,
    limits: LogLimits,
    /// Rises when a stream is made, changed or removed: what sessions know of streams is looked up anew.
    generation: AtomicU64,
    /// What all sessions keep open for appending.
    doors: Doors,
    groups: Groups,
}

impl Shared {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A stream.
    async fn stream(&self, name: &ResourceName) -> Result<Arc<dyn Stream>> {
        match self.engine.stream(name).await {
            Err(Error::Limit { .. }) if self.let_go().await => self.engine.stream(name).await,
            outcome => outcome,
        }
    }

    /// Lets go of the streams that nobody uses, so that nobody who once appended or was in a group keeps others out: those
    /// that sessions only keep open for their next append, and those of groups without members. Whether there were any.
    async fn let_go(&self) -> bool {
        let (doors, groups) = (self.doors.let_go(), self.groups.let_go().await);
        doors || groups
    }
}

impl Broker {
    /// The event log on this engine, with these limits.
    pub fn new(engine: Arc<dyn Engine>, limits: LogLimits) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                limits,
                generation: AtomicU64::new(0),
                doors: Doors::default(),
                groups: Groups::default(),
            }),
        }
    }
}

impl Service for Broker {
    fn code(&self) -> u8 {
        SERVICE
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(LogAttachment::new(&self.shared, link))
    }
}
