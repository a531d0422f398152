//! What all actors of a world share: the way to the server, the end of the world, the trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sinew_bus::{Bus, Pattern, Subject};
use sinew_session::Session;
use sinew_testkit::setup::Setup;
use sinew_testkit::trace::Trace;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::asking::Asked;

pub(crate) const SUBJECTS: [&str; 5] = ["s.0", "s.1", "s.2", "s.3.x", "t"];
pub(crate) const PATTERNS: [&str; 6] = ["s.*", "s.>", ">", "s.1", "t", "*.*.x"];
/// A world that takes longer hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3_600);

/// The end of the world. A `watch` channel would do, if it did not wake those who wait in random order.
#[derive(Debug, Default)]
pub(crate) struct End {
    has_come: AtomicBool,
    told: Notify,
}

impl End {
    /// It comes.
    pub(crate) fn come(&self) {
        self.has_come.store(true, Ordering::Relaxed);
        self.told.notify_waiters();
    }
}

/// Where an actor stands.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) setup: Setup,
    pub(crate) trace: Trace,
    pub(crate) end: Arc<End>,
    pub(crate) windows: Arc<AtomicU64>,
    pub(crate) asked: Asked,
}

impl Stage {
    /// Connects, however often it takes.
    pub(crate) async fn connect(&self) -> Bus {
        loop {
            match Session::connect(&self.setup.endpoints[0], self.setup.session_options()).await {
                Ok(session) => return Bus::new(&session).expect("the first on its session"),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Whether the world has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.end.has_come.load(Ordering::Relaxed)
    }

    /// Waits for it.
    pub(crate) async fn over(&self) {
        let told = self.end.told.notified();
        if !self.is_over() {
            told.await;
        }
    }

    /// A window of about so many bytes that no other subscription of this world has.
    pub(crate) fn window(&self, bytes: u64) -> u64 {
        bytes + self.windows.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).expect("a pattern of this world")
}

pub(crate) fn subject(text: &str) -> Subject {
    Subject::try_from(text).expect("a subject of this world")
}
