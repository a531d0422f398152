//! Crashes: what is left of a disk when the power goes at some moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SimulatedDisk;
use super::dice::Dice;
use super::world::{Change, Contents, NameChange, Names, World, Write};

/// The unit that a drive writes whole.
const SECTOR_BYTES: u64 = 512;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All of it is there.
    Keep,
    /// None of it is there.
    Drop,
    /// Some writes and some names are there; which follows from the seed.
    Some(u64),
    /// Of some writes some sectors are there, and some names; which follows from the seed.
    Torn(u64),
}

/// Everything that happened to a disk.
#[derive(Clone, Debug)]
pub struct History {
    start: World,
    changes: Vec<Change>,
}

impl History {
    pub(super) fn new(start: World, changes: Vec<Change>) -> Self {
        Self { start, changes }
    }

    /// Moments to crash at: one before each change, and one after the last.
    pub fn moments(&self) -> usize {
        self.changes.len() + 1
    }

    /// Goes through them.
    pub fn replay(&self) -> Replay<'_> {
        Replay { history: self, world: self.start.clone(), moment: 0 }
    }
}

/// A moment in the life of a disk.
#[derive(Clone, Debug)]
pub struct Replay<'a> {
    history: &'a History,
    world: World,
    moment: usize,
}

impl Replay<'_> {
    /// The moment: how many changes had happened.
    pub fn moment(&self) -> usize {
        self.moment
    }

    /// Goes to a later moment.
    pub fn go_to(&mut self, moment: usize) {
        assert!(moment >= self.moment, "time goes on");
        self.history.changes[self.moment..moment].iter().for_each(|change| self.world.apply(change));
        self.moment = moment;
    }

    /// Goes one change on; `false` at the end.
    pub fn advance(&mut self) -> bool {
        let is_there = self.moment < self.history.changes.len();
        if is_there {
            self.go_to(self.moment + 1);
        }
        is_there
    }

    /// Whether something is not synced, so that crashes can differ.
    pub fn has_pending(&self) -> bool {
        !self.world.removed.is_empty()
            || self.world.files.iter().any(|file| !file.pending.is_empty())
            || self.world.directories.values().any(|names| !names.pending.is_empty())
    }

    /// The disk as it is found after a crash now.
    pub fn crash(&self, crash: Crash) -> SimulatedDisk {
        let seed = match crash {
            Crash::Some(seed) | Crash::Torn(seed) => seed,
            Crash::Keep | Crash::Drop => 0,
        };
        let mut dice = Dice::new(seed ^ (self.moment as u64) << 32);
        // How much is kept differs from crash to crash, so that nearly all and nearly nothing come up too.
        let percent = [10, 50, 50, 90][dice.below(4)];
        let mut directories = BTreeMap::new();
        for (path, names) in &self.world.directories {
            directories.insert(path.clone(), names_left(names, crash, percent, &mut dice));
        }
        for (path, names) in &self.world.removed {
            let is_gone = match crash {
                Crash::Keep => true,
                Crash::Drop => false,
                Crash::Some(_) | Crash::Torn(_) => dice.percent(percent),
            };
            // What is above comes before what is in it.
            let has_place = path.parent().is_none_or(|parent| directories.contains_key(parent));
            if !is_gone && has_place {
                directories.insert(path.clone(), names_left(names, crash, percent, &mut dice));
            }
        }
        let mut kept = BTreeMap::new();
        let mut files = Vec::new();
        for file in directories.values_mut().flat_map(BTreeMap::values_mut) {
            *file = *kept.entry(*file).or_insert_with(|| {
                files.push(contents_left(&self.world.files[*file], crash, percent, &mut dice));
                files.len() - 1
            });
        }
        SimulatedDisk::with(World::settled(directories, files), dice.next())
    }
}

fn names_left(names: &Names, crash: Crash, percent: usize, dice: &mut Dice) -> BTreeMap<String, usize> {
    let mut left = names.durable.clone();
    // A journaling file system keeps changes of names in order; others need not, as far as one does not need the other.
    let is_ordered = dice.percent(50);
    for change in &names.pending {
        let is_kept = match crash {
            Crash::Keep => true,
            Crash::Drop => false,
            Crash::Some(_) | Crash::Torn(_) => dice.percent(percent),
        };
        if !is_kept && is_ordered {
            break;
        }
        let is_possible = match change {
            NameChange::Rename { from, .. } => left.contains_key(from),
            _ => true,
        };
        if is_kept && is_possible {
            change.apply(&mut left);
        }
    }
    left
}

fn contents_left(contents: &Contents, crash: Crash, percent: usize, dice: &mut Dice) -> Arc<Vec<u8>> {
    if contents.pending.is_empty() || crash == Crash::Drop {
        return contents.durable.clone();
    }
    let mut left = contents.durable.to_vec();
    for write in &contents.pending {
        match (crash, write) {
            (Crash::Torn(_), Write::Bytes { position, bytes }) => tear(*position, bytes, &mut left, percent, dice),
            (Crash::Keep, write) => write.apply(&mut left),
            (_, write) if dice.percent(percent) => write.apply(&mut left),
            _ => {}
        }
    }
    Arc::new(left)
}

/// Some sectors of a write.
fn tear(position: u64, bytes: &[u8], left: &mut Vec<u8>, percent: usize, dice: &mut Dice) {
    let mut from = 0;
    while from < bytes.len() {
        let at = position + from as u64;
        let count = ((SECTOR_BYTES - at % SECTOR_BYTES) as usize).min(bytes.len() - from);
        if dice.percent(percent) {
            Write::Bytes { position: at, bytes: bytes[from..from + count].into() }.apply(left);
        }
        from += count;
    }
}
