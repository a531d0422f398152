//! A disk in memory that knows what would be left of it after a crash at any moment, and that fails on demand. For tests of
//! this package and of those that stand on it.
//!
//! It does what a file system may do at worst: what was not synced is kept, dropped, kept in part, or torn at sectors;
//! names that were not synced likewise; and after a sync that failed, what it was to write is lost although reads still
//! show it, as on Linux.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{Directory, File, Files, Lock, OpenMode};

mod dice;
mod fault;
mod history;
mod world;
pub use dice::Dice;
pub use fault::{Fault, FaultKind};
pub use history::{Crash, History, Replay};
use world::{Change, World};

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// As programs see it.
    world: World,
    /// As it was at first, all of it durable.
    start: World,
    /// Every change since.
    changes: Vec<Change>,
    calls: u64,
    faults: Vec<Fault>,
    dice: Dice,
    locks: HashSet<PathBuf>,
}

impl SimulatedDisk {
    /// An empty one; its random numbers follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self::with(World::default(), seed)
    }

    fn with(world: World, seed: u64) -> Self {
        let state = State {
            start: world.clone(),
            world,
            changes: Vec::new(),
            calls: 0,
            faults: Vec::new(),
            dice: Dice::new(seed),
            locks: HashSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many changes there were: a moment to crash at.
    pub fn moment(&self) -> usize {
        self.state().changes.len()
    }

    /// Everything that happened to it, from which it can be seen after a crash at any moment.
    pub fn history(&self) -> History {
        let state = self.state();
        History::new(state.start.clone(), state.changes.clone())
    }

    /// How many calls there were, reads among them: what faults are counted by.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets calls fail from now on; several faults may be there at one time.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn mend(&self) {
        self.state().faults.clear();
    }

    /// All files, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().world.paths()
    }

    /// What programs read in a file; `None` when there is none.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.world.find(path).map(|file| state.world.live(file).to_vec())
    }

    /// Gives a file other contents, durable at once: damage done from outside.
    pub fn damage(&self, path: &Path, bytes: Vec<u8>) {
        self.state().change(Change::Damage { path: path.into(), bytes: Some(bytes.into()) });
    }

    /// Removes a file, durably and at once.
    pub fn delete(&self, path: &Path) {
        self.state().change(Change::Damage { path: path.into(), bytes: None });
    }
}

impl State {
    fn change(&mut self, change: Change) {
        self.world.apply(&change);
        self.changes.push(change);
    }

    /// Counts a call, and what is to go wrong with it.
    fn call(&mut self) -> Option<FaultKind> {
        let call = self.calls;
        self.calls += 1;
        self.faults.iter().find(|fault| fault.hits(call)).map(|fault| fault.kind)
    }

    fn opened(&self, disk: &SimulatedDisk, file: usize) -> Arc<dyn File> {
        Arc::new(Opened { disk: disk.clone(), file })
    }
}

fn split(path: &Path) -> (PathBuf, String) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    (crate::files::directory_of(path).into(), name)
}

impl Files for SimulatedDisk {
    fn open(&self, path: &Path, _: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        fault::check_open(state.call(), false)?;
        let file = state.world.find(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.opened(self, file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        fault::check_open(state.call(), true)?;
        if state.world.find(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (directory, name) = split(path);
        if !state.world.has_directory(&directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = state.world.new_file();
        state.change(Change::Create { directory, name, file });
        Ok(state.opened(self, file))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        fault::check_open(state.call(), false)?;
        state.world.names(directory).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        fault::check(state.call(), true)?;
        if !state.world.has_directory(directory) {
            state.change(Change::CreateDirectory(directory.into()));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        fault::check(state.call(), true)?;
        let file = state.world.find(from).ok_or(io::ErrorKind::NotFound)?;
        let ((directory, from), (target, to)) = (split(from), split(to));
        assert_eq!(directory, target, "renames from one directory to another are not simulated");
        state.change(Change::Rename { directory, from, to, file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        fault::check(state.call(), false)?;
        state.world.find(path).ok_or(io::ErrorKind::NotFound)?;
        let (directory, name) = split(path);
        state.change(Change::Remove { directory, name });
        Ok(())
    }

    fn remove_dir(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        fault::check(state.call(), false)?;
        if !state.world.names(directory).ok_or(io::ErrorKind::NotFound)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.change(Change::RemoveDirectory(directory.into()));
        Ok(())
    }

    fn open_dir(&self, directory: &Path) -> io::Result<Box<dyn Directory>> {
        fault::check_open(self.state().call(), false)?;
        Ok(Box::new(OpenedDirectory { disk: self.clone(), directory: directory.into() }))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        fault::check(state.call(), true)?;
        if !state.locks.insert(path.into()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held { disk: self.clone(), path: path.into() }))
    }

    fn random(&self) -> u64 {
        self.state().dice.next()
    }
}

#[derive(Debug)]
struct Held {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct OpenedDirectory {
    disk: SimulatedDisk,
    directory: PathBuf,
}

impl Directory for OpenedDirectory {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.call();
        if matches!(fault, Some(FaultKind::Io | FaultKind::Sync)) {
            return Err(fault::input_output());
        }
        state.change(Change::SyncDirectory(self.directory.clone()));
        Ok(())
    }
}

/// An open file; it outlives its name.
#[derive(Debug)]
struct Opened {
    disk: SimulatedDisk,
    file: usize,
}

impl File for Opened {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        fault::check(state.call(), false)?;
        let bytes = state.world.live(self.file);
        let from = usize::try_from(position).map_or(bytes.len(), |at| at.min(bytes.len()));
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let fault = state.call();
        // What fails may have begun.
        let count = if fault::is_about_writing(fault) { bytes.len() / 2 } else { bytes.len() };
        let count = if fault == Some(FaultKind::ShortWrite) { count.max(1).min(bytes.len()) } else { count };
        if count > 0 {
            state.change(Change::Write { file: self.file, position, bytes: bytes[..count].into() });
        }
        if fault == Some(FaultKind::ShortWrite) {
            return Ok(count);
        }
        fault::check(fault, true)?;
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.call();
        if matches!(fault, Some(FaultKind::Io | FaultKind::Sync)) {
            state.change(Change::SyncFailed(self.file));
            return Err(fault::input_output());
        }
        state.change(Change::Sync(self.file));
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.call();
        let grows = bytes > state.world.live(self.file).len() as u64;
        fault::check(fault, grows)?;
        state.change(Change::SetLength { file: self.file, bytes });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        fault::check(state.call(), false)?;
        Ok(state.world.live(self.file).len() as u64)
    }
}
