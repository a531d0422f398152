//! The threads behind the buckets: one that takes what waits into the tables and wakes buckets whose keys are due, and the
//! one that compacts.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sinew_hosting::{Upkeep, locked};
use sinew_session::ResourceName;

use super::Host;
use super::stored_bucket::StoredBucket;

/// How long what the tables were given may wait until the operating system has it: what a start after a kill has to
/// replay.
const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// How long what is stored waits for the table where there is room for it: a key that is written again meanwhile goes there
/// once, and many keys go together.
const APPLY_DELAY: Duration = Duration::from_secs(1);

/// Rings for one bucket.
#[derive(Clone, Debug)]
pub(super) struct Bell {
    name: ResourceName,
    shared: Arc<Shared>,
    upkeep: sinew_hosting::Bell,
}

/// The threads, and who rang.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    applier: Option<JoinHandle<()>>,
    upkeep: Upkeep,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to apply, or another deadline.
    apply: Condvar,
}

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<ResourceName, Weak<StoredBucket>>,
    /// Buckets with something for the table, and when it is taken there.
    to_apply: BTreeMap<ResourceName, Instant>,
    /// When the next key of a bucket is gone, by the steady clock.
    deadlines: BTreeMap<ResourceName, u64>,
    is_closed: bool,
}

impl Bell {
    /// Something waits for the table, and is to be taken there now.
    pub(super) fn apply(&self) {
        self.apply_at(Instant::now());
    }

    /// Something waits for the table.
    pub(super) fn apply_later(&self) {
        self.apply_at(Instant::now() + APPLY_DELAY);
    }

    fn apply_at(&self, at: Instant) {
        let mut state = locked(&self.shared.state);
        match state.to_apply.get_mut(&self.name) {
            Some(before) if *before <= at => return,
            Some(before) => *before = at,
            None => drop(state.to_apply.insert(self.name.clone(), at)),
        }
        drop(state);
        self.shared.apply.notify_one();
    }

    /// There may be something to compact.
    pub(super) fn maintain(&self) {
        self.upkeep.ring();
    }

    /// The next key is gone then.
    pub(super) fn at(&self, steady: u64) {
        let before = locked(&self.shared.state).deadlines.insert(self.name.clone(), steady);
        if before.is_none_or(|before| steady < before) {
            self.shared.apply.notify_one();
        }
    }
}

impl Workers {
    /// Without threads: for tests, which do it by hand.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn idle() -> Self {
        Self { shared: Arc::default(), applier: None, upkeep: Upkeep::idle() }
    }

    /// With both.
    pub(super) fn start(host: Arc<Host>) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let upkeep = Upkeep::start("sinew-kv-upkeep", host.options.maintenance_interval)?;
        let applier = std::thread::Builder::new().name("sinew-kv-apply".into()).spawn({
            let shared = shared.clone();
            move || shared.apply(&host)
        })?;
        Ok(Self { shared, applier: Some(applier), upkeep })
    }

    pub(super) fn bell(&self, name: &ResourceName) -> Bell {
        Bell { name: name.clone(), shared: self.shared.clone(), upkeep: self.upkeep.bell(name) }
    }

    pub(super) fn look_after(&self, bucket: &Arc<StoredBucket>) {
        let mut state = locked(&self.shared.state);
        state.buckets.retain(|_, bucket| bucket.strong_count() > 0);
        state.buckets.insert(bucket.name.clone(), Arc::downgrade(bucket));
        state.to_apply.insert(bucket.name.clone(), Instant::now());
        drop(state);
        self.shared.apply.notify_one();
        self.upkeep.look_after(bucket);
    }

    /// Ends after what the threads are at; a compaction stops where it is.
    pub(super) fn stop(&mut self) {
        locked(&self.shared.state).is_closed = true;
        self.shared.apply.notify_all();
        self.upkeep.stop();
        if let Some(applier) = self.applier.take() {
            // A panic in it was logged by the panic hook.
            let _ = applier.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the applying thread does next.
enum Turn {
    Over,
    Work { apply: Vec<Arc<StoredBucket>>, due: Vec<Arc<StoredBucket>> },
}

impl Shared {
    fn apply(&self, host: &Host) {
        let (mut flush_at, mut to_flush) = (Instant::now(), Vec::<Weak<StoredBucket>>::new());
        loop {
            let deadline = (!to_flush.is_empty()).then_some(flush_at);
            let Turn::Work { apply, due } = self.next_turn(host, deadline) else { return };
            due.iter().for_each(|bucket| bucket.wake());
            for bucket in apply {
                // What fails is published.
                if matches!(bucket.apply_one(), Ok(true)) {
                    if to_flush.is_empty() {
                        flush_at = Instant::now() + FLUSH_INTERVAL;
                    }
                    to_flush = vec![Arc::downgrade(&bucket)];
                }
            }
            if Instant::now() >= flush_at
                && let Some(bucket) = to_flush.pop().and_then(|bucket| bucket.upgrade())
            {
                // All tables are flushed as one.
                bucket.flush();
            }
        }
    }

    fn next_turn(&self, host: &Host, flush_at: Option<Instant>) -> Turn {
        let mut state = locked(&self.state);
        loop {
            if state.is_closed {
                return Turn::Over;
            }
            let steady = host.clock.steady();
            let is_past = |(name, at): (&ResourceName, &u64)| (*at <= steady).then(|| name.clone());
            let names: Vec<_> = state.deadlines.iter().filter_map(is_past).collect();
            state.deadlines.retain(|_, at| *at > steady);
            let now = Instant::now();
            let is_now = |(name, at): (&ResourceName, &Instant)| (*at <= now).then(|| name.clone());
            let apply: Vec<_> = state.to_apply.iter().filter_map(is_now).collect();
            state.to_apply.retain(|_, at| *at > now);
            let find = |name: &ResourceName| state.buckets.get(name).and_then(Weak::upgrade);
            let due: Vec<_> = names.iter().filter_map(find).collect();
            let apply: Vec<_> = apply.iter().filter_map(find).collect();
            if !due.is_empty() || !apply.is_empty() || flush_at.is_some_and(|at| at <= now) {
                return Turn::Work { apply, due };
            }
            let next = state.deadlines.values().min().map(|at| Duration::from_nanos(at - steady));
            let apply = state.to_apply.values().min().copied();
            let at = flush_at.into_iter().chain(apply).map(|at| at.saturating_duration_since(now));
            state = match next.into_iter().chain(at).min() {
                Some(rest) => self.apply.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0,
                None => self.apply.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
