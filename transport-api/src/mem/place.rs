//! A name of the `mem` transport: who listens there, which connections there are, what the weather is like.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::{Semaphore, mpsc};

use super::faults::Faults;
use super::link::Link;
use crate::{Connection, LaneSet, ListenOptions, Result};

/// All names of one namespace.
#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<String, Weak<Place>>>);

impl Names {
    /// The place of this name, made if there is none.
    pub(super) fn place(self: &Arc<Self>, name: &str) -> Arc<Place> {
        let mut names = lock(&self.0);
        if let Some(place) = names.get(name).and_then(Weak::upgrade) {
            return place;
        }
        let place = Arc::new(Place { name: name.to_owned(), names: Arc::clone(self), state: Mutex::default() });
        names.insert(name.to_owned(), Arc::downgrade(&place));
        place
    }

    /// The place of this name, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Place>> {
        lock(&self.0).get(name).and_then(Weak::upgrade)
    }
}

/// One name. Lives as long as its listener, a connection or a `FaultControl`.
pub(super) struct Place {
    name: String,
    names: Arc<Names>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    door: Option<Arc<Door>>,
    links: Vec<Weak<Link>>,
    /// Dead links are swept when there are this many, so that a sweep's cost is spread over many connections.
    sweep_at: usize,
    links_made: u64,
    faults: Faults,
    stalled: LaneSet,
    down: bool,
}

/// A listener as those who connect see it.
pub(super) struct Door {
    pub(super) options: ListenOptions,
    /// A permit for each connection there may be.
    pub(super) connections: Arc<Semaphore>,
    /// Where to knock: connections that wait to be accepted, and refusals to be told of.
    pub(super) arrivals: mpsc::Sender<Result<Connection>>,
}

impl Place {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Puts up a door; false if there is one.
    pub(super) fn open(&self, door: Arc<Door>) -> bool {
        let mut state = lock(&self.state);
        if state.door.is_some() {
            return false;
        }
        state.door = Some(door);
        true
    }

    /// Takes the door away.
    pub(super) fn shut(&self) {
        let door = lock(&self.state).door.take();
        drop(door);
    }

    /// The door, if somebody listens and the network is up.
    pub(super) fn door(&self) -> Option<Arc<Door>> {
        let state = lock(&self.state);
        if state.down { None } else { state.door.clone() }
    }

    /// Makes a link and remembers it. `make` gets its number and the weather.
    pub(super) fn link(&self, make: impl FnOnce(u64, &Faults, LaneSet) -> Arc<Link>) -> Arc<Link> {
        let mut state = lock(&self.state);
        state.links_made += 1;
        let link = make(state.links_made, &state.faults, state.stalled);
        if state.links.len() >= state.sweep_at {
            state.links.retain(|link| link.strong_count() > 0);
            state.sweep_at = 2 * state.links.len() + 16;
        }
        state.links.push(Arc::downgrade(&link));
        link
    }

    pub(super) fn live(&self) -> Vec<Arc<Link>> {
        lock(&self.state).links.iter().filter_map(Weak::upgrade).filter(|link| !link.is_over()).collect()
    }

    pub(super) fn cut(&self) -> usize {
        let links = self.live();
        links.iter().for_each(|link| link.cut("it was cut"));
        links.len()
    }

    pub(super) fn set_down(&self, down: bool) {
        lock(&self.state).down = down;
    }

    pub(super) fn stall(&self, lanes: LaneSet) {
        let stalled = {
            let mut state = lock(&self.state);
            lanes.iter().for_each(|lane| state.stalled.insert(lane));
            state.stalled
        };
        self.live().iter().for_each(|link| link.set_stalled(stalled));
    }

    pub(super) fn resume(&self) {
        lock(&self.state).stalled = LaneSet::EMPTY;
        self.live().iter().for_each(|link| link.set_stalled(LaneSet::EMPTY));
    }

    pub(super) fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        let faults = {
            let mut state = lock(&self.state);
            change(&mut state.faults);
            state.faults.clone()
        };
        self.live().iter().for_each(|link| link.set_faults(&faults));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut names = lock(&self.names.0);
        // Another place may have taken the name since the last handle to this one went.
        if names.get(&self.name).is_some_and(|place| place.strong_count() == 0) {
            names.remove(&self.name);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mem://{}", self.name)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// No critical section of this transport can leave its data half changed, so a poisoned lock is as good as another.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
