//! What is prepared ahead of need, so that a commit finds zeroed room and a roll finds its next segment: by a thread of
//! the committer where the journal is attached to one, else by the commit itself.
//!
//! What must hold:
//! 1. Beyond the end of data a segment has zeros only, really written: a commit then changes no length and no extents,
//!    and its sync costs one write.
//! 2. The helper writes to a segment only while it is the one that is written to, and never after its journal is gone:
//!    the next life of the journal may have data there.
//! 3. The helper uses its own descriptor: an error of a sync is told once to each, so that one which the helper hears
//!    cannot be missed by the commit whose pages it is about.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::committer::{Participant, Wake};
use crate::error::{Error, Result};
use crate::files::{File, OpenMode, write_zeros};
use crate::options::{Durability, WRITTEN_SYNC_INTERVAL};
use crate::planted::is_planted;
use crate::segment::Segment;
use crate::shared::{Shared, sync_failed};
use crate::whole;

/// The first step of zeros in a segment: an idle journal takes no more than this.
pub const ZERO_STEP_BYTES_MIN: u64 = 1024 * 1024;
/// Steps double up to this.
pub const ZERO_STEP_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the writer and the helper share.
#[derive(Debug)]
pub(crate) struct Upkeep {
    shared: Arc<Shared>,
    growth: Mutex<Growth>,
    /// The same as in `growth`, to be read without its lock.
    zeroed: AtomicU64,
    spare: Mutex<Option<Spare>>,
    wake: OnceLock<Wake>,
    /// What is on disk of the segment that is written to: its id, its byte.
    synced: Mutex<(u64, u64)>,
}

#[derive(Debug)]
struct Growth {
    /// `None` before the first and after the end.
    segment_id: Option<u64>,
    zeroed: u64,
    step: u64,
}

