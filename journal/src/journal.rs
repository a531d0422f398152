//! The writer's side of a journal: commit, roll, retention, close. One of them at a time; readers are many.
//!
//! What must hold:
//! 1. Nothing is shown to readers, and no commit returns, before its promise is kept ([`Durability`]).
//! 2. A commit stands in one segment and is one write, so that what a full disk interrupts can be undone as a whole.
//! 3. A new segment's name is durable before anything in it is acknowledged, and the old one's data before the new
//!    one's name.
//! 4. After a failed write or sync nothing more is written, and nothing is tried again.

use std::path::Path;
use std::sync::Arc;

use crate::batch::PreparedBatch;
use crate::committer::{Committer, Participant};
use crate::error::{Error, Result};
use crate::files::{File, Files, write_all};
use crate::index::IndexBuilder;
use crate::mark::Mark;
use crate::options::{COMMIT_BYTES_MAX, Durability, JournalOptions, SEGMENT_BYTES_MAX};
use crate::planted::is_planted;
use crate::reader::{JournalReader, SegmentInfo};
use crate::recovery::{self, Recovery};
use crate::segment::{HEADER_BYTES, Segment, SegmentHeader, file_name};
use crate::shared::{Shared, sync_failed};
use crate::upkeep::Upkeep;

/// Bytes of the buffer that is kept for the next commit.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Offset of the first batch.
    pub first: u64,
    /// The offset that the next commit begins with.
    pub next: u64,
    /// Log time of all of them.
    pub timestamp: u64,
    /// What is promised about them.
    pub durability: Durability,
}

/// The writer of a journal. Dropping it is like a crash of this process: nothing acknowledged is lost, but only
/// [`close`](Self::close) leaves the mark that tells later damage from a torn tail.
#[derive(Debug)]
pub struct Journal {
    pub(crate) shared: Arc<Shared>,
    upkeep: Arc<Upkeep>,
    helper: Arc<dyn Participant>,
    active: Arc<Segment>,
    file: Arc<dyn File>,
    /// First byte behind the last batch.
    position: u64,
    next: u64,
    timestamp: u64,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the journal in a directory, creating it where it is missing, and recovers from whatever happened before.
    /// Costs a look at each segment and one pass over the last. The caller holds the lock of the data directory that it
    /// stands in ([`DataDirectory`](crate::DataDirectory)): two writers of one journal destroy it.
    ///
    /// # Errors
    /// [`Error::Format`] when a newer version wrote it; [`Error::Overlap`]; [`Error::TooLarge`] for segments above
    /// [`SEGMENT_BYTES_MAX`]; [`Error::NoSpace`]; [`Error::Io`]. Damage is no error here: see [`Recovery`].
    pub fn open(
        files: Arc<dyn Files>,
        directory: impl AsRef<Path>,
        options: JournalOptions,
    ) -> Result<(Self, Recovery)> {
        if options.segment_bytes > SEGMENT_BYTES_MAX {
            let (bytes, max) = (options.segment_bytes, SEGMENT_BYTES_MAX);
            return Err(Error::TooLarge { what: "a segment", bytes, max });
        }
        let (recovered, recovery) = recovery::recover(files, directory.as_ref(), options)?;
        let recovery::Recovered { shared, file, zeroed, timestamp } = recovered;
        let active = shared.view().segments.last().expect("recovery leaves one to write to").clone();
        let summary = active.summary();
        let upkeep = Arc::new(Upkeep::new(shared.clone()));
        upkeep.turn_to(active.id, zeroed, summary.end);
        let journal = Self {
            helper: upkeep.clone(),
            shared,
            upkeep,
            active,
            file,
            position: summary.end,
            next: summary.next,
            timestamp,
            buffer: Vec::new(),
        };
        Ok((journal, recovery))
    }

