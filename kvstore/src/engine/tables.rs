//! The table's files: opened beside everything else, believed only where they can be.
//!
//! `sled` does not sync what it writes, so that after power loss its files may be anything, sound at a look and wrong in
//! the middle. What it wrote before a *process* ended is all there, in any way that it ended. So the tables are believed
//! when they were closed in order, after which everything was synced, and when the system runs on that wrote them; else
//! they are removed, and made again from the journals. The same where they cannot be opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use serde::{Deserialize, Serialize};
use sinew_hosting::locked;
use sinew_session::{from_value, to_value};

use super::sled_store::SledStores;
use super::store::{StoreError, Stores};
use super::{Host, storage_of};
use crate::Result;

/// The folder of the tables, in the data directory.
const FOLDER: &str = "kv-table";
/// The file that says whether they are to be believed.
const STATE: &str = "kv-table.state";

/// What stands in it.
#[derive(Debug, Serialize, Deserialize)]
struct Marked {
    /// Which start of the system wrote them; empty where that cannot be told.
    boot: String,
    /// They were closed in order.
    closed: bool,
}

/// Which start of the system this is.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The tables of a data directory, once they are open.
#[derive(Debug)]
pub(super) struct Tables {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Opening,
    Open(Arc<dyn Stores>),
    Failed(StoreError),
    Closed,
}

impl Tables {
    /// Tables that are open already.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn given(stores: Arc<dyn Stores>) -> Self {
        Self { state: Mutex::new(State::Open(stores)), changed: Condvar::new() }
    }

    /// Those of this data directory, which [`open`](Self::open) opens.
    pub(super) fn opening() -> Self {
        Self { state: Mutex::new(State::Opening), changed: Condvar::new() }
    }

    /// Opens the files, removes the tables of buckets that are not there any more, and wakes who waits. May take seconds.
    pub(super) fn open(&self, host: &Host, kept: &BTreeSet<String>) {
        let opened = open(host);
        if let Ok(stores) = &opened {
            for orphan in stores.names().iter().filter(|name| !kept.contains(*name)) {
                if let Err(error) = stores.remove(orphan) {
                    tracing::warn!(
                        table = orphan,
                        why = error.0,
                        "what is left of a deleted bucket could not be removed"
                    );
                }
            }
        }
        let mut state = locked(&self.state);
        // It may have been closed meanwhile.
        if matches!(*state, State::Opening) {
            *state = match opened {
                Ok(stores) => State::Open(Arc::new(stores)),
                Err(error) => State::Failed(error),
            };
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The tables. Waits while they are being opened.
    pub(super) fn wait(&self) -> Result<Arc<dyn Stores>> {
        let mut state = locked(&self.state);
        loop {
            match &*state {
                State::Open(stores) => return Ok(stores.clone()),
                State::Failed(error) => {
                    return Err(storage_of("*", format!("the table cannot be opened: {}", error.0)));
                }
                State::Closed => return Err(storage_of("*", "the table is closed")),
                State::Opening => {}
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Closes them, whatever state they are in.
    pub(super) fn close(&self, host: &Host) {
        let before = std::mem::replace(&mut *locked(&self.state), State::Closed);
        self.changed.notify_all();
        let State::Open(stores) = before else { return };
        let flushed = stores.flush();
        drop(stores);
        let path = host.directory.path().join(FOLDER);
        // What was given to us has no files here.
        if !path.is_dir() {
            return;
        }
        if host.failure.told().borrow().is_some() {
            // Whatever failed, it is not the time to vouch for anything.
            return;
        }
        let synced = flushed.map_err(|error| error.0).and_then(|()| sync_all(&path).map_err(|error| error.to_string()));
        match synced.and_then(|()| mark(host, true).map_err(|error| error.to_string())) {
            Ok(()) => {}
            Err(why) => {
                tracing::warn!(why, "the table was not closed in order; it may be made again at the next start")
            }
        }
    }
}

/// The bytes of the file that says so.
pub(super) fn marked(boot: &str, closed: bool) -> Vec<u8> {
    to_value(&Marked { boot: boot.to_owned(), closed }).expect("a text can be written")
}

fn mark(host: &Host, closed: bool) -> Result<(), sinew_journal::Error> {
    host.directory.write_whole(STATE, &marked(&boot(), closed))
}

/// The tables are not to be believed at the next start: one of them failed.
pub(super) fn distrust(host: &Host) {
    if let Err(error) = host.directory.write_whole(STATE, &marked("", false)) {
        tracing::warn!(%error, "the table is believed at the next start, although it failed; remove `{FOLDER}`");
    }
}

fn open(host: &Host) -> Result<SledStores, StoreError> {
    let path = host.directory.path().join(FOLDER);
    let failed = |error: sinew_journal::Error| StoreError(error.to_string());
    if let Some(why) = doubt(host, &path) {
        tracing::warn!(why, "the table is made again from the journals");
        remove(&path)?;
    }
    mark(host, false).map_err(failed)?;
    let cache_bytes = host.options.table_cache_bytes_max;
    match SledStores::open(&path, cache_bytes) {
        Ok(stores) => Ok(stores),
        // Somebody holds a bucket of an engine that was closed.
        Err(error) if error.0.contains("acquire lock") => Err(error),
        Err(error) => {
            tracing::error!(why = error.0, "the table cannot be opened; it is made again from the journals");
            remove(&path)?;
            SledStores::open(&path, cache_bytes)
        }
    }
}

/// Why the files are not to be believed.
fn doubt(host: &Host, path: &Path) -> Option<&'static str> {
    if !path.is_dir() {
        return None;
    }
    let marked = host.directory.read_whole(STATE).ok().flatten();
    let Some(marked) = marked.and_then(|bytes| from_value::<Marked>(&bytes).ok()) else {
        return Some("nothing says who wrote it");
    };
    let is_same_boot = !marked.boot.is_empty() && marked.boot == boot();
    (!marked.closed && !is_same_boot).then_some("the system ended before it was closed")
}

fn remove(path: &PathBuf) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError(format!("cannot remove {}: {cause}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Syncs every file of a folder, and the folder.
fn sync_all(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            std::fs::File::open(entry.path())?.sync_all()?;
        }
    }
    std::fs::File::open(path)?.sync_all()
}
