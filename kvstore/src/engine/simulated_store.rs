//! A table in memory that remembers every state it was ever in, so that a crash can find it at any of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sinew_hosting::locked;
use sinew_journal::SimulatedDisk;

use super::store::{RowChange, Store, StoreError, Stores};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
/// Tables by name.
type All = BTreeMap<String, Arc<Rows>>;

/// The tables of a simulated data directory. Clones are the same tables.
#[derive(Clone, Debug)]
pub(super) struct SimulatedStores {
    state: Arc<Mutex<State>>,
    /// Whose moments the states are known by.
    disk: SimulatedDisk,
}

#[derive(Debug)]
struct State {
    now: All,
    /// Each state, and the disk's moment when it began.
    states: Vec<(usize, All)>,
    is_broken: bool,
}

#[derive(Debug)]
struct SimulatedStore {
    stores: SimulatedStores,
    name: String,
}

/// The key of the meta.
const META: &[u8] = b"";

impl SimulatedStores {
    pub(super) fn new(disk: &SimulatedDisk) -> Self {
        Self::with(disk, All::new())
    }

    fn with(disk: &SimulatedDisk, now: All) -> Self {
        let state = State { states: vec![(0, now.clone())], now, is_broken: false };
        Self { state: Arc::new(Mutex::new(state)), disk: disk.clone() }
    }

    /// How many states there were up to a moment.
    #[cfg(test)]
    pub(super) fn states(&self, moment: usize) -> usize {
        locked(&self.state).states.partition_point(|(began, _)| *began <= moment)
    }

    /// The tables as they were in one of their states, beside another disk.
    #[cfg(test)]
    pub(super) fn at(&self, state: usize, disk: &SimulatedDisk) -> Self {
        Self::with(disk, locked(&self.state).states[state].1.clone())
    }

    /// From now on every call fails, or none does.
    #[cfg(test)]
    pub(super) fn break_down(&self, is_broken: bool) {
        locked(&self.state).is_broken = is_broken;
    }

    /// Changes a row, as damage does.
    #[cfg(test)]
    pub(super) fn damage(&self, name: &str, key: &[u8], row: Vec<u8>) {
        let _ = self.change(|all| drop(Arc::make_mut(all.get_mut(name).expect("a table")).insert(key.to_vec(), row)));
    }

    fn change(&self, change: impl FnOnce(&mut All)) -> Result<(), StoreError> {
        let moment = self.disk.moment();
        let mut state = locked(&self.state);
        if state.is_broken {
            return Err(StoreError("simulated: input/output error".into()));
        }
        change(&mut state.now);
        let now = state.now.clone();
        state.states.push((moment, now));
        Ok(())
    }

    fn rows(&self, name: &str) -> Result<Arc<Rows>, StoreError> {
        let state = locked(&self.state);
        if state.is_broken {
            return Err(StoreError("simulated: input/output error".into()));
        }
        Ok(state.now.get(name).cloned().unwrap_or_default())
    }
}

impl Stores for SimulatedStores {
    fn table(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        if !locked(&self.state).now.contains_key(name) {
            self.change(|all| drop(all.insert(name.to_owned(), Arc::default())))?;
        }
        Ok(Arc::new(SimulatedStore { stores: self.clone(), name: name.to_owned() }))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.change(|all| drop(all.remove(name)))
    }

    fn names(&self) -> Vec<String> {
        locked(&self.state).now.keys().cloned().collect()
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Store for SimulatedStore {
    fn meta(&self) -> Result<Option<Bytes>, StoreError> {
        self.row(META)
    }

    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.stores.rows(&self.name)?.get(key).cloned().map(Bytes::from))
    }

    fn rows(&self, start: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        let rows = self.stores.rows(&self.name)?;
        let rows = rows.range::<[u8], _>((start, Bound::Unbounded)).filter(|(key, _)| !key.is_empty());
        for (key, row) in rows {
            if !each(key, row) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, rows: Vec<RowChange>, meta: Vec<u8>) -> Result<(), StoreError> {
        self.stores.change(|all| {
            let table = Arc::make_mut(all.entry(self.name.clone()).or_default());
            for (key, row) in rows {
                match row {
                    Some(row) => table.insert(key.to_vec(), row),
                    None => table.remove(&key[..]),
                };
            }
            table.insert(META.to_vec(), meta);
        })
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.stores.change(|all| drop(all.insert(self.name.clone(), Arc::default())))
    }
}
