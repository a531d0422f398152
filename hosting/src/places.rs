//! Which resources are there, and which of them are open.
//!
//! 1. A resource is made, opened, closed and removed by whoever has its place locked, and by nobody else meanwhile; that
//!    holds up no other one.
//! 2. Names that are asked for and not there do not add up: a place that nobody has, of a resource that is not there, goes.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use sinew_session::ResourceName;

use crate::{Error, Folder, Result, locked};

/// The resources of one engine. `T` is an open one.
#[derive(Debug)]
pub struct Places<T> {
    table: Mutex<Table<T>>,
}

#[derive(Debug)]
struct Table<T> {
    /// Those that are there.
    names: BTreeSet<ResourceName>,
    /// Those that somebody asked for.
    slots: HashMap<ResourceName, Arc<Slot<T>>>,
    /// Counts questions, to tell who was asked for lately.
    asked: u64,
    has_ended: bool,
}

#[derive(Debug)]
struct Slot<T> {
    open: Mutex<Option<T>>,
    asked: AtomicU64,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { open: Mutex::new(None), asked: AtomicU64::new(0) }
    }
}

impl<T> Slot<T> {
    /// One that is locked is being opened, or closed: it counts as open.
    fn is_open(&self) -> bool {
        self.open.try_lock().map_or(true, |open| open.is_some())
    }
}

impl<T> Places<T> {
    /// Of the resources that are there; none is open.
    pub fn new(names: BTreeSet<ResourceName>) -> Self {
        Self { table: Mutex::new(Table { names, slots: HashMap::new(), asked: 0, has_ended: false }) }
    }

    /// Whether there is such a resource.
    pub fn has(&self, name: &ResourceName) -> bool {
        locked(&self.table).names.contains(name)
    }

    /// The same for those who need it.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn check(&self, name: &ResourceName) -> Result<()> {
        if self.has(name) { Ok(()) } else { Err(Error::Unknown { name: name.to_string() }) }
    }

    /// Names in order, those behind `after`, at most `max`.
    pub fn names(&self, after: Option<&ResourceName>, max: usize) -> Vec<ResourceName> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        locked(&self.table).names.range::<ResourceName, _>((from, Bound::Unbounded)).take(max).cloned().collect()
    }

    /// The next one behind `after`, or the first one behind the last; and whether it is open. None once it has [ended](Self::end).
    pub fn next(&self, after: Option<&ResourceName>) -> Option<(ResourceName, bool)> {
        let table = locked(&self.table);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = table.names.range::<ResourceName, _>((from, Bound::Unbounded)).next();
        let name = next.or_else(|| table.names.first()).filter(|_| !table.has_ended)?;
        Some((name.clone(), table.slots.get(name).is_some_and(|slot| slot.is_open())))
    }

    /// The place of a resource, there or not.
    ///
    /// # Errors
    /// `Ended` once it has [ended](Self::end).
    pub fn place<'a>(&'a self, name: &'a ResourceName) -> Result<Place<'a, T>> {
        let mut table = locked(&self.table);
        if table.has_ended {
            return Err(Error::Ended { name: name.to_string() });
        }
        table.asked += 1;
        let asked = table.asked;
        let slot = table.slots.entry(name.clone()).or_default().clone();
        slot.asked.store(asked, Ordering::Relaxed);
        Ok(Place { places: self, name, slot: Some(slot) })
    }

    /// Looks at a resource if it is open and can be looked at at once.
    ///
    /// # Errors
    /// `Ended` once it has [ended](Self::end).
    pub fn look<R>(&self, name: &ResourceName, look: impl FnOnce(&T) -> R) -> Result<Option<R>> {
        if !self.has(name) {
            return Ok(None);
        }
        let place = self.place(name)?;
        let open = place.slot().open.try_lock();
        Ok(open.ok().and_then(|open| open.as_ref().map(look)))
    }

    fn slots(&self) -> Vec<Arc<Slot<T>>> {
        locked(&self.table).slots.values().cloned().collect()
    }

    /// How many are open, or are being opened or closed.
    pub fn open_count(&self) -> usize {
        locked(&self.table).slots.values().filter(|slot| slot.is_open()).count()
    }

    /// How many have a place: those that are there and were asked for, and what is asked for now.
    pub fn place_count(&self) -> usize {
        locked(&self.table).slots.len()
    }

    /// Those that are open, in no order. Waits for those that are being opened or closed.
    pub fn open(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.slots().iter().filter_map(|slot| locked(&slot.open).clone()).collect()
    }

    /// Closes idle ones, the one that was asked for least lately first, until at most `open_max` are open: one that is
    /// locked counts as open and is never closed. Says whether it came to that.
    pub fn make_room(&self, open_max: usize, is_idle: impl Fn(&T) -> bool, close: impl Fn(T)) -> bool {
        let mut slots = self.slots();
        slots.sort_by_key(|slot| slot.asked.load(Ordering::Relaxed));
        let mut count = slots.iter().filter(|slot| slot.is_open()).count();
        for slot in slots {
            if count <= open_max {
                return true;
            }
            let Ok(mut open) = slot.open.try_lock() else { continue };
            if let Some(idle) = open.take_if(|open| is_idle(open)) {
                close(idle);
                count -= 1;
            }
        }
        count <= open_max
    }

    /// Gives no place any more.
    pub fn end(&self) {
        locked(&self.table).has_ended = true;
    }

    /// The same, and closes all that are open, up to so many at one time.
    ///
    /// # Errors
    /// What one of them says; the others are closed all the same.
    pub fn close<E: Send>(&self, at_once_max: usize, close: impl Fn(T) -> Result<(), E> + Sync) -> Result<(), E>
    where
        T: Send,
    {
        self.end();
        let slots = self.slots();
        let (next, failed) = (Mutex::new(slots.iter()), Mutex::new(None));
        let work = || {
            loop {
                let Some(slot) = locked(&next).next() else { return };
                let open = locked(&slot.open).take();
                if let Some(Err(error)) = open.map(&close) {
                    locked(&failed).get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..slots.len().min(at_once_max) {
                // This one goes on alone where the system has no more.
                let _ = std::thread::Builder::new().name("sinew-close".into()).spawn_scoped(scope, work);
            }
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        locked(&self.table).has_ended
    }

    /// Drops what is open without closing it, as a kill of the process does: for tests of what a start makes of that.
    pub fn forget(&self) {
        let mut table = locked(&self.table);
        table.has_ended = true;
        table.slots.clear();
    }
}

/// A resource's place in somebody's hand. Given back, it goes where there is no such resource.
#[derive(Debug)]
pub struct Place<'a, T> {
    places: &'a Places<T>,
    name: &'a ResourceName,
    /// `None` once it is given back.
    slot: Option<Arc<Slot<T>>>,
}

impl<T> Place<'_, T> {
    fn slot(&self) -> &Slot<T> {
        self.slot.as_ref().expect("held until dropped")
    }

    /// Waits until nobody else opens, closes, makes or removes it.
    pub fn lock(&self) -> LockedPlace<'_, T> {
        LockedPlace { places: self.places, name: self.name, open: locked(&self.slot().open) }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.slot = None;
        let mut table = locked(&self.places.table);
        // Whoever is last sees that nobody else has it.
        let is_unused = table.slots.get(self.name).is_some_and(|slot| Arc::strong_count(slot) == 1);
        if is_unused && !table.names.contains(self.name) {
            table.slots.remove(self.name);
        }
    }
}