/// A segment to be: zeroed and synced, without a header, under a name that is removed at the next start.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) zeroed: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upkeep {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let growth = Growth { segment_id: None, zeroed: 0, step: ZERO_STEP_BYTES_MIN };
        Self {
            shared,
            growth: Mutex::new(growth),
            zeroed: AtomicU64::new(0),
            spare: Mutex::new(None),
            wake: OnceLock::new(),
            synced: Mutex::new((0, 0)),
        }
    }

    pub(crate) fn attach(&self, wake: Wake) {
        // A second committer changes nothing.
        let _ = self.wake.set(wake);
    }

    /// The segment that is written to from now on, and how far it is zeroed and synced.
    pub(crate) fn turn_to(&self, segment_id: u64, zeroed: u64, synced: u64) {
        let mut growth = locked(&self.growth);
        *growth = Growth { segment_id: Some(segment_id), zeroed, step: ZERO_STEP_BYTES_MIN };
        self.zeroed.store(zeroed, Ordering::Release);
        *locked(&self.synced) = (segment_id, synced);
    }

    /// The journal is going: waits until the helper has its hands off the segment, and lets it do nothing more.
    pub(crate) fn end(&self) {
        if !is_planted("helper outlives its journal") {
            locked(&self.growth).segment_id = None;
        }
    }

    /// Notes that everything before this byte is on disk.
    pub(crate) fn note_synced(&self, segment_id: u64, position: u64) {
        let mut synced = locked(&self.synced);
        if synced.0 == segment_id {
            synced.1 = synced.1.max(position);
        }
    }

    pub(crate) fn synced(&self) -> u64 {
        locked(&self.synced).1
    }

    /// Zeroed room up to byte `end`. Where the disk is nearly full, just that much.
    pub(crate) fn make_room(&self, segment: &Segment, file: &dyn File, end: u64) -> Result<()> {
        if self.zeroed.load(Ordering::Acquire) >= end {
            return Ok(());
        }
        let mut growth = locked(&self.growth);
        if growth.zeroed >= end {
            return Ok(());
        }
        let goal = self.goal(&growth).max(end);
        match self.grow(&mut growth, file, &segment.path, goal) {
            Err(Error::NoSpace { .. }) if goal > end => self.grow(&mut growth, file, &segment.path, end),
            grown => grown,
        }
    }

    fn goal(&self, growth: &Growth) -> u64 {
        (growth.zeroed + growth.step).min(self.shared.options.segment_bytes)
    }

    /// The zeros reach the disk with the next sync.
    fn grow(&self, growth: &mut Growth, file: &dyn File, path: &Path, goal: u64) -> Result<()> {
        write_zeros(file, growth.zeroed, goal).map_err(Error::io("grow", path))?;
        self.note_zeroed(growth, goal);
        Ok(())
    }

    fn note_zeroed(&self, growth: &mut Growth, goal: u64) {
        growth.zeroed = goal;
        growth.step = (growth.step * 2).min(ZERO_STEP_BYTES_MAX);
        self.zeroed.store(goal, Ordering::Release);
    }

    /// Undoes a write that found no room: the file ends at `position`, durably.
    pub(crate) fn undo(&self, segment: &Segment, file: &dyn File, position: u64) -> Result<()> {
        let mut growth = locked(&self.growth);
        file.set_len(position).map_err(sync_failed(&segment.path))?;
        file.sync_data().map_err(sync_failed(&segment.path))?;
        growth.zeroed = position;
        self.zeroed.store(position, Ordering::Release);
        Ok(())
    }

    /// The spare that is ready, or one made now.
    pub(crate) fn take_spare(&self) -> Result<Spare> {
        match locked(&self.spare).take() {
            Some(spare) => Ok(spare),
            None => self.make_spare(),
        }
    }

    fn make_spare(&self) -> Result<Spare> {
        let files = &*self.shared.files;
        let path = whole::name_beside(files, &self.shared.directory.join("spare"));
        let file = files.create_new(&path).map_err(Error::not_opened("create", &path))?;
        let zeroed = ZERO_STEP_BYTES_MIN.min(self.shared.options.segment_bytes).max(crate::segment::HEADER_BYTES);
        let written = write_zeros(&*file, 0, zeroed).map_err(Error::io("write", &path));
        match written.and_then(|()| file.sync_data().map_err(sync_failed(&path))) {
            Ok(()) => Ok(Spare { path, file, zeroed }),
            Err(error) => {
                // What is left behind is removed at the next start.
                let _ = files.remove(&path);
                Err(error)
            }
        }
    }

    /// Removes the spare, if there is one.
    pub(crate) fn discard_spare(&self) {
        if let Some(spare) = locked(&self.spare).take() {
            let _ = self.shared.files.remove(&spare.path);
        }
    }

    /// Asks the helper for what will be needed soon.
    pub(crate) fn ask(&self, position: u64) {
        let Some(wake) = self.wake.get() else { return };
        if self.shared.options.durability == Durability::Written {
            wake.wake_after(WRITTEN_SYNC_INTERVAL);
        }
        if self.wants_room(position) || self.wants_spare(position) {
            wake.wake();
        }
    }

    fn wants_room(&self, position: u64) -> bool {
        let zeroed = self.zeroed.load(Ordering::Acquire);
        let ahead = (zeroed / 2).min(ZERO_STEP_BYTES_MAX / 2);
        zeroed < self.shared.options.segment_bytes && zeroed.saturating_sub(position) < ahead
    }

    fn wants_spare(&self, position: u64) -> bool {
        position > self.shared.options.segment_bytes / 2 && locked(&self.spare).is_none()
    }

    /// Syncs what a journal of [`Durability::Written`] has written.
    fn sync_written(&self, segment: &Segment) -> Result<()> {
        let end = segment.summary().end;
        let (segment_id, synced) = *locked(&self.synced);
        if self.shared.options.durability != Durability::Written || segment.id != segment_id || synced >= end {
            return Ok(());
        }
        self.open(segment)?.sync_data().map_err(sync_failed(&segment.path))?;
        self.note_synced(segment_id, end);
        Ok(())
    }

    fn grow_ahead(&self, segment: &Segment) -> Result<()> {
        let mut growth = locked(&self.growth);
        if growth.segment_id != Some(segment.id) || !self.wants_room(segment.summary().end) {
            return Ok(());
        }
        let file = self.open(segment)?;
        let goal = self.goal(&growth);
        write_zeros(&*file, growth.zeroed, goal).map_err(Error::io("grow", &segment.path))?;
        // Synced before a commit may rely on it, so that its own sync has only its own pages to write.
        file.sync_data().map_err(sync_failed(&segment.path))?;
        self.note_zeroed(&mut growth, goal);
        Ok(())
    }

    fn open(&self, segment: &Segment) -> Result<Arc<dyn File>> {
        self.shared.files.open(&segment.path, OpenMode::Write).map_err(Error::not_opened("open", &segment.path))
    }

    fn prepare_spare(&self, segment: &Segment) -> Result<()> {
        if self.wants_spare(segment.summary().end) {
            let spare = self.make_spare()?;
            if let Some(double) = locked(&self.spare).replace(spare) {
                let _ = self.shared.files.remove(&double.path);
            }
        }
        Ok(())
    }
}

impl Participant for Upkeep {
    fn round(&self) -> Result<()> {
        let view = self.shared.view();
        let is_over = locked(&self.growth).segment_id.is_none();
        let Some(active) = view.segments.last().filter(|_| !is_over && self.shared.check().is_ok()) else {
            return Ok(());
        };
        let prepared = self.sync_written(active).and_then(|()| self.grow_ahead(active));
        match prepared.and_then(|()| self.prepare_spare(active)) {
            Ok(()) => Ok(()),
            // The commit that needs the room says so to who waits for it; those before it ask again.
            Err(error) if error.is_retryable() => {
                if self.shared.options.durability == Durability::Written
                    && let Some(wake) = self.wake.get()
                {
                    wake.wake_after(WRITTEN_SYNC_INTERVAL);
                }
                Ok(())
            }
            Err(error) => {
                self.shared.poison(&error);
                Err(error)
            }
        }
    }
}
