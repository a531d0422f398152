//! What the writer and the readers of a running journal share: the list of segments, what readers may see, and whether
//! the journal is poisoned.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::files::{Directory, File, Files, OpenMode, read_full};
use crate::index::{Entry, Index, IndexBuilder};
use crate::options::JournalOptions;
use crate::resources::Key;
use crate::segment::{HEADER_BYTES, Segment, SegmentHeader};
use crate::walk::{Step, Walk};
use crate::whole;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) directory: PathBuf,
    pub(crate) options: JournalOptions,
    /// This journal's number in the process: a copy of a journal has the same segment ids.
    pub(crate) owner: u64,
    /// Replaced as a whole; held for the time of a clone.
    view: Mutex<Arc<View>>,
    /// The offset that the next commit begins with, as readers may know it.
    pub(crate) next: watch::Sender<u64>,
    poison: OnceLock<Arc<str>>,
}

/// All segments in order; the last one is written to.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl View {
    pub(crate) fn first(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first)
    }

    pub(crate) fn next(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.summary().next)
    }

    /// Where the segment stands that has this offset, or would have it.
    pub(crate) fn find(&self, offset: u64) -> usize {
        self.segments.partition_point(|segment| segment.first <= offset).saturating_sub(1)
    }
}

/// A number that no other journal of this process has.
pub(crate) fn new_owner() -> u64 {
    static OWNERS: AtomicU64 = AtomicU64::new(0);
    OWNERS.fetch_add(1, Ordering::Relaxed)
}