    /// A reader's side; cheap to clone, lives on when this is dropped.
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(self.shared.clone())
    }

    /// Lets a thread of the committer prepare room and segments ahead of need, and sync what is only written. Without it
    /// commits do the former themselves, and the latter is left to rolls and [`sync`](Self::sync).
    pub fn attach(&self, committer: &Committer) {
        self.upkeep.attach(committer.register(&self.helper));
        self.upkeep.ask(self.position);
    }

    /// The offset that the next commit begins with.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// Log time of the last commit; the next one's is not less.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Writes batches in this order, and gives them offsets and the log time: the larger of `now_ns` (nanoseconds since
    /// 1970) and that of the commit before. Costs one copy, one write and, where that is promised, one sync; a roll
    /// before it five more syncs. After it the batches' headers are as on disk.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::NotOpened`]: nothing of it stays, and a later commit may succeed. [`Error::TooLarge`] above
    /// [`COMMIT_BYTES_MAX`], [`Error::OffsetsUsedUp`]: nothing was done. [`Error::Io`]: whether it is on disk is not
    /// known before the next start; the journal is poisoned, and from then on [`Error::Poisoned`].
    pub fn commit(&mut self, batches: &mut [PreparedBatch], now_ns: u64) -> Result<Committed> {
        self.shared.check()?;
        let bytes: u64 = batches.iter().map(PreparedBatch::bytes).sum();
        if bytes > COMMIT_BYTES_MAX {
            return Err(Error::TooLarge { what: "a commit", bytes, max: COMMIT_BYTES_MAX });
        }
        let span: u64 = batches.iter().map(|batch| u64::from(batch.header.span)).sum();
        let Some(next) = self.next.checked_add(span) else {
            return Err(Error::OffsetsUsedUp { directory: self.shared.directory.clone() });
        };
        let timestamp = self.timestamp.max(now_ns);
        let committed = Committed { first: self.next, next, timestamp, durability: self.shared.options.durability };
        if batches.is_empty() {
            return Ok(committed);
        }
        self.or_poison(|journal| journal.write(batches, bytes, &committed))?;
        Ok(committed)
    }

    /// Runs what writes; any error is the journal's last, but those after which nothing of it stays.
    pub(crate) fn or_poison<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let done = work(self);
        if let Err(error) = &done
            && !error.is_retryable()
        {
            self.shared.poison(error);
        }
        // The helper may have met an error about the very pages that this call wrote.
        done.and_then(|done| self.shared.check().map(|()| done))
    }

    fn write(&mut self, batches: &mut [PreparedBatch], bytes: u64, committed: &Committed) -> Result<()> {
        let is_full = self.position + bytes > self.shared.options.segment_bytes;
        if (is_full || committed.next - self.active.first > u32::MAX.into()) && self.has_offsets() {
            self.roll_now()?;
        }
        let end = self.position + bytes;
        self.upkeep.make_room(&self.active, &*self.file, end)?;
        self.fill(batches, committed);
        match write_all(&*self.file, &self.buffer, self.position).map_err(Error::io("write", &self.active.path)) {
            Err(full @ Error::NoSpace { .. }) => {
                // Only file systems that copy on write can be full here.
                self.upkeep.undo(&self.active, &*self.file, self.position)?;
                return Err(full);
            }
            written => written?,
        }
        if committed.durability == Durability::Fsynced && !is_planted("acknowledge before sync") {
            self.file.sync_data().map_err(sync_failed(&self.active.path))?;
            self.upkeep.note_synced(self.active.id, end);
        }
        self.shared.check()?;
        self.active.publish(batches.iter().map(|batch| batch.header));
        (self.position, self.next, self.timestamp) = (end, committed.next, committed.timestamp);
        self.shared.next.send_replace(self.next);
        self.upkeep.ask(self.position);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Headers and bodies into the buffer.
    fn fill(&mut self, batches: &mut [PreparedBatch], committed: &Committed) {
        let synced = self.upkeep.synced();
        let mut base_offset = committed.first;
        self.buffer.clear();
        let start = self.position;
        for batch in batches {
            let header = &mut batch.header;
            (header.base_offset, header.timestamp) = (base_offset, committed.timestamp);
            (header.segment_id, header.synced) = (self.active.id, synced);
            base_offset = header.next_offset();
            let position = start + self.buffer.len() as u64;
            self.buffer.extend_from_slice(&header.encode(position));
            self.buffer.extend_from_slice(&batch.body);
        }
    }

    /// Syncs what is written and not yet on disk.
    ///
    /// # Errors
    /// [`Error::Io`], after which the journal is poisoned; [`Error::Poisoned`].
    pub fn sync(&mut self) -> Result<()> {
        self.shared.check()?;
        self.or_poison(Self::sync_now)
    }

    fn sync_now(&mut self) -> Result<()> {
        if self.upkeep.synced() < self.position {
            self.file.sync_data().map_err(sync_failed(&self.active.path))?;
            self.upkeep.note_synced(self.active.id, self.position);
        }
        Ok(())
    }

    /// Seals the segment that is written to and begins the next, so that retention and rewrites can have the former.
    /// Does nothing while no offset is in it.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::NotOpened`]: it goes on being written to. Else as [`commit`](Self::commit).
    pub fn roll(&mut self) -> Result<()> {
        self.shared.check()?;
        if self.has_offsets() {
            self.or_poison(Self::roll_now)?;
        }
        Ok(())
    }

    /// Whether the next segment would have another name than this one: one with batches that take no offsets alone grows
    /// until there is an offset in it.
    fn has_offsets(&self) -> bool {
        self.next > self.active.first
    }

    fn roll_now(&mut self) -> Result<()> {
        self.sync_now()?;
        let header =
            SegmentHeader { id: self.shared.files.random(), first: self.next, covers: 0, created: self.timestamp };
        let directory = self.shared.open_directory()?;
        let spare = self.upkeep.take_spare()?;
        let path = self.shared.directory.join(file_name(header.first));
        let placed = recovery::place(&*self.shared.files, &*spare.file, &spare.path, &path, &header);
        if let Err(error) = placed {
            // What is left behind is removed at the next start.
            let _ = self.shared.files.remove(&spare.path);
            return Err(error);
        }
        if !is_planted("no directory sync") {
            self.shared.sync_names(&*directory)?;
        }
        let builder = IndexBuilder::new(header.id, header.first, self.shared.options.index_interval_bytes);
        let segment = Arc::new(Segment::active(path, &header, true, builder, spare.file.clone()));
        self.upkeep.turn_to(segment.id, spare.zeroed, HEADER_BYTES);
        let old = std::mem::replace(&mut self.active, segment.clone());
        let old_file = std::mem::replace(&mut self.file, spare.file);
        self.position = HEADER_BYTES;
        self.shared.change_view(|segments| segments.push(segment));
        seal(&self.shared, &old, &*old_file);
        Ok(())
    }

    /// All segments in order, the one that is written to last.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.reader().segments()
    }

    /// Removes the sealed segments that hold nothing at or above an offset, oldest first, and says where the journal
    /// begins now. Readers of what is removed get [`Error::OutOfRange`]; those that are in the midst of reading a file
    /// finish. Costs one directory sync for each.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be removed: it is back after the next start. [`Error::NotOpened`]: nothing was
    /// removed. [`Error::Poisoned`].
    pub fn remove_before(&mut self, offset: u64) -> Result<u64> {
        self.shared.check()?;
        let (view, directory) = (self.shared.view(), self.shared.open_directory()?);
        let (_, sealed) = view.segments.split_last().expect("there is one to write to");
        // A segment holds everything below the next one's first offset.
        let firsts = view.segments.iter().skip(1).map(|next| next.first);
        for (old, _) in sealed.iter().zip(firsts).take_while(|(_, next)| *next <= offset) {
            self.shared.change_view(|segments| segments.retain(|segment| segment.id != old.id));
            self.remove(old)?;
            // One after the other: whatever a crash keeps, what is left has no hole.
            self.or_poison(|journal| journal.shared.sync_names(&*directory))?;
        }
        Ok(self.shared.view().first())
    }

    pub(crate) fn remove(&self, segment: &Segment) -> Result<()> {
        self.shared.options.resources.forget(self.shared.key(segment));
        self.shared.files.remove(&segment.path).map_err(Error::io("remove", &segment.path))?;
        // An index without its segment is removed at the next start.
        let _ = self.shared.files.remove(&segment.index_path());
        Ok(())
    }

    /// Syncs what is left, and leaves the mark that makes later damage to the end of the log known as such.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and [`Error::NoSpace`] when there is no room for the mark: the data is on disk.
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        self.upkeep.discard_spare();
        let mark = Mark { segment_id: self.active.id, position: self.position, next: self.next, time: self.timestamp };
        mark.write(&*self.shared.files, &self.shared.directory)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.upkeep.end();
    }
}

/// Keeps a segment's index, cuts it to its data and writes the index. Its data is on disk already and nothing depends on the rest, so that
/// an error here is logged, and made good at the next start.
fn seal(shared: &Shared, segment: &Segment, file: &dyn File) {
    let mut state = segment.state();
    let index = state.builder.take().map(|builder| Arc::new(builder.finish()));
    // Before anybody finds that there is no other: readers would read all of it to make one.
    if let Some(index) = &index {
        shared.options.resources.keep_index(shared.key(segment), index.clone());
    }
    (state.file, state.is_sealed) = (None, true);
    let end = state.summary.end;
    drop(state);
    if let Err(cause) = file.set_len(end).and_then(|()| file.sync_data()) {
        tracing::warn!(error = %cause, segment = %segment.path.display(), "a sealed segment could not be cut to its data");
        return;
    }
    if let Some(index) = index {
        shared.write_index(&segment.index_path(), &index);
    }
}