/// A place that one alone has: the open resource in it, if it is open.
#[derive(Debug)]
pub struct LockedPlace<'a, T> {
    places: &'a Places<T>,
    name: &'a ResourceName,
    open: MutexGuard<'a, Option<T>>,
}

impl<T> Deref for LockedPlace<'_, T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.open
    }
}

impl<T> DerefMut for LockedPlace<'_, T> {
    fn deref_mut(&mut self) -> &mut Option<T> {
        &mut self.open
    }
}

impl<T> LockedPlace<'_, T> {
    /// Makes the resource by filling its folder, where there may be `max` of them; nothing is there before all is. `fill`
    /// gives its configuration.
    ///
    /// # Errors
    /// `Exists`, `TooMany`, what `fill` says, and as [`Folder::begin`] and [`Folder::write_config`].
    pub fn make<C: Serialize, E: From<Error>>(
        &mut self,
        folder: &Folder,
        max: usize,
        fill: impl FnOnce(&Folder) -> Result<C, E>,
    ) -> Result<(), E> {
        let count = {
            let table = locked(&self.places.table);
            if table.names.contains(self.name) {
                return Err(Error::Exists { name: self.name.to_string() }.into());
            }
            table.names.len()
        };
        if count >= max {
            return Err(Error::TooMany { max }.into());
        }
        folder.begin()?;
        let filled = fill(folder).and_then(|config| Ok(folder.write_config(&config)?));
        if let Err(error) = filled {
            if let Err(left) = folder.finish_removal() {
                tracing::warn!(name = %self.name, error = %left, "what was left half made is removed at the next start");
            }
            return Err(error);
        }
        locked(&self.places.table).names.insert(self.name.clone());
        Ok(())
    }

    /// Removes the resource with its files; whoever closed it did so before.
    ///
    /// # Errors
    /// As [`Folder::remove`].
    pub fn remove(&mut self, folder: &Folder) -> Result<()> {
        locked(&self.places.table).names.remove(self.name);
        folder.remove()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sinew_journal::{DataDirectory, Disk};

    use super::*;
    use crate::Layout;

    static LAYOUT: Layout = Layout { root: "things", config: "thing", journals: &["truth"] };

    fn name(text: &str) -> ResourceName {
        text.parse().expect("a name")
    }

    fn opened(path: &Path, text: &str) -> (Folder, ResourceName, tempfile::TempDir) {
        let place = tempfile::tempdir_in(path).expect("a folder");
        let directory = DataDirectory::open(Arc::new(Disk), place.path()).expect("opened");
        (Folder::new(&Arc::new(directory), &LAYOUT, &name(text)), name(text), place)
    }

    /// Five open ones, asked for in the order of their numbers.
    fn five() -> Places<u32> {
        let names: Vec<_> = (0..5).map(|number| name(&format!("n{number}"))).collect();
        let places = Places::new(names.iter().cloned().collect());
        for (number, name) in (0..).zip(&names) {
            places.place(name).expect("a place").lock().replace(number);
        }
        places
    }

    fn is_open(places: &Places<u32>) -> Vec<u32> {
        let mut open = places.open();
        open.sort_unstable();
        open
    }

    #[test]
    fn a_place_stays_for_what_is_there_and_goes_for_what_is_not() {
        let (places, there, gone) = (Places::<u32>::new([name("there")].into()), name("there"), name("gone"));
        drop(places.place(&there).expect("a place"));
        let (one, other) = (places.place(&gone).expect("a place"), places.place(&gone).expect("the same"));
        assert_eq!(places.place_count(), 2);
        drop(one);
        assert_eq!(places.place_count(), 2, "somebody has it still");
        drop(other);
        assert_eq!(places.place_count(), 1);
        assert_eq!(places.check(&gone), Err(Error::Unknown { name: "gone".into() }));
    }

    #[test]
    fn what_is_locked_is_not_looked_at_and_holds_up_no_other() {
        let (places, first, second) = (five(), name("n0"), name("n1"));
        let place = places.place(&first).expect("a place");
        let open = place.lock();
        assert_eq!(places.look(&first, |open| *open), Ok(None));
        assert_eq!(places.look(&second, |open| *open), Ok(Some(1)));
        assert_eq!(places.next(Some(&name("n4"))), Some((first.clone(), true)), "it may be being opened");
        drop(open);
        assert_eq!(places.look(&first, |open| *open), Ok(Some(0)));
    }

    #[test]
    fn room_is_made_by_closing_what_is_idle_and_was_asked_for_long_ago() {
        let places = five();
        drop(places.place(&name("n0")).expect("it is asked for again"));
        let closed = Mutex::new(Vec::new());
        assert!(places.make_room(3, |number| *number != 1, |number| locked(&closed).push(number)));
        assert_eq!(*locked(&closed), [2, 3]);
        assert_eq!(is_open(&places), [0, 1, 4]);
        assert!(!places.make_room(1, |number| *number == 0, drop), "two are in use");
        assert_eq!(is_open(&places), [1, 4]);
        assert_eq!(places.names(Some(&name("n1")), 2), [name("n2"), name("n3")], "they are there all the same");
    }

    #[test]
    fn all_are_closed_though_one_fails() {
        for at_once in [1, 8] {
            let (places, closed) = (five(), Mutex::new(Vec::new()));
            let failed = places.close(at_once, |number| {
                locked(&closed).push(number);
                if number == 2 { Err("it fails") } else { Ok(()) }
            });
            assert_eq!(failed, Err("it fails"));
            let mut closed = closed.into_inner().expect("nobody panicked");
            closed.sort_unstable();
            assert_eq!(closed, [0, 1, 2, 3, 4]);
            let refused = places.place(&name("n0")).expect_err("it has ended");
            assert_eq!(refused, Error::Ended { name: "n0".into() });
            assert_eq!((places.next(None), places.open_count()), (None, 0));
        }
    }

    #[test]
    fn what_is_made_is_there_once_its_folder_is_full() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, name, _kept) = opened(place.path(), "a");
        let places = Places::<u32>::new(BTreeSet::new());
        let handed = places.place(&name).expect("a place");
        let mut open = handed.lock();
        let failed = open.make(&folder, 1, |folder| {
            std::fs::write(folder.join("half"), "half").expect("written");
            Err::<u64, _>(Error::storage("a", "no"))
        });
        assert_eq!(failed, Err(Error::storage("a", "no")));
        assert!(!places.has(&name));
        assert!(!folder.join("half").exists(), "what was made of it is gone");
        let seven = |_: &Folder| Ok::<_, Error>(7_u64);
        assert_eq!(open.make(&folder, 0, seven), Err(Error::TooMany { max: 0 }));
        assert_eq!(open.make(&folder, 1, seven), Ok(()));
        assert_eq!((places.has(&name), folder.config()), (true, Ok(Some(7_u64))));
        assert_eq!(open.make(&folder, 9, seven), Err(Error::Exists { name: "a".into() }));
        open.remove(&folder).expect("removed");
        assert_eq!((places.has(&name), folder.config::<u64>()), (false, Ok(None)));
    }
}
