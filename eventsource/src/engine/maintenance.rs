//! The thread that keeps streams in shape: retention, compaction and snapshots, of open ones now and then and when a stream
//! rings, of the others one by one.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sinew_hosting::{GoOn, locked};
use sinew_session::ResourceName;

use super::stored_stream::StoredStream;

/// Who has streams that are not open.
pub(crate) trait Walk: Send + Sync + std::fmt::Debug {
    /// Does what is due in one of them, the next one in turn.
    fn maintain_next(&self, go_on: GoOn<'_>);
}

/// Rings for one stream.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    name: ResourceName,
    shared: Arc<Shared>,
}

/// The thread, and who rang.
#[derive(Debug)]
pub(crate) struct Maintenance {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    streams: Vec<Weak<StoredStream>>,
    rang: HashSet<ResourceName>,
    walk: Option<Weak<dyn Walk>>,
    is_closed: bool,
}

/// What is to be looked at.
struct Due {
    streams: Vec<Weak<StoredStream>>,
    /// At an interval; for the one who has the others.
    walk: Option<Weak<dyn Walk>>,
}

impl Bell {
    /// There may be something to maintain.
    pub(crate) fn ring(&self) {
        locked(&self.shared.state).rang.insert(self.name.clone());
        self.shared.changed.notify_one();
    }
}

impl Maintenance {
    /// Without a thread: for tests, which maintain by hand.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        Self { shared: Arc::default(), thread: None }
    }

    /// With one that looks at all streams that often.
    pub(crate) fn start(interval: Duration) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new().name("sinew-upkeep".into()).spawn({
            let shared = shared.clone();
            move || shared.work(interval)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn bell(&self, name: &ResourceName) -> Bell {
        Bell { name: name.clone(), shared: self.shared.clone() }
    }

    pub(crate) fn look_after(&self, stream: &Arc<StoredStream>) {
        let mut state = locked(&self.shared.state);
        state.streams.retain(|stream| stream.strong_count() > 0);
        state.streams.push(Arc::downgrade(stream));
    }

    /// At each interval it looks at one of the streams that are not open as well.
    pub(crate) fn walk(&self, walk: Weak<dyn Walk>) {
        locked(&self.shared.state).walk = Some(walk);
    }

    /// Ends after the stream that it is at, whose compaction stops where it is.
    pub(crate) fn stop(&mut self) {
        locked(&self.shared.state).is_closed = true;
        self.shared.changed.notify_all();
        // It may be the last one to have had the engine.
        let is_here = |thread: &JoinHandle<()>| thread.thread().id() == std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| !is_here(thread)) {
            // A panic in it was logged by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn work(&self, interval: Duration) {
        let mut next = Instant::now() + interval;
        loop {
            let Some(due) = self.wait(&mut next, interval) else { return };
            let mut go_on = |_| !locked(&self.state).is_closed;
            for stream in due.streams.iter().filter_map(Weak::upgrade) {
                if let Err(error) = stream.maintain(&mut go_on) {
                    tracing::warn!(stream = %stream.name, %error, "a stream could not be maintained; later");
                }
            }
            if let Some(walk) = due.walk.and_then(|walk| walk.upgrade()) {
                walk.maintain_next(&mut go_on);
            }
        }
    }

    /// What to look at; `None` when it is over.
    fn wait(&self, next: &mut Instant, interval: Duration) -> Option<Due> {
        let mut state = locked(&self.state);
        loop {
            if state.is_closed {
                return None;
            }
            if Instant::now() >= *next {
                *next = Instant::now() + interval;
                state.rang.clear();
                return Some(Due { streams: state.streams.clone(), walk: state.walk.clone() });
            }
            if !state.rang.is_empty() {
                let rang = std::mem::take(&mut state.rang);
                let is_meant = |of: &&Weak<StoredStream>| of.upgrade().is_some_and(|of| rang.contains(&of.name));
                let streams = state.streams.iter().filter(is_meant).cloned().collect();
                return Some(Due { streams, walk: None });
            }
            let rest = next.saturating_duration_since(Instant::now());
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}