impl Shared {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        directory: PathBuf,
        options: JournalOptions,
        owner: u64,
        segments: Vec<Arc<Segment>>,
    ) -> Self {
        let view = View { segments };
        let next = watch::channel(view.next()).0;
        Self { files, directory, options, owner, view: Mutex::new(Arc::new(view)), next, poison: OnceLock::new() }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_view(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut Arc::make_mut(&mut view).segments);
    }

    /// After this nothing more is written.
    pub(crate) fn poison(&self, why: &Error) {
        let text = match why {
            Error::Io { cause, .. } => format!("{why}: {cause}"),
            _ => why.to_string(),
        };
        if self.poison.set(text.into()).is_ok() {
            tracing::error!(directory = %self.directory.display(), error = %why, "the journal is poisoned");
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(why) => Err(Error::Poisoned { directory: self.directory.clone(), why: why.clone() }),
        }
    }

    pub(crate) fn key(&self, segment: &Segment) -> Key {
        (self.owner, segment.id)
    }

    /// The journal's directory, opened before anything in it is changed.
    pub(crate) fn open_directory(&self) -> Result<Box<dyn Directory>> {
        self.files.open_dir(&self.directory).map_err(Error::not_opened("open", &self.directory))
    }

    /// Makes the names in it durable. An error here is one of a sync, whatever its kind.
    pub(crate) fn sync_names(&self, directory: &dyn Directory) -> Result<()> {
        directory.sync().map_err(sync_failed(&self.directory))
    }

    /// A segment's file; `None` when it is gone or stands for another segment now, so that the view has changed.
    pub(crate) fn file(&self, segment: &Segment) -> Result<Option<Arc<dyn File>>> {
        let open = segment.state().file.clone();
        if let Some(file) = open.or_else(|| self.options.resources.file(self.key(segment))) {
            return Ok(Some(file));
        }
        let file = match self.files.open(&segment.path, OpenMode::Read) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::io("open", &segment.path))?,
        };
        // A damaged header says nothing against it: each batch has the id too.
        if self.header(segment, &*file)?.is_some_and(|header| header.id != segment.id) {
            return Ok(None);
        }
        self.options.resources.keep_file(self.key(segment), file.clone());
        Ok(Some(file))
    }

    /// What a segment's file begins with; `None` when that is damaged.
    pub(crate) fn header(&self, segment: &Segment, file: &dyn File) -> Result<Option<SegmentHeader>> {
        let mut header = [0; HEADER_BYTES as usize];
        let count = read_full(file, &mut header, 0).map_err(Error::io("read", &segment.path))?;
        Ok(SegmentHeader::decode(&header[..count]).ok())
    }

    /// Where to begin reading in a segment: byte and offset.
    pub(crate) fn place(
        &self,
        segment: &Segment,
        file: &dyn File,
        find: impl Fn(&[Entry]) -> (u64, u64),
    ) -> Result<(u64, u64)> {
        if let Some(builder) = &segment.state().builder {
            return Ok(find(builder.entries()));
        }
        Ok(find(&self.index(segment, file)?.entries))
    }

    /// The index of a sealed segment: from memory, from its file, or made again and written.
    pub(crate) fn index(&self, segment: &Segment, file: &dyn File) -> Result<Arc<Index>> {
        if let Some(index) = self.options.resources.index(self.key(segment)) {
            return Ok(index);
        }
        let path = segment.index_path();
        let summary = segment.summary();
        let bytes = self.files.open(&path, OpenMode::Read).and_then(|file| {
            let bytes = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(INDEX_FILE_BYTES_MAX);
            let mut buffer = vec![0; bytes];
            read_full(&*file, &mut buffer, 0).map(|count| buffer[..count].to_vec())
        });
        let stored = bytes.ok().and_then(|bytes| Index::decode(&bytes));
        let stored = stored.filter(|index| index.segment_id == segment.id && index.summary.end == summary.end);
        let index = match stored {
            Some(index) => index,
            None => {
                tracing::warn!(index = %path.display(), "an index is missing or damaged and is made again");
                let index = self.build_index(segment, file)?;
                self.write_index(&path, &index);
                index
            }
        };
        let index = Arc::new(index);
        self.options.resources.keep_index(self.key(segment), index.clone());
        Ok(index)
    }

    fn build_index(&self, segment: &Segment, file: &dyn File) -> Result<Index> {
        let summary = segment.summary();
        let mut builder = IndexBuilder::new(segment.id, segment.first, self.options.index_interval_bytes);
        let start = (HEADER_BYTES, segment.first);
        let mut walk = Walk::new(file, segment.id, segment.is_gapless, start, summary.end);
        let failed = |cause| Error::io("read", &segment.path)(cause);
        loop {
            match walk.step().map_err(failed)? {
                Step::Batch(header, _) => builder.push(&header),
                Step::Bad if walk.skip_bad().map_err(failed)?.is_some() => {
                    builder.skip_to(walk.position(), walk.next())
                }
                Step::Bad | Step::End => break,
            }
        }
        builder.skip_to(summary.end, summary.next);
        Ok(builder.finish())
    }

    /// Nothing depends on it: where it fails, the index is made again when it is asked for.
    pub(crate) fn write_index(&self, path: &std::path::Path, index: &Index) {
        if let Err(error) = write_raw(&*self.files, path, &index.encode()) {
            tracing::warn!(%error, index = %path.display(), "an index could not be written; it is made again when needed");
        }
    }

    /// Names in the journal's directory.
    pub(crate) fn names(&self) -> Result<HashSet<String>> {
        let names = self.files.list(&self.directory).map_err(Error::not_opened("list", &self.directory))?;
        Ok(names.into_iter().collect())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.options.resources.forget_owner(self.owner);
    }
}

/// Bytes of an index's file that are read; one entry for each 80 bytes of the largest segment there can be.
const INDEX_FILE_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Writes a file whose bytes say themselves whether they are whole; synced and renamed, its name not yet durable.
pub(crate) fn write_raw(files: &dyn Files, path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    let spare = whole::name_beside(files, path);
    let file = files.create_new(&spare).map_err(Error::io("create", &spare))?;
    let written = crate::files::write_all(&*file, bytes, 0).and_then(|()| file.sync_data());
    let placed = written.and_then(|()| files.rename(&spare, path));
    placed.map_err(|cause| {
        let _ = files.remove(&spare);
        Error::io("write", path)(cause)
    })
}

/// For errors of a sync: never taken for a full disk, since what was to be synced is in doubt.
pub(crate) fn sync_failed(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    move |cause| Error::Io { what: "sync", path: path.into(), cause: Arc::new(cause) }
}
