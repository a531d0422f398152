//! The thread that keeps resources in shape: open ones now and then and when one rings, the others one by one.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sinew_session::{Progress, ResourceName};

use crate::{GoOn, locked};

/// A resource that is open and kept in shape.
pub trait Kept: Send + Sync + Debug {
    /// Whose name it rings by.
    fn name(&self) -> &ResourceName;
    /// Does what is due, and logs what fails: it is tried again at the next interval.
    fn keep(&self, go_on: GoOn<'_>);
}

/// Who has resources that are not open.
pub trait Walk: Send + Sync + Debug {
    /// Does what is due in one of them, the next one in turn, and logs what fails.
    fn maintain_next(&self, go_on: GoOn<'_>);
}

/// Rings for one resource. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bell {
    name: ResourceName,
    shared: Arc<Shared>,
}

/// The thread, and who rang. Dropped, it [stops](Self::stop).
#[derive(Debug)]
pub struct Upkeep {
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
    kept: BTreeMap<ResourceName, Weak<dyn Kept>>,
    rang: HashSet<ResourceName>,
    walk: Option<Weak<dyn Walk>>,
    is_closed: bool,
}

/// What is to be looked at.
struct Due {
    kept: Vec<Weak<dyn Kept>>,
    /// At an interval; for the one who has the others.
    walk: Option<Weak<dyn Walk>>,
}

impl Bell {
    /// There may be something to maintain.
    pub fn ring(&self) {
        locked(&self.shared.state).rang.insert(self.name.clone());
        self.shared.changed.notify_one();
    }
}

impl Upkeep {
    /// Without a thread: for tests, which maintain by hand.
    pub fn idle() -> Self {
        Self { shared: Arc::default(), thread: None }
    }

    /// With one of this name that looks at all open resources that often.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(thread: &str, interval: Duration) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new().name(thread.into()).spawn({
            let shared = shared.clone();
            move || shared.work(interval)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// For the resource of this name.
    pub fn bell(&self, name: &ResourceName) -> Bell {
        Bell { name: name.clone(), shared: self.shared.clone() }
    }

    /// Keeps a resource in shape for as long as somebody has it.
    pub fn look_after<T: Kept + 'static>(&self, resource: &Arc<T>) {
        let mut state = locked(&self.shared.state);
        state.kept.retain(|_, kept| kept.strong_count() > 0);
        let weak: Weak<T> = Arc::downgrade(resource);
        state.kept.insert(resource.name().clone(), weak);
    }

    /// At each interval it looks at one of the resources that are not open as well.
    pub fn walk(&self, walk: Weak<dyn Walk>) {
        locked(&self.shared.state).walk = Some(walk);
    }

    /// Ends after the resource that it is at, whose maintenance is told to stop.
    pub fn stop(&mut self) {
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

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn work(&self, interval: Duration) {
        let mut next = Instant::now() + interval;
        while let Some(due) = self.wait(&mut next, interval) {
            let mut go_on = |_: Progress| !locked(&self.state).is_closed;
            due.kept.iter().filter_map(Weak::upgrade).for_each(|kept| kept.keep(&mut go_on));
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
                return Some(Due { kept: state.kept.values().cloned().collect(), walk: state.walk.clone() });
            }
            if !state.rang.is_empty() {
                let rang = std::mem::take(&mut state.rang);
                let kept = rang.iter().filter_map(|name| state.kept.get(name).cloned()).collect();
                return Some(Due { kept, walk: None });
            }
            let rest = next.saturating_duration_since(Instant::now());
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Longer than any test takes, and than a test waits for what should happen.
    const NEVER: Duration = Duration::from_secs(3_600);

    /// Tells that it was looked at, and stays there until it is told to stop.
    #[derive(Debug)]
    struct Thing {
        name: ResourceName,
        looked: mpsc::Sender<ResourceName>,
        stays: bool,
    }

    impl Kept for Thing {
        fn name(&self) -> &ResourceName {
            &self.name
        }

        fn keep(&self, go_on: GoOn<'_>) {
            self.looked.send(self.name.clone()).expect("the test listens");
            while self.stays && go_on(Progress::default()) {
                std::thread::yield_now();
            }
        }
    }

    impl Walk for Thing {
        fn maintain_next(&self, _: GoOn<'_>) {
            self.looked.send(self.name.clone()).expect("the test listens");
        }
    }

    fn thing(text: &str, looked: &mpsc::Sender<ResourceName>, stays: bool) -> Arc<Thing> {
        Arc::new(Thing { name: text.parse().expect("a name"), looked: looked.clone(), stays })
    }

    #[test]
    fn who_rings_is_looked_at_and_nobody_else() {
        let (looked, looks) = mpsc::channel();
        let upkeep = Upkeep::start("upkeep", NEVER).expect("started");
        let (one, other) = (thing("one", &looked, false), thing("other", &looked, false));
        let walk: Arc<dyn Walk> = thing("walk", &looked, false);
        upkeep.walk(Arc::downgrade(&walk));
        upkeep.look_after(&one);
        upkeep.look_after(&other);
        upkeep.bell(one.name()).ring();
        assert_eq!(looks.recv().expect("looked at"), one.name);
        upkeep.bell(other.name()).ring();
        assert_eq!(looks.recv().expect("looked at"), other.name);
        let gone = one.name.clone();
        drop(one);
        upkeep.bell(&gone).ring();
        drop(upkeep);
        assert!(looks.try_recv().is_err(), "nobody has it, and nobody else rang");
    }

    #[test]
    fn all_are_looked_at_at_each_interval_and_one_that_is_not_open() {
        let (looked, looks) = mpsc::channel();
        let (one, other) = (thing("one", &looked, false), thing("other", &looked, false));
        let walk: Arc<dyn Walk> = thing("walk", &looked, false);
        let upkeep = Upkeep::start("upkeep", Duration::from_millis(1)).expect("started");
        upkeep.look_after(&one);
        upkeep.look_after(&other);
        upkeep.walk(Arc::downgrade(&walk));
        let mut missing: HashSet<_> = ["one", "other", "walk"].map(str::to_owned).into();
        while !missing.is_empty() {
            missing.remove(looks.recv().expect("looked at").as_str());
        }
    }

    #[test]
    fn it_stops_in_the_middle_of_long_work() {
        let (looked, looks) = mpsc::channel();
        let mut upkeep = Upkeep::start("upkeep", NEVER).expect("started");
        let long = thing("long", &looked, true);
        upkeep.look_after(&long);
        upkeep.bell(long.name()).ring();
        looks.recv().expect("it is at it");
        upkeep.stop();
        assert_eq!(Arc::strong_count(&long), 1, "the thread has let it go");
    }
}
