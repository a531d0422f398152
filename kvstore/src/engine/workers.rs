//! The threads behind the buckets: one that takes what waits into the tables and wakes buckets whose keys are due, and one
//! that compacts.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sinew_hosting::locked;
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
}

/// The threads, and who rang.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to apply, or another deadline.
    apply: Condvar,
    /// There is something to maintain.
    maintain: Condvar,
}

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<ResourceName, Weak<StoredBucket>>,
    /// Buckets with something for the table, and when it is taken there.
    to_apply: BTreeMap<ResourceName, Instant>,
    to_maintain: HashSet<ResourceName>,
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
        locked(&self.shared.state).to_maintain.insert(self.name.clone());
        self.shared.maintain.notify_one();
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
        Self { shared: Arc::default(), threads: Vec::new() }
    }

    /// With both.
    pub(super) fn start(host: Arc<Host>) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let mut workers = Self { shared: shared.clone(), threads: Vec::new() };
        let interval = host.options.maintenance_interval;
        workers.spawn("sinew-kv-apply", move |shared| shared.apply(&host))?;
        workers.spawn("sinew-kv-upkeep", move |shared| shared.maintain(interval))?;
        Ok(workers)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(Arc<Shared>) + Send + 'static) -> std::io::Result<()> {
        let shared = self.shared.clone();
        self.threads.push(std::thread::Builder::new().name(name.into()).spawn(move || work(shared))?);
        Ok(())
    }

    pub(super) fn bell(&self, name: &ResourceName) -> Bell {
        Bell { name: name.clone(), shared: self.shared.clone() }
    }

    pub(super) fn look_after(&self, bucket: &Arc<StoredBucket>) {
        let mut state = locked(&self.shared.state);
        state.buckets.retain(|_, bucket| bucket.strong_count() > 0);
        state.buckets.insert(bucket.name.clone(), Arc::downgrade(bucket));
        state.to_apply.insert(bucket.name.clone(), Instant::now());
        drop(state);
        self.shared.apply.notify_one();
    }

    /// Ends after what the threads are at; a compaction stops where it is.
    pub(super) fn stop(&mut self) {
        locked(&self.shared.state).is_closed = true;
        self.shared.apply.notify_all();
        self.shared.maintain.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in it was logged by the panic hook.
            let _ = thread.join();
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

    fn maintain(&self, interval: Duration) {
        let mut next = Instant::now() + interval;
        while let Some(buckets) = self.wait(&mut next, interval) {
            for bucket in buckets {
                let mut go_on = |_| !locked(&self.state).is_closed;
                if let Err(error) = bucket.maintain(&mut go_on) {
                    tracing::warn!(bucket = %bucket.name, %error, "a bucket could not be compacted; later");
                }
            }
        }
    }

    /// Those to look at; `None` when it is over.
    fn wait(&self, next: &mut Instant, interval: Duration) -> Option<Vec<Arc<StoredBucket>>> {
        let mut state = locked(&self.state);
        loop {
            if state.is_closed {
                return None;
            }
            if Instant::now() >= *next {
                *next = Instant::now() + interval;
                state.to_maintain.clear();
                return Some(state.buckets.values().filter_map(Weak::upgrade).collect());
            }
            if !state.to_maintain.is_empty() {
                let rang = std::mem::take(&mut state.to_maintain);
                return Some(rang.iter().filter_map(|name| state.buckets.get(name)?.upgrade()).collect());
            }
            let rest = next.saturating_duration_since(Instant::now());
            state = self.maintain.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
