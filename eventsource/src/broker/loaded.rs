//! The groups that are loaded: a cell for each, locked while its group is loaded or removed, so that none holds up
//! another. The table itself is locked for moments only.
//!
//! 1. A group is loaded once: whoever wants it has its cell's lock first.
//! 2. A cell stays in the table while somebody has it in hand or a group is in it.
//! 3. A group without members is unloaded after a while, and at once where its place or its stream's is needed: it does
//!    not keep its stream open. What it is, its cursor says.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sinew_session::ResourceName;
use tokio::task::JoinHandle;

use super::Shared;
use super::running::{InUse, Running};

/// Stream and group.
pub(super) type Key = (ResourceName, ResourceName);

type Cell = tokio::sync::Mutex<Option<Loaded>>;

/// The loaded groups. Dropping it ends their tasks.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<HashMap<Key, Arc<Cell>>>);

/// A group, and the task that reads ahead for it.
#[derive(Debug)]
pub(super) struct Loaded {
    running: Arc<Running>,
    task: JoinHandle<()>,
}

/// A cell in somebody's hand.
#[derive(Debug)]
pub(super) struct InHand<'a> {
    groups: &'a Groups,
    key: Key,
    /// `None` once it is given back.
    cell: Option<Arc<Cell>>,
}

impl Deref for InHand<'_> {
    type Target = Cell;

    fn deref(&self) -> &Cell {
        self.cell.as_ref().expect("held until dropped")
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.cell = None;
        // Whoever is last sees that nobody else has it.
        let mut cells = self.groups.lock();
        if cells.get(&self.key).is_some_and(is_unused) {
            cells.remove(&self.key);
        }
    }
}

/// Whether nobody has the cell in hand and nothing is in it.
fn is_unused(cell: &Arc<Cell>) -> bool {
    Arc::strong_count(cell) == 1 && cell.try_lock().is_ok_and(|loaded| loaded.is_none())
}

impl Groups {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Cell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell of a group, whether it is loaded or not; `None` where that would be one more than `max`.
    pub(super) fn take(&self, key: &Key, max: usize) -> Option<InHand<'_>> {
        let mut cells = self.lock();
        if cells.len() >= max && !cells.contains_key(key) {
            return None;
        }
        let cell = Some(cells.entry(key.clone()).or_default().clone());
        Some(InHand { groups: self, key: key.clone(), cell })
    }

    /// Unloads the groups that nobody uses; whether there were any. They have let go of their streams when this returns.
    /// Costs a short lock for each group.
    pub(super) async fn let_go(&self) -> bool {
        let mut idle = Vec::new();
        self.lock().retain(|_, cell| {
            // One that is locked is being loaded or removed.
            if let Ok(mut loaded) = cell.try_lock()
                && loaded.as_ref().is_some_and(|loaded| loaded.running.unload())
            {
                idle.extend(loaded.take());
            }
            !is_unused(cell)
        });
        let any = !idle.is_empty();
        for loaded in idle {
            loaded.end().await;
        }
        any
    }

    /// A group is over: its place is free. Where somebody has its cell in hand, that one sees it.
    fn clear(&self, key: &Key) {
        let mut cells = self.lock();
        let Some(cell) = cells.get(key) else { return };
        let over = cell.try_lock().ok().and_then(|mut loaded| loaded.take_if(|loaded| loaded.running.is_over()));
        if is_unused(cell) {
            cells.remove(key);
        }
        drop(cells);
        drop(over);
    }
}

impl Loaded {
    /// Begins to read ahead for a group, until it is over or has had no member for `idle`.
    pub(super) fn start(shared: &Arc<Shared>, key: Key, running: Arc<Running>, idle: Duration) -> Self {
        let task = tokio::spawn(look_after(Arc::downgrade(shared), key, running.clone(), idle));
        Self { running, task }
    }

    /// The group for use; `None` where it is over.
    pub(super) fn hold(&self) -> Option<InUse> {
        self.running.hold()
    }

    /// Ends its task, and waits until that has let go of the group.
    pub(super) async fn end(mut self) {
        self.task.abort();
        // It was told to end; a panic in it was logged by the panic hook.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_after(shared: Weak<Shared>, key: Key, running: Arc<Running>, idle: Duration) {
    running.run(idle).await;
    if let Some(shared) = shared.upgrade() {
        shared.groups.clear(&key);
    }
}
